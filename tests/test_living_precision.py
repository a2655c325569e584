"""Rates of living things answer in the precision of their state and parameters, whatever the default is."""

import jax
import jax.numpy as jnp
import pytest

from jaxmsm import biology
from jaxmsm.biology import (
    Allee,
    Bertalanffy,
    Chemostat,
    ChemostatState,
    Gompertz,
    HillNetwork,
    Logistic,
    Morphs,
    MutationSelection,
    Repressilator,
    RepressilatorState,
    Richards,
    Spread,
    Tissue,
    Toggle,
    ToggleState,
)
from jaxmsm.solve import RushLarsenMidpoint, Steps, follow, rates
from jaxmsm.space import AnisotropicDiffusion, Diffusion

ONE = jnp.asarray(0.5)


def from_a_file():
    myokit = pytest.importorskip("myokit", reason="reads CellML and Myokit files")
    return biology.ImportedCell(myokit.load_model("example"))


CELLS = [x for x in vars(biology).values() if isinstance(x, type) and issubclass(x, biology.AbstractCell)]
ELSEWHERE = (biology.AbstractCell, biology.ImportedCell, Tissue)
MODELS = {x.__name__: (x, lambda m: m.rest()) for x in CELLS if x not in ELSEWHERE} | {
    "ImportedCell": (from_a_file, lambda m: m.rest()),
    "Tissue": (lambda: Tissue(biology.LuoRudy(), AnisotropicDiffusion(jnp.ones((2, 3, 4)))), lambda m: m.rest()),
    "Toggle": (Toggle, lambda m: ToggleState(ONE, ONE)),
    "Repressilator": (Repressilator, lambda m: RepressilatorState(jnp.ones(3), jnp.ones(3))),
    "HillNetwork": (
        lambda: HillNetwork(*[jnp.ones(2)] * 3, *[jnp.ones((2, 2))] * 2, jnp.array([[0, 1], [-1, 0]]), ("a", "b")),
        lambda m: jnp.ones(2),
    ),
    "Morphs": (Morphs, lambda m: m.begin(jnp.ones(4, jnp.float32))),
    "MutationSelection": (MutationSelection, lambda m: ONE),
    "Spread": (lambda: Spread(Diffusion((5,), 1.0)), lambda m: jnp.ones(5)),
    **{law.__name__: (law, lambda m: jnp.array([0.0, 0.5])) for law in (Allee, Bertalanffy, Gompertz, Logistic, Richards)},
    "Chemostat": (Chemostat, lambda m: ChemostatState(ONE, ONE)),
}


def single(tree):
    return jax.tree.map(lambda x: x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.inexact) else x, tree)


@pytest.mark.parametrize("name", MODELS)
def test_single_precision_stays_single(name):
    make, start = MODELS[name]
    model = single(make())
    y = single(start(model))
    load = jnp.asarray(0.3, jnp.float32) if name == "Chemostat" else None
    terms = model.driven(load)
    found = rates(terms(jnp.float32(0), y), y)
    assert {x.dtype for x in jax.tree.leaves(found)} == {jnp.dtype(jnp.float32)}
    step = RushLarsenMidpoint()
    follow(lambda t, y, dt: step(terms, t, y, dt), y, Steps(jnp.float32(0), jnp.float32(1e-3), 2))
