"""A march gives what a rollout gives, and more where a step fails."""

import os
import pathlib
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _toys import Kepler, loads_of

import jaxmsm
from jaxmsm.io import Checkpoint
from jaxmsm.solve import CutBack

SCALE = Kepler(jnp.asarray(1.0))
STEPS = 6
REST = {"a": jnp.asarray(0.0), "b": jnp.asarray(0.0)}


def path_of(n=STEPS):
    t = jnp.arange(1, n + 1) / n
    return {"a": 0.8 * t, "b": 0.3 * t}


class Jumpy(jaxmsm.AbstractScale):
    """Follows the load by at most `reach` at a time; the state is where it stands."""

    reach: jax.Array

    def init(self, load, *, key=None):
        return jnp.zeros_like(load)

    def __call__(self, load, state=None, *, guess=None):
        state = self.init(load) if state is None else state
        ok = jnp.abs(load - state) <= self.reach
        result = jaxmsm.RESULTS.where(ok, jaxmsm.RESULTS.successful, jaxmsm.RESULTS.nonlinear_max_steps_reached)
        state = jnp.where(ok, load, state)
        return jaxmsm.Solution(state, state, None, result, {"cost": jnp.ones((), jnp.int32)})


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_a_march_is_a_rollout():
    loads = path_of()
    state, steps = jax.jit(lambda loads: jaxmsm.rollout(SCALE, loads))(loads)
    seen = []
    end, found, reports = jaxmsm.march(
        SCALE, loads, on_step=lambda step, solution: seen.append((step.number, float(solution.value)))
    )
    np.testing.assert_allclose(found.value, steps.value, rtol=1e-14)  # One and the same iteration, compiled twice.
    np.testing.assert_allclose(end, state, rtol=1e-14)
    assert jnp.array_equal(found.stats["cost"], steps.stats["cost"])
    assert jnp.array_equal(found.result._value, steps.result._value)
    assert seen == [(i, float(v)) for i, v in enumerate(found.value)]
    assert [r.accepted for r in reports] == [(1.0,)] * STEPS


def test_a_failed_step_commits_nothing_as_in_a_rollout():
    loads = jnp.asarray([0.3, 2.0, 0.5])
    scale = Jumpy(jnp.asarray(0.4))
    state, steps = jaxmsm.rollout(scale, loads)
    end, found, reports = jaxmsm.march(scale, loads)
    assert same((end, found.value, found.result), (state, steps.value, steps.result))
    assert [r.accepted for r in reports] == [(1.0,), (), (1.0,)]
    assert reports[1].codes == (("nonlinear_max_steps_reached",),)


def test_a_failed_step_is_divided_and_grows_again():
    loads = jnp.asarray([0.125, 1.125, 1.25, 1.5])
    scale = Jumpy(jnp.asarray(0.3))
    _, found, reports = jaxmsm.march(scale, loads, cut_back=CutBack())
    assert jnp.array_equal(found.value, loads)
    assert bool(jnp.all(found.ok))
    # Whole and half fail, a quarter goes; then half again fails.
    assert reports[1].accepted == (0.25, 0.5, 0.75, 1.0)
    assert [c[0] for c in reports[1].codes].count("nonlinear_max_steps_reached") == 2 + 3 - 1
    assert reports[2].accepted[-1] == 1.0
    assert reports[3].accepted[-1] == 1.0
    # The first step can be divided where its beginning is known.
    lost, _, _ = jaxmsm.march(scale, jnp.asarray([1.0]), cut_back=CutBack())
    assert float(lost) == 0
    won, _, _ = jaxmsm.march(scale, jnp.asarray([1.0]), cut_back=CutBack(start=jnp.asarray(0.0)))
    assert float(won) == 1


def test_a_member_that_cannot_go_on_fails_alone():
    loads = jnp.asarray([[0.1, 0.1], [1.0, 0.2]])
    many = jaxmsm.batched(Jumpy(jnp.asarray([0.05, 1.0])), over=lambda s: s.reach)
    end, found, reports = jaxmsm.march(many, loads, cut_back=CutBack(halvings=3, start=jnp.asarray([0.0, 0.0])))
    np.testing.assert_allclose(end[1], 0.2)
    assert list(jaxmsm.names(found.result)[1]) == ["nonlinear_max_steps_reached", "successful"]
    np.testing.assert_allclose(end[0], 0.1)
    assert reports[1].accepted == ()


def test_a_scale_may_be_mended():
    calls = []

    def mend(scale, solution):
        calls.append(jaxmsm.names(solution.result))
        return Jumpy(2 * scale.reach) if len(calls) < 9 else None

    end, _, reports = jaxmsm.march(Jumpy(jnp.asarray(0.3)), jnp.asarray([1.0, 2.0]), mend=mend)
    assert float(end) == 2.0
    assert len(calls) == 2
    assert reports[0].codes[-1] == ("successful",)


def test_spans_are_divided_in_time():
    rate = jaxmsm.Rate(lambda t, x, drive: -x)
    scale = jaxmsm.Flow(rate, jnp.asarray(1.0), max_steps=16)
    spans = jax.vmap(jaxmsm.Span)(jnp.asarray([0.0, 1.0]), jnp.asarray([1.0, 40.0]))
    _, _, whole = jaxmsm.march(scale, spans)
    assert whole[1].codes == (("max_steps_reached",),)
    _, found, reports = jaxmsm.march(scale, spans, cut_back=CutBack())
    assert bool(jnp.all(found.ok))
    assert len(reports[1].accepted) > 1
    np.testing.assert_allclose(found.value, jnp.exp(-spans.t1), atol=1e-7)  # The controller holds 1e-6 relative, 1e-9 absolute.


def test_random_states_and_batches_survive_a_checkpoint(tmp_path):
    many = jaxmsm.batched(SCALE)
    loads = jax.tree.map(lambda x: jnp.linspace(0.5, 1.0, 3)[:, None] * x[None], loads_of(4))
    state = many.init(jax.tree.map(lambda x: x[0], loads), key=jax.random.key(3))
    whole = jaxmsm.march(many, loads, state)
    keeper = Checkpoint(tmp_path / "march.npz")
    with pytest.raises(KeyboardInterrupt):
        jaxmsm.march(many, loads, state, checkpoint=keeper, on_step=_stop)
    _, header = keeper.load()
    assert [step[0] for step in header["steps"]] == [0]
    # A step that was not told to its end is told again.
    seen = []
    again = jaxmsm.march(many, loads, state, checkpoint=keeper, on_step=lambda step, _: seen.append(step.number))
    assert seen == [1, 2]
    assert same(again[:2], whole[:2])
    assert again[2] == whole[2]
    # Nothing is left to do.
    assert same(jaxmsm.march(many, loads, state, checkpoint=keeper, on_step=_stop)[:2], whole[:2])


def _stop(step, solution):
    if step.number == 1:
        raise KeyboardInterrupt


def test_another_march_is_refused(tmp_path):
    keeper = Checkpoint(tmp_path / "march.npz")
    jaxmsm.march(SCALE, path_of(2), checkpoint=keeper)
    with pytest.raises(ValueError, match="hold this very march"):
        jaxmsm.march(Kepler(jnp.asarray(1.5)), path_of(2), checkpoint=keeper)
    keeper.path.write_bytes(keeper.path.read_bytes()[:100])
    with pytest.raises(ValueError, match="must be a checkpoint"):
        jaxmsm.march(SCALE, path_of(2), checkpoint=keeper)


def test_a_march_of_another_function_is_another_march(tmp_path):
    def run(factor):
        law = jaxmsm.solids.Law(lambda F, past, p: (factor * p * F, past), 1.0)
        return jaxmsm.march(jaxmsm.Closed(law), jnp.stack([jnp.eye(2)] * 2), checkpoint=Checkpoint(tmp_path / "march.npz"))[1]

    first = run(np.ones((2, 2)))
    assert same(run(np.ones((2, 2))), first)
    with pytest.raises(ValueError, match="hold this very march"):
        run(np.array([[1.0, 1.0], [1.0, 5.0]]))


def test_killed_and_resumed_with_the_same_bits(tmp_path):
    places = [
        str(pathlib.Path(__file__).parent),
        str(pathlib.Path(jaxmsm.__file__).parent.parent),
        os.environ.get("PYTHONPATH", ""),
    ]
    code = """
import os, signal, sys, jax
jax.config.update('jax_enable_x64', True)
import jaxmsm, test_march
from jaxmsm.io import Checkpoint
def die(step, solution):
    if step.number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
cut_back = test_march.CutBack(start=test_march.REST)
jaxmsm.march(test_march.SCALE, test_march.path_of(), checkpoint=Checkpoint(sys.argv[1]), cut_back=cut_back, on_step=die)
"""
    path = tmp_path / "march.npz"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run([sys.executable, "-c", code, str(path)], env=environment, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    seen = []
    options = {"cut_back": CutBack(start=REST)}
    again = jaxmsm.march(SCALE, path_of(), checkpoint=Checkpoint(path), on_step=lambda step, _: seen.append(step.number), **options)
    assert seen == [2, 3, 4, 5]
    assert same(again[:2], jaxmsm.march(SCALE, path_of(), **options)[:2])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["march.npz"]
