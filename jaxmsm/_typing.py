"""Names for the arguments that cross a room's door."""

from typing import Any

Tree = Any
"""Any pytree."""
