"""How unknowns are found: equilibrium, linear systems, adjoints, flow in time, batches and campaigns."""

from ._adjoint import implicit as implicit, stationary as stationary
from ._batched import Batched as Batched
from ._batched import LastCost as LastCost
from ._batched import batched as batched
from ._budget import Footprint as Footprint
from ._budget import chunk_for as chunk_for
from ._budget import footprint as footprint
from ._budget import free_bytes as free_bytes
from ._budget import member_bytes as member_bytes
from ._equilibrium import NewtonKrylov as NewtonKrylov, Problem as Problem, Report as Report, equilibrium as equilibrium
from ._krylov import (
    CG as CG,
    GMRES as GMRES,
    AbstractLinear as AbstractLinear,
    LinearReport as LinearReport,
    axpy as axpy,
    norm as norm,
    scaled as scaled,
)
from ._newton import (
    Newton as Newton,
    dense_solve as dense_solve,
    dense_solve_symmetric as dense_solve_symmetric,
    descent_direction as descent_direction,
    flatness as flatness,
    less_energy as less_energy,
    less_residual as less_residual,
    less_work as less_work,
    root as root,
)
