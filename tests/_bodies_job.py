"""Runs by itself: an FE2 path with its slope on eight host devices and on one, or on two processes; prints the answers.

`python _bodies_job.py` takes eight devices of one process, `python _bodies_job.py PORT ID` is one of two processes.
"""

import json
import os
import re
import sys

os.environ["JAX_PLATFORMS"] = "cpu"
PORT, ID = (int(x) for x in sys.argv[1:3]) if len(sys.argv) > 2 else (0, 0)
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={2 if PORT else 8}"

import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)
if PORT:
    jax.distributed.initialize(f"127.0.0.1:{PORT}", num_processes=2, process_id=ID)

import equinox as eqx  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax.experimental import multihost_utils  # noqa: E402

from jaxmsm import PeriodicCell, batched, rollout  # noqa: E402
from jaxmsm.solids import J2, Body, Elastic, Fixed, Linear, Moved, Reaction  # noqa: E402
from jaxmsm.solve import NewtonKrylov  # noqa: E402
from jaxmsm.space import Mesh, box  # noqa: E402

# What the compiler saves on optimizing is most of the time.
QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
IMAGE = (np.random.default_rng(3).random((3, 3)) < 0.4).astype(int)
LOADS = jnp.asarray([0.008, 0.006])


def body(sy, mesh):
    """Three elements: two of cells (8 points, of which every device has its own), one of a law."""
    soft = J2(lam=50.0, mu=26.0, hardening=Linear(sy=sy, H=1.5))
    cell = batched(PeriodicCell(IMAGE, [soft, Elastic(lam=44.0, mu=44.0)], solver=NewtonKrylov(rtol=1e-10)), mesh=mesh)
    plate = box((3, 1))
    plate = Mesh(plate.points, plate.blocks, element_sets={"cells": [0, 1], "law": [2]}, facet_sets=plate.facet_sets)
    held = [Fixed("left"), Fixed("right", (1,)), Moved("right", (0,))]
    return Body(plate, {"cells": cell, "law": soft}, held, observe=Reaction("right"), solver=NewtonKrylov(rtol=1e-10))


def path(sy, mesh):
    """A number made of the forces of a path, and what is left at its end."""
    state, steps = rollout(body(sy, mesh), LOADS)
    figures = steps.stats["law"][0]["newton"], steps.stats["newton"], steps.result._value
    force = steps.value[:, 0]
    return jnp.sum(force * jnp.arange(1.0, 3.0)), (force, jax.tree.leaves(eqx.filter(state, eqx.is_array)), figures)


def sloped(mesh):
    """The path with its slope: in reverse mode in one process, in forward mode in two."""
    if not PORT:
        return jax.value_and_grad(lambda sy: path(sy, mesh), has_aux=True)

    def forward(sy):
        value, slope, told = jax.jvp(lambda sy: path(sy, mesh), (sy,), (jnp.ones_like(sy),), has_aux=True)
        return (value, told), slope

    return forward


def program(mesh):
    return jax.jit(sloped(mesh)).lower(jnp.asarray(0.1)).compile(QUICKLY)


def answers(run):
    (_, (force, state, figures)), slope = run(jnp.asarray(0.1))
    whole = (lambda x: multihost_utils.process_allgather(x, tiled=True)) if PORT else (lambda x: x)
    flat = lambda tree: np.concatenate([np.ravel(whole(x)) for x in jax.tree.leaves(tree)]).tolist()
    return {"force": flat(force), "slope": flat(slope), "state": flat(state), "figures": flat(figures)}


def nesting(text: str) -> tuple[int, int]:
    """The depth of loops around the deepest collective of a compiled program, and of the deepest loop."""
    bodies, current = {}, None
    for line in text.splitlines():
        start = re.match(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$", line)
        if start:
            current = start.group(1)
            bodies[current] = []
        elif current:
            bodies[current].append(line)

    def depth(name: str) -> tuple[int, int]:
        talk, loops = -1, 0
        for line in bodies.get(name, ()):
            if re.search(r" (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(-start)?\(", line):
                talk = max(talk, 0)
            inside = re.findall(r"(?:body|condition|to_apply|calls)=%?([\w.\-]+)", line)
            for group in re.findall(r"(?:branch_computations|called_computations)=\{([^}]*)\}", line):
                inside += [x.strip().lstrip("%") for x in group.split(",")]
            deeper = 1 if " while(" in line else 0
            for other in inside:
                t, n = depth(other)
                talk, loops = max(talk, t + deeper if t >= 0 else -1), max(loops, n + deeper)
        return talk, loops

    entry = re.search(r"^ENTRY %?([\w.\-]+)", text, re.M)
    return depth(entry.group(1))


if __name__ == "__main__":
    many = program(jax.make_mesh((len(jax.devices()),), ("points",)))
    report = {"many": answers(many)}
    if not PORT:
        report |= {"one": answers(program(None)), "nesting": nesting(many.as_text())}
    print(json.dumps(report))
