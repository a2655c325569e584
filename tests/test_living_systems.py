"""The systems of codons and of spreading mutants through the command, against closed forms and differences."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _command import summary

from jaxmsm import cli
from jaxmsm.systems import _mutant_spread


def test_codons_through_the_command(tmp_path, capsys):
    out = tmp_path / "o"
    assert cli.main(["run", "codon", "--most", "40", "--out", str(out), "--quiet"]) == 0
    said = capsys.readouterr().out
    found = summary(out)["numbers"]
    assert abs(found["growth"][10] - 0.75365173) < 5e-9
    assert abs(found["substrate"][10] - 0.39424135) < 5e-9 and abs(found["biomass"][10] - 0.80287933) < 5e-9
    n = found["critical"]
    assert f"{n:.4f} codons" in said
    # There 0.99^n / (1 + 0.02 n) = 0.55, which is D (K_s + S_0) / S_0; and its slope in eps by the implicit-function rule.
    assert abs(0.99**n / (1 + 0.02 * n) - 0.55) < 1e-12
    slope = -(n / 0.99) / (-math.log(0.99) + 0.02 / (1 + 0.02 * n))
    assert abs(found["slopes"]["eps"] / slope - 1) < 1e-10
    assert found["biomass"][math.floor(n)] > 0 == found["biomass"][math.ceil(n)]
    assert {p.name for p in out.iterdir()} == {"codons.csv", "codons.png", "summary.json"}


def test_a_culture_without_a_chance_is_told(tmp_path, capsys):
    assert cli.main(["run", "codon", "--dilution", "0.95", "--out", str(tmp_path / "o"), "--quiet"]) == 0
    assert "washed out with no codon" in capsys.readouterr().out


def test_a_mutant_spreads_through_the_command(tmp_path, capsys):
    out = tmp_path / "o"
    small = ["--size", "20", "10", "--spacing", "1", "--time", "10"]
    assert cli.main(["run", "mutant-spread", *small, "--out", str(out), "--quiet"]) == 0
    assert "front speed" in capsys.readouterr().out
    found = summary(out)["numbers"]
    for value, slope, difference in found.values():
        np.testing.assert_allclose(slope, difference, rtol=1e-5)
        assert value > 0
    # dc/dmu = [sqrt(D/r) r'(q) + sqrt(r/D) D'(q)] dq*/dmu, the chain by hand; r' = -0.4, D' = 1.
    r, D = (found[k][0] for k in _mutant_spread.MARKERS[1:3])
    chain = (math.sqrt(D / r) * -0.4 + math.sqrt(r / D)) * found["fraction q* of the variant"][1]
    np.testing.assert_allclose(found["front speed (km/year)"][1], chain, rtol=1e-10)
    assert {p.name for p in out.iterdir()} == {"land.vti", "population.png", "by-product.png", "summary.json"}


def test_the_front_goes_at_the_speed_of_its_chain():
    # Over flat land, from year 20 to 30; the front is some percent slower than its limit still (Bramson), and the grid faster.
    options = _mutant_spread.Options(size=(90.0, 2.0), spacing=0.5)
    flat = np.ones((180, 4))

    def place(time):
        options.time = time
        markers, land = jax.jit(lambda x: _mutant_spread.spread(options, x, flat))(jnp.log(1e-3))
        return 0.5 * (jnp.sum(land.u[:, 2]) - 0.5), markers

    (early, _), (late, markers) = place(20.0), place(30.0)
    speed, r, D = (markers[k] for k in ("front speed (km/year)", "growth r (1/year)", "motility D (km2/year)"))
    expected = speed * (1 + r * 0.5**2 / (24 * D)) - 1.5 * jnp.sqrt(D / r) / 25
    np.testing.assert_allclose((late - early) / 10, expected, rtol=0.01)


@pytest.mark.parametrize(("system", "flags", "said"), [
    ("codon", ["--eps", "-1"], "--eps"),
    ("codon", ["--eps", "2"], "below 1"),
    ("mutant-spread", ["--mutation", "0.5"], "below --selection"),
    ("mutant-spread", ["--size", "1", "1"], "quarter"),
    ("mutant-spread", ["--decay", "-1"], "negative"),
])  # fmt: skip
def test_they_refuse_what_cannot_work(system, flags, said, tmp_path, capsys):
    assert cli.main(["run", system, *flags, "--out", str(tmp_path / "o")]) == 2
    assert said in capsys.readouterr().err
