"""A manufactured displacement: errors fall with the size of the elements by degree + 1 in L2, by the degree in energy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _bodies import SPACE, name, quickly, surface

from jaxmsm.solids import Body, BodyForce, Displacement, Elastic, Moved, NeoHookean
from jaxmsm.solve import Krylov, NewtonKrylov
from jaxmsm.space import HEX20, QUAD4, QUAD8, QUAD9, TET10, TRI3, TRI6, Full, MeanDilatation, Mesh, box, integration

CURVED = 0.06
"""How far the squares of a grid are bent, by one smooth map for all of its sizes."""


def bent(n, kind):
    grid = box((n,) * kind.dim, None, kind)
    x = np.asarray(grid.points)
    bump = np.prod(np.sin(np.pi * x), 1)
    return Mesh(x + CURVED * bump[:, None] * np.linspace(1, -1, kind.dim), grid.blocks)


def field(x):
    """A displacement (..., d), of which no second slope vanishes."""
    d = x.shape[-1]
    rows = [jnp.sin(1.2 * x[..., 0] + 0.7 * i) * jnp.cos(x[..., 1] - 0.4 * i) * (1 + 0.5 * x[..., -1] ** 2) for i in range(d)]
    return 0.2 * jnp.stack(rows, -1)


def slope(x):
    return jax.jacfwd(field)(x)


def load_of(law, d):
    """Minus the divergence of the stress that `field` has in a law, by differentiation; at points (q, e, d)."""
    P = lambda x: law(jnp.eye(d) + slope(x), ())[0]
    force = lambda x: -jnp.trace(jax.jacfwd(P)(x), axis1=1, axis2=2)
    return jax.vmap(jax.vmap(force))


def errors(n, kind, law, rule):
    """In L2 and in the slopes, beside the norms of the exact field."""
    mesh, d = bent(n, kind), kind.dim
    nodes = np.flatnonzero(surface(np.asarray(mesh.points)))
    how = {"observe": Displacement(), "rule": rule, "solver": NewtonKrylov(rtol=1e-10), "system": Krylov()}
    (block,) = mesh.blocks

    @quickly
    def measured(points):
        walls = Moved(nodes, tuple(range(d)), field(points[nodes]))
        found = Body(mesh, law, [walls, BodyForce(load_of(law, d), degree=6)], **how)(1.0)
        at = integration(points, block, 6)
        x, value = (jnp.einsum("qk,ekd->qed", at.shape, v[block.nodes]) for v in (points, found.value))
        grad = jnp.einsum("qkje,eki->qeij", at.slopes, found.value[block.nodes])
        exact, sloping = jax.vmap(jax.vmap(lambda x: (field(x), slope(x))))(x)
        size = lambda v: jnp.sqrt(jnp.sum(at.weights * jnp.sum(v**2, tuple(range(2, v.ndim)))))
        return found.ok, jnp.stack([size(value - exact) / size(exact), size(grad - sloping) / size(sloping)])

    ok, found = measured(mesh.points)
    assert ok
    return np.asarray(found)


@pytest.mark.parametrize(
    ("kind", "law", "rule"),
    [
        *((kind, Elastic(lam=1.5, mu=1.0), Full()) for kind in (TRI3, TRI6, QUAD8, TET10, HEX20)),
        (QUAD9, NeoHookean(lam=1.5, mu=1.0), Full()),
        (QUAD4, NeoHookean(lam=1.5, mu=1.0), MeanDilatation()),
    ],
    ids=name,
)
def test_orders(kind, law, rule):
    few = (3 if kind.order == 1 or kind is TET10 else 2) if kind in SPACE else 4
    coarse, fine = (errors(n, kind, law, rule) for n in (few, 2 * few))
    found = np.log2(coarse / fine)
    print(f"{kind.name:14} {type(law).__name__:10} errors {fine} orders {found}")
    assert np.all(found > np.array([kind.order + 1, kind.order]) - 0.15)
