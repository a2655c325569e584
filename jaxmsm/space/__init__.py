"""Where unknowns live: the voxel grid, its shape functions, its faces, and the operators that precondition them.

Units: lengths in voxels unless a spacing is given; everything else is the caller's.
"""

from ._boundary import (
    AbstractBoundary as AbstractBoundary,
    LinearDisplacement as LinearDisplacement,
    Periodic as Periodic,
    UniformTraction as UniformTraction,
)
from ._modes import (
    accumulate as accumulate,
    add_stress as add_stress,
    differences as differences,
    gradient_of as gradient_of,
    modes as modes,
)
from ._slabs import (
    joined as joined,
    merge_forces as merge_forces,
    merge_voxels as merge_voxels,
    slab as slab,
    slabs as slabs,
    split_corners as split_corners,
    split_voxels as split_voxels,
)
from ._voxels import (
    AbstractRule as AbstractRule,
    Full as Full,
    MeanDilatation as MeanDilatation,
    Reduced as Reduced,
    Voxels as Voxels,
)
