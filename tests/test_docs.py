"""The pages are true: "your own law in 20 lines" and the files of a homogenization run, and tables name what there is."""

import csv
import json
import pathlib
import re
import tomllib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.io

import jaxmsm as msm
from jaxmsm import cli, io
from jaxmsm._results import _FINE
from jaxmsm.io._problem import CONDITIONS, SHAPES
from jaxmsm.systems import _problem
from jaxmsm.systems._load_path import axis_names
from jaxmsm.systems._materials import make_law

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


FORMATS = (DOCS / "formats.md").read_text()


def _blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", FORMATS, flags=re.M | re.S)


def _rows(head, nth=1):
    """The cells of the nth table under a head, row by row."""
    table = FORMATS.split(f"| {head} |")[nth].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


def _keys():
    """The default of every key of a law, as the page has it."""
    rows = _rows("key | unit | default | what", 3)
    return {key: row[2].strip("`") for row in rows for key in re.findall(r"`(\w+)`", row[0])}


def test_the_two_files_homogenize(tmp_path, monkeypatch):
    """The examples of formats.md, on an image with one column of joints, a stone of two colors and a pore."""
    monkeypatch.chdir(tmp_path)
    np.save("image.npy", np.array([[0, 0, 0, 0], [0, 1, 3, 1], [0, 1, 2, 3], [0, 3, 1, 1]]))
    pathlib.Path("materials.toml").write_text(_blocks("toml")[0])
    pathlib.Path("path.csv").write_text(_blocks("csv")[0])
    command = ["homogenize", "image.npy", "--materials", "materials.toml", "--path", "path.csv", "--no-brackets", "--out", "o"]
    assert cli.main([*command, "--quiet"]) == 0
    found = json.loads(pathlib.Path("o/summary.json").read_text())
    assert found["codes"]["path"] == ["successful"] * 5
    assert found["numbers"]["phases"] == {"mortar": 7 / 16, "stone": 8 / 16, "pore": 1 / 16}
    with open("o/path.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "F11", "F12", "F21", "F22", "P11", "P12", "P21", "P22", "code"]
    for row, strain in zip(rows[1:], (0.0, 0.0002, 0.0005, 0.0004), strict=True):
        assert (float(row["F12"]), float(row["F21"]), float(row["F11"])) == (strain, strain, 1.0)
        # 1e-8: the solver's residual.
        assert float(row["P22"]) == pytest.approx(-0.2, rel=1e-7)


def test_the_path_of_conduction_conducts(tmp_path, monkeypatch):
    """The last path of formats.md through layers of conductivity 1 and 3, whose normal is axis 1."""
    monkeypatch.chdir(tmp_path)
    np.save("image.npy", np.repeat([0, 0, 1, 1], 4).reshape(4, 4))
    pathlib.Path("path.csv").write_text(_blocks("csv")[2])
    command = ["homogenize", "image.npy", "--k", "1", "3", "--path", "path.csv", "--no-brackets", "--out", "o", "--quiet"]
    assert cli.main(command) == 0
    files = {"curve.png", "fields.vti", "flux.png", "path.csv", "path_fields.vti", "path_flux.png", "phases.png", "summary.json"}
    assert {p.name for p in pathlib.Path("o").iterdir()} == files
    with open("o/path.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "g1", "g2", "q1", "q2", "code"]
    for row, (g1, g2) in zip(rows, ((0.0, 0.0), (1.0, 0.0), (0.7, 0.7)), strict=True):
        assert (float(row["g1"]), float(row["g2"]), row["code"]) == (g1, g2, "successful")
        # In series the harmonic mean, 1.5, in parallel the arithmetic one, 2; 1e-8: the solver's residual.
        assert float(row["q1"]) == pytest.approx(1.5 * g1, rel=1e-7, abs=1e-12)
        assert float(row["q2"]) == pytest.approx(2.0 * g2, rel=1e-7, abs=1e-8)


def test_every_key_of_a_material_is_explained():
    takes = {re.search(r"`([\w-]+)`", row[0])[1]: (row[2], row[3]) for row in _rows("law | strain | takes | may take")}
    assert set(takes) == set(io.LAWS)
    for law, (needed, optional) in takes.items():
        assert {tuple(re.findall(r"`(\w+)`", part)) for part in needed.split(", or ")} == set(io.LAWS[law].choices)
        assert tuple(re.findall(r"`(\w+)`", optional)) == io.LAWS[law].optional
    assert set(_keys()) == {key for entry in io.LAWS.values() for key in entry.keys}


def test_every_law_of_the_example_reads_and_answers():
    table = tomllib.loads(_blocks("toml")[1])
    entries = table["phase"]
    assert [entry["law"] for entry in entries] == list(io.LAWS)
    assert len(table["thresholds"]) == len(entries) - 1
    for entry in entries:
        assert set(io.LAWS[entry["law"]].optional) <= set(entry)
        _answer(entry)


def test_the_defaults_are_those_of_the_table():
    entries = tomllib.loads(_blocks("toml")[1])["phase"]
    checked = set()
    for key, value in _keys().items():
        if value in ("", "none"):
            continue
        for entry in (e for e in entries if key in e):
            # Some keys go with another one alone.
            left_out = {key, {"kinematic": "recall", "angle": "axis"}.get(key)}
            without = {k: v for k, v in entry.items() if k not in left_out}
            default = without | tomllib.loads(f"{key} = {value}")
            # 1e-13: round-off of a rotation by nothing.
            np.testing.assert_allclose(_answer(default), _answer(without), rtol=1e-13, atol=1e-13)
            checked.add(key)
    assert checked == {"H", "kinematic", "recall", "angle", "axis", "eigenstrain"}


def _answer(entry):
    """The stress of a phase well past its yield."""
    law = make_law(io.make_phase(entry), 3)
    F = jnp.ones(3) if law.scalar else jnp.eye(3).at[0, 1].set(0.01).at[2, 2].add(0.002)
    P = law(F, law.init())[0]
    assert np.isfinite(P).all() and np.any(P)
    return np.asarray(P)


def test_the_paths_read(tmp_path):
    found = []
    for k, text in enumerate(_blocks("csv")):
        (tmp_path / f"{k}.csv").write_text(text)
        found.append(io.read_path(tmp_path / f"{k}.csv", 2, scalar=text.startswith("g")))
    assert [len(path) for path in found] == [4, 2, 2]
    # Beside the table: what has a column and what has none.
    np.testing.assert_array_equal(found[0].mask, [[True, True], [True, False]])
    np.testing.assert_array_equal(found[0].F[2], [[1, 0.0005], [0.0005, 1]])
    np.testing.assert_array_equal(found[1].F[1], [[1, 0.2], [0, 1]])
    np.testing.assert_array_equal(found[2].F, [[1, 0], [0.7, 0.7]])
    # What the curve is drawn over, by the names of the columns.
    named = [{"12": ("e12", "P12")}, {"12": ("F12", "P12")}, {"1": ("g1", "q1"), "2": ("g2", "q2")}]
    assert [axis_names(path) for path in found] == named


STRUCTURES = (DOCS / "structures.md").read_text()


def _listed(text, head):
    """The cells of a table of structures.md, row by row."""
    rows = text.split(f"| {head} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_bent_beam_of_the_page(tmp_path, monkeypatch):
    """The example of structures.md is read and made; of one elastic material and slender it is Timoshenko's beam."""
    monkeypatch.chdir(tmp_path)
    text = re.search(r"^```toml\n(.*?)^```", STRUCTURES, flags=re.M | re.S)[1]
    image = 255 * (np.add.outer((np.arange(8) - 3.5) ** 2, (np.arange(8) - 3.5) ** 2) < 5).astype(np.uint8)
    skimage.io.imsave("cell.png", image, check_contrast=False)
    pathlib.Path("bend.toml").write_text(text)
    problem = io.read_problem("bend.toml")
    body = _problem.make_body(problem, _problem.make_mesh(problem), _problem.Options(problem=pathlib.Path("bend.toml")))
    assert (body.mesh.count, len(problem.loads), problem.micro) == (64, 10, (40,))
    a = text.index("image = "), text.index("[[material.phase]]")
    plain = text[: a[0]] + '[[material.phase]]\nlaw = "elastic"\nE = 70.0\nnu = 0.33\n\n' + text[text.index("[[condition]]") :]
    plain = (
        plain.replace("lengths = [8.0, 1.0]", "lengths = [40.0, 1.0]")
        .replace("micro = [40]", "")
        .replace("steps = 10", "steps = 1")
    )
    pathlib.Path("plain.toml").write_text(plain)
    assert cli.main(["fe2", "plain.toml", "--quiet", "--out", "o"]) == 0
    with open("o/curve.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    E, G, length = 70 / (1 - 0.33**2), 70 / 2.66, 40.0
    flexibility = length**3 / (48 * E / 12) + length / (4 * G * 5 / 6)
    # What the point loads press into the beam is of the order of its height over its length, squared.
    assert -float(row["force"]) == pytest.approx(0.1 / flexibility, rel=3e-3)


def test_the_tables_of_structures_are_complete():
    shapes = {row[0].strip("`"): row for row in _listed(STRUCTURES, "shape | numbers | sets")}
    assert {name: ("parts", *re.findall(r"`(\w+)`", row[1])) for name, row in shapes.items()} == SHAPES
    for name, row in shapes.items():
        parts = 2 if "`parts` is one" in row[2] else [2, 2]
        numbers = {"lengths": [2.0, 1.0], "inner": 1.0, "outer": 2.0, "radius": 0.4}
        taken = {k: v for k, v in numbers.items() if k in SHAPES[name]}
        mesh = _problem._SHAPES[name](parts, None, taken)
        assert set(re.findall(r"`(\w+)`", row[2])) - {"parts"} == {*mesh.facet_sets, *mesh.node_sets}, name
    kinds = {row[0].strip("`"): set(re.findall(r"`([\w-]+)`", row[1])) for row in _listed(STRUCTURES, "kind | keys | what")}
    assert {kind: keys | {"where"} for kind, keys in kinds.items()} == {k: set(keys) | {"where"} for k, keys in CONDITIONS.items()}


@pytest.mark.parametrize("page_name", sorted(p.name for p in DOCS.glob("*.md")))
def test_what_a_page_names_is_there(page_name):
    """`Name(` in a page is a public name of some room."""
    from jaxmsm import biology, bridges, inference, solids, solve, space

    public = {name for room in (msm, biology, bridges, inference, io, solids, solve, space) for name in vars(room)}
    text = re.sub(r"^```.*?^```", "", (DOCS / page_name).read_text(), flags=re.M | re.S)
    named = set(re.findall(r"`(?:msm\.)?(?:\w+\.)?([A-Z][A-Za-z0-9]+)\(", text))
    assert named <= public, named - public
