"""Malformed loads, laws and parameters are answered at once, with a sentence that says what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm import Closed, Laminate, Mixed, PeriodicCell, batched, names
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
