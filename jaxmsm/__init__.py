"""Multiscale modeling, differentiable end to end, in pure-functional JAX."""

from ._model import AbstractEnergy as AbstractEnergy
from ._model import AbstractRate as AbstractRate
from ._model import AbstractUpdate as AbstractUpdate
from ._model import Energy as Energy
from ._model import Mixed as Mixed
from ._model import Rate as Rate
from ._model import Span as Span
from ._model import Update as Update
from ._results import RESULTS as RESULTS
from ._results import names as names
from ._scale import AbstractScale as AbstractScale
from ._scale import Guarded as Guarded
from ._scale import Solution as Solution
from ._scale import rollout as rollout
from .bridges import AsLaw as AsLaw
from .bridges import Closed as Closed
from .bridges import Flow as Flow
from .bridges import Laminate as Laminate
from .bridges import PeriodicCell as PeriodicCell
from .bridges import Relaxed as Relaxed
from .bridges import Steady as Steady
from .inference import FirstOrder as FirstOrder
from .inference import LevenbergMarquardt as LevenbergMarquardt
from .inference import fit as fit
from .solve import batched as batched
from .solve import campaign as campaign
from .solve import march as march

__version__ = "0.1.0"
