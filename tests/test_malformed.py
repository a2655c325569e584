"""Malformed loads, laws and parameters are answered at once, with a sentence that says what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm import Closed, Laminate, Mixed, PeriodicCell, batched, names, solids
from jaxmsm.solids import Conductivity, NeoHookean

RUBBER = [NeoHookean(mu=1.0, lam=2.0), NeoHookean(mu=5.0, lam=10.0)]
HEAT = [Conductivity(1.0), Conductivity(5.0)]
IMAGE = np.eye(4, dtype=int)
SCALES = {
    "cell": (PeriodicCell(IMAGE, RUBBER), (2, 2)),
    "layers": (Laminate(RUBBER, [0.5, 0.5], [1.0, 0.0]), (2, 2)),
    "a law": (Closed(RUBBER[0]), (2, 2)),
    "conducting cell": (PeriodicCell(IMAGE, HEAT), (2,)),
    "conducting layers": (Laminate(HEAT, [0.5, 0.5], [1.0, 0.0]), (2,)),
    "a law of conduction": (Closed(HEAT[0]), (2,)),
}


def shapes_alone(scale, load):
    """The answer's shapes; refusals come from them, without a number being computed."""
    return jax.eval_shape(lambda load: scale(load), load)


@pytest.mark.parametrize("name", SCALES)
def test_a_load_of_another_shape(name):
    scale, shape = SCALES[name]
    load = jnp.zeros(shape)
    wrong = [jnp.zeros(()), jnp.zeros((4, *shape)), jnp.zeros((2, 3)), jnp.zeros((2,) if len(shape) == 2 else (2, 2)), "F", (load,)]
    if not isinstance(scale, Closed):
        wrong.append(jnp.zeros((3,) * len(shape)))
    for bad in wrong:
        for method in (scale, scale.init, scale.cold):
            with pytest.raises((ValueError, TypeError), match=r"^Argument `load` must .*, but "):
                method(bad)
    for bad in (jnp.zeros((4, *shape)), load.astype(jnp.float16)):
        with pytest.raises((ValueError, TypeError), match=r"^Argument `load` must .*, but "):
            shapes_alone(scale, bad)
    full = jnp.ones(shape, bool)
    for mixed in (Mixed(load, load[0], full), Mixed(load, load, full[..., None]), Mixed(jnp.zeros((4, *shape)), load, full)):
        with pytest.raises(ValueError, match=r"^Argument `load` must .*, but "):
            shapes_alone(scale, mixed)
    with pytest.raises(ValueError, match="batched"):
        shapes_alone(scale, jnp.zeros((4, *shape)))
    with pytest.raises(ValueError, match=r"^Argument `load` must .*, but "):
        batched(scale)(load)
    # Whole numbers and numpy's are loads.
    assert shapes_alone(scale, load.astype(int)).value.shape == shape


def test_a_mask_is_an_image():
    np.testing.assert_array_equal(PeriodicCell(IMAGE.astype(bool), RUBBER).image, IMAGE)
    np.testing.assert_array_equal(PeriodicCell(jnp.asarray(IMAGE.astype(bool)), RUBBER).image, IMAGE)


@pytest.mark.parametrize("name", ["cell", "layers", "a law", "conducting cell"])
def test_a_parameter_that_is_no_number_is_nonfinite_input(name):
    scale, shape = SCALES[name]
    sick = jax.tree.map(lambda x: x * jnp.nan if jnp.issubdtype(x.dtype, jnp.inexact) else x, scale)
    if isinstance(scale, Laminate):
        sick = Laminate(sick.laws, scale.fractions, scale.normal)
    load = jnp.eye(2) * 1.01 if len(shape) == 2 else jnp.ones(shape)
    assert names(jax.jit(lambda s, x: s(x).result)(sick, load)) == "nonfinite_input"


TWO_NUMBERS = {
    "NeoHookean": (1.0, 2.0),
    "Elastic": (1.0, 2.0),
    "SaintVenantKirchhoff": (1.0, 2.0),
    "J2": (1.0, 2.0, solids.Linear(sy=1.0)),
    "Cubic": (3.0, 1.0, 1.0),
    "Orthotropic": (3.0, 3.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    "Linear": (1.0, 2.0),
    "Voce": (1.0, 2.0, 3.0, 4.0),
    "ArmstrongFrederick": (1.0, 2.0),
}


@pytest.mark.parametrize("name", TWO_NUMBERS)
def test_like_numbers_are_given_by_name(name):
    with pytest.raises(TypeError, match="positional"):
        getattr(solids, name)(*TWO_NUMBERS[name])


HARD = solids.Linear(sy=1.0)
UNSTABLE = {
    "mu": [
        lambda: NeoHookean(mu=-1.0, lam=2.0),
        lambda: solids.Elastic(lam=2.0, mu=jnp.array([1.0, -1.0])),
        lambda: solids.J2(lam=2.0, mu=np.float64(-1.0), hardening=HARD),
    ],
    "lam": [
        lambda: solids.Elastic(lam=-1.0, mu=1.0),
        lambda: solids.SaintVenantKirchhoff(lam=-1.0, mu=1.0),
        lambda: NeoHookean(lam=-1.0, mu=1.0),
    ],
    "E": [lambda: solids.Elastic.from_young(-1.0, 0.3)],
    "nu": [lambda: solids.Elastic.from_young(1.0, 0.5), lambda: NeoHookean.from_young(1.0, jnp.array([0.3, -1.0]))],
    "K": [
        lambda: solids.Elastic.from_bulk(K=-1.0, G=1.0),
        lambda: solids.AnisotropicConductivity(jnp.array([[1.0, 2.0], [2.0, 1.0]])),
    ],
    "C44": [lambda: solids.Cubic(C11=2.0, C12=1.0, C44=-1.0)],
    "C12": [lambda: solids.Cubic(C11=1.0, C12=2.0, C44=1.0), lambda: solids.Cubic(C11=1.0, C12=-0.6, C44=1.0)],
    "C23": [
        lambda: solids.Orthotropic.from_engineering(E1=1.0, E2=1.0, E3=1.0, nu12=4.0, nu13=0.0, nu23=0.0, G12=1.0, G13=1.0, G23=1.0)
    ],
    "C": [
        lambda: solids.Anisotropic(jnp.diag(jnp.array([1.0, 1.0, -1.0]))),
        lambda: solids.Anisotropic(jnp.triu(jnp.ones((6, 6)))),
    ],
    "k": [lambda: Conductivity(-1.0)],
    "sy": [lambda: solids.Linear(sy=-1.0), lambda: solids.Voce(sy=-1.0, H=0.0, s_inf=1.0, delta=1.0)],
    "recall": [lambda: solids.ArmstrongFrederick(C=1.0, recall=-1.0)],
}


@pytest.mark.parametrize("name", UNSTABLE)
def test_a_material_that_is_not_stable(name):
    for make in UNSTABLE[name]:
        with pytest.raises(ValueError, match=rf"^Arguments? `.*{name}`.* (must|must not) .*, but "):
            make()


@pytest.mark.parametrize("number", ["1", None, 1j, np.array("1"), [1.0]])
def test_a_parameter_that_is_no_number(number):
    for name, make in (("mu", lambda x: NeoHookean(mu=x, lam=1.0)), ("sy", lambda x: solids.Linear(sy=x)), ("C", solids.Prager)):
        with pytest.raises((TypeError, ValueError), match=f"^Argument `{name}` must be a number or an array of numbers, but "):
            make(number)
    if not isinstance(number, list):
        with pytest.raises((TypeError, ValueError), match=r"^Argument `[CKR]` must "):
            solids.Rotated(HEAT[0], number)


def test_what_is_not_known_is_not_looked_at():
    # Traced, not a number, infinite, and zero.
    assert jax.jit(lambda mu: NeoHookean(mu=mu, lam=1.0).mu)(-1.0) == -1
    assert jax.jit(jax.grad(lambda nu: solids.Elastic.from_young(1.0, nu).lam))(0.7) != 0
    NeoHookean(mu=jnp.nan, lam=1.0)
    solids.Elastic.from_young(jnp.nan, jnp.nan)
    solids.Anisotropic(jnp.full((3, 3), jnp.nan))
    solids.Linear(sy=jnp.inf)
    solids.Elastic.from_young(0.0, 0.3)
    solids.Cubic(C11=0.0, C12=0.0, C44=0.0)
    # A bulk modulus of zero, to round-off.
    solids.Elastic(lam=-2 / 3, mu=1.0)
    solids.Elastic(lam=jnp.float32(-2 / 3), mu=jnp.float32(1.0))


def test_a_law_of_ones_own_that_is_not_one():
    stress, one = jnp.zeros((2, 2)), jnp.zeros(())
    load = jnp.eye(2)
    promised = r"^Argument `fn` must return "
    for fn, init in (
        (lambda F, past, p: stress, ()),
        (lambda F, past, p: (stress, past, one), ()),
        (lambda F, past, p: (one, past), ()),
        (lambda F, past, p: (stress, F), 0.0),
        (lambda F, past, p: (stress, (past, past)), 0.0),
        (lambda F, past, p: (stress, past.astype(jnp.float32)), 0.0),
    ):
        law = solids.Law(fn, init=init)
        for scale in (Closed(law), PeriodicCell(IMAGE, [law, law]), Laminate([law, law], [0.5, 0.5], [1.0, 0.0])):
            with pytest.raises(TypeError, match=promised):
                shapes_alone(scale, load)
    # A number that is weakly typed takes the precision of what it meets.
    solids.Law(lambda F, past, p: (F, past + p), 1.0, init=0.0).answer(load.astype(jnp.float32), jnp.asarray(0.0))


def test_a_linear_law_has_no_history():
    with pytest.raises(ValueError, match=r"^Argument `linear` must be False .*, but "):
        solids.Law(lambda F, past, p: (F, past), init=jnp.zeros((2, 2)), small=True, linear=True)


def test_a_leaf_of_the_shape_of_the_grid():
    C = jnp.diag(jnp.arange(1.0, 7.0))
    load = jnp.zeros((2, 2))
    # Uniform, though it looks like a field of numbers; and a field.
    for shape in ((6, 6), (4, 4)):
        uniform = PeriodicCell(None, solids.Anisotropic(C), grid=shape).medium(load.dtype).groups[0].law.C
        field = PeriodicCell(None, solids.Anisotropic(jnp.broadcast_to(C, (*shape, 6, 6))), grid=shape)
        np.testing.assert_array_equal(uniform, field.medium(load.dtype).groups[0].law.C)
        np.testing.assert_array_equal(uniform, np.broadcast_to(C[..., None], (6, 6, np.prod(shape))))
    turned = solids.Rotated(solids.Elastic(lam=jnp.ones((6, 6)), mu=1.0), jnp.eye(2))
    law = PeriodicCell(None, turned, grid=(6, 6)).medium(load.dtype).groups[0].law
    assert law.R.shape == (2, 2, 36) and law.law.lam.shape == law.law.mu.shape == (36,)
    for bad in (solids.Elastic(lam=jnp.ones((6, 5)), mu=1.0), solids.Elastic(lam=jnp.ones((6, 6, 2)), mu=1.0)):
        with pytest.raises(ValueError, match=r"^Argument `laws` without an image must .*, but "):
            shapes_alone(PeriodicCell(None, bad, grid=(6, 6)), load)


def test_a_state_that_is_no_number_is_nonfinite_input():
    law = solids.Law(lambda F, past, p: (p * (F - jnp.eye(2)), past + 1), 1.0, init=0.0, small=True, symmetric=True)
    cell, load = PeriodicCell(IMAGE, [law, law]), 1.01 * jnp.eye(2)
    sick = jax.tree.map(lambda x: x.at[..., 3].set(jnp.nan), cell.init(load))
    assert names(jax.jit(lambda x: cell(load, x).result)(sick)) == "nonfinite_input"
