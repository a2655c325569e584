"""Pictures of results.

Every function draws on a matplotlib figure of its own, writes it where a `path` is given, and returns it. Units are in the labels.
"""

from ._animation import animation as animation
from ._curves import curve as curve, scatter_by_size as scatter_by_size
from ._fields import phases as phases, stress_field as stress_field
from ._meshes import mesh_field as mesh_field
