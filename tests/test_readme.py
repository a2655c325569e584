"""The README is true: its code runs, its tables name what there is, its commands are those of the images and of CI."""

import pathlib
import re
import tomllib

import jax
import numpy as np
import pytest

import jaxmsm as msm
from jaxmsm import systems
from jaxmsm.solids._parameters import Parametric

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


@pytest.fixture(scope="module")
def ran():
    """What stands after the README's code has run from top to bottom."""
    space: dict = {}
    # As in a shell: JAX's own defaults, not those of the tests.
    with jax.enable_x64(False), jax.numpy_rank_promotion("allow"):
        for block in blocks(README, "python"):
            exec(compile(block, "README.md", "exec"), space)
    return space


def test_the_batch_fails_where_it_says(ran):
    assert list(msm.names(ran["sol"].result)) == ["successful"] * 3 + ["out_of_range"] + ["successful"] * 4
    # The next step starts from the solution of the last.
    good = np.asarray(ran["again"].ok)
    assert (np.asarray(ran["again"].stats["linear"])[good] < np.asarray(ran["sol"].stats["linear"])[good]).all()


def test_the_fit_finds_what_was_measured(ran):
    # In float32 the cell is solved to 1e-5, and the stiff inclusion is seen through the soft matrix.
    np.testing.assert_allclose(np.exp(ran["log_mu"]), [1.0, 5.0], rtol=1e-3)
    assert ran["how"].ok


def test_the_embedded_scale_has_a_gradient(ran):
    weights = ran["slope"].encoder.layers[0].weight
    assert np.isfinite(weights).all() and np.abs(weights).max() > 1e-4


def test_the_heart_cell_comes_to_rest_when_it_says(ran):
    # By CVODE and the implicit-function rule; and the comments say what is found.
    np.testing.assert_allclose([ran["when"], ran["slower"]], [302.1072, -39.784], rtol=1e-3)
    assert f"# {ran['when']:.1f} ms and {ran['slower']:.1f} ms a unit" in README
    assert f"# {ran['half']:.1f} ms" in README


def test_the_plate_of_cells_is_stiffer_than_its_matrix(ran):
    steps = ran["steps"]
    assert np.asarray(steps.ok).all()
    plate = msm.solids.Body(ran["mesh"], ran["laws"][0], ran["walls"], observe=ran["part"].observe)
    bare = np.array([plate(0.05).value[0], plate(0.1).value[0]])
    # Five times as stiff are the inclusions: more than Reuss's bound of a small stretch, less than Voigt's.
    fraction = float(np.mean(ran["image"]))
    ratio = np.asarray(steps.value)[:, 0] / bare
    assert np.all(ratio > 1 / (1 - 0.8 * fraction)) and np.all(ratio < 1 + 4 * fraction)


def test_the_table_of_commands_is_what_there_is():
    named = set(re.findall(r"^\| `jaxmsm ([^`]*)` \|", README, flags=re.M))
    here = {*systems.COMMANDS, *(f"run {name}" for name in systems.SYSTEMS), "list"}
    assert {re.sub(r" (--|[A-Z]).*", "", name) for name in named} == here


def test_the_table_of_laws_is_what_there_is():
    part = README.split("| law (`jaxmsm.solids`)")[1].split("\n\n")[0]
    named = set(re.findall(r"`([A-Za-z0-9]+)(?:\([^`]*\))?`", part))
    there = {name: x for name, x in vars(msm.solids).items() if isinstance(x, type)}
    laws = {name for name, x in there.items() if issubclass(x, Parametric) and not name.startswith("Abstract")}
    assert laws <= named <= set(there)


def test_links_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_commands_are_those_of_the_images_and_of_ci():
    first, second = (command.strip() for command in blocks(README, "sh"))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for command in (first, second):
        assert re.search(r"'\.\[(\w+)\]'", command)[1] in extras
    image = (ROOT / "docker" / "Dockerfile").read_text()
    *install, run = first.split(" && ")
    for step in install:
        assert f"RUN {step}\n" in image
    assert f"CMD {str(run.split()).replace(chr(39), chr(34))}" in image
    assert second.split(" && ")[-1].removeprefix(".venv/bin/python ") in (ROOT / ".ci" / "run").read_text()
