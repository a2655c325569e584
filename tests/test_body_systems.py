"""Structures through the command: a plate of living cells, a problem of one's own, runs that are killed, and designed cells."""

import csv
import os
import re
import signal
import subprocess
import sys
import time

import jax
import meshio
import numpy as np
import pytest
from _command import summary
from test_mesh_files import GMSH2

from jaxmsm import cli, io
from jaxmsm.space import integration

LAYERS = {"C11": 2.447552447552, "C12": 1.048951048951, "C22": 6.493506493506, "C66": 0.699300699301}
"""The exact laminate of README's table: normal x, E 1 and 10 in equal parts, nu .3, plane strain."""

STRIP = """
[mesh]
file = "strip.msh"

[[material]]
image = "layers.npy"
[[material.phase]]
label = 0
law = "elastic"
E = 1.0
nu = 0.3
[[material.phase]]
label = 1
law = "elastic"
E = 10.0
nu = 0.3

[[condition]]
kind = "fixed"
where = "left"
axes = [0]
[[condition]]
kind = "fixed"
where = "corner"
[[condition]]
kind = "moved"
where = "right"
axes = [0]
value = 2.0

[path]
loads = [0.001, 0.002]
curve = { where = "right", axis = 0 }
micro = [0]
"""
"""The strip of two squares, its length two, pulled along it; its long sides are free."""

METAL = STRIP.replace(STRIP[STRIP.index("image") : STRIP.index("[[condition]]")], '''
[[material.phase]]
law = "j2"
E = 1.0
nu = 0.3
sy = 0.004
H = 0.1

''').replace("micro = [0]", "")  # fmt: skip
"""The same of a metal."""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("layers.npy", np.repeat(np.array([0, 0, 1, 1], np.uint8)[:, None], 4, 1))
    squares = GMSH2.replace("6\n1 15", "5\n1 15").replace("5 2 2 5 2 2 3 6\n6 2 2 5 2 2 6 5", "5 3 2 5 2 2 3 6 5")
    (tmp_path / "strip.msh").write_text(squares)
    return tmp_path


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def column(path, name):
    return np.array([float(row[name]) for row in table(path)])


MOVED = [0.0005, 0.001, 0.0015, 0.002, 0.0025, 0.003, 0.0025, 0.002]


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    out = tmp_path_factory.mktemp("plate") / "o"
    small = ["--parts", "2", "2", "--voxels", "4", "--steps", "6", "--stretch", "0.003", "--micro", "5"]
    assert cli.main(["run", "fe2", *small, "--out", str(out), "--quiet"]) == 0
    return out


def test_a_plate_yields_and_unloads(plate):
    force, moved = column(plate / "curve.csv", "force"), column(plate / "curve.csv", "displacement")
    np.testing.assert_allclose(moved, MOVED, rtol=1e-12)
    assert [row["code"] for row in table(plate / "curve.csv")] == ["successful"] * 8
    slopes = np.diff(np.append(0, force)) / np.diff(np.append(0, moved))
    # The last step up flows; what is let go of is as stiff as what was never loaded.
    assert slopes[5] < 0.6 * slopes[0]
    np.testing.assert_allclose(slopes[6:], slopes[0], rtol=5e-3)
    assert np.all(slopes <= (1 + 1e-6) * slopes[0])


def test_the_fields_of_a_plate(plate):
    force = column(plate / "curve.csv", "force")
    for k, moved in enumerate(MOVED):
        found = meshio.read(plate / f"macro_{k:06d}.vtu")
        edge = found.points[:, 0] > 1 - 1e-9
        np.testing.assert_allclose(found.point_data["displacement"][edge, 0], moved, rtol=1e-12)
        np.testing.assert_allclose(found.point_data["displacement"][found.points[:, 0] < 1e-9, 0], 0, atol=1e-15)
        mesh = io.read_mesh(plate / f"macro_{k:06d}.vtu")
        # The work of the stress on a uniform stretch is the force on the edge times the stretch, corrected by what the hole's edge
        # leaves out: the bottom alone holds across, so the first column of the stress works against x.
        weights = np.concatenate([np.asarray(integration(mesh.points, b).weights).sum(0) for b in mesh.blocks])
        stress = np.concatenate(found.cell_data["stress"]).reshape(-1, 3, 3)
        assert np.sum(weights * stress[:, 0, 0]) == pytest.approx(force[k], rel=1e-6)
        fields, _ = io.read_vti(plate / f"micro_5_{k:04d}.vti")
        assert fields["stress"].shape[2:4] == (4, 4)
    assert "macro_000007.vtu" in (plate / "macro.pvd").read_text()
    assert {p.name for p in plate.glob("*.png")} == {"cell.png", "curve.png", "hottest.png", "macro.png"}
    hot = summary(plate)["numbers"]["hottest"]
    # At the rim, where the hole is widest across the pull.
    assert np.hypot(*hot["position"]) < 0.6 and hot["position"][0] < hot["position"][1]


def test_a_strip_of_laminate_is_exact(here, capsys):
    (here / "p.toml").write_text(STRIP)
    assert cli.main(["fe2", "p.toml", "--out", "o"]) == 0
    E = LAYERS["C11"] - LAYERS["C12"] ** 2 / LAYERS["C22"]
    np.testing.assert_allclose(column(here / "o" / "curve.csv", "force"), E * np.array([0.001, 0.002]), rtol=1e-7)
    found = meshio.read(here / "o" / "macro_000001.vtu")
    across = found.point_data["displacement"][:, 1]
    # It narrows by C12 / C22 of the strain.
    np.testing.assert_allclose(across, -0.002 * LAYERS["C12"] / LAYERS["C22"] * found.points[:, 1], atol=1e-10)
    fields, _ = io.read_vti(here / "o" / "micro_0_0001.vti")
    np.testing.assert_allclose(fields["stress"][0, 0], 0.002 * E, rtol=1e-7)
    said = capsys.readouterr()
    assert "2 elements, 8 points, 12 unknowns" in said.out and "p.toml" in said.out
    assert "steps" in said.err


def test_a_killed_run_goes_on_with_the_same_bits(here):
    loads = "loads = [" + ", ".join(f"{0.0001 * k}" for k in range(1, 201)) + "]"
    (here / "p.toml").write_text(METAL.replace("loads = [0.001, 0.002]", loads))
    cache = {"JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3"}
    command = [sys.executable, "-m", "jaxmsm.cli", "fe2", "p.toml", "--quiet", "--out", "o"]
    running = subprocess.Popen(command, cwd=here, env=os.environ | cache)
    deadline = time.monotonic() + 120
    while not (here / "o" / "macro_000003.vtu").exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert 3 <= len(list((here / "o").glob("macro_*.vtu"))) < 200
    assert cli.main(["fe2", "p.toml", "--quiet", "--out", "o"]) == 0
    assert cli.main(["fe2", "p.toml", "--quiet", "--out", "whole"]) == 0
    assert (here / "o" / "curve.csv").read_bytes() == (here / "whole" / "curve.csv").read_bytes()
    last = [meshio.read(here / name / "macro_000199.vtu").cell_data["stress"] for name in ("o", "whole")]
    np.testing.assert_array_equal(*last)
    # Past the yield stress in plane strain, sy / sqrt(1 - nu + nu^2), it bends off.
    force = column(here / "o" / "curve.csv", "force")
    assert np.diff(force)[0] > 3 * np.diff(force)[-1] > 0


def test_a_point_that_fails_cuts_the_step_and_is_named(here, capsys):
    # In one step the prediction turns an element inside out, in halves it does not.
    text = METAL.replace(
        METAL[METAL.index('law = "j2"') : METAL.index("[[condition]]")], 'law = "neo-hookean"\nE = 1.0\nnu = 0.3\n'
    )
    text = text.replace("axes = [0]\nvalue = 2.0", "axes = [0, 1]\nvalue = [-2.5, 2.0]").replace(
        "loads = [0.001, 0.002]", "loads = [1.0]"
    )
    (here / "p.toml").write_text(text)
    assert cli.main(["fe2", "p.toml", "--out", "o"]) == 0
    found = summary(here / "o")
    assert found["codes"]["steps"] == ["successful"]
    (line,) = found["numbers"]["failures"]
    place = re.search(r"Step 1: point (\d+) \(element (\d+), at ([\d.]+), ([\d.]+)\) failed with `out_of_range`", line)
    assert place and line in " ".join(capsys.readouterr().err.split())
    # It is still told where the run goes on after a kill.
    assert (here / "o" / "failures.txt").read_text() == line + "\n"
    (here / "o" / "summary.json").unlink()
    assert cli.main(["fe2", "p.toml", "--out", "o"]) == 0
    assert summary(here / "o")["numbers"]["failures"] == [line]
    element, x = int(place[2]), float(place[3])
    # A unit square each; of the points the elements count fastest.
    assert int(place[1]) % 2 == element and {int(x) for x in io.read_mesh("strip.msh").points[:, 0]} == {0, 1, 2}
    corners = io.read_mesh("strip.msh").points[io.read_mesh("strip.msh").blocks[0].nodes[element], 0]
    assert corners.min() <= x <= corners.max()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[mesh]", "[mash]", "`mash`"),
        ('file = "strip.msh"', 'file = "no.msh"', "does not exist"),
        ('file = "strip.msh"', 'file = "strip.msh"\nshape = "box"', "one of the two"),
        ('file = "strip.msh"', 'shape = "bax"\nparts = [1, 1]', "Did you mean `box`"),
        ('file = "strip.msh"', 'shape = "box"\nparts = [1]', "cannot be made|axes"),
        ('file = "strip.msh"', 'shape = "box"\nparts = [1.5, 2]', "`parts` must hold positive whole numbers"),
        ('image = "layers.npy"', "image = 3", "material 0: `image` must be text"),
        ("E = 10.0", "Eh = 10.0", "Eh"),
        ('where = "corner"', 'where = "korner"', "korner"),
        ('kind = "moved"', 'kind = "mooved"', "Did you mean `moved`"),
        ("axes = [0]\nvalue", "value", "needs the key `axes`"),
        ("axis = 0", "axis = 2", "must be one of 0 to 1"),
        ("loads = [0.001, 0.002]", "loads = []", "must be a list of numbers"),
        ("micro = [0]", "micro = [8]", "The point 8 holds no cell .* Points that do: 0 to 7"),
        ('image = "layers.npy"', "", "without an `image` there is one phase"),
        ("[[condition]]", "[[condition]", "is not TOML"),
        ("label = 1", "label = 3", "3"),
        ('file = "strip.msh"', 'file = "strip.msh"\nthickness = 0', "`thickness` must be positive"),
        ('file = "strip.msh"', 'file = "strip.msh"\nplane_stress = "no"', "`plane_stress` must be true or false"),
        ('file = "strip.msh"', 'shape = "box"\nparts = [1, 1]\nelement = "line"', "`element` must be one of triangle,"),
        ('where = "corner"', "where = 3", "`where` must be the name of a set, but is 3"),
        ("axes = [0]\nvalue = 2.0", 'axes = ["x"]\nvalue = 2.0', "`axes` must be a list of axes from 0"),
        ("axes = [0]\nvalue = 2.0", 'axes = [0]\nvalue = "a"', "`value` must be a finite number, but is 'a'"),
        ("axes = [0]\nvalue = 2.0", "axes = [0, 1]\nvalue = [2.0]", r"must have shape \(\) or \(2,\), but has \(1,\)"),
    ],
)
def test_a_bad_problem_gets_a_sentence(here, capsys, old, new, sentence):
    assert old in STRIP
    (here / "p.toml").write_text(STRIP.replace(old, new, 1))
    assert cli.main(["fe2", "p.toml", "--out", "o"]) == 2
    said = capsys.readouterr().err
    assert re.search(sentence, " ".join(said.split())), said
    assert not (here / "o").exists()


def test_designed_cells_are_what_they_are_said_to_be(here):
    assert cli.main(["run", "metamaterial", "--size", "32", "--radius", "2", "--steps", "25", "--quiet", "--out", "o"]) == 0
    found = summary(here / "o")["numbers"]["designs"]
    for name in ("poisson", "bulk"):
        image = np.load(here / "o" / f"{name}_image.npy")
        assert image.shape == (32, 32) and image.mean() <= 0.5
        assert found[name]["volume"] == pytest.approx(image.mean(), rel=1e-12)
        # The numbers of the design, by the command for images.
        np.save("cell.npy", image)
        assert cli.main(["homogenize", "cell.npy", "--E", "0", "1", "--nu", "0.3", "--no-brackets", "--quiet", "--out", name]) == 0
        C = summary(here / name)["numbers"]["effective"]["periodic"]
        assert found[name]["x1"]["poisson"] == pytest.approx(C["C12"] / C["C11"], abs=1e-6)
        assert (here / "o" / f"{name}.gif").read_bytes()[:6] in (b"GIF87a", b"GIF89a")
    assert found["poisson"]["x1"]["poisson"] < -0.1
    assert 0.95 < found["bulk"]["x1"]["bulk_over_bound"] <= 1
