"""The promise that every scale keeps, as checks on one row of the table; each program is compiled once a row."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _scales import ROWS, Row, arrays, nan_like

from jaxmsm import Guarded, Solution, names
from jaxmsm.solve import NewtonKrylov


def inexact(tree):
    return eqx.filter(tree, eqx.is_inexact_array)


def flat(tree) -> np.ndarray:
    """All floats of a tree in one vector."""
    leaves = [np.ravel(np.asarray(x)) for x in jax.tree.leaves(tree) if np.issubdtype(np.asarray(x).dtype, np.inexact)]
    return np.concatenate(leaves) if leaves else np.zeros(0)


def distance(a, b) -> float:
    """Relative to the second, in the Euclidean norm; NaN where anything is."""
    a, b = flat(a), flat(b)
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-300))


# Grids are tiny here and programs many: what the compiler saves on optimizing is most of the time.
_QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


class Lab:
    """A row's compiled programs."""

    def __init__(self, row: Row):
        self.row = row
        self.scale = arrays(row.make())
        numbers, self.rest = eqx.partition(self.scale, eqx.is_array)
        self.numbers = numbers
        self.traces = 0
        self.one = jax.jit(self._one, compiler_options=_QUICKLY)
        self.many = jax.jit(jax.vmap(self._graded, in_axes=(None, 0, 0, 0, 0)), compiler_options=_QUICKLY)
        self.slopes = jax.jit(self._slopes, compiler_options=_QUICKLY)
        zero = self.scale.init(row.load)
        self.virgin = zero
        self.first = self.one(numbers, row.before, zero, self.cold(row.before))
        self.state = self.first.state
        self.answer = self.one(numbers, row.load, self.state, self.cold(row.load))
        size = sum(x.size for x in jax.tree.leaves(self.answer.value))
        weights = jax.random.normal(jax.random.key(1), (size,))
        self.weights = weights

    def cold(self, load):
        return self.scale.cold(load)

    def _one(self, numbers, load, state, guess) -> Solution:
        self.traces += 1
        return eqx.combine(numbers, self.rest)(load, state, guess=guess)

    def _with_leaf(self, numbers, leaf):
        return eqx.tree_at(self.row.leaf, numbers, leaf)

    def weighed(self, value):
        """A number made of the answer."""
        flat = jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(value)])
        return jnp.sum(self.weights.astype(flat_dtype(value)) * flat)

    def _graded(self, numbers, leaf, load, state, guess):
        """One guarded member: its solution and the gradient of its answer in a law's leaf and in the load."""
        diff, fixed = eqx.partition(load, eqx.is_inexact_array)

        def value(leaf, diff):
            scale = Guarded(eqx.combine(self._with_leaf(numbers, leaf), self.rest), self.row.safe)
            solution = scale(eqx.combine(diff, fixed), state, guess=guess)
            # What a caller does: failed members are left out of the sum.
            return jnp.where(solution.ok, self.weighed(solution.value), 0), solution

        (_, solution), slope = jax.value_and_grad(value, argnums=(0, 1), has_aux=True)(leaf, diff)
        return solution, slope

    def _slopes(self, numbers, leaf, load, state, guess, step):
        """The slope of `linearize`, and the derivative of the answer along a step of the leaf and of the load."""
        diff, fixed = eqx.partition(load, eqx.is_inexact_array)
        solution, slope = eqx.combine(numbers, self.rest).linearize(load, state, guess=guess)

        def value(leaf, diff):
            scale = eqx.combine(self._with_leaf(numbers, leaf), self.rest)
            return self.weighed(scale(eqx.combine(diff, fixed), state, guess=guess).value)

        return solution, slope, jax.jvp(value, (leaf, diff), step)[1]

    @property
    def leaf(self):
        return self.row.leaf(self.numbers)

    @functools.cached_property
    def step(self):
        """A direction in the leaf and in the load."""
        diff = inexact(self.row.load)
        leaves, tree = jax.tree.flatten((self.leaf, diff))
        keys = jax.random.split(jax.random.key(2), len(leaves))
        return jax.tree.unflatten(tree, [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)])

    def moved(self, h):
        """The row's load, moved along the direction."""
        diff, fixed = eqx.partition(self.row.load, eqx.is_inexact_array)
        return eqx.combine(jax.tree.map(lambda x, s: x + h * s, diff, self.step[1]), fixed)

    @functools.cached_property
    def slope(self):
        return self.slopes(self.numbers, self.leaf, self.row.load, self.state, self.cold(self.row.load), self.step)

    def batch(self, loads, leaves=None):
        """The guarded program on members of these loads and leaves, all from the committed state."""
        n = len(loads)
        leaves = [self.leaf] * n if leaves is None else leaves
        stack = lambda trees: jax.tree.map(lambda *x: jnp.stack([jnp.asarray(y) for y in x]), *trees)
        return self.many(
            self.numbers, jnp.stack(leaves), stack(loads), stack([self.state] * n), stack([self.cold(self.row.load)] * n)
        )


def flat_dtype(value):
    return jnp.result_type(*jax.tree.leaves(value))


@functools.cache
def lab(name: str) -> Lab:
    return Lab(ROWS[name])


def kinds(tree):
    return jax.tree.structure(tree), [(x.shape, x.dtype) for x in map(jnp.asarray, jax.tree.leaves(tree))]


def check_carry(lab: Lab):
    assert lab.first.ok and lab.answer.ok, (names(lab.first.result), names(lab.answer.result))
    assert kinds(lab.virgin) == kinds(lab.first.state) == kinds(lab.answer.state)
    cold = lab.cold(lab.row.load)
    assert kinds(cold) == kinds(lab.answer.guess)


def check_guess(lab: Lab):
    row = lab.row
    warm = lab.one(lab.numbers, row.load, lab.state, lab.answer.guess)
    far = jax.tree.map(lambda x: x + 0.003 * jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape), lab.answer.guess)
    away = lab.one(lab.numbers, row.load, lab.state, far)
    assert warm.ok and away.ok
    # The residual is at 1e-12 of the elastic one; the stiffness spans a decade or two.
    assert distance(warm.value, lab.answer.value) < 1e-9
    assert distance(away.value, lab.answer.value) < 1e-9


def check_slope(lab: Lab):
    row, (solution, slope, _) = lab.row, lab.slope
    assert solution.ok and distance(solution.value, lab.answer.value) < 1e-9
    diff = differences(lambda h: lab.one(lab.numbers, lab.moved(h), lab.state, lab.cold(row.load)).value)
    along = _contract(slope, lab.step[1], lab.answer.value)
    # Round-off of the differences: the solver's 1e-12 over 1e-5.
    assert distance(along, diff) < 1e-6


def differences(value, h=1e-5):
    """Central differences of fourth order: plastic answers bend on the scale of a yield strain."""
    two, one, minus_one, minus_two = (value(k * h) for k in (2, 1, -1, -2))
    return jax.tree.map(lambda a, b, c, d: (8 * (b - c) - (a - d)) / (12 * h), two, one, minus_one, minus_two)


def _contract(slope, step, value):
    """The slope applied to a step of the load: leaves of the value, summed over the leaves of the load."""
    total = None
    leaves = jax.tree.leaves(step)
    outer = jax.tree.leaves(value)
    slopes = jax.tree.leaves(slope)
    out = []
    for k, v in enumerate(outer):
        parts = slopes[k * len(leaves) : (k + 1) * len(leaves)]
        total = sum(np.tensordot(np.asarray(p), np.asarray(s), np.ndim(s)) for p, s in zip(parts, leaves, strict=True))
        assert total.shape == np.shape(v)
        out.append(total)
    return out


def check_modes(lab: Lab):
    forward = lab.slope[2]
    _, (leaf, load) = lab.batch([lab.row.load, lab.row.load])
    reverse = np.dot(flat((leaf[0], jax.tree.map(lambda x: x[0], load))), flat(lab.step))
    # Two linear solves, each to the solver's tolerance.
    np.testing.assert_allclose(reverse, forward, rtol=1e-8, atol=1e-10 * abs(float(np.linalg.norm(flat(lab.step)))))

    def value(h):
        numbers = lab._with_leaf(lab.numbers, lab.leaf + h * lab.step[0])
        return lab.weighed(lab.one(numbers, lab.moved(h), lab.state, lab.cold(lab.row.load)).value)

    diff = differences(value)
    # As for the slope.
    np.testing.assert_allclose(forward, diff, rtol=1e-6, atol=1e-7)


def check_batch(lab: Lab):
    loads = [lab.row.load, lab.moved(0.002)]
    solution, _ = lab.batch(loads)
    for k, load in enumerate(loads):
        alone = lab.one(lab.numbers, load, lab.state, lab.cold(load))
        member = jax.tree.map(lambda x, k=k: x[k], (solution.value, solution.state))
        # A member stops at its own iteration; sums of batches round differently.
        assert distance(member, (alone.value, alone.state)) < 1e-9
        assert int(alone.result._value) == int(solution.result._value[k])


def check_failures(lab: Lab):
    loads = {"nonfinite_input": nan_like(lab.row.load), **lab.row.bad}
    good, slope = lab.batch([lab.row.load, lab.row.load])
    reference = jax.tree.map(lambda x: x[0], (good.value, good.state, slope))
    cases = [(code, [lab.row.load, load], None) for code, load in loads.items()]
    cases.append((None, [lab.row.load] * 2, [lab.leaf, lab.leaf * jnp.nan]))
    for code, members, leaves in cases:
        solution, gradient = lab.batch(members, leaves)
        assert list(np.asarray(solution.ok)) == [True, False], (code, names(solution.result))
        if code is not None:
            assert names(solution.result)[1] == code
        kept = jax.tree.map(lambda x: x[1], solution.state)
        assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(lab.state), strict=True))
        assert np.all(np.isnan(flat(jax.tree.map(lambda x: x[1], solution.value))))
        first = jax.tree.map(lambda x: x[0], (solution.value, solution.state, gradient))
        # The same program on the same member: the bits of its lane.
        assert distance(first, reference) < 1e-12, code
        if leaves is None:
            # What failed takes no part: its slope is zero, not a number that is none.
            assert not np.any(flat(jax.tree.map(lambda x: x[1], gradient))), code


def check_traces(lab: Lab):
    before = lab.traces
    other = jax.tree.map(lambda x: 1.01 * x if eqx.is_inexact_array(x) else jnp.flip(x), lab.numbers)
    lab.one(other, lab.moved(0.001), lab.state, lab.answer.guess)
    assert lab.traces == before == 1


def check_export(lab: Lab):
    diff, fixed = eqx.partition(lab.row.load, eqx.is_inexact_array)

    leaves, tree = jax.tree.flatten((lab.leaf, diff, lab.state))

    def program(leaves):
        leaf, diff, state = jax.tree.unflatten(tree, leaves)

        def value(leaf, diff):
            scale = eqx.combine(lab._with_leaf(lab.numbers, leaf), lab.rest)
            solution = scale(eqx.combine(diff, fixed), state)
            return lab.weighed(solution.value), (solution.value, solution.result._value)

        return jax.tree.leaves(jax.value_and_grad(value, argnums=(0, 1), has_aux=True)(leaf, diff))

    exported = jax.export.export(jax.jit(program), platforms=["cpu", "cuda"])(leaves)
    assert set(exported.platforms) == {"cpu", "cuda"}
    # By default an accelerator would round the factors of float32 products to ten bits.
    products = [line for line in exported.mlir_module().splitlines() if "stablehlo.dot_general" in line]
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)
    # One that calls back into Python does not serialize.
    again = jax.export.deserialize(exported.serialize())
    expected = jax.tree.leaves((lab.answer.value, lab.answer.result._value))
    _, *found = jax.jit(again.call, compiler_options=_QUICKLY)(leaves)
    assert int(found[len(expected) - 1]) == int(expected[-1])
    # The bounds of the batch and of the two modes.
    assert distance(found[: len(expected)], expected) < 1e-9
    _, slope = lab.batch([lab.row.load, lab.row.load])
    assert distance(found[len(expected) :], jax.tree.map(lambda x: x[0], slope)) < 1e-8


def single(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32) if eqx.is_inexact_array(x) else x, tree)


def in_single(row: Row):
    """The answer at the row's load in float32, after the load before it, by whatever the setting of x64 is."""
    scale = single(_loosened(arrays(row.make())))
    numbers, rest = eqx.partition(scale, eqx.is_array)

    @functools.partial(jax.jit, compiler_options=_QUICKLY)
    def run(numbers, before, load):
        scale = eqx.combine(numbers, rest)
        first = scale(before, scale.init(before))
        return scale(load, first.state)

    return run(numbers, single(row.before), single(row.load))


def _loosened(scale):
    """The scale at its default tolerance; the one of the table is below what float32 can do."""
    default = {NewtonKrylov: NewtonKrylov(), diffrax.PIDController: None}
    return jax.tree.map(lambda x: default.get(type(x), x), scale, is_leaf=lambda x: type(x) in default)


def check_single(lab: Lab):
    answer = in_single(lab.row)
    assert answer.ok, names(answer.result)
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(inexact((answer.value, answer.state, answer.guess))))
    assert distance(answer.value, lab.answer.value) < lab.row.single


def run_without_x64(rows: list[str]):
    """All rows in one process that has x64 off, against the answers in float64."""
    here = pathlib.Path(__file__).parent
    environment = os.environ | {"JAX_ENABLE_X64": "0", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(here)}
    run = subprocess.run(
        [sys.executable, str(here / "_single_job.py"), *rows], capture_output=True, text=True, timeout=900, env=environment
    )
    assert run.returncode == 0, run.stderr
    answers = json.loads(run.stdout)
    for name in rows:
        assert answers[name]["code"] == "successful", (name, answers[name])
        expected = flat(lab(name).answer.value)
        assert distance(np.array(answers[name]["value"]), expected) < ROWS[name].single, name


CHECKS = [
    check_carry, check_guess, check_slope, check_modes, check_batch, check_failures, check_traces, check_export, check_single,
]  # fmt: skip
