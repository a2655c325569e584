"""Runs by itself with eight host devices: batches on 1, 2 and 8 of them, one JSON line with what differs."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import json

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from _toys import Kepler, loads_of  # noqa: E402

import jaxmsm  # noqa: E402
from jaxmsm.solids import NeoHookean  # noqa: E402


def devices(n):
    return jax.make_mesh((n,), ("member",), devices=jax.devices()[:n])


def answers(mesh, chunk, order=None):
    """Value, cost, code and both gradients of 21 ragged members, one of them impossible."""
    loads = loads_of(21)
    loads = {"a": loads["a"].at[3].set(1.5), "b": loads["b"]}
    safe = {"a": 0.0, "b": 0.1}

    def total(k, b):
        many = jaxmsm.batched(jaxmsm.Guarded(Kepler(k), safe), chunk=chunk, mesh=mesh, order=order)
        solution = many({"a": loads["a"], "b": b})
        return jnp.sum(solution.value_or(0.0)), (solution.value, solution.stats["cost"], solution.result._value)

    run = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))
    (_, aux), (dk, db) = run(jnp.asarray(1.0), loads["b"])
    return {"value": aux[0], "cost": aux[1], "code": aux[2], "db": db, "dk": dk}


def cells(mesh, chunk):
    """Value and slope of laminates, whose programs are large enough for the compiler to take liberties."""
    law = NeoHookean(mu=jnp.asarray(1.0), lam=jnp.asarray(2.0))
    scale = jaxmsm.Laminate([law, NeoHookean(mu=jnp.asarray(5.0), lam=jnp.asarray(10.0))], [0.5, 0.5], [1.0, 0.0])
    F = jnp.eye(2)[None] + 0.05 * jax.random.normal(jax.random.key(2), (11, 2, 2))
    solution, slope = jaxmsm.batched(scale, chunk=chunk, mesh=mesh).linearize(F)
    return {"value": solution.value, "slope": slope}


def collectives(mesh):
    """Collectives in the compiled program of a batch: none."""
    program = jax.jit(lambda loads: jaxmsm.batched(Kepler(jnp.asarray(1.0)), chunk=2, mesh=mesh)(loads).value)
    text = program.lower(loads_of(16)).compile().as_text()
    return sum(text.count(word) for word in ("all-reduce", "all-gather", "all-to-all", "collective-permute"))


def compare(one, many):
    return {k: {"same": bool(np.array_equal(one[k], many[k], equal_nan=True)), "off": off(one[k], many[k])} for k in one}


def off(a, b):
    return float(np.nanmax(np.abs(np.asarray(a, float) - np.asarray(b, float))))


if __name__ == "__main__":
    report = {}
    cost = answers(None, 1)["cost"]
    for chunk, order in ((None, None), (2, None), (2, cost)):
        one = answers(None, chunk, order)
        for n in (2, 8):
            case = f"kepler, chunk {chunk}, {'as given' if order is None else 'sorted'}, {n}"
            report[case] = compare(one, answers(devices(n), chunk, order))
    for chunk in (1, 2):
        one = cells(None, chunk)
        for n in (2, 8):
            report[f"laminate, chunk {chunk}, {n}"] = compare(one, cells(devices(n), chunk))
    report["collectives"] = collectives(devices(8))
    print(json.dumps(report))
