"""The table of the contract: every scale that the house offers, one row each, cells pairwise (`test_rows.py`)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from jaxmsm import (
    AbstractScale,
    AsLaw,
    Closed,
    Energy,
    Fallback,
    FirstPassage,
    Flow,
    Guarded,
    Jumping,
    Laminate,
    MeshCell,
    Mixed,
    NoisyRate,
    PeriodicCell,
    Rate,
    Relaxed,
    Replayed,
    Span,
    Steady,
    Stepped,
    batched,
    solids,
)
from jaxmsm.biology import AlievPanfilov, HodgkinHuxley, Reactions, Tissue
from jaxmsm.bridges import GreenJacobi, Nearest, Skipping
from jaxmsm.solve import Batched, Crossing, Most, NewtonKrylov, RushLarsenMidpoint, StochasticHeun
from jaxmsm.space import (
    TRI6,
    AnisotropicDiffusion,
    LinearDisplacement,
    MeanDilatation,
    Mesh,
    Periodic,
    Reduced,
    UniformTraction,
    box,
    fibers,
)


@dataclass(frozen=True)
class Row:
    """A scale and what the contract does with it.

    Attributes:
        load: where derivatives are taken, away from yield switches.
        before: a load committed first, so that the state is not virgin.
        leaf: the float leaf of the scale to differentiate in.
        bad: loads that must fail, by the code they fail with.
        safe: a load that works always.
        single: the tolerance of float32 against float64, and its cause in the table.
    """

    name: str
    make: Callable[[], Any]
    load: Any
    before: Any
    leaf: Callable[[Any], Any]
    safe: Any
    bad: dict[str, Any] = field(default_factory=dict)
    single: float = 1e-4


def arrays(tree):
    """The tree with its plain floats as arrays of a definite type, so that they are arguments of a compiled program."""

    def definite(x):
        if isinstance(x, float):
            return jnp.asarray(x, float)
        return jax.lax.convert_element_type(x, x.dtype) if eqx.is_inexact_array(x) else x

    return jax.tree.map(definite, tree)


def nan_like(load):
    """The load with no number in it."""
    return jax.tree.map(lambda x: x * jnp.nan if eqx.is_inexact_array(x) else x, load)


def _mixed(F, P, mask):
    return Mixed(jnp.asarray(F), jnp.asarray(P), jnp.asarray(mask))


_F3 = jnp.array([[1.05, 0.1, 0.02], [0.0, 0.97, -0.03], [0.01, 0.04, 1.02]])
_F2 = _F3[:2, :2]
_E3 = jnp.eye(3) + 0.02 * jnp.array([[0.5, 1.0, 0.1], [0.3, -0.4, 0.2], [0.1, 0.2, 0.3]])
_E2 = _E3[:2, :2]
_FLIPPED3 = jnp.diag(jnp.array([-1.0, 1.0, 1.0]))
_FLIPPED2 = jnp.diag(jnp.array([-1.0, 1.0]))


def _uniaxial(F, stress):
    """Stretch along the first axis, the other normal components free under a small stress."""
    d = F.shape[0]
    mask = np.ones((d, d), bool)
    P = np.zeros((d, d))
    for i in range(1, d):
        mask[i, i] = False
        P[i, i] = stress
    return _mixed(F, P, mask)


def _well(x, load):
    """A convex energy with a unique minimum that the load moves."""
    return 0.25 * jnp.sum(x**4) + 0.5 * jnp.sum((x - load) ** 2) + 0.1 * x[0] * x[1] * load[0]


class _Stiff(eqx.Module):
    k: jax.Array

    def __call__(self, x, load):
        return self.k * _well(x, load)


class _Toggle(eqx.Module):
    a: jax.Array

    def __call__(self, t, x, load):
        return jnp.stack([self.a / (1 + x[1] ** 2) - x[0] * load[0], load[1] / (1 + x[0] ** 2) - x[1]])


_TWO = jnp.array([0.7, -0.4])
_DOSE = jnp.array([1.1, 1.4])


def _span(t1, dose):
    return Span(jnp.array(0.0, float), jnp.array(t1, float), dose)


class Alone(AbstractScale):
    """One member as a batch of one, so that the contract of one member is that of a batch."""

    many: Batched

    def init(self, load, *, key=None):
        return _only(self.many.init(_row(load), key=key))

    def cold(self, load):
        return _only(self.many.cold(_row(load)))

    def __call__(self, load, state=None, *, guess=None):
        return _only(self.many(*_row((load, state)), guess=_row(guess)))

    def linearize(self, load, state=None, *, guess=None):
        return _only(self.many.linearize(*_row((load, state)), guess=_row(guess)))


def _row(tree):
    return jax.tree.map(lambda x: x[None], tree)


def _only(tree):
    return jax.tree.map(lambda x: x[0], tree)


def _layers(first, second):
    return Laminate([first, second], [0.3, 0.7], [1.0, 0.5, -0.2])


def _yielding(sy):
    return solids.J2(lam=2.0, mu=1.0, hardening=solids.Linear(sy=sy, H=0.05))


def _flat(load, solution):
    del solution
    return load.reshape(-1)


def _near_rest():
    return Nearest(jnp.eye(3).reshape(1, 9), jnp.ones(9), _flat)


GENERIC = [
    Row(
        "closed",
        lambda: Closed(solids.NeoHookean(mu=1.0, lam=2.0)),
        _F3,
        _F3,
        lambda s: s.law.mu,
        jnp.eye(3),
        {"out_of_range": _FLIPPED3},
    ),
    Row(
        "closed-mixed",
        lambda: Closed(solids.J2(lam=2.0, mu=1.0, hardening=solids.Voce(sy=0.01, H=0.05, s_inf=0.02, delta=20.0))),
        _uniaxial(_E3, 0.001),
        _uniaxial(0.5 * (_E3 + jnp.eye(3)), 0.0),
        lambda s: s.law.mu,
        _uniaxial(jnp.eye(3), 0.0),
    ),
    Row(
        "laminate",
        lambda: _layers(solids.NeoHookean(mu=1.0, lam=2.0), solids.NeoHookean(mu=5.0, lam=10.0)),
        _F3,
        _F3,
        lambda s: s.laws[0].mu,
        jnp.eye(3),
        {"out_of_range": _FLIPPED3},
    ),
    Row(
        "as-law",
        lambda: Closed(AsLaw(_layers(solids.NeoHookean(mu=1.0, lam=2.0), solids.NeoHookean(mu=5.0, lam=10.0)), jnp.eye(3))),
        _F3,
        _F3,
        lambda s: s.law.scale.laws[0].mu,
        jnp.eye(3),
        {"out_of_range": _FLIPPED3},
    ),
    Row(
        "guarded",
        lambda: Guarded(Closed(solids.J2(lam=2.0, mu=1.0, hardening=solids.Linear(sy=0.01, H=0.05))), jnp.eye(3)),
        _E3,
        0.5 * (_E3 + jnp.eye(3)),
        lambda s: s.scale.law.mu,
        jnp.eye(3),
    ),
    Row(
        "batched",
        lambda: Alone(batched(_layers(solids.NeoHookean(mu=1.0, lam=2.0), solids.NeoHookean(mu=5.0, lam=10.0)))),
        _F3,
        _F3,
        lambda s: s.many.scale.laws[0].mu,
        jnp.eye(3),
        {"out_of_range": _FLIPPED3},
    ),
    Row(
        "fallback",
        # In the passage from one to the other, with a step behind it that the other has yet to go through.
        lambda: Fallback(_yielding(0.004), Closed(_yielding(0.003)), _near_rest(), 0.02, band=1.0, memory=2),
        _E3,
        0.5 * (_E3 + jnp.eye(3)),
        lambda s: s.rve.law.mu,
        jnp.eye(3),
    ),
    Row(
        "relaxed",
        lambda: Relaxed(Energy(_Stiff(jnp.asarray(1.5))), jnp.zeros(2)),
        _TWO,
        0.5 * _TWO,
        lambda s: s.energy.fn.k,
        0 * _TWO,
    ),
    Row("steady", lambda: Steady(Rate(_Toggle(jnp.asarray(1.2))), jnp.ones(2)), _DOSE, 0.9 * _DOSE, lambda s: s.rate.fn.a, _DOSE),
    Row(
        "stepped",
        lambda: Stepped(HodgkinHuxley(), HodgkinHuxley().rest(), RushLarsenMidpoint(), 200, every=20),
        _span(2.0, 20.0 * jnp.ones(())),
        _span(2.0, 5.0 * jnp.ones(())),
        lambda s: s.rate.g_Na,
        _span(1.0, jnp.zeros(())),
    ),
    Row(
        "crossing",
        lambda: Stepped(
            HodgkinHuxley(),
            HodgkinHuxley().rest(),
            RushLarsenMidpoint(),
            200,
            (Crossing(lambda y: y.v, -20.0), Most(lambda y: y.v)),
        ),
        _span(3.0, 30.0 * jnp.ones(())),
        _span(0.5, jnp.ones(())),
        lambda s: s.rate.g_Na,
        _span(3.0, 20.0 * jnp.ones(())),
    ),
    Row(
        "tissue",
        lambda: _tissue(),
        _span(2.0, 0.1 * jnp.ones(())),
        _span(1.0, 0.05 * jnp.ones(())),
        lambda s: s.rate.diffusion.links,
        _span(1.0, jnp.zeros(())),
    ),
    Row(
        "noisy",
        lambda: Stepped(NoisyRate(_Toggle(jnp.asarray(1.2)), _shaken), jnp.ones(2), StochasticHeun(), 80),
        _span(1.0, _DOSE),
        _span(1.0, 0.9 * _DOSE),
        lambda s: s.rate.fn.a,
        _span(1.0, _DOSE),
    ),
    Row(
        "jumping",
        # Its slopes are none: numbers of molecules stand still between the parameters at which they jump.
        lambda: Jumping(Reactions(jnp.array([[1.0, -1.0]]), _Births(jnp.asarray(6.0))), jnp.array([3.0])),
        _span(1.0, jnp.ones(1)),
        _span(1.0, 0.5 * jnp.ones(1)),
        lambda s: s.reactions.propensity.made,
        _span(1.0, jnp.ones(1)),
    ),
    Row(
        "flow",
        # Steps change with the load, which differences see: their error must be below.
        lambda: Flow(Rate(_Toggle(jnp.asarray(1.2))), jnp.ones(2), steps=diffrax.PIDController(rtol=1e-11, atol=1e-11)),
        _span(1.0, _DOSE),
        _span(1.0, 0.9 * _DOSE),
        lambda s: s.rate.fn.a,
        _span(1.0, _DOSE),
    ),
    Row(
        "passage",
        lambda: FirstPassage(
            Flow(Rate(_Toggle(jnp.asarray(1.2))), jnp.ones(2), steps=diffrax.PIDController(rtol=1e-11, atol=1e-11)), _apart
        ),
        _span(2.0, _DOSE),
        _span(3.0, 0.95 * _DOSE),
        lambda s: s.flow.rate.fn.a,
        _span(2.0, 1.05 * _DOSE),
        {"no_event": _span(0.01, _DOSE)},
    ),
    Row(
        "replayed",
        lambda: Replayed(Flow(Rate(_Toggle(jnp.asarray(1.2))), jnp.ones(2)), jnp.linspace(0, 1, 9) ** 1.5),
        _span(1.0, _DOSE),
        _span(1.0, 0.9 * _DOSE),
        lambda s: s.flow.rate.fn.a,
        _span(1.0, _DOSE),
    ),
]


def _tissue():
    along = jnp.stack([jnp.full((3, 4), 0.8), jnp.full((3, 4), 0.6)])
    tissue = Tissue(AlievPanfilov(), AnisotropicDiffusion(fibers(along, 0.1, 0.02), 0.5))
    start = tissue.rest()
    start = start._replace(**{start._fields[0]: 0.2 + 0.5 * jnp.arange(20.0).reshape(4, 5) / 20})
    return Stepped(tissue, start, RushLarsenMidpoint(), 40, every=8)


def _apart(t, x, load):
    del t
    return x[1] - x[0] - 0.1 * load[0] ** 9


class _Births(eqx.Module):
    made: jax.Array

    def __call__(self, x, load):
        return jnp.stack([self.made * load[0], 0.7 * x[0]])


def _shaken(t, x, load, dw):
    del t, load
    return 0.1 * x * dw


def _image(shape, phases=2, seed=0):
    return np.random.default_rng(seed).integers(0, phases, shape)


# Well below the default, so that differences are meaningful.
_TIGHT = NewtonKrylov(rtol=1e-12)


def _cell(shape, laws, **options):
    return PeriodicCell(_image(shape), laws, solver=options.pop("solver", _TIGHT), **options)


_ELASTIC = [solids.Elastic(lam=1.0, mu=1.0), solids.Elastic(lam=15.0, mu=10.0)]
_RUBBER = [solids.NeoHookean(mu=1.0, lam=1.5), solids.NeoHookean(mu=8.0, lam=10.0)]
_METAL = [
    solids.J2(lam=1.5, mu=1.0, hardening=solids.Linear(sy=0.004, H=0.1)),
    solids.J2(lam=4.0, mu=3.0, hardening=solids.Linear(sy=0.02, H=0.3)),
]
_RECALL = [
    solids.J2(lam=1.5, mu=1.0, hardening=solids.Linear(sy=0.004, H=0.1), kinematic=solids.ArmstrongFrederick(C=0.2, recall=5.0)),
    solids.J2(lam=4.0, mu=3.0, hardening=solids.Linear(sy=0.02, H=0.3), kinematic=solids.ArmstrongFrederick(C=0.3, recall=5.0)),
]
_THICK = [
    solids.J2(lam=1.5, mu=1.0, hardening=solids.Linear(sy=0.004, H=0.1), kinematic=solids.Prager(0.05)),
    solids.J2(lam=4.0, mu=3.0, hardening=solids.Linear(sy=0.02, H=0.3), kinematic=solids.Prager(0.1)),
]
_CURVED = [
    solids.J2(
        lam=1.5,
        mu=1.0,
        hardening=solids.Voce(sy=0.004, H=0.1, s_inf=0.01, delta=20.0),
        kinematic=solids.ArmstrongFrederick(C=0.2, recall=5.0),
    ),
    solids.J2(
        lam=4.0,
        mu=3.0,
        hardening=solids.Voce(sy=0.02, H=0.3, s_inf=0.03, delta=10.0),
        kinematic=solids.ArmstrongFrederick(C=0.3, recall=5.0),
    ),
]
_CRYSTAL = [solids.Cubic(C11=3.0, C12=1.0, C44=1.5), solids.Cubic(C11=30.0, C12=12.0, C44=8.0)]
_KIRCHHOFF = [solids.SaintVenantKirchhoff(lam=1.5, mu=1.0), solids.SaintVenantKirchhoff(lam=10.0, mu=8.0)]


def _network(scale):
    """Of weights that do not depend on the precision, as random ones do."""
    network = solids.InputConvex(key=jax.random.key(0), width=3, depth=1)
    even = jax.tree.map(lambda x: jnp.asarray(np.cos(np.arange(1.0, 1 + x.size)).reshape(x.shape) - 1), network)
    return solids.Polyconvex(even, scale=scale)


_NETWORKS = [_network(1.0), _network(2.0)]
_ANY = solids.Anisotropic(10 * jnp.eye(6) + 2 * jnp.cos(jnp.arange(6.0)[:, None] + jnp.arange(6.0)[None, :]))
_GRAIN = solids.AnisotropicConductivity(jnp.array([[3.0, 1.0], [1.0, 2.0]]))


def _stretched(F, past, p):
    """Neo-Hooke, as somebody's own."""
    cross = jnp.stack([jnp.cross(F[(i + 1) % 3], F[(i + 2) % 3]) for i in range(3)])
    J = jnp.sum(F[0] * cross[0])
    safe = jnp.where(J > 0, J, 1)
    return p["mu"] * F + (p["lam"] * jnp.log(safe) - p["mu"]) * cross / safe, past


def _upright(F, past, p):
    return jnp.sum(F[0] * jnp.cross(F[1], F[2])) > 0


def _own(mu, lam):
    return solids.Law(_stretched, {"mu": mu, "lam": lam}, symmetric=True, valid=_upright)


def _wood():
    """A field of orthotropic stiffnesses, turned by a field of angles."""
    x = jnp.arange(16.0).reshape(4, 4)
    law = solids.Orthotropic.from_engineering(
        E1=10.0 + x, E2=2.0 + jnp.cos(x), E3=1.5, nu12=0.3, nu13=0.3, nu23=0.3, G12=1.0 + 0.1 * x, G13=1.0, G23=0.5
    )
    return solids.Rotated.by_angle(arrays(jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (4, 4)), law)), jnp.sin(x))


_HEAT = [solids.Conductivity(1.0), solids.Conductivity(20.0)]


def _thin(laws):
    return [solids.PlaneStress(law) for law in laws]


def _swollen(laws, d):
    return [solids.Eigenstrain(law, 0.02 * k * jnp.eye(d)) for k, law in enumerate(laws)]


def _heated(laws):
    return [solids.Thermal(law, alpha=0.01, dT=2.0 * k) for k, law in enumerate(laws)]


def _first(scale):
    return scale.laws[0].mu


def _inner(scale):
    return scale.laws[0].law.mu


def _half(F):
    return 0.5 * (F + jnp.eye(F.shape[0]))


_G3 = jnp.array([1.0, 0.3, -0.2])
_G2 = _G3[:2]
_NO3, _NO2 = jnp.eye(3), jnp.eye(2)
_FREE3 = _uniaxial(_E3, 0.01)
_FREE2 = _uniaxial(_E2, 0.01)
_SAFE3, _SAFE2 = _uniaxial(jnp.eye(3), 0.0), _uniaxial(jnp.eye(2), 0.0)

PLANE = [
    Row(
        "2d-thin-cubic-reduced-displacement-mixed",
        lambda: _cell((4, 4), _thin(_CRYSTAL), rule=Reduced(), boundary=LinearDisplacement()),
        _FREE2,
        _SAFE2,
        lambda s: s.laws[0].law.C44,
        _SAFE2,
    ),
    Row(
        "2d-network-dilatation-displacement",
        lambda: _cell((4, 5), _NETWORKS, rule=MeanDilatation(), boundary=LinearDisplacement()),
        _F2,
        _half(_F2),
        lambda s: s.laws[0].scale,
        _NO2,
        {"out_of_range": _FLIPPED2},
    ),
    Row(
        "2d-thin-rubber-full-traction",
        lambda: _cell((4, 4), _thin(_RUBBER), boundary=UniformTraction()),
        _F2,
        _half(_F2),
        _inner,
        _NO2,
        {"out_of_range": _FLIPPED2},
    ),
    Row(
        "2d-prager-full-traction-mixed-substeps",
        lambda: _cell((4, 5), _THICK, boundary=UniformTraction(), substeps=8),
        _FREE2,
        _uniaxial(_half(_E2), 0.0),
        _first,
        _SAFE2,
    ),
    Row(
        "2d-thin-metal-dilatation-periodic",
        lambda: _cell((4, 4), _thin(_METAL), rule=MeanDilatation()),
        _E2,
        _half(_E2),
        _inner,
        _NO2,
    ),
    Row("2d-voce-recall-full-periodic", lambda: _cell((4, 4), _CURVED), _E2, _half(_E2), _first, _NO2),
    Row(
        "2d-recall-reduced-traction",
        lambda: _cell((4, 4), _RECALL, rule=Reduced(), boundary=UniformTraction()),
        _E2,
        _half(_E2),
        _first,
        _NO2,
    ),
    Row(
        "2d-heat-full-traction",
        lambda: _cell((5, 4), [_GRAIN, _HEAT[1]], boundary=UniformTraction()),
        _G2,
        0.5 * _G2,
        lambda s: s.laws[1].k,
        0 * _G2,
    ),
    Row(
        "2d-heat-reduced-periodic-mixed",
        lambda: _cell((4, 6), _HEAT, rule=Reduced()),
        _mixed(_G2, [0.0, 0.5], [True, False]),
        _mixed(_G2, [0.0, 0.0], [True, False]),
        lambda s: s.laws[0].k,
        _mixed(0 * _G2, [0.0, 0.0], [True, False]),
    ),
    Row(
        "2d-swollen-kirchhoff-reduced-displacement-mixed",
        lambda: _cell((5, 5), _swollen(_KIRCHHOFF, 2), rule=Reduced(), boundary=LinearDisplacement()),
        _uniaxial(_F2, 0.05),
        _uniaxial(_half(_F2), 0.0),
        _inner,
        _SAFE2,
        {"out_of_range": _uniaxial(_FLIPPED2, 0.0)},
    ),
    Row(
        "2d-thin-thermal-elastic-full-traction",
        lambda: _cell(
            (4, 4),
            _thin(_heated(_ELASTIC)),
            boundary=UniformTraction(),
        ),
        _E2,
        _NO2,
        lambda s: s.laws[0].law.law.mu,
        _NO2,
    ),
    Row(
        "2d-turned-orthotropic-field-jacobi-periodic",
        lambda: PeriodicCell(None, _wood(), grid=(4, 4), preconditioner=GreenJacobi(), solver=_TIGHT),
        _E2,
        _half(_E2),
        lambda s: s.laws[0].law.C66,
        _NO2,
    ),
]

SPACE = [
    Row(
        "3d-elastic-dilatation-traction",
        lambda: _cell((4, 4, 4), [_ELASTIC[0], _ANY], rule=MeanDilatation(), boundary=UniformTraction()),
        _E3,
        _half(_E3),
        _first,
        _NO3,
    ),
    Row(
        "3d-rubber-full-periodic-mixed",
        lambda: _cell((4, 4, 4), _RUBBER),
        _uniaxial(_F3, 0.05),
        _uniaxial(_half(_F3), 0.0),
        _first,
        _SAFE3,
        {"out_of_range": _uniaxial(_FLIPPED3, 0.0)},
    ),
    Row(
        "3d-heat-full-displacement",
        lambda: _cell((4, 5, 4), _HEAT, boundary=LinearDisplacement()),
        _G3,
        0.5 * _G3,
        lambda s: s.laws[0].k,
        0 * _G3,
    ),
    Row(
        "3d-swollen-elastic-dilatation-periodic-mixed",
        lambda: _cell((4, 4, 4), _swollen(_ELASTIC, 3), rule=MeanDilatation()),
        _FREE3,
        _SAFE3,
        _inner,
        _SAFE3,
    ),
    Row(
        "3d-own-reduced-traction",
        lambda: _cell((3, 3, 3), [_own(1.0, 1.5), _own(8.0, 10.0)], rule=Reduced(), boundary=UniformTraction()),
        _F3,
        _half(_F3),
        lambda s: s.laws[0].parameters["mu"],
        _NO3,
        {"out_of_range": _FLIPPED3},
    ),
    Row(
        "3d-metal-reduced-displacement-refined",
        lambda: _cell(
            (4, 4, 4), _METAL, rule=Reduced(), boundary=LinearDisplacement(), solver=NewtonKrylov(rtol=1e-12, inner=jnp.float32)
        ),
        _E3,
        _half(_E3),
        _first,
        _NO3,
    ),
    Row(
        "3d-recall-dilatation-displacement-mixed",
        lambda: _cell((3, 4, 3), _RECALL, rule=MeanDilatation(), boundary=LinearDisplacement()),
        _FREE3,
        _uniaxial(_half(_E3), 0.0),
        _first,
        _SAFE3,
    ),
]

_SOFT = [
    solids.FiniteJ2(lam=1.5, mu=1.0, hardening=solids.Linear(sy=0.01, H=0.1)),
    solids.FiniteJ2(lam=4.0, mu=3.0, hardening=solids.Linear(sy=0.05, H=0.3)),
]


def _units(sy):
    """Of weights that do not depend on the precision, as random ones do."""
    wave = lambda *shape: jnp.asarray(np.cos(np.arange(1.0, 1 + np.prod(shape))).reshape(shape), float)
    raw = lambda x: jnp.asarray(np.log(np.expm1(x)), float)
    soft = raw(np.array([0.05, 0.1]))
    weights = solids.Units(jnp.eye(3) + 0.3 * wave(3, 3), wave(2, 3, 3), raw(sy * np.array([1.0, 2.0])), soft, soft)
    return solids.PlasticNetwork(weights, scale=1.5, width=0.7)


_SLOW = [
    solids.Viscoelastic.from_prony(K=3.0, G=1.0, shear=[(0.8, 0.3)]),
    solids.Viscoelastic.from_prony(K=12.0, G=8.0, shear=[(4.0, 1.0)]),
]
# The line search goes from the sound cell to the cracked one in a step where the fall beyond the peak is slow.
_CRACKED = [
    solids.Damage(lam=1.5, mu=1.0, curve=solids.LinearSoftening(strength=0.02, energy=0.01), measure=solids.EnergyNorm(), size=1.0),
    solids.Damage(
        lam=4.0, mu=3.0, curve=solids.ExponentialSoftening(strength=0.03, energy=0.05), measure=solids.Mazars(), viscosity=0.5
    ),
    solids.Damage(
        lam=4.0, mu=3.0, curve=solids.LinearSoftening(strength=0.02, energy=0.1), measure=solids.ModifiedMises(4.0), size=1.0
    ),
]


def _grain(turn):
    """Turned about no axis of the plane."""
    crystal = solids.CrystalPlasticity(C11=2.5, C12=1.5, C44=1.0, rate=0.1, m=0.05, g0=0.004, g_inf=0.02, h0=0.05, a=2.0)
    return solids.Rotated(crystal, Rotation.from_rotvec(turn).as_matrix())


HISTORY = [
    Row(
        "2d-plastic-network",
        lambda: _cell((4, 4), [_units(0.004), _units(0.03)]),
        _E2,
        _half(_E2),
        lambda s: s.laws[0].scale,
        _NO2,
    ),
    Row(
        "2d-finite-metal",
        lambda: _cell((4, 4), _SOFT),
        _F2,
        _half(_F2),
        _first,
        _NO2,
        {"out_of_range": _FLIPPED2},
    ),
    Row(
        "2d-crystal",
        lambda: Closed(_grain([0.3, 0.5, -0.4])),
        _span(0.5, _E2),
        _span(0.2, _half(_E2)),
        lambda s: s.law.law.g0,
        _span(0.5, _NO2),
    ),
    Row(
        "2d-viscoelastic",
        lambda: _cell((4, 4), _SLOW),
        _span(0.5, _E2),
        _span(0.2, _half(_E2)),
        lambda s: s.laws[0].branches[0].tau,
        _span(0.5, _NO2),
    ),
    Row(
        "2d-damage",
        lambda: PeriodicCell(_image((4, 4), 3), _CRACKED, solver=_TIGHT),
        _span(0.5, _E2),
        _span(0.2, _half(_E2)),
        lambda s: s.laws[0].curve.strength,
        _span(0.5, _NO2),
    ),
]


def _number(x):
    return jnp.asarray(x, float)


def _halves():
    """Two elements, each a set."""
    mesh = box((2, 1))
    halves = {"left half": np.array([0]), "right half": np.array([1])}
    return Mesh(mesh.points, mesh.blocks, element_sets=halves, facet_sets=mesh.facet_sets)


def _body(law, *conditions, mesh=None, rule=None):
    mesh = box((2, 1)) if mesh is None else mesh
    observe = (solids.Reaction("right"), solids.Displacement("top"))
    return solids.Body(mesh, law, [solids.Fixed("left"), *conditions], observe=observe, rule=rule, solver=_TIGHT)


def _mesh_cell(laws, boundary):
    """Four elements, the corners of which differ."""
    mesh = box((2, 2))
    mesh = Mesh(mesh.points, mesh.blocks, element_sets={"soft": np.array([0, 1, 3]), "hard": np.array([2])})
    return MeshCell(mesh, {"soft": laws[0], "hard": laws[1]}, boundary=boundary, solver=_TIGHT)


_LOADED = solids.Traction("top", (0.3, -0.2))
_PULLED = solids.Moved("right", (0,), 1.0)

BODIES = [
    Row(
        "body-rubber",
        lambda: _body(solids.NeoHookean(lam=2.0, mu=1.0), _PULLED, _LOADED, mesh=box((2, 1), element=TRI6)),
        _number(0.1),
        _number(0.05),
        lambda s: s.parts[0].material.laws[0].mu,
        _number(0.0),
        {"out_of_range": _number(-3.0)},
    ),
    Row(
        "body-metal",
        lambda: _body({"left half": _METAL[0], "right half": _METAL[1]}, _PULLED, mesh=_halves(), rule=MeanDilatation()),
        _number(0.05),
        _number(0.03),
        lambda s: s.parts[0].material.laws[0].hardening.sy,
        _number(0.0),
    ),
    Row(
        "body-pressed",
        lambda: _body(solids.NeoHookean(lam=2.0, mu=1.0), solids.Pressure("top", 0.5), solids.Springs("right", 0.3)),
        _number(0.1),
        _number(0.05),
        lambda s: s.followers[0][0].value,
        _number(0.0),
    ),
    Row(
        "body-of-cells",
        lambda: _body(_cell((4, 4), _METAL), _PULLED, mesh=box((1, 1))),
        _number(0.05),
        _number(0.03),
        lambda s: s.parts[0].material.scale.scale.laws[0].mu,
        _number(0.0),
    ),
    Row(
        "mesh-periodic",
        lambda: _mesh_cell(_METAL, Periodic()),
        _E2,
        _half(_E2),
        lambda s: s.body.parts[0].material.laws[0].hardening.sy,
        _NO2,
    ),
    Row(
        "mesh-traction-mixed",
        lambda: _mesh_cell(_RUBBER, UniformTraction()),
        _uniaxial(_F2, 0.01),
        _SAFE2,
        lambda s: s.body.parts[0].material.laws[0].mu,
        _SAFE2,
    ),
    Row(
        "skipping",
        lambda: Skipping(_cell((4, 4), _METAL)),
        _E2,
        _half(_E2),
        lambda s: s.cell.laws[0].mu,
        _NO2,
    ),
]

ROWS = {row.name: row for row in [*GENERIC, *PLANE, *SPACE, *HISTORY, *BODIES]}
