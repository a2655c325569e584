"""How unknowns are found: equilibrium, linear systems, adjoints, flow in time, batches and campaigns."""

from ._adjoint import implicit as implicit, implicit_scalar as implicit_scalar, stationary as stationary
from ._asymptotes import Asymptotes as Asymptotes, MovingAsymptotes as MovingAsymptotes
from ._batched import Batched as Batched, LastCost as LastCost, batched as batched, split as split
from ._bifurcations import Fold as Fold, Hopf as Hopf, fold as fold, hopf as hopf
from ._budget import (
    Footprint as Footprint,
    chunk_for as chunk_for,
    footprint as footprint,
    free_bytes as free_bytes,
    member_bytes as member_bytes,
)
from ._campaign import Sink as Sink, Tally as Tally, campaign as campaign
from ._equilibrium import NewtonKrylov as NewtonKrylov, Problem as Problem, Report as Report, equilibrium as equilibrium
from ._exponential import Relaxing as Relaxing, rates as rates, relaxed as relaxed
from ._follow import (
    AbstractWatch as AbstractWatch,
    Crossing as Crossing,
    Most as Most,
    Path as Path,
    Steps as Steps,
    Sum as Sum,
    follow as follow,
)
from ._imex import Stiff as Stiff, imex as imex
from ._incremental import Incremental as Incremental, incremental as incremental, refined as refined
from ._krylov import (
    CG as CG,
    GMRES as GMRES,
    AbstractLinear as AbstractLinear,
    LinearReport as LinearReport,
    axpy as axpy,
    norm as norm,
    scaled as scaled,
)
from ._march import CutBack as CutBack, Step as Step, march as march
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
from ._noise import Noise as Noise
from ._slopes import jacobian as jacobian
from ._splitting import Advance as Advance, godunov as godunov, strang as strang
from ._spread import each as each, pad as pad
from ._steps import (
    AbstractNoisyStep as AbstractNoisyStep,
    AbstractStep as AbstractStep,
    EulerMaruyama as EulerMaruyama,
    Milstein as Milstein,
    RungeKutta4 as RungeKutta4,
    RushLarsen as RushLarsen,
    RushLarsenMidpoint as RushLarsenMidpoint,
    StochasticHeun as StochasticHeun,
)
from ._systems import (
    AbstractSystem as AbstractSystem,
    Automatic as Automatic,
    Dense as Dense,
    Inverse as Inverse,
    Krylov as Krylov,
    SparseDirect as SparseDirect,
)
