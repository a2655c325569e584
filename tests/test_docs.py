"""The pages are true: "your own law in 20 lines" runs and is right, and the table of codes is the enumeration."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmsm as msm
from jaxmsm._results import _FINE

DOCS = pathlib.Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def page():
    """What stands after the page's code has run from top to bottom."""
    text = (DOCS / "own_law.md").read_text()
    space: dict = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S):
        exec(compile(block, "own_law.md", "exec"), space)
    return space


def differences(fn, F, h=1e-5):
    """The slope by central differences; their error is h^2 = 1e-10 of a smooth function's third derivative."""
    units = np.eye(4).reshape(4, 2, 2)
    columns = [(fn(F + h * jnp.asarray(u)) - fn(F - h * jnp.asarray(u))) / (2 * h) for u in units]
    return np.moveaxis(np.stack(columns), 0, -1).reshape(2, 2, 2, 2)


def test_the_law_is_20_lines(page):
    text = (DOCS / "own_law.md").read_text()
    block = re.search(r"^(def rubber.*?)^```", text, flags=re.M | re.S)[1]
    assert len([line for line in block.splitlines() if line.strip()]) <= 20


def test_at_a_point(page):
    law, F = page["law"], page["F"]
    # By hand: in simple shear J = 1, W = mu gamma^2 / 2 and P12 = kept mu gamma.
    kept = 1 - 0.5 * (1 - np.exp(-0.5 * 0.3**2 / 0.05))
    assert abs(page["P"][0, 1] - kept * 0.3) < 1e-14
    assert abs(page["worst"] - 0.045) < 1e-15
    np.testing.assert_allclose(page["A"], differences(lambda F: law(F, law.init())[0], F), atol=1e-8)


def test_in_a_cell(page):
    cell, F = page["cell"], page["F"]
    assert page["solution"].ok and page["steps"].ok.all()
    # The solver stops at 1e-8 of the residual: the error of a stress is that squared, of a difference over 2e-4 well below 1e-6.
    stress = jax.jit(lambda F: cell(F).value)
    np.testing.assert_allclose(page["tangent"], differences(stress, F, 1e-4), atol=2e-6)
    up, _, top, down, _, again = np.asarray(page["steps"].value[:, 0, 1])
    # Weaker on the way back, and on the old curve where the worst is reached again.
    assert down < 0.95 * np.asarray(page["steps"].value[1, 0, 1])
    assert abs(again - top) < 1e-7 * top and up > 0


def test_layers_of_it_are_a_laminate(page):
    image = np.repeat(np.array([0, 0, 1, 1])[:, None], 4, 1)
    laws = [page["law"], page["filler"]]
    cell = msm.PeriodicCell(image, laws)
    exact = msm.Laminate(laws, jnp.array([0.5, 0.5]), jnp.array([1.0, 0.0]))
    # Both stop at 1e-8 or below.
    np.testing.assert_allclose(cell(page["F"]).value, exact(page["F"]).value, atol=1e-8)


def test_in_a_batch(page):
    assert list(msm.names(page["batch"].result)) == ["successful", "out_of_range", "successful"]
    np.testing.assert_allclose(page["batch"].value[0], page["solution"].value, rtol=0, atol=1e-8)
    assert (np.diff(page["stresses"][:, 0, 1]) < 0).all()
    np.testing.assert_allclose(page["stresses"][2], page["solution"].value, rtol=0, atol=1e-8)


def test_in_a_fit(page):
    # The misfit vanishes at the solution.
    assert page["how"].ok
    np.testing.assert_allclose([page["found"]["mu"], page["found"]["loss"]], [1.0, 0.5], rtol=1e-6)


def test_the_table_of_codes_is_the_enumeration():
    rows = re.findall(r"^\| `(\w+)` \| (yes|no) \|", (DOCS / "results.md").read_text(), flags=re.M)
    assert sorted(name for name, _ in rows) == sorted(msm.RESULTS._name_to_item)
    assert {name for name, valid in rows if valid == "yes"} == set(_FINE)


@pytest.mark.parametrize("page_name", sorted(p.name for p in DOCS.glob("*.md")))
def test_what_a_page_names_is_there(page_name):
    """`Name(` in a page is a public name of some room."""
    from jaxmsm import bridges, inference, io, solids, solve, space

    public = {name for room in (msm, bridges, inference, io, solids, solve, space) for name in vars(room)}
    text = re.sub(r"^```.*?^```", "", (DOCS / page_name).read_text(), flags=re.M | re.S)
    named = set(re.findall(r"`(?:msm\.)?(?:\w+\.)?([A-Z][A-Za-z0-9]+)\(", text))
    assert named <= public, named - public
