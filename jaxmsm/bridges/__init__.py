"""One scale disappears into another."""

from ._closed import AsLaw as AsLaw, Closed as Closed
from ._fallback import Fallback as Fallback, Nearest as Nearest
from ._flow import Flow as Flow
from ._jumping import Jumping as Jumping
from ._laminate import Laminate as Laminate
from ._mesh_cell import MeshCell as MeshCell
from ._passage import FirstPassage as FirstPassage, Passage as Passage
from ._periodic_cell import PeriodicCell as PeriodicCell
from ._precondition import (
    AbstractPreconditioner as AbstractPreconditioner,
    Automatic as Automatic,
    Green as Green,
    GreenJacobi as GreenJacobi,
)
from ._relaxed import Relaxed as Relaxed
from ._replayed import Replayed as Replayed, accepted as accepted
from ._skipping import Anchored as Anchored, Skipping as Skipping
from ._steady import Steady as Steady
from ._stepped import Stepped as Stepped
