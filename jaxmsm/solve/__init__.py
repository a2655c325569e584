"""How unknowns are found: equilibrium, linear systems, adjoints, flow in time, batches and campaigns."""

from ._adjoint import implicit as implicit
from ._adjoint import stationary as stationary
from ._equilibrium import NewtonKrylov as NewtonKrylov
from ._equilibrium import Problem as Problem
from ._equilibrium import Report as Report
from ._equilibrium import equilibrium as equilibrium
from ._krylov import CG as CG
from ._krylov import GMRES as GMRES
from ._krylov import AbstractLinear as AbstractLinear
from ._krylov import LinearReport as LinearReport
from ._krylov import norm as norm
from ._newton import Newton as Newton
from ._newton import dense_solve as dense_solve
from ._newton import dense_solve_symmetric as dense_solve_symmetric
from ._newton import descent_direction as descent_direction
from ._newton import flatness as flatness
from ._newton import less_energy as less_energy
from ._newton import less_residual as less_residual
from ._newton import less_work as less_work
from ._newton import root as root
