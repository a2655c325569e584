"""A part of a body: elements of one kind with their law; deformation at their points, nodal forces, element matrices.

Arrays over points carry (points an element, elements) as last axes, so that the elements are what the machine's vectors run over.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._model import Span
from .._results import RESULTS
from .._scale import AbstractScale
from .._typing import Tree
from ..solve import Batched, batched, each
from ..space import AbstractRule, Block, Points
from ._kinematics import eye, parts, whole
from ._law import AbstractLaw
from ._medium import Medium, cast
from ._parameters import is_uniform


class Answer(eqx.Module):
    """What a material answers at all points of a part.

    Attributes:
        P: first Piola stress, (d, d, q, e).
        following: the next states.
        guess: where the next solves may start.
        result: codes of the points, (q, e).
        stats: figures of the scale at the points, members first.
    """

    P: Float[Array, "d d q e"]
    following: Tree
    guess: Tree
    result: RESULTS
    stats: dict[str, Any]


class AbstractMaterial(eqx.Module):
    """What stands at the points of a part."""

    @property
    @abc.abstractmethod
    def symmetric(self) -> bool:
        """Its tangent is symmetric."""

    @property
    @abc.abstractmethod
    def linear(self) -> bool:
        """Its answer is affine in the load."""

    def agreed(self, flag: Bool[Array, ""]) -> Bool[Array, ""]:
        """True where the flag is on every device that has points of this material."""
        return flag

    @abc.abstractmethod
    def init(self, F: Float[Array, "d d q e"], time: Span | None) -> Tree:
        """The first states."""

    @abc.abstractmethod
    def cold(self, F: Float[Array, "d d q e"], time: Span | None) -> Tree:
        """The first guesses."""

    @abc.abstractmethod
    def __call__(self, F: Float[Array, "d d q e"], past: Tree, guess: Tree, time: Span | None) -> Answer:
        """The answer at all points."""

    @abc.abstractmethod
    def linearize(
        self, F: Float[Array, "d d q e"], past: Tree, guess: Tree, time: Span | None, slack: Float[Array, ""] | None = None
    ) -> tuple[Answer, Array]:
        """The answer and dP/dF, (d, d, d, d, q, e), which may err by `slack` of its size."""


class Formula(AbstractMaterial):
    """Laws at the points, one a label, or one law whose leaves may be fields over the elements (leading axis).

    Attributes:
        labels: which law each element has; None where there is one.
    """

    laws: tuple[AbstractLaw, ...]
    labels: Int[Array, " e"] | None

    @property
    def symmetric(self):
        return all(law.symmetric for law in self.laws)

    @property
    def linear(self):
        return all(law.linear for law in self.laws)

    @property
    def small(self) -> bool:
        """Every law sees sym(F - I) alone."""
        return all(law.small for law in self.laws)

    def _medium(self, F, time: Span | None) -> Medium:
        laws = cast(self.laws, F.dtype)
        labels = self.labels
        if labels is None and is_uniform(laws[0]):
            # Copies of the weights of a network, one a point, would be most of its work.
            labels = jnp.zeros(F.shape[-1], jnp.int32)
        medium = Medium.of_field(laws[0], F.shape[-1:]) if labels is None else Medium.of_phases(laws, labels)
        return medium if time is None else medium.during(jnp.asarray(time.t1 - time.t0))

    def init(self, F, time):
        return self._medium(F, time).init(F.shape[-2], F.dtype)

    def cold(self, F, time):
        return ()

    def __call__(self, F, past, guess, time):
        return self._answer(self._medium(F, time), F, past)

    def _answer(self, medium: Medium, F, past) -> Answer:
        P, following, fine = medium(parts(F, 2), past)
        stress = whole(P)
        known = jnp.all(jnp.isfinite(stress), (0, 1))
        code = jnp.where(known, _number(RESULTS.successful), _number(RESULTS.law_failed))
        code = jnp.where(fine, code, _number(RESULTS.out_of_range))
        code = jnp.where(medium.known & medium.labelled, code, _number(RESULTS.nonfinite_input))
        result = eqx.tree_at(lambda r: r._value, RESULTS.successful, code)
        return Answer(stress, following, (), result, {})

    def linearize(self, F, past, guess, time, slack=None):
        medium = self._medium(F, time)
        d = F.shape[0]

        def stress(F):
            answer = self._answer(medium, F, past)
            return answer.P, answer

        _, change, answer = jax.linearize(stress, F, has_aux=True)
        units = jnp.asarray(np.eye(d * d).reshape(-1, d, d), F.dtype)
        columns = each(lambda unit: change(jnp.broadcast_to(unit[:, :, None, None], F.shape)), units)
        return answer, jnp.moveaxis(columns.reshape(d, d, *F.shape), (0, 1), (2, 3))


def _number(code: RESULTS) -> Array:
    return jnp.asarray(code._value)


class Living(AbstractMaterial):
    """A scale of its own at every point, all of them solved as one batch; members run through the elements of one point first."""

    scale: Batched

    @property
    def symmetric(self):
        return bool(getattr(self.scale.scale, "symmetric", False))

    @property
    def linear(self):
        return False

    def loads(self, F, time: Span | None) -> Tree:
        """The loads of the members."""
        rows = jnp.moveaxis(F.reshape(*F.shape[:2], -1), -1, 0)
        if time is None:
            return rows
        across = lambda t: jnp.broadcast_to(jnp.asarray(t, F.dtype), rows.shape[:1])
        return Span(across(time.t0), across(time.t1), rows)

    def init(self, F, time):
        return self.scale.init(self.loads(F, time))

    def cold(self, F, time):
        return self.scale.primed(self.loads(F, time))

    def __call__(self, F, past, guess, time):
        return self._answer(self.scale(self.loads(F, time), past, guess=guess), F)

    def _answer(self, solution, F) -> Answer:
        P = jnp.moveaxis(solution.value, 0, -1).reshape(F.shape)
        result = jax.tree.map(lambda x: x.reshape(F.shape[-2:]), solution.result)
        return Answer(P, solution.state, solution.guess, result, solution.stats)

    def linearize(self, F, past, guess, time, slack=None):
        solution, slope = self.loosened(slack).linearize(self.loads(F, time), past, guess=guess)
        d = F.shape[0]
        return self._answer(solution, F), jnp.moveaxis(self.tangents(slope), 0, -1).reshape(d, d, *F.shape)

    def loosened(self, slack: Float[Array, ""] | None) -> AbstractScale:
        """The batch, whose slopes may err by that much."""
        return self.scale if slack is None else self.scale.with_slack(slack)

    def tangents(self, slope: Tree) -> Float[Array, "n d d d d"]:
        """The slopes of the members in the deformation alone."""
        return slope.drive if isinstance(slope, Span) else slope


def living(scale: AbstractScale) -> Living:
    """A scale at every point; a batch (`batched`) as it was made, with its chunks, devices and order."""
    return Living(scale if isinstance(scale, Batched) else batched(scale))


class Part(eqx.Module):
    """Elements of one kind and what stands at their points.

    Attributes:
        block: the elements.
        numbers: of the elements in the mesh.
        material: what stands at the points.
        rule: how the deformation that the law sees is made from the compatible one.
    """

    block: Block
    numbers: Int[Array, " e"]
    material: AbstractMaterial
    rule: AbstractRule

    @property
    def small(self) -> bool:
        """The laws see strains alone."""
        return isinstance(self.material, Formula) and self.material.small

    def deformation(self, u: Float[Array, "d k e"], at: Points) -> Float[Array, "d d q e"]:
        """What the law sees, from the displacements of the elements' nodes."""
        F = compatible(u, at)
        return self._seen(F, at) if self.rule.coupled else F

    def _seen(self, F: Float[Array, "d d q e"], at: Points) -> Float[Array, "d d q e"]:
        return self.rule.strain(F, self.small, at.weights)

    def local(self, u: Float[Array, "n d"]) -> Float[Array, "d k e"]:
        """The displacements of the elements' nodes."""
        return u.T[:, self.block.nodes.T]

    def forces(self, u: Float[Array, "d k e"], P: Float[Array, "d d q e"], at: Points) -> Float[Array, "d k e"]:
        """Nodal forces of a stress: the slope of its work in the nodes' displacements."""
        work = P * at.weights[None, None]
        if self.rule.coupled:
            work = jax.vjp(lambda F: self._seen(F, at), compatible(u, at))[1](work)[0]
        return divergence(work, at)

    def stiffness(self, u: Float[Array, "d k e"], P: Array, A: Array, at: Points) -> Float[Array, "e m m"]:
        """Element matrices of a tangent, rows of a node's components together."""
        if not self.rule.coupled:
            return _plain_stiffness(_weighed(A, at), at.slopes)
        d, k, e = u.shape
        B = _columns(lambda u: self.deformation(u, at), u)
        K = _sandwich(B, _weighed(A, at))
        if not self.small:
            K = K + jnp.moveaxis(_columns(lambda u: self.forces(u, P, at), u).reshape(d * k, d * k, e), -1, 0)
        # From (component, node) to (node, component).
        return K.reshape(e, d, k, d, k).transpose(0, 2, 1, 4, 3).reshape(e, d * k, d * k)


def _weighed(A: Float[Array, "d d d d q e"], at: Points) -> Float[Array, "d d d d q e"]:
    return A * at.weights[None, None, None, None]


def compatible(u: Float[Array, "d k e"], at: Points) -> Float[Array, "d d q e"]:
    """I + grad u."""
    H = jnp.sum(u[:, None, None] * jnp.moveaxis(at.slopes, 2, 0)[None], 3)
    return H + eye(u.shape[0], u.dtype)[:, :, None, None]


def divergence(work: Float[Array, "d d q e"], at: Points) -> Float[Array, "d k e"]:
    """The transpose of the gradient."""
    return jnp.sum(work[:, :, :, None] * jnp.moveaxis(at.slopes, 2, 0)[None], (1, 2))


def _plain_stiffness(A: Float[Array, "d d d d q e"], slopes: Float[Array, "q k d e"]) -> Float[Array, "e m m"]:
    d, (q, k, _, e) = A.shape[0], slopes.shape
    S = jnp.transpose(slopes, (3, 0, 1, 2))
    rows = jnp.transpose(A, (5, 4, 1, 0, 2, 3)).reshape(e, q, d * d * d, d)
    X = jnp.einsum("eqxl,eqbl->eqxb", rows, S).reshape(e, q * d, d * d * k)
    K = jnp.einsum("exa,exy->eay", jnp.transpose(S, (0, 1, 3, 2)).reshape(e, q * d, k), X)
    # (a, i, c, b) to (a, i, b, c)
    return K.reshape(e, k, d, d, k).transpose(0, 1, 2, 4, 3).reshape(e, k * d, k * d)


def _columns(fn, u: Float[Array, "d k e"]) -> Float[Array, "m ..."]:
    """The change of `fn(u)` by each unknown of the elements, all elements at once."""
    d, k, _ = u.shape
    change = jax.linearize(fn, u)[1]
    units = jnp.asarray(np.eye(d * k).reshape(-1, d, k), u.dtype)
    return each(lambda unit: change(jnp.broadcast_to(unit[:, :, None], u.shape)), units)


def _sandwich(B: Float[Array, "m d d q e"], A: Float[Array, "d d d d q e"]) -> Float[Array, "e m m"]:
    """B^T A B, summed over the points."""
    m, d, _, q, e = B.shape
    rows = jnp.transpose(B, (4, 3, 0, 1, 2)).reshape(e, q, m, d * d)
    A = jnp.transpose(A, (5, 4, 0, 1, 2, 3)).reshape(e, q, d * d, d * d)
    X = jnp.einsum("eqxy,eqmy->eqxm", A, rows).reshape(e, q * d * d, m)
    return jnp.einsum("exm,exp->emp", jnp.transpose(rows, (0, 1, 3, 2)).reshape(e, q * d * d, m), X)
