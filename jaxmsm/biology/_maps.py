"""What is read off a tissue: phase and its singularities, the pseudo-ECG, QT, dispersion."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ._tissue import Tissue


def phase(v: Float[Array, "..."], delayed: Float[Array, "..."], center: Any) -> Float[Array, "..."]:
    """The phase of an oscillation (-pi to pi) in the plane of a quantity and itself some time before.

    Args:
        v, delayed: now and before, by a quarter of the period or less (ten milliseconds serve for hearts).
        center: a value that every cycle goes around, -40 mV or so.

    Source: R. Gray, A. Pertsov, J. Jalife, Nature 392 (1998) 75.
    """
    return jnp.arctan2(delayed - center, v - center)


def singularities(theta: Float[Array, "... n m"]) -> Int[Array, "... n-1 m-1"]:
    """The topological charge of every square of four nodes: +1 or -1 where a spiral wave has its tip, else 0.

    The phase differences around the square, each taken between -pi and pi, add up to 2 pi times the charge.

    Source: A. Iyer, R. Gray, Ann. Biomed. Eng. 29 (2001) 47.
    """
    turn = lambda d: d - 2 * jnp.pi * jnp.round(d / (2 * jnp.pi))
    along, across = turn(jnp.diff(theta, axis=-2)), turn(jnp.diff(theta, axis=-1))
    around = along[..., :, :-1] + across[..., 1:, :] - along[..., :, 1:] - across[..., :-1, :]
    return jnp.round(around / (2 * jnp.pi)).astype(int)


class PseudoECG(eqx.Module):
    """The potential of electrodes in an unbounded bath: phi = sum over nodes of volume div(D grad v) / r, up to a constant factor.

    By parts, with no flux through the surface, it is the integral of -D grad v . grad(1/r). A function `(t, y)` to sample.

    Valid: electrodes outside the tissue.
    Source: R. Plonsey, R. Barr, Bioelectricity (2007), chapter 8.

    Attributes:
        tissue: whose diffusion it is.
        weight: volume over distance of every node, for every electrode (electrodes, *nodes).
    """

    tissue: Tissue
    weight: Float[Array, "..."]

    def __init__(self, tissue: Tissue, electrodes: Any, spacing: float):
        """The leads.

        Args:
            tissue: its diffusion is on a grid, the first node at the origin.
            electrodes: positions (electrodes, d), in the unit of the spacing.
            spacing: between nodes.
        """
        at = jnp.asarray(electrodes, float)
        shape = tissue.diffusion.shape
        if at.ndim != 2 or at.shape[1] != len(shape):
            raise ValueError(f"Argument `electrodes` must have the shape (electrodes, {len(shape)}), but it is {at.shape}.")
        nodes = jnp.stack(jnp.meshgrid(*(spacing * jnp.arange(n) for n in shape), indexing="ij"))
        away = nodes[None] - at.reshape(*at.shape, *[1] * len(shape))
        volume = getattr(tissue.diffusion, "volume", jnp.ones(shape))
        self.tissue = tissue
        self.weight = spacing ** len(shape) * volume[None] / jnp.sqrt(jnp.sum(away**2, axis=1))

    def __call__(self, t: Any, y: Any) -> Float[Array, " electrodes"]:
        del t
        flow = self.tissue.diffusion(y[0])
        return jnp.sum(self.weight.astype(flow.dtype) * flow[None], axis=tuple(range(1, self.weight.ndim)))


def qt(ecg: Float[Array, " n"], dt: Any, *, after: Any, onset: Any = 0.0) -> Float[Array, ""]:
    """The QT interval of a lead: from the onset to the end of the T wave, smoothly defined.

    The end is where the energy of the wave after `after` has its mean, plus two of its standard deviations: with weights
    w = ecg^2, mean = sum(w t) / sum(w), sd^2 = sum(w (t - mean)^2) / sum(w). For a Gaussian wave that is where it has fallen to
    1.8 % of its height.

    Args:
        ecg: samples dt apart, the first at time zero (ms).
        after: the QRS complex is over then (ms).
        onset: of the stimulus (ms).
    """
    t = dt * jnp.arange(ecg.shape[0])
    w = jnp.where(t > after, ecg**2, 0.0)
    total = jnp.sum(w)
    mean = jnp.sum(w * t) / total
    return mean + 2 * jnp.sqrt(jnp.sum(w * (t - mean) ** 2) / total) - onset


def dispersion(times: Float[Array, "..."], volume: Any = None) -> Float[Array, ""]:
    """The standard deviation of times (durations, repolarization) over a tissue, weighed by the volumes of its nodes."""
    volume = jnp.ones_like(times) if volume is None else volume
    times = jnp.where(volume > 0, times, 0.0)
    mean = jnp.sum(volume * times) / jnp.sum(volume)
    return jnp.sqrt(jnp.sum(volume * (times - mean) ** 2) / jnp.sum(volume))


def velocity(activation: Float[Array, "..."], a: tuple[int, ...], b: tuple[int, ...], spacing: float) -> Float[Array, ""]:
    """The conduction velocity from a node to another: their distance over the difference of their times of activation."""
    distance = spacing * float(np.linalg.norm(np.subtract(b, a)))
    return distance / (activation[b] - activation[a])
