"""Where unknowns live: the voxel grid, its shape functions, its faces, and the operators that precondition them.

Units: lengths in voxels unless a spacing is given; everything else is the caller's.
"""

from ._boundary import AbstractBoundary as AbstractBoundary
from ._boundary import LinearDisplacement as LinearDisplacement
from ._boundary import Periodic as Periodic
from ._boundary import UniformTraction as UniformTraction
from ._voxels import AbstractRule as AbstractRule
from ._voxels import Full as Full
from ._voxels import MeanDilatation as MeanDilatation
from ._voxels import Reduced as Reduced
from ._voxels import Voxels as Voxels
