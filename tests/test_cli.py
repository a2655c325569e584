"""The command: an image to an effective law, bad input to one sentence, and nothing half-written."""

import ast
import dataclasses
import inspect
import itertools
import re
import subprocess
import sys
import tomllib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _command import LAMINATE, summary

import jaxmsm
from jaxmsm import cli, io, systems
from jaxmsm.bridges import PeriodicCell
from jaxmsm.solids import J2, Linear
from jaxmsm.solve import CG, NewtonKrylov
from jaxmsm.space import Full, MeanDilatation
from jaxmsm.systems._console import Console, Report
from jaxmsm.systems._fields import voxel_fields
from jaxmsm.systems._load_path import follow
from jaxmsm.systems._materials import make_laws
from jaxmsm.systems._options import Common


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with a laminate of 4 x 4 voxels (normal x, half and half)."""
    monkeypatch.chdir(tmp_path)
    np.save("laminate.npy", np.repeat(np.array([0, 0, 1, 1], np.uint8)[:, None], 4, 1))
    return tmp_path


def _files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_laminate_from_the_command_line(here, capsys):
    assert cli.main(["homogenize", "laminate.npy", "--E", "1", "10", "--nu", "0.3", "--out", "o"]) == 0
    found = summary(here / "o")
    periodic = found["numbers"]["effective"]["periodic"]
    # Plane-strain laminate E = 1/10, nu = 0.3 (issue 2, section 4); 1e-10 for the solver's 1e-8, squared in the tangent.
    for key, value in {"C11": 2.447552447552, "C12": 1.048951048951, "C22": 6.493506493506, "C66": 0.699300699301}.items():
        assert periodic[key] == pytest.approx(value, rel=1e-10)
    assert found["numbers"]["symmetry"] == "orthotropic"
    assert set(found["codes"].values()) == {"successful"}
    assert found["inputs"]["E"] == [1.0, 10.0]
    assert found["versions"]["jax"] == jax.__version__
    assert _files(here / "o") == ["fields.vti", "phases.png", "stress.png", "summary.json"]
    # Reuss <= traction <= periodic <= displacement <= Voigt, by eigenvalues; 1e-8 for the solver.
    tensors = found["numbers"]["tensors"]
    order = ("Reuss", "traction", "periodic", "displacement", "Voigt")
    for low, high in itertools.pairwise(order):
        assert np.linalg.eigvalsh(np.array(tensors[high]) - np.array(tensors[low]))[0] > -1e-8
    said = capsys.readouterr()
    assert "2.4476" in said.out
    assert "orthotropic (within 1 %)" in said.out
    for line in ("Periodic cell: C11 2.4476", "Uniform traction: C11", "Linear displacement: C11"):
        assert line in said.err
    fields, _ = io.read_vti(here / "o" / "fields.vti")
    # Stress normal to the layers is continuous: C1111 times the strain 0.01 everywhere.
    np.testing.assert_allclose(fields["stress"][0, 0], 0.02447552447552, rtol=1e-7)
    # Out of the plane sigma33 = nu (sigma11 + sigma22), the strain there being zero.
    s11, s22 = fields["stress"][0, 0], fields["stress"][1, 1]
    s33 = 0.3 * (s11 + s22)
    expected = np.sqrt(s11**2 + s22**2 + s33**2 - s11 * s22 - s22 * s33 - s33 * s11)
    np.testing.assert_allclose(fields["von_mises"], expected, rtol=1e-7)


def test_plastic_laminate_along_a_path(here):
    np.save("layers.npy", np.repeat((np.arange(31) >= 26).astype(np.uint8)[:, None], 2, 1))
    (here / "m.toml").write_text(LAMINATE)
    (here / "p.csv").write_text("e12\n0.02\n0.05\n")
    command = ["homogenize", "layers.npy", "--materials", "m.toml", "--path", "p.csv", "--no-brackets", "--out", "o"]
    assert cli.main(command) == 0
    pictures = {"curve.png", "phases.png", "stress.png", "path_stress.png"}
    assert set(_files(here / "o")) == pictures | {"path.csv", "fields.vti", "path_fields.vti", "summary.json"}
    found = summary(here / "o")
    # J2 laminate in pure shear (issue 2, section 4), printed to 8 digits; the solver stops at 1e-8 of the elastic residual.
    assert found["numbers"]["path"]["last_stress"][0][1] == pytest.approx(0.0076094684, rel=1e-7)
    assert found["codes"]["path"] == ["successful"] * 3
    # The stress that shears the layers is one; all of it flows.
    fields, _ = io.read_vti(here / "o" / "path_fields.vti")
    np.testing.assert_allclose(fields["stress"][0, 1], 0.0076094684, rtol=1e-7)
    np.testing.assert_allclose(fields["von_mises"], np.sqrt(3) * 0.0076094684, rtol=1e-7)
    np.testing.assert_allclose(fields["strain"][0, 1].mean(), 0.05, rtol=1e-12)
    assert found["numbers"]["path"]["peak"]["von Mises stress"] == pytest.approx(np.sqrt(3) * 0.0076094684, rel=1e-7)
    rows = (here / "o" / "path.csv").read_text().splitlines()
    assert rows[0] == "step,F11,F12,F21,F22,P11,P12,P21,P22,code"
    assert rows[1] == "0,1.0,0.0,0.0,1.0,0.0,0.0,0.0,0.0,successful"
    assert rows[3].startswith("2,") and rows[3].endswith(",successful")


@pytest.mark.parametrize("rule", [Full(), MeanDilatation()])
def test_fields_at_the_end_of_a_path_are_those_of_its_history(rule):
    law = J2(lam=1.5, mu=1.0, hardening=Linear(sy=0.01, H=0.05))
    image = np.zeros((2, 2), np.int32)
    F = np.eye(2) + np.array([0.03, 0.028])[:, None, None] * np.array([[1.0, 0.2], [0.2, 0.0]])
    path = io.LoadPath(F, np.zeros_like(F), np.ones((2, 2), bool), ("e11",))
    cell = PeriodicCell(image, [law], rule=rule)
    _, end = follow(cell, path, lambda: None)
    fields = voxel_fields(cell, image, [law], end.load, end.guess, end.state)
    # The law alone, in 3D, along the same path; 1e-12 for round-off.
    past = law.init()
    for step in F:
        P, past = law(jnp.eye(3).at[:2, :2].set(step), past)
    assert not np.allclose(P[2, 2], law(jnp.eye(3).at[:2, :2].set(F[1]), law.init())[0][2, 2], rtol=1e-2)
    deviator = P - np.trace(P) / 3 * np.eye(3)
    np.testing.assert_allclose(fields["stress"], np.broadcast_to(P[:2, :2, None, None], (2, 2, 2, 2)), rtol=1e-12)
    np.testing.assert_allclose(fields["von_mises"], np.sqrt(1.5 * np.sum(deviator**2)), rtol=1e-12)


def test_conduction_with_an_insulator(here):
    assert cli.main(["homogenize", "laminate.npy", "--k", "2", "0", "--out", "o", "--quiet"]) == 0
    found = summary(here / "o")["numbers"]
    # In parallel the mean of 2 and 0, in series nothing; 1e-10 for the solver.
    assert found["effective"]["periodic"]["k22"] == pytest.approx(1.0, rel=1e-10)
    assert found["effective"]["periodic"]["k11"] == 0
    assert found["tortuosity"][1] == pytest.approx(1.0, rel=1e-10)
    assert "flux.png" in _files(here / "o")


def test_single_precision_is_of_the_run_alone(here):
    command = [
        "homogenize",
        "laminate.npy",
        "--E",
        "1",
        "10",
        "--nu",
        "0.3",
        "--no-brackets",
        "--precision",
        "float32",
        "--out",
        "o",
    ]
    assert cli.main(command) == 0
    assert jax.config.jax_enable_x64
    # float32: round-off 1e-7 times the contrast.
    assert summary(here / "o")["numbers"]["effective"]["periodic"]["C11"] == pytest.approx(2.447552, rel=1e-5)
    assert cli.main([*command[:-1], "p", "--precision", "mixed"]) == 0
    # Corrected in float64: as good as float64 alone.
    assert summary(here / "p")["numbers"]["effective"]["periodic"]["C11"] == pytest.approx(2.447552447552, rel=1e-8)


_GOOD = "[[phase]]\nlabel = 0\nlaw = 'elastic'\nE = 1.0\nnu = 0.3\n[[phase]]\nlabel = 1\nlaw = 'elastic'\nE = 1.0\nnu = 0.3\n"
_FLAGS = ["--E", "1", "10", "--nu", "0.3"]


def _npy(name, values):
    return lambda: np.save(name, values)


def _text(name, text):
    def write():
        with open(name, "w") as file:
            file.write(text)

    return write


def _cut():
    np.save("cut.npy", np.zeros((8, 8)))
    with open("cut.npy", "r+b") as file:
        file.truncate(200)


@pytest.mark.parametrize(
    ("prepare", "arguments", "sentence"),
    [
        (None, ["gone.png", *_FLAGS], "The image gone.png does not exist."),
        (_cut, ["cut.npy", *_FLAGS], "The image cut.npy cannot be read: it is truncated"),
        (_npy("line.npy", np.zeros(9, int)), ["line.npy", *_FLAGS], "must have 2 or 3 axes, but its shape is (9,)."),
        (_npy("nan.npy", np.array([[0, np.nan], [1, 1]])), ["nan.npy", *_FLAGS], "1 of its 4 voxels are NaN or infinite."),
        (
            None,
            ["laminate.npy", *_FLAGS, "--labels", "0", "5"],
            "Phase 1 is absent: the image has no voxel of label 5; it has 0, 1.",
        ),
        (None, ["laminate.npy", *_FLAGS, "--thresholds", "7"], "Phase 1 is absent: no voxel lies at or above the threshold 7"),
        (None, ["laminate.npy", "--E", "1", "--nu", "0.3"], "the image has 2 phases and the materials 1."),
        (None, ["laminate.npy", "--E", "nan", "1", "--nu", "0.3"], "`E` must be finite, but is nan."),
        (None, ["laminate.npy", "--E", "-1", "1", "--nu", "0.3"], "`E` must not be negative, but is -1 (zero is a pore)."),
        (None, ["laminate.npy", "--E", "1", "1", "--nu", "0.5"], "`nu` must lie between -1 and 0.5"),
        (None, ["laminate.npy", "--k", "1", "-2"], "`k` must not be negative, but is -2"),
        (None, ["laminate.npy"], "Give the materials as --materials FILE, as --E ... --nu ... or as --k ..., one of the three."),
        (None, ["laminate.npy", *_FLAGS, "--spacing", "1", "0"], "Flag --spacing must be 2 positive lengths"),
        (None, ["laminate.npy", *_FLAGS, "--load", "0.1"], "Flag --load must have 3 numbers for this image, but has 1."),
        (None, ["laminate.npy", *_FLAGS, "--load", "inf", "0", "0"], "Flag --load must be finite"),
        (None, ["laminate.npy", "--k", "1", "2", "--plane-stress"], "Plane stress is for mechanics of 2D images"),
        (None, ["laminate.npy", "--materials", "gone.toml"], "The materials gone.toml do not exist."),
        (_text("m.toml", _GOOD + "Y = 1\n"), ["laminate.npy", "--materials", "m.toml"], "the key `Y` is not known; known are"),
        (_text("m.toml", "[[phase]]\nlaw='rubber'\n"), ["laminate.npy", "--materials", "m.toml"], "the law `rubber` is not known"),
        (_text("m.toml", _GOOD), ["laminate.npy", "--materials", "m.toml", *_FLAGS], "as --materials FILE or as flags"),
        (_text("p.csv", "e11\n0.1\nnan\n"), ["laminate.npy", *_FLAGS, "--path", "p.csv"], "`e11` in line 3 is nan."),
        (_text("p.csv", "x\n0\n"), ["laminate.npy", *_FLAGS, "--path", "p.csv"], "has a column `x`, but columns are called"),
        (_text("taken", ""), ["laminate.npy", *_FLAGS, "--out", "taken"], "must be a folder, but taken is a file."),
        (None, ["laminate.npy", *_FLAGS, "--out", "."], "must be a new or an empty folder"),
    ],
)
def test_bad_input_gets_a_sentence_and_leaves_nothing(here, capsys, prepare, arguments, sentence):
    if prepare:
        prepare()
    before = _files(here)
    assert cli.main(["homogenize", *arguments]) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert "Traceback" not in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert said.out == ""
    assert _files(here) == before


def _island():
    """A stiff island in a matrix of pores, where a solver leaves noise of a stiffness of zero."""
    image = np.zeros((8, 8), np.uint8)
    image[2:6, 1:5] = image[3, 5] = 1
    np.save("island.npy", image)


@pytest.mark.parametrize(
    ("image", "E", "path", "component"),
    [
        # Layers of void in series carry neither a stress normal to them nor a shear.
        ("laminate.npy", ("1", "0"), "e22,P11,P12\n0.0,0.1,0.0\n", "1[12]"),
        ("island.npy", ("0", "1"), "P11,P22\n0.1,0.0\n", "(11|22)"),
    ],
)
def test_stress_on_a_mechanism_is_refused(here, capsys, image, E, path, component):
    _island()
    (here / "p.csv").write_text(path)
    before = _files(here)
    command = ["homogenize", image, "--E", *E, "--nu", "0.3", "--no-brackets", "--path", "p.csv", "--out", "o"]
    assert cli.main([*command, "--quiet"]) == 2
    said = capsys.readouterr().err
    assert re.search(rf"imposes the stress P{component}, against which the image has no stiffness \(a mechanism\)", said)
    assert _files(here) == before


@pytest.mark.parametrize("materials", [("--E", "0", "1", "--nu", "0.3"), ("--k", "0", "1")])
def test_what_carries_nothing_is_zero_and_named(here, capsys, materials):
    _island()
    assert cli.main(["homogenize", "island.npy", *materials, "--out", "o", "--quiet"]) == 0
    found, said = summary(here / "o"), capsys.readouterr().out
    for name in ("traction", "periodic", "displacement"):
        assert not np.any(found["numbers"]["tensors"][name])
        assert found["codes"][f"{name} condition"] == "no_load_path"
        assert found["numbers"]["solves"][name]["hill_mandel"] is None
        assert f"With the {name} condition the image carries no load (`no_load_path`)." in said
        assert {v for key, v in found["numbers"]["effective"][name].items() if key[0] in "Ck"} == {0}
        assert {v for key, v in found["numbers"]["effective"][name].items() if key[0] in "EnG"} <= {None}
    assert found["numbers"].get("symmetry") is None
    assert "the law is" not in said


def test_failed_solve_is_named(here, capsys, monkeypatch):
    monkeypatch.setattr(Common, "solver", lambda self, rtol=None: NewtonKrylov(linear=CG(max_steps=1), max_steps=1))
    np.save("random.npy", np.random.default_rng(0).permutation(np.arange(16) % 2).reshape(4, 4))
    command = ["homogenize", "random.npy", *_FLAGS, "--no-brackets", "--out", "o"]
    assert cli.main(command) == 1
    assert "The solve failed (periodic condition) with `" in capsys.readouterr().err
    found = summary(here / "o")
    assert found["codes"]["periodic condition"] not in ("successful", "not_run")
    assert found["numbers"]["effective"]["periodic"]["C11"] is None
    assert not (here / "o" / "fields.vti").exists()


def _law(text, d=2, **how):
    entry = tomllib.loads(text)
    return make_laws(io.Materials((io.make_phase(entry),)), d, **how)[0]


def test_numbers_become_laws():
    F = jnp.array([[1.01, 0.02], [0.0, 0.99]])
    E = "law = 'elastic'\nE = 2.0\nnu = 0.25\n"
    # lam = mu = 0.8 at nu = 1/4.
    expected = np.array([[0.016, 0.016], [0.016, -0.016]])
    np.testing.assert_allclose(_law(E)(F, ())[0], expected, atol=1e-15)
    np.testing.assert_allclose(_law("law = 'elastic'\nlam = 0.8\nmu = 0.8\n")(F, ())[0], expected, atol=1e-15)
    np.testing.assert_allclose(_law("law = 'elastic'\nK = 1.3333333333333333\nG = 0.8\n")(F, ())[0], expected, atol=1e-15)
    # Plane stress: sigma11 = E / (1 - nu^2) (e11 + nu e22).
    plane = _law(E, plane_stress=True)(F, ())[0]
    np.testing.assert_allclose(plane[0, 0], 2.0 / (1 - 0.25**2) * (0.01 - 0.0025), rtol=1e-12)
    # Swelling, held back in all directions: sigma = -3 K alpha.
    swollen = _law(E + "eigenstrain = 0.1", 3)(jnp.eye(3), ())[0]
    np.testing.assert_allclose(swollen, -0.1 * (3 * 0.8 + 2 * 0.8) * np.eye(3), rtol=1e-12, atol=1e-15)


def test_angle_turns_the_material():
    text = (
        "law = 'orthotropic'\nE1 = 9.0\nE2 = 1.0\nE3 = 1.0\nnu12 = 0.0\nnu13 = 0.0\nnu23 = 0.0\nG12 = 1.0\nG13 = 1.0\nG23 = 1.0\n"
    )
    F = jnp.diag(jnp.array([1.0, 1.01]))
    np.testing.assert_allclose(_law(text)(F, ())[0], np.diag([0, 0.01]), atol=1e-15)
    # Its stiff axis, turned by 90 degrees, is the second one of the image; about the first one nothing comes of it.
    np.testing.assert_allclose(_law(text + "angle = 90")(F, ())[0], np.diag([0, 0.09]), atol=1e-15)
    np.testing.assert_allclose(_law(text + "angle = 90\naxis = [1, 0, 0]")(F, ())[0], np.diag([0, 0.01]), atol=1e-15)


def test_conductivity_of_every_axis():
    np.testing.assert_allclose(_law("law = 'conductivity'\nk = [1, 2]")(jnp.ones(2), ())[0], [1, 2])
    with pytest.raises(io.InputError, match="must be one number or 3, one an axis of the image, but has 2"):
        _law("law = 'conductivity'\nk = [1, 2]", 3)


def test_wrong_flag_and_help(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["homogenize", "a.npy", "--bogus"])
    assert stopped.value.code == 2
    with pytest.raises(SystemExit) as stopped:
        cli.main(["nonsense"])
    assert stopped.value.code == 2
    capsys.readouterr()
    for command in ([], ["--help"], ["homogenize", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(command)
        assert stopped.value.code == 0
        assert "jaxmsm" in capsys.readouterr().out


def test_the_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"jaxmsm {jaxmsm.__version__}\n"


def test_list_names_every_system(capsys):
    assert cli.main(["list"]) == 0
    said = capsys.readouterr().out
    for name in systems.COMMANDS:
        assert f"jaxmsm {name}" in said
    for name in systems.SYSTEMS:
        assert f"jaxmsm run {name}" in said


def test_every_system_has_options_that_are_explained():
    for system in (systems.COMMANDS | systems.SYSTEMS).values():
        module = system.load()
        assert issubclass(module.Options, Common)
        assert callable(module.run)
        body = ast.parse(inspect.getsource(module.Options)).body[0].body
        for k, line in enumerate(body):
            if isinstance(line, ast.AnnAssign):
                following = body[k + 1] if k + 1 < len(body) else None
                assert isinstance(following, ast.Expr), f"{system.module}: `{line.target.id}` has no help"
                assert isinstance(following.value.value, str)


def test_help_imports_no_system():
    code = (
        "import sys; from jaxmsm import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(any(n in sys.modules for n in ('jaxmsm.systems._homogenize', 'matplotlib', 'skimage')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


# A named system, as others will write them.


@dataclasses.dataclass(kw_only=True)
class _Options(Common):
    """A story."""

    end: str = "well"
    """How it ends, without unit."""


def _story(options, out, console):
    (out / "data").write_text("x")
    with console.progress("working", 2) as step:
        step()
    if options.end == "interrupted":
        raise KeyboardInterrupt
    if options.end == "refused":
        raise ValueError("Argument `end` must be good, but it is not.")
    if options.end == "defect":
        raise ValueError("operands could not be broadcast")
    if options.end == "missing":
        raise ModuleNotFoundError("Pictures need matplotlib: run `pip install 'jaxmsm[files]'`.")
    code = {"failed": "stagnation", "some": ["stagnation", "successful"]}.get(options.end, "successful")
    return Report("Story", ("what", "value"), [("one", "1")], {"one": 1}, {"all": code})


def test_progress_without_a_screen_is_a_line_now_and_then(capsys, monkeypatch):
    now = iter([0.0, 4.0, 12.0, 30.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    console = Console()
    with console.progress("steps", 8) as step:
        step(1, "the first")
        step(1, "the second")
        step(2)
    assert capsys.readouterr().err.splitlines() == [
        "steps ...",
        "  2/8, 0:00:12, 0:00:36 left: the second",
        "  4/8, 0:00:30, 0:00:30 left",
    ]


@pytest.fixture(params=[False, True], ids=["whole", "resumes"])
def story(request, monkeypatch):
    module = types.SimpleNamespace(Options=_Options, run=_story)
    system = systems.System("_story", "A story.", resumes=request.param)
    monkeypatch.setattr(systems.System, "load", lambda self: module)
    monkeypatch.setitem(systems.SYSTEMS, "story", system)
    return system


@pytest.mark.parametrize(
    ("end", "code", "sentence"),
    [
        ("well", 0, "Written to o: data, summary.json"),
        ("some", 0, "Written to o"),
        ("failed", 1, "The solve failed (all) with `stagnation`"),
        ("interrupted", 130, "Interrupted."),
        ("refused", 2, "Argument `end` must be good"),
        ("missing", 2, "pip install 'jaxmsm[files]'"),
    ],
)
def test_how_a_run_ends(here, capsys, story, end, code, sentence):
    assert cli.main(["run", "story", "--end", end, "--out", "o"]) == code
    assert sentence in capsys.readouterr().err
    written = code in (0, 1)
    assert (here / "o" / "summary.json").exists() == written
    # What resumes keeps what it has; what does not leaves all or nothing.
    assert (here / "o").exists() == (written or story.resumes)
    assert not [name for name in _files(here) if name.endswith(".part")]


def test_a_defect_is_not_dressed_up_as_bad_input(here, story):
    with pytest.raises(ValueError, match="broadcast"):
        cli.main(["run", "story", "--end", "defect", "--out", "o"])


def test_default_folder_is_fresh(here, story):
    assert cli.main(["run", "story"]) == 0
    assert cli.main(["run", "story"]) == 0
    assert len(list((here / "results").glob("story-*/summary.json"))) == 2
