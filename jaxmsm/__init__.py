"""Multiscale modeling, differentiable end to end, in pure-functional JAX."""

from ._model import (
    AbstractEnergy as AbstractEnergy,
    AbstractNoisyRate as AbstractNoisyRate,
    AbstractRate as AbstractRate,
    AbstractUpdate as AbstractUpdate,
    Energy as Energy,
    Mixed as Mixed,
    NoisyRate as NoisyRate,
    Rate as Rate,
    Span as Span,
    Update as Update,
)
from ._results import RESULTS as RESULTS, names as names
from ._scale import AbstractScale as AbstractScale, Guarded as Guarded, Solution as Solution, rollout as rollout
from .bridges import (
    AsLaw as AsLaw,
    Closed as Closed,
    Fallback as Fallback,
    FirstPassage as FirstPassage,
    Flow as Flow,
    Jumping as Jumping,
    Laminate as Laminate,
    MeshCell as MeshCell,
    PeriodicCell as PeriodicCell,
    Relaxed as Relaxed,
    Replayed as Replayed,
    Steady as Steady,
    Stepped as Stepped,
    accepted as accepted,
)
from .inference import FirstOrder as FirstOrder, LevenbergMarquardt as LevenbergMarquardt, fit as fit
from .solve import batched as batched, campaign as campaign, march as march

__version__ = "0.1.0"
