"""The named systems through the command: small, checked against what is known without them."""

import contextlib
import importlib.util
import itertools
import pathlib
import re
import sys
import types
from io import StringIO

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _command import LAMINATE, summary

import jaxmsm as msm
from jaxmsm import cli, io, systems
from jaxmsm.solve import NewtonKrylov
from jaxmsm.systems import _campaigns, _dataset, _electrode, _masonry


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def masonry(tmp_path_factory):
    out = tmp_path_factory.mktemp("masonry") / "o"
    small = ["--grid", "128", "--windows", "96", "256", "--count", "3", "--steps", "4"]
    with contextlib.redirect_stdout(_Screen()) as screen, pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        assert cli.main(["run", "masonry", *small, "--out", str(out), "--quiet"]) == 0
    (out / "said.txt").write_text(screen.getvalue())
    return out


class _Screen(StringIO):
    """What rich takes for a screen."""

    def isatty(self):
        return True


def test_the_table_fits_a_screen(masonry):
    said = (masonry / "said.txt").read_text()
    assert "C66, windows 256 px" in said
    assert "…" not in said
    assert "K (HS, if isotropic)" in said and "standard dev." in said
    assert "hence C11, C22, C66, E and G" in said and "perspective" in said and "axis 1 down the picture" in said


def test_the_photograph_is_segmented_into_bricks_in_mortar():
    from skimage import measure

    photo = _masonry.photograph()
    mortar = _masonry.segment(photo)
    # Mortar is the brighter part, and one connected net; the bricks are apart. Counted by eye: 15 columns of 5 to 8 bricks.
    assert photo[mortar].mean() > 1.3 * photo[~mortar].mean()
    assert measure.label(mortar).max() == 1
    assert 80 <= measure.label(~mortar, connectivity=1).max() <= 110
    # Joints of some 5 to 8 of 32 pixels across and 6 of 100 along leave 15 to 25 % of mortar.
    assert 0.15 < mortar.mean() < 0.25


@pytest.mark.parametrize("n", [24, 128])
def test_a_coarser_grid_keeps_the_fraction(n):
    mortar = np.zeros((512, 512), bool)
    mortar[:, ::8] = True
    # To half a voxel.
    assert abs(_masonry.coarsen(mortar, n).mean() - 0.125) <= 0.5 / n**2


def test_masonry_lies_between_its_brackets(masonry):
    found = summary(masonry)
    numbers = found["numbers"]
    order = ("Reuss", "traction", "periodic", "displacement", "Voigt")
    for low, high in itertools.pairwise(order):
        gap = np.linalg.eigvalsh(np.array(numbers["tensors"][high]) - np.array(numbers["tensors"][low]))
        # 1e-8: the solver's residual.
        assert gap[0] > -1e-8 * numbers["tensors"]["Voigt"][0][0]
    # The isotropic mixture of the same fractions, from formulas alone.
    f = numbers["mortar_fraction"]["grid"]
    E, nu = np.array([11000.0, 2200.0]), np.array([0.2, 0.25])
    G = E / (2 * (1 + nu))
    assert numbers["tensors"]["Voigt"][2][2] == pytest.approx((1 - f) * G[0] + f * G[1], rel=1e-12)
    assert numbers["tensors"]["Reuss"][2][2] == pytest.approx(1 / ((1 - f) / G[0] + f / G[1]), rel=1e-12)
    # Bricks are long along axis 1.
    assert numbers["effective"]["periodic"]["E1"] > numbers["effective"]["periodic"]["E2"]
    assert set(found["codes"]["periodic condition"].split()) == {"successful"}
    assert "jaxmsm" in found["versions"]


def test_every_window_lies_between_its_brackets(masonry):
    rows = np.load(masonry / "windows.npz")
    # Voxels are as large as those of the whole, 4 pixels.
    assert rows["image_96"].shape == (3, 24, 24)
    assert rows["image_256"].shape == (3, 64, 64)
    assert rows["size"].tolist() == [96] * 3 + [256] * 3
    for low, high in (("C_traction", "C_periodic"), ("C_periodic", "C_displacement")):
        for a, b in zip(rows[low], rows[high], strict=True):
            assert np.linalg.eigvalsh(b - a)[0] > -1e-8 * b[0, 0]
    laws = _masonry.elastic_laws(_masonry.Options())
    _, slope = msm.PeriodicCell(rows["image_96"][1], laws).linearize(jnp.eye(2))
    # Columns are solved to the root of 1e-8 and corrected.
    np.testing.assert_allclose(
        msm.solids.to_voigt(slope), rows["C_periodic"][1], rtol=1e-6, atol=1e-6 * rows["C_periodic"][1][0, 0]
    )
    spread = summary(masonry)["numbers"]["windows"]
    assert spread[1]["periodic"]["C11"]["mean"] == pytest.approx(rows["C_periodic"][3:, 0, 0].mean(), rel=1e-12)


def test_mortar_yields_and_unloads(masonry):
    found = summary(masonry)
    path = found["numbers"]["path"]
    stress, shear = np.array(path["stress"]), np.array(path["shear"])
    # It starts unloaded, along the elastic line: 2 % for the rule of integration and the first points of a few joints that yield.
    assert (shear[0], stress[0]) == (0, 0)
    assert stress[1] == pytest.approx(path["elastic_slope"] * shear[1], rel=0.02)
    assert shear[4] == pytest.approx(0.002, rel=1e-12)
    # Past its yield the mortar gives way, far below the elastic line; on the way back the elastic slope is there again. The
    # plastic cell has the mean-dilatation rule and so is a little softer than the elastic one of the full rule.
    assert stress[4] < 0.5 * path["elastic_slope"] * shear[4]
    assert path["unloading_secant"] == pytest.approx(path["elastic_slope"], rel=0.05)
    # No cut through the mortar net bears less than its cohesion.
    assert stress[4] > 0.35
    assert any("hardening" in note for note in found["notes"])
    assert found["codes"]["windows, traction condition"] == {"successful": 6}
    assert found["numbers"]["units"]["moduli and stresses"] == "MPa" and found["seconds"] > 0
    files = {p.name for p in masonry.iterdir()}
    assert {"path_fields.vti", "path_stress.png", "path_strain.png"} <= files
    assert {"phases.png", "segmentation.png", "stress.png", "scatter_C11.png", "curve.png", "path.csv", "fields.vti"} <= files


def _layers(n=12, m=8):
    """Particles (1) in layers normal to axis 1 beside pores (0); the pores are straight channels along axes 2 and 3."""
    return np.repeat((np.arange(n) % 4 < 2).astype(np.uint8), m * m).reshape(n, m, m)


def test_straight_channels_have_tortuosity_one(here):
    np.save("layers.npy", _layers())
    command = ["run", "electrode", "--image", "layers.npy", "--labels", "0", "1", "--sizes", "4", "8", "--counts", "3", "2"]
    command += ["--rtol", "1e-9", "--quiet"]
    assert cli.main([*command, "--out", "o"]) == 0
    found = summary(here / "o")
    assert found["numbers"]["fractions"] == {"pore": 0.5, "particle": 0.5}
    for size, entry in zip((4, 8), found["numbers"]["by_size"], strict=True):
        own = entry["numbers"]
        for axis in (2, 3):
            # 1e-8: the solver's residual, 1e-9.
            assert own[f"tortuosity {axis}"] == {
                "mean": pytest.approx(1, rel=1e-8),
                "deviation": pytest.approx(0, abs=1e-8),
                "count": entry["count"],
            }
        # Across the layers nothing passes: a code, not a number.
        assert own["tortuosity 1"] == {"mean": None, "deviation": None, "count": 0}
        assert entry["codes"]["conduction 1"] == {"no_load_path": entry["count"]}
        assert own["k1 / k0"]["mean"] == 0
        # Of all together: 1 along the channels, none across.
        assert entry["tortuosity_of_means"] == [None, pytest.approx(1, rel=1e-8), pytest.approx(1, rel=1e-8)]
        assert entry["codes"]["elasticity"] == {"successful": entry["count"]}
        # Free plates in parallel: in their plane half of E / (1 - nu^2) and of G, across nothing.
        rows = io.read_store(here / "o" / f"elasticity_{size}.zarr")
        E, nu = 140.0, 0.3
        expected = {
            (1, 1, 1, 1): E / (1 - nu**2),
            (1, 1, 2, 2): nu * E / (1 - nu**2),
            (1, 2, 1, 2): E / (2 * (1 + nu)),
            (0, 0, 0, 0): 0,
            (0, 1, 0, 1): 0,
        }
        for place, value in expected.items():
            # 1e-6 of E: the columns are solved to the root of the residual, 3e-5, and corrected.
            np.testing.assert_allclose(rows["stiffness"][:, *place], 0.5 * value, rtol=0, atol=1e-6 * E)
    assert {"phases.png", "stress.png", "moduli.png", "tortuosity.png"} <= {p.name for p in (here / "o").iterdir()}
    # The same again solves nothing; other options are refused.
    before = io.read_store(here / "o" / "elasticity_4.zarr")
    assert cli.main([*command, "--out", "o"]) == 0
    np.testing.assert_array_equal(io.read_store(here / "o" / "elasticity_4.zarr")["stiffness"], before["stiffness"])
    assert cli.main([*command, "--out", "o", "--particle", "100", "0.3"]) == 2


def test_a_mirrored_window_is_periodic(here):
    np.save("layers.npy", _layers())
    command = ["run", "electrode", "--image", "layers.npy", "--labels", "0", "1", "--sizes", "4", "--counts", "2", "--quiet"]
    assert cli.main([*command, "--boundary", "mirror", "--out", "o"]) == 0
    own = summary(here / "o")["numbers"]["by_size"][0]["numbers"]
    # 1e-5: the solver's residual, 1e-6.
    assert own["tortuosity 2"]["mean"] == pytest.approx(1, rel=1e-5)
    assert own["tortuosity 1"]["count"] == 0


def test_the_nearest_isotropic_moduli_of_an_isotropic_stiffness():
    law = msm.solids.Elastic(lam=1.5, mu=1.0)
    C = np.asarray(jax.jacfwd(lambda F: law(F, law.init())[0])(jnp.eye(3)))[None]
    found = _electrode.moduli(C)
    # lam = 1.5, mu = 1: K = lam + 2/3 mu, E = mu (3 lam + 2 mu) / (lam + mu), nu = lam / 2 (lam + mu).
    expected = {"K": 1.5 + 2 / 3, "G": 1.0, "E": 6.5 / 2.5, "nu": 0.3}
    assert {key: float(v[0]) for key, v in found.items()} == pytest.approx(expected, rel=1e-12)


class _Torch(types.ModuleType):
    """What docs/dataset.md uses of PyTorch, where there is none."""

    def __init__(self):
        super().__init__("torch")
        data = types.SimpleNamespace(Dataset=object, DataLoader=lambda dataset, batch_size, shuffle: dataset)
        self.utils, self.from_numpy = types.SimpleNamespace(data=data), np.asarray


def test_a_row_of_a_dataset_is_what_a_cell_answers(here, monkeypatch, capsys):
    """The code of docs/dataset.md, run on a small store of each format."""
    text = (pathlib.Path(__file__).parent.parent / "docs" / "dataset.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    found = {}
    for form, other in (("zarr", "h5py"), ("hdf5", "zarr")):
        command = ["dataset", "--count", "2", "--loads", "2", "--size", "6", "--format", form, "--out", "data", "--quiet"]
        assert cli.main(command) == 0
        found[form] = space = {}
        # As a reader finds JAX; the page asks for float64 itself.
        jax.config.update("jax_enable_x64", False)
        try:
            for block in blocks:
                with monkeypatch.context() as patch:
                    if "import torch" in block and importlib.util.find_spec("torch") is None:
                        patch.setitem(sys.modules, "torch", _Torch())
                    if f"import {other}" not in block:
                        exec(compile(block, "docs/dataset.md", "exec"), space)
        finally:
            jax.config.update("jax_enable_x64", True)
        assert all(space[name].dtype == np.float64 for name in ("load", "stress", "tangent"))
        # The same again computes nothing; other options are refused, and another format in the same folder.
        assert cli.main(command) == 0
        assert cli.main([*command, "--seed", "1"]) == 2
        kept = {p: p.read_bytes() for p in pathlib.Path("data").iterdir() if p.is_file()}
        capsys.readouterr()
        assert cli.main([*command, "--format", "hdf5" if form == "zarr" else "zarr"]) == 2
        assert f"holds a store of --format {form}" in capsys.readouterr().err
        assert {p: p.read_bytes() for p in pathlib.Path("data").iterdir() if p.is_file()} == kept
        if form == "zarr":
            pathlib.Path("data").rename("earlier")
    space = found["hdf5"]
    assert space["stress"].shape == (4, 1, 2, 2)
    assert space["tangent"].shape == (4, 1, 2, 2, 2, 2)
    for name in ("image", "load", "stress", "tangent"):
        np.testing.assert_array_equal(space[name], found["zarr"][name])
    # Another row, and its tangent.
    cell = msm.PeriodicCell(space["image"][3].astype(np.int32), [space["soft"], space["hard"]])
    solution, slope = cell.linearize(space["load"][3, 0])
    np.testing.assert_allclose(solution.unwrap(), space["stress"][3, 0], rtol=1e-7)  # the solver's 1e-8
    np.testing.assert_allclose(slope, space["tangent"][3, 0], rtol=1e-6, atol=1e-6)  # columns: the root of it, corrected
    cells = space["Cells"](space["store"], space["good"])
    assert len(cells) == 4
    for name in ("image", "load", "stress", "tangent"):
        np.testing.assert_array_equal(cells[3][name], space[name][3])
    space["store"].close()


def test_a_path_of_a_dataset_is_a_rollout(here):
    (here / "m.toml").write_text(LAMINATE)
    command = [
        "dataset",
        "--count",
        "2",
        "--loads",
        "2",
        "--size",
        "4",
        "--steps",
        "3",
        "--strain",
        "0.02",
        "--structure",
        "spheres",
    ]
    command += ["--grain", "1.5", "--materials", "m.toml", "--block", "1", "--quiet", "--out", "o"]
    assert cli.main(command) == 0
    rows = io.read_store(here / "o" / "data.zarr" / "answers")
    assert set(rows["step_code"].ravel()) == {"successful"}
    store = _zarr(here / "o")
    image, load = store["inputs/image"][:], store["inputs/load"][:]
    assert store["inputs/image_of"][:].tolist() == [0, 0, 1, 1]
    laws = [msm.solids.J2(lam=1.5, mu=1.0, hardening=msm.solids.Linear(sy=0.01, H=0.05)), msm.solids.Elastic(lam=3.0, mu=1.0)]
    cell = msm.PeriodicCell(image[1].astype(np.int32), laws)
    _, walked = msm.rollout(cell, jnp.asarray(load[2]))
    np.testing.assert_allclose(rows["stress"][2], walked.value, rtol=1e-6, atol=1e-9)  # the solver's 1e-8
    # Yield shows: the last tangent is softer than the elastic one.
    assert rows["tangent"][2][-1][0, 1, 0, 1] < 0.9 * rows["tangent"][2][0][0, 1, 0, 1] or rows["stats/newton"].max() > 1
    # Killed before the last member: its row is made again, with the same bits.
    answers = _zarr(here / "o", "r+")["answers"]
    answers["tries"][3], answers["stress"][3] = 0, np.nan
    (here / "o" / "summary.json").unlink()
    assert cli.main(command) == 0
    np.testing.assert_array_equal(io.read_store(here / "o" / "data.zarr" / "answers")["stress"], rows["stress"])
    assert cli.main([*command, "--seed", "1"]) == 2


def _zarr(folder, mode="r"):
    import zarr

    return zarr.open_group(folder / "data.zarr", mode=mode)


def test_an_impossible_step_fails_alone():
    image = np.array([[0, 1], [1, 0]], np.uint8)
    cell = msm.PeriodicCell(
        image.astype(np.int32), [msm.solids.NeoHookean(mu=1.0, lam=1.5), msm.solids.NeoHookean(mu=10.0, lam=15.0)]
    )
    turned = jnp.eye(2).at[0, 0].set(-1.0)
    walk = _campaigns.Walk(jnp.asarray(image)[None], cell)
    path = jnp.stack([jnp.eye(2), turned, jnp.eye(2).at[0, 1].set(0.1)])
    solution = walk(_campaigns.WalkLoad(jnp.asarray(0), path))
    assert msm.names(solution.result) == "out_of_range"
    assert msm.names(solution.stats["step_code"]).tolist() == ["successful", "out_of_range", "successful"]
    np.testing.assert_allclose(solution.value[2], cell(path[2]).value, rtol=1e-7)  # the solver's 1e-8


def test_a_loose_solve_still_tells_a_path_from_none():
    # A blob of pores that no axis leads through, and the same with a channel along axis 1.
    closed = np.ones((8, 8, 8), np.uint8)
    closed[1:5, 2:6, 1:4] = closed[3:7, 1:3, 2:6] = 0
    open_ = closed.copy()
    open_[:, 3, 2] = 0
    laws = [msm.solids.Conductivity(1.0), msm.solids.Conductivity(0.0)]
    solver = NewtonKrylov(rtol=1e-3)
    loads = _campaigns.WindowLoad(np.zeros((3, 3), np.int32), jnp.eye(3))
    for image, expected in ((closed, ["no_load_path"] * 3), (open_, ["successful", "no_load_path", "no_load_path"])):
        cell = msm.PeriodicCell(np.zeros_like(image, np.int32), laws, solver=solver)
        solution = msm.batched(_campaigns.Window(jnp.asarray(image), cell))(loads)
        assert msm.names(solution.result).tolist() == expected
        np.testing.assert_allclose(solution.stats["fractions"][:, 0], np.mean(image == 0), rtol=1e-12)


@pytest.mark.parametrize("structure", ["gaussian", "spheres"])
@pytest.mark.parametrize("dimension", [2, 3])
def test_generated_images_have_the_fraction_asked_for(structure, dimension):
    options = _dataset.Options(structure=structure, fraction=(0.3, 0.3))
    image = _dataset.two_phase(np.random.default_rng(0), (12,) * dimension, options)
    # To half a voxel.
    assert abs(image.mean() - 0.3) <= 0.5 / image.size


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "masonry", "--mortar", "-1", "0.2"], "Flag --mortar must be a positive modulus"),
        (["run", "masonry", "--windows", "600"], "have 4 voxels an edge, 16 to 512 pixels, but is 600."),
        (["run", "masonry", "--grid", "600"], "Flag --grid must be at most the 512 pixels"),
        (["run", "masonry", "--cohesion", "0"], "Flag --cohesion must be positive"),
        (["run", "electrode", "--image", "gone.tif"], "The image gone.tif does not exist."),
        (["run", "electrode", "--image", "plane.npy"], "must have 3 axes, but its shape is (4, 4)."),
        (
            ["run", "electrode", "--image", "layers.npy", "--labels", "0", "1", "--sizes", "99", "--counts", "1"],
            "the shortest edge of the image (8)",
        ),
        (["run", "electrode", "--image", "layers.npy", "--sizes", "4", "--counts", "1"], "Phase 2 is absent"),
        (["run", "electrode", "--image", "layers.npy", "--sizes", "4"], "Flags --sizes and --counts must go together"),
        (["run", "electrode", "--image", "layers.npy", "--particle", "nan", "0.3"], "Flag --particle must be a modulus"),
        (["dataset", "--count", "0"], "Flag --count must be at least 1"),
        (["dataset", "--fraction", "0.5", "1.5"], "Flag --fraction must be two numbers between 0 and 1"),
        (["dataset", "--strain", "inf"], "Flag --strain must be positive"),
        (["dataset", "--images", "plane.npy", "layers.npy"], "The images must have one shape"),
        (["dataset", "--materials", "gone.toml"], "The materials gone.toml do not exist."),
    ],
)
def test_bad_input_gets_a_sentence_and_leaves_nothing(here, capsys, arguments, sentence):
    np.save("plane.npy", np.array([[0, 1] * 2] * 4))
    np.save("layers.npy", _layers())
    before = sorted(here.rglob("*"))
    assert cli.main([*arguments, "--out", "o"]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said
    assert [p for p in sorted(here.rglob("*")) if p not in before] == []


def test_every_system_is_a_module_with_a_sentence():
    for system in (*systems.COMMANDS.values(), *systems.SYSTEMS.values()):
        module = system.load()
        assert isinstance(module, types.ModuleType)
        assert callable(module.run)
        assert system.summary.endswith(".")


def test_a_window_of_the_electrode(here, shared):
    image = shared / "data" / "nmc-1-cal_generatedCBD_bridge.tif"
    assert cli.main(["run", "electrode", "--image", str(image), "--sizes", "6", "--counts", "2", "--out", "o", "--quiet"]) == 0
    found = summary(here / "o")["numbers"]
    # Counted in the file (numpy.unique).
    total = 251 * 301 * 301
    expected = {"pore": 9108821 / total, "particle": 11357945 / total, "binder": 2274085 / total}
    assert found["fractions"] == pytest.approx(expected, rel=1e-12)
