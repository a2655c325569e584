"""The systems of the heart through the command, against published and computed numbers."""

import jax
import numpy as np
import pytest
from _command import summary

from jaxmsm import cli
from jaxmsm.systems import _niederer


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
