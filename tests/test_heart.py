"""The systems of the heart through the command, against published and computed numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _command import summary

from jaxmsm import cli
from jaxmsm.biology import MitchellSchaeffer, PseudoECG, Tissue, dispersion, phase, qt, singularities, velocity
from jaxmsm.space import AnisotropicDiffusion
from jaxmsm.systems import _niederer
from jaxmsm.systems._heart_parts import Wall, beat_of


def test_niederer_through_the_command(tmp_path, capsys):
    out = tmp_path / "o"
    assert cli.main(["run", "niederer", "--spacings", "0.5", "--steps", "0.05", "--out", str(out), "--quiet"]) == 0
    table = capsys.readouterr().out
    assert "P8" in table and "0.5 mm, 0.05 ms" in table
    found = summary(out)["numbers"]["0.5 mm, 0.05 ms"]
    # Activation runs along the fibers first, and the middle is reached before the far corner.
    assert found["P1"] < found["P5"] < found["P3"] < found["C"] < found["P8"]
    assert {p.name for p in out.iterdir()} == {"activation.png", "activation.vti", "diagonal.png", "niederer.csv", "summary.json"}


def test_niederer_at_two_tenths(tmp_path):
    # Of codes with second differences on nodes, at a step of 0.005 ms.
    with jax.enable_x64(False):
        times = _niederer.activation(0.2, 0.025)
    far, middle = _niederer.at(times, 0.2, (20, 7, 3)), _niederer.at(times, 0.2, (10, 3.5, 1.5))
    assert abs(middle - 24.198) < 0.3 and abs(far - 54.022) < 0.3
    assert np.all(np.isfinite(times))


@pytest.mark.parametrize(("flags", "said"), [(["--spacings", "2"], "1.5 mm"), (["--steps", "1.5"], "1.04 ms")])
def test_niederer_refuses_what_cannot_work(flags, said, tmp_path, capsys):
    assert cli.main(["run", "niederer", *flags, "--out", str(tmp_path / "o")]) == 2
    assert said in capsys.readouterr().err


def test_the_heart_through_the_command(tmp_path, capsys):
    out = tmp_path / "o"
    small = [
        "--mutation",
        "none",
        "--spacing",
        "0.5",
        "--beats",
        "1",
        "--cohort",
        "3",
        "--sheet",
        "40",
        "--time",
        "100",
        "--scale",
        "g_Ks=0.5",
    ]
    assert cli.main(["run", "heart", *small, "--out", str(out), "--quiet"]) == 0
    assert "QT (ms)" in capsys.readouterr().out
    found = summary(out)["numbers"]
    # One beat, from the published state: 292.191 and 338.488 ms with a pulse of 94 mV/ms; here one of 52 for a millisecond.
    np.testing.assert_allclose(found["apd90"], [292.2, 338.5], atol=1.0)
    assert found["markers"]["QT (ms)"][1] > found["markers"]["QT (ms)"][0] + 20
    # Sodium carries the wave, potassium ends it.
    slopes = found["slopes"]
    assert slopes["velocity (mm/ms)"]["g_Na"] > 0.1 and slopes["QT (ms)"]["g_Ks"] < -50
    np.testing.assert_allclose(found["slopes_along"], found["differences_along"], rtol=0.05, atol=1e-3)  # differences in float32
    assert all(
        left < 0.5 * spread for left, spread in zip(*(found["cohort"][k] for k in ("left_by_slopes", "spread")), strict=True)
    )
    assert found["spiral"]["second"] > 300
    names = ["action_potential", "restitution", "activation", "apd", "ecg", "spiral"]
    assert {f"{n}.png" for n in names} | {"spiral.gif", "cohort.csv", "wall.npz", "summary.json"} == {p.name for p in out.iterdir()}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--scar", "9"], "--scar"),
        (["--sheet", "10"], "--sheet"),
        (["--spacing", "2"], "--spacing"),
        (["--time", "3"], "--time"),
        (["--scale", "g_KR=0.5"], "Did you mean `g_Kr`?"),
        (["--scale", "g_Kr"], "g_Kr=0.5"),
        (["--scale", "g_Kr=-1"], "between 0 and 100"),
    ],
)
def test_the_heart_refuses_what_cannot_work(flags, said, tmp_path, capsys):
    assert cli.main(["run", "heart", *flags, "--out", str(tmp_path / "o")]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("size", [(5.0, 3.0), (3.0, 2.0, 2.0)], ids=["section", "block"])
def test_slopes_of_tissue_markers(size):
    # Every marker in every conductance at once, against differences.
    wall = Wall(size, spacing=0.5, scar=0.8, dt=0.05, span=450.0)
    markers = jax.jit(lambda x: beat_of(wall, x).markers)
    at = jnp.zeros(5)
    way = jnp.array([0.3, 1.0, -0.5, 0.2, 1.0])
    slopes = jax.jit(lambda x: jax.jvp(lambda x: beat_of(wall, x).markers, (x,), (way,))[1])(at)
    difference = (markers(at + 1e-4 * way) - markers(at - 1e-4 * way)) / 2e-4
    np.testing.assert_allclose(slopes, difference, rtol=1e-4)
    assert markers(at)[0] > 5 and 0.1 < markers(at)[1] < 2


def test_a_tip_is_where_the_phase_winds():
    x, y = jnp.meshgrid(jnp.arange(20.0), jnp.arange(30.0), indexing="ij")
    theta = jnp.arctan2(y - 7.4, x - 5.4) - jnp.arctan2(y - 21.4, x - 12.4)
    charge = singularities(theta)
    assert charge[5, 7] == 1 and charge[12, 21] == -1 and jnp.sum(jnp.abs(charge)) == 2
    before = jnp.array([0.0, -80.0, -80.0])
    np.testing.assert_allclose(phase(jnp.array([0.0, 0.0, -80.0]), before, -40.0), np.pi * np.array([0.25, -0.25, -0.75]))


def test_the_pseudo_ecg_is_the_integral_over_the_dipoles():
    # phi = integral of -D grad v . grad(1/r), by quadrature on a fine grid, v with no slope at the surface.
    center, at = 0.5, np.array([0.3, 1.9])
    v = lambda x, y: jnp.cos(jnp.pi * x) * (1 + 0.5 * jnp.cos(2 * jnp.pi * y))
    x, y = np.meshgrid((np.arange(400) + center) / 400, (np.arange(400) + center) / 400, indexing="ij")
    slopes = jax.vmap(jax.grad(lambda p: v(p[0], p[1])))(np.stack([x.ravel(), y.ravel()], 1))
    away = np.stack([x.ravel(), y.ravel()], 1) - at
    exact = np.mean(np.sum(slopes * away, axis=1) / np.linalg.norm(away, axis=1) ** 3)
    errors = []
    for n in (16, 32):
        tissue = Tissue(MitchellSchaeffer(), AnisotropicDiffusion(jnp.ones((2, n, n)), 1 / n))
        nodes = jnp.meshgrid(jnp.arange(n + 1) / n, jnp.arange(n + 1) / n, indexing="ij")
        errors.append(PseudoECG(tissue, [at], 1 / n)(0.0, (v(*nodes),))[0] - exact)
    assert abs(errors[1]) < 0.01 * abs(exact)
    assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.1


def test_markers_of_known_waves():
    t = jnp.arange(0.0, 500.0)
    wave = jnp.exp(-0.5 * ((t - 300) / 20) ** 2) + 3 * jnp.exp(-0.5 * ((t - 30) / 5) ** 2)
    # The square of a Gaussian is narrower by the root of two.
    assert abs(qt(wave, 1.0, after=120.0, onset=5.0) - (295 + 2 * 20 / np.sqrt(2))) < 1e-3
    times = jnp.array([[1.0, 3.0], [5.0, jnp.nan]])
    assert abs(dispersion(times, jnp.array([[1.0, 1.0], [2.0, 0.0]])) - np.sqrt(2.75)) < 1e-12
    assert velocity(jnp.array([[0.0, 1.0], [2.0, 4.0]]), (0, 0), (1, 1), 0.5) == pytest.approx(0.5 * np.sqrt(2) / 4)
