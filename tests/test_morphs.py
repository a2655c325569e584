"""Morphs of a population: frequencies and their slopes against the closed form, by the library and by the command."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _command import summary

from jaxmsm import cli
from jaxmsm.biology import Morphs
from jaxmsm.systems import _plasticity


@pytest.mark.parametrize(("mean", "expected"), [(0.0, 0.5), (0.1, 0.575418), (0.5, 0.829177), (1.0, 0.971404)])
def test_the_closed_form(mean, expected):
    model = Morphs(m=mean)
    assert abs(model.frequency() - expected) < 5e-7
    assert abs(model.saddle() - 1.2134117) < 5e-8 and abs(model.unstable() - 0.1910589) < 5e-8


@pytest.mark.parametrize("mean", [0.1, 0.5])
def test_frequencies_and_slopes_of_a_hundred_thousand(mean):
    model, n = Morphs(m=mean), 100_000
    found = _plasticity._live(model, jax.random.key(11), n, 1200)
    exact, slope = model.frequency(), jax.grad(lambda m: Morphs(m=m).frequency())(mean)
    assert abs(found["frequency"] - exact) < 3 * np.sqrt(exact * (1 - exact) / n)
    assert abs(found["score"] - slope) < 3 * found["score_error"] and found["score_error"] < 0.02
    # Smoothed: few individuals near the divide carry the derivative.
    assert abs(found["smoothed"] / slope - 1) < 0.3
    assert found["size_u"] > found["size_v"] > 0.5


def test_the_start_is_at_rest_but_for_the_cue():
    model = Morphs(m=0.0)
    rate = model(0.0, model.begin(jnp.zeros(3)), None)
    np.testing.assert_allclose(rate.u, 0, atol=1e-12)
    np.testing.assert_allclose(rate.v, 0, atol=1e-12)


def test_plasticity_through_the_command(tmp_path, capsys):
    out = tmp_path / "o"
    small = ["--individuals", "4000", "--means", "-0.5", "0", "0.5", "--time", "50"]
    assert cli.main(["run", "plasticity", *small, "--out", str(out), "--quiet"]) == 0
    assert "closed form" in capsys.readouterr().out
    numbers = summary(out)["numbers"]
    away = (np.array(numbers["frequency"]) - numbers["closed_form"]) / numbers["error"]
    assert np.all(np.abs(away) < 3.5)
    fitted = numbers["fit"]
    assert abs(fitted["mean"]) < 4 * fitted["errors"][0] and abs(fitted["scatter"] - 1) < 4 * fitted["errors"][1]
    assert {p.name for p in out.iterdir()} == {"morphs.csv", "reaction_norm.png", "growth.png", "summary.json"}


WRONG = [(["--strength", "1.5"], "two states"), (["--time", "33"], "multiple"), (["--scatter", "-1"], "positive")]


@pytest.mark.parametrize(("flags", "said"), WRONG)
def test_plasticity_refuses_what_cannot_work(flags, said, tmp_path, capsys):
    assert cli.main(["run", "plasticity", *flags, "--out", str(tmp_path / "o")]) == 2
    assert said in capsys.readouterr().err
