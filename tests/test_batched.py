"""A batch is a loop: values, codes, gradients, memory and export."""

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _toys import Kepler, loads_of
from jax import export

import jaxmsm
from jaxmsm.solids import NeoHookean
from jaxmsm.solve import LastCost, chunk_for, footprint, member_bytes

N = 13
SCALE = Kepler(jnp.asarray(1.0))


def row(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.fixture(scope="module")
def loop():
    """Each member alone, in a compiled program of its own."""
    loads = loads_of(N)
    one = jax.jit(lambda load: SCALE(load))
    return loads, jax.tree.map(lambda *x: jnp.stack(x), *[one(row(loads, i)) for i in range(N)])


@pytest.mark.parametrize("chunk", [None, 1])
def test_a_batch_is_a_loop_to_the_last_bit(loop, chunk):
    loads, expected = loop
    found = jaxmsm.batched(SCALE, chunk=chunk)(loads)
    assert same(found, expected)
    assert np.all(np.asarray(found.value - loads["a"] * jnp.sin(found.value)) - np.asarray(loads["b"]) <= 1e-14)


@pytest.mark.parametrize("chunk", [4, 13, 64])
def test_native_chunks_of_any_size(loop, chunk):
    loads, expected = loop
    found = jaxmsm.batched(SCALE, chunk=chunk)(loads)
    assert jnp.array_equal(found.result._value, expected.result._value)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-13)  # The iteration stops at 2e-15 / (1 - a).


def test_order_changes_the_company_and_not_the_answer(loop):
    loads, expected = loop
    for order in (expected.stats["cost"], -expected.stats["cost"]):
        found = jaxmsm.batched(SCALE, chunk=4, order=order)(loads)
        assert jnp.array_equal(found.stats["cost"], expected.stats["cost"])
        np.testing.assert_allclose(found.value, expected.value, rtol=1e-13)
        np.testing.assert_array_equal(found.state, found.value)


def test_the_guess_carries_the_cost(loop):
    loads, expected = loop
    many = jaxmsm.batched(SCALE, chunk=4, order=LastCost())
    cold = many.cold(loads)
    first = many(loads, many.init(loads), guess=cold)
    assert jax.tree.structure(first.guess) == jax.tree.structure(cold)
    assert jnp.array_equal(first.guess.cost, expected.stats["cost"])
    _, steps = jaxmsm.rollout(many, jax.tree.map(lambda x: jnp.stack([x, x]), loads))
    np.testing.assert_allclose(steps.value[1], expected.value, rtol=1e-13)
    assert jnp.all(steps.stats["cost"][1] == 0)  # The second step starts at the answer.


def test_the_next_step_starts_from_state_and_guess(loop):
    loads, expected = loop
    many = jaxmsm.batched(SCALE)
    again = many(loads, expected.state, guess=expected.guess)
    assert jnp.all(again.stats["cost"] == 0)
    np.testing.assert_allclose(again.state, 2 * expected.value, rtol=1e-13)
    state = many.init(loads, key=jax.random.key(0))
    assert state.shape == (N,)
    assert len(np.unique(state)) == N


def test_slopes(loop):
    loads, expected = loop
    solution, slope = jaxmsm.batched(SCALE, chunk=4).linearize(loads)
    exact = 1 / (1 - loads["a"] * jnp.cos(expected.value))
    np.testing.assert_allclose(slope["b"], exact, rtol=1e-12)
    np.testing.assert_allclose(slope["a"], exact * jnp.sin(expected.value), rtol=1e-12)
    assert jnp.array_equal(solution.stats["cost"], expected.stats["cost"])


@pytest.mark.parametrize("chunk", [None, 4])
def test_gradients_forward_and_reverse(loop, chunk):
    loads, expected = loop
    exact = 1 / (1 - loads["a"] * jnp.cos(expected.value))

    def total(k, b):
        return jnp.sum(jaxmsm.batched(Kepler(k), chunk=chunk)({"a": loads["a"], "b": b}).value)

    dk, db = jax.jit(jax.grad(total, argnums=(0, 1)))(jnp.asarray(1.0), loads["b"])
    np.testing.assert_allclose(db, exact, rtol=1e-12)
    np.testing.assert_allclose(dk, jnp.sum(exact * loads["b"]), rtol=1e-12)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(total))(jnp.asarray(1.0), loads["b"]), dk, rtol=1e-12)


@pytest.mark.parametrize("chunk", [1, 4])
def test_one_bad_member_fails_alone(loop, chunk):
    loads, expected = loop
    bad = {"a": loads["a"].at[5].set(1.5), "b": loads["b"]}
    many = jaxmsm.batched(jaxmsm.Guarded(SCALE, {"a": 0.0, "b": 0.1}), chunk=chunk)
    found = many(bad)
    assert [str(jaxmsm.names(found.result)[i]) for i in (4, 5, 6)] == ["successful", "out_of_range", "successful"]
    assert jnp.isnan(found.value[5])
    assert found.state[5] == 0
    good = jnp.arange(N) != 5
    np.testing.assert_allclose(found.value[good], expected.value[good], rtol=1e-13)
    with pytest.raises(RuntimeError, match=r"1 of 13 members failed \(members 5\)"):
        found.unwrap()

    def total(k):
        guarded = jaxmsm.Guarded(Kepler(k), {"a": 0.0, "b": 0.1})
        return jnp.sum(jaxmsm.batched(guarded, chunk=chunk)(bad).value_or(0.0))

    exact = loads["b"] / (1 - loads["a"] * jnp.cos(expected.value))
    np.testing.assert_allclose(jax.jit(jax.grad(total))(jnp.asarray(1.0)), jnp.sum(exact[good]), rtol=1e-12)


def test_leaves_of_the_scale_may_carry_the_batch():
    law = NeoHookean(mu=jnp.linspace(1.0, 2.0, N), lam=jnp.asarray(3.0))
    F = jnp.eye(3)[None] + 0.1 * jax.random.normal(jax.random.key(1), (N, 3, 3))
    many = jaxmsm.batched(jaxmsm.Closed(law), over=lambda s: s.law.mu, chunk=4)
    found = many(F)
    one = jax.jit(lambda mu, F: jaxmsm.Closed(NeoHookean(mu=mu, lam=jnp.asarray(3.0)))(F).value)
    expected = jnp.stack([one(law.mu[i], F[i]) for i in range(N)])
    np.testing.assert_allclose(found.value, expected, rtol=1e-13, atol=1e-14)
    J = jnp.linalg.det(F)[:, None, None]
    T = jnp.swapaxes(jnp.linalg.inv(F), 1, 2)
    np.testing.assert_allclose(found.value, law.mu[:, None, None] * (F - T) + 3.0 * jnp.log(J) * T, rtol=1e-12, atol=1e-13)

    def total(mu):
        scale = eqx.tree_at(lambda s: s.law.mu, jaxmsm.Closed(law), mu)
        return jnp.sum(jaxmsm.batched(scale, over=lambda s: s.law.mu, chunk=4)(F).value[:, 0, 0])

    np.testing.assert_allclose(jax.jit(jax.grad(total))(law.mu), (F - T)[:, 0, 0], rtol=1e-12, atol=1e-13)


def test_every_array_of_the_scale_may_carry_the_batch():
    ks = jnp.linspace(0.5, 1.5, N)
    loads = loads_of(N)
    found = jaxmsm.batched(eqx.filter_vmap(Kepler)(ks), over=lambda s: s)(loads)
    np.testing.assert_allclose(found.value - loads["a"] * jnp.sin(found.value), ks * loads["b"], atol=1e-14)


def test_a_batch_of_laminates():
    law = NeoHookean(mu=jnp.asarray(1.0), lam=jnp.asarray(2.0))
    scale = jaxmsm.Laminate([law, NeoHookean(mu=jnp.asarray(5.0), lam=jnp.asarray(10.0))], [0.5, 0.5], [1.0, 0.0])
    F = jnp.eye(2)[None] + 0.05 * jax.random.normal(jax.random.key(2), (3, 2, 2))
    found = jaxmsm.batched(scale)(F)
    one = jax.jit(lambda F: scale(F).value)
    # Newton stops at 1e-8 or better of the stress in both programs.
    np.testing.assert_allclose(found.value, jnp.stack([one(f) for f in F]), rtol=1e-8, atol=1e-9)
    assert bool(jnp.all(found.ok))


def test_traced_once():
    class Counted(Kepler):
        pass

    loads = loads_of(N)
    # One trace serves both platforms' branches, other values of k and other loads.
    Counted.__call__ = chex.assert_max_traces(Kepler.__call__, n=1)
    for k in (1.0, 1.1):
        jaxmsm.batched(Counted(jnp.asarray(k)))(loads)
        jaxmsm.batched(Counted(jnp.asarray(k)))(jax.tree.map(lambda x: 0.9 * x, loads))


def test_export_of_value_and_gradient():
    loads = loads_of(N)

    def value(k, loads):
        sol = jaxmsm.batched(Kepler(k))(loads)
        return sol.value, sol.result._value

    def loss(k, loads):
        return jnp.sum(value(k, loads)[0])

    for fn in (value, jax.grad(loss, argnums=(0, 1))):
        exported = export.export(jax.jit(fn), platforms=("cpu", "cuda"))(jnp.asarray(1.0), loads)
        again = export.deserialize(exported.serialize())
        assert again.platforms == ("cpu", "cuda")
        expected = jax.jit(fn)(jnp.asarray(1.0), loads)
        for x, y in zip(jax.tree.leaves(again.call(jnp.asarray(1.0), loads)), jax.tree.leaves(expected)):
            np.testing.assert_allclose(x, y, rtol=1e-12)


def test_memory_is_predicted():
    # A member with work to hold: 64 unknowns, dense tangents.
    rate = jaxmsm.Rate(lambda t, x, load: load - x - 0.1 * jnp.sin(jnp.roll(x, 1)))
    scale = jaxmsm.Steady(rate, jnp.zeros(64))
    load = jnp.ones(64)
    mark = footprint(scale, load)
    assert mark.held >= 4 * 64 * 8  # load, state, value and next state
    assert mark.working >= 64 * 64 * 8  # the tangent
    assert member_bytes(scale, load) == mark.held + mark.working
    for n, chunk in ((64, 16), (32, 32)):
        many = jaxmsm.batched(scale, chunk=chunk)

        def solve(loads, state, many=many):
            return jax.tree.leaves(many(loads, state))

        loads = jnp.ones((n, 64))
        account = jax.jit(solve).lower(loads, many.init(loads)).compile().memory_analysis()
        actual = account.temp_size_in_bytes + account.argument_size_in_bytes + account.output_size_in_bytes
        # The compiler shares buffers as it likes.
        assert 0.5 < mark.of(n, chunk) / actual < 2, (n, chunk, mark.of(n, chunk), actual)


def test_chunks_fit_the_budget():
    load = {"a": jnp.asarray(0.1), "b": jnp.asarray(0.1)}
    mark = footprint(SCALE, load)
    budget = mark.of(100, 10)
    assert chunk_for(SCALE, load, members=100, budget=budget) == 10
    assert chunk_for(SCALE, load, budget=0) == 1
    assert chunk_for(SCALE, load, members=7) == 7


def test_bad_input():
    loads = loads_of(4)
    with pytest.raises(ValueError, match="one leading batch axis"):
        jaxmsm.batched(SCALE)({"a": loads["a"], "b": jnp.ones(3)})
    with pytest.raises(ValueError, match="one leading batch axis"):
        jaxmsm.batched(SCALE)({"a": jnp.asarray(0.1), "b": jnp.asarray(0.2)})
    with pytest.raises(ValueError, match="at least one member"):
        jaxmsm.batched(SCALE)(loads_of(0))
    with pytest.raises(ValueError, match="`chunk` must be a positive integer"):
        jaxmsm.batched(SCALE, chunk=0)
    with pytest.raises(TypeError, match="scale"):
        jaxmsm.batched(jnp.sin)
    with pytest.raises(ValueError, match="`order` must hold one cost a member"):
        jaxmsm.batched(SCALE, chunk=2, order=jnp.ones(3))(loads)


class Remembers(jaxmsm.AbstractScale):
    """A small load, a small answer, and a history of a MiB of zeros."""

    def init(self, load, *, key=None):
        return jnp.zeros(2**17, load.dtype)

    def __call__(self, load, state=None, *, guess=None):
        state = self.init(load) if state is None else state
        return jaxmsm.Solution(load, state + load, None, jaxmsm.RESULTS.successful, {})


def test_history_counts_in_the_default_chunk_of_an_accelerator():
    # A MiB and a few bytes a member, 16 times that its working set: 4 GiB hold not quite 256, hence 128. The load alone says 1024.
    loads, states = jnp.zeros(1024), jax.ShapeDtypeStruct((1024, 2**17), jnp.zeros(0).dtype)
    many = jaxmsm.batched(Remembers())

    def chunks(*args):
        text = jax.jit(lambda *args: many(*args)).trace(*args).lower(lowering_platforms=("cuda",)).as_text()
        return [n for n in (64, 128, 256, 512, 1024) if f"tensor<{1024 // n}x{n}x131072xf64>" in text]

    assert chunks(loads) == [128]
    assert chunks(loads, states) == [128]
