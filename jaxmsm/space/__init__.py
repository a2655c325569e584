"""Where unknowns live: the voxel grid and its operators, and unstructured meshes of finite elements.

Units: lengths in voxels unless a spacing is given; everything else is the caller's.
"""

from ._advection import Advection as Advection, swirl as swirl
from ._boundary import (
    AbstractBoundary as AbstractBoundary,
    LinearDisplacement as LinearDisplacement,
    Periodic as Periodic,
    UniformTraction as UniformTraction,
)
from ._density import ConeFilter as ConeFilter, smoothed_step as smoothed_step, symmetrized as symmetrized
from ._diffusion import (
    AbstractDiffusion as AbstractDiffusion,
    AnisotropicDiffusion as AnisotropicDiffusion,
    Diffusion as Diffusion,
    fibers as fibers,
    largest_piece as largest_piece,
)
from ._elements import (
    ELEMENTS as ELEMENTS,
    HEX8 as HEX8,
    HEX20 as HEX20,
    HEX27 as HEX27,
    LINE2 as LINE2,
    LINE3 as LINE3,
    QUAD4 as QUAD4,
    QUAD8 as QUAD8,
    QUAD9 as QUAD9,
    TET4 as TET4,
    TET10 as TET10,
    TRI3 as TRI3,
    TRI6 as TRI6,
    Element as Element,
    facets_of as facets_of,
)
from ._elementwise import (
    Coarse as Coarse,
    Elementwise as Elementwise,
    gathered as gathered,
    groups as groups,
    incidence as incidence,
    rigid_motions as rigid_motions,
)
from ._ends import AbstractEnd as AbstractEnd, Held as Held, Mirrored as Mirrored, Walled as Walled, Wrapped as Wrapped
from ._generate import (
    beam as beam,
    box as box,
    cook as cook,
    l_shape as l_shape,
    plate_with_hole as plate_with_hole,
    ring as ring,
)
from ._mesh import (
    Block as Block,
    Mesh as Mesh,
    Points as Points,
    Where as Where,
    facet_normals as facet_normals,
    integration as integration,
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
