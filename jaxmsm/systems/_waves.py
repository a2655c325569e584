"""Tissues followed from the host, part by part, so that a person sees how far they are."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..biology import Tissue
from ..solve import AbstractStep, AbstractWatch, Steps, follow
from ..space import AbstractDiffusion


class Wave(NamedTuple):
    """How a tissue ended, what its watches tell, its samples (times first) and their times (ms)."""

    end: Any
    seen: tuple
    samples: np.ndarray
    times: np.ndarray


def travel(
    tissue: Tissue,
    load: Any,
    step: AbstractStep,
    dt: float,
    span: float,
    *,
    y: Any = None,
    t0: float = 0.0,
    watch: tuple[AbstractWatch, ...] = (),
    sample: Callable[[Any, Any], Any] | None = None,
    every: float = 1.0,
    part: float = 5.0,
    tick: Callable[..., None] = lambda *_: None,
    done: Callable[[tuple], bool] = lambda seen: False,
) -> Wave:
    """Follow a tissue for a span of time (ms), or until `done(seen)`.

    Args:
        tissue, load, step, dt: what moves, what stimulates it, the step and its size (ms).
        y, t0: where and when it begins; by default at rest at time zero.
        watch, sample: as for `follow`; `every` ms between samples.
        part: how many milliseconds the compiled program takes at a time.
        tick: told after every part.
    """
    count, block = round(part / dt), round(every / dt)
    y = tissue.rest() if y is None else y
    memory = tuple(w.begin(jnp.asarray(t0, y[0].dtype), y) for w in watch)
    taken: list[Any] = []
    parts = int(np.ceil(span / part - 1e-9))
    seen: tuple = ()
    for k in range(parts):
        at = (jnp.asarray(t0 + k * part, y[0].dtype), jnp.asarray(dt, y[0].dtype))
        path = _part(tissue, load, step, y, at, memory, watch, sample, count, block if sample else count)
        y, memory, seen = path.end, path.memory, path.seen
        if sample is not None:
            taken.append(np.asarray(path.samples))
        tick()
        if done(seen):
            break
    samples = np.concatenate(taken) if taken else np.zeros((0,))
    return Wave(y, seen, samples, t0 + every * np.arange(1, len(samples) + 1))


@eqx.filter_jit
def _part(tissue, load, step, y, at, memory, watch, sample, count, block):
    advance = lambda t, y, dt: step(tissue.driven(load), t, y, dt)
    return follow(advance, y, Steps(*at, count), watch=watch, sample=sample, every=block, memory=memory)


def stable(diffusion: AbstractDiffusion, dt: float) -> bool:
    """An explicit step of this size does not blow the diffusion up."""
    return dt < 2 / float(jax.device_get(diffusion.fastest()))
