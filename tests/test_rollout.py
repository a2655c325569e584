"""A path of loads: what is kept for the way back changes memory, never numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm import Closed, rollout
from jaxmsm.solids import J2, Linear

STEPS = 30
# It yields and unloads.
AMOUNT = np.append(np.linspace(0.002, 0.05, 20), np.linspace(0.04, -0.04, 10))
LOADS = jnp.asarray(np.eye(2) + AMOUNT[:, None, None] * np.array([[1.0, 0.4], [0.0, -0.5]]))
YIELDS = jnp.linspace(0.1, 1.0, 200)


def work(again):
    """Sums of squared stresses of many points, and of what they remember, by their yield stresses."""

    def total(yields):
        def one(sy):
            state, steps = rollout(Closed(J2(lam=60.0, mu=26.0, hardening=Linear(sy=sy, H=1.0))), LOADS, again=again)
            return jnp.sum(steps.value**2) + sum(jnp.sum(x**2) for x in jax.tree.leaves(state)), steps

        work, steps = jax.vmap(one)(yields)
        return jnp.sum(work), steps

    return jax.jit(jax.value_and_grad(total, has_aux=True)).lower(YIELDS).compile()


@pytest.fixture(scope="module")
def kept():
    return work(0)


@pytest.mark.parametrize("again", [7, 10, 100])
def test_steps_solved_again_on_the_way_back_change_nothing(kept, again):
    program = work(again)
    ((value, steps), slope), ((one, some), other) = kept(YIELDS), program(YIELDS)
    assert steps.value.shape == some.value.shape == (200, STEPS, 2, 2)
    np.testing.assert_allclose(one, value, rtol=1e-13)
    np.testing.assert_allclose(some.value, steps.value, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(other, slope, rtol=1e-10)  # round-off: the same operations fused otherwise
    if again < STEPS:
        assert program.memory_analysis().temp_size_in_bytes < 0.6 * kept.memory_analysis().temp_size_in_bytes
