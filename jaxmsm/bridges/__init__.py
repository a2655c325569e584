"""One scale disappears into another."""

from ._closed import AsLaw as AsLaw
from ._closed import Closed as Closed
from ._flow import Flow as Flow
from ._laminate import Laminate as Laminate
from ._relaxed import Relaxed as Relaxed
from ._steady import Steady as Steady
