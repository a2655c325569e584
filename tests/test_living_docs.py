"""The page of living systems is true: its code runs and finds what it says."""

import pathlib
import re

import jax
import numpy as np
import pytest

from jaxmsm import biology, solve
from jaxmsm.io._network import read_network

PAGE = (pathlib.Path(__file__).parent.parent / "docs" / "living.md").read_text()


@pytest.fixture(scope="module")
def ran():
    """What stands after the page's code has run from top to bottom, as in a shell."""
    space: dict = {}
    with jax.enable_x64(False), jax.numpy_rank_promotion("allow"):
        for block in re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.M | re.S):
            exec(compile(block, "living.md", "exec"), space)
    return space


def test_the_event_and_its_slope(ran):
    # CVODE at a tolerance of 1e-9: 302.1072 ms, and -39.784; here steps of 0.02 ms in float32.
    assert abs(ran["when"] - 302.1072) < 0.05 and abs(ran["slope"] + 39.784) < 0.2


def test_the_wave_goes_around_the_scar(ran):
    times = np.asarray(ran["activation"])
    assert np.all(np.isinf(times[19:24, 9:12])) and np.isfinite(times).sum() == times.size - 5 * 3
    assert times[3, 10] < times[20, 2] < times[-1, 10] < 80
    assert float(ran["tissue"].longest_step()) > 0.05


def test_the_fit_through_a_strip(ran):
    np.testing.assert_allclose(np.exp(ran["found"]), [1.4, 0.8], rtol=1e-3)


def test_the_washout_and_the_imported_beat(ran):
    # The page runs in float32.
    assert abs(ran["hours"] / ran["lasts"](1.1) - 1) < 1e-4
    slope = (ran["lasts"](1.101) - ran["lasts"](1.099)) / 0.002
    assert abs(slope / ran["faster"] - 1) < 0.01
    shown = re.search(r"# ([\d.]+), and (-[\d.]+) a unit of dilution", PAGE)
    assert abs(float(shown[1]) - ran["hours"]) < 0.1 and abs(float(shown[2]) / ran["faster"] - 1) < 0.01
    assert 200 < ran["lasted"] < 400


def test_the_network_of_the_page_reads(tmp_path):
    path = tmp_path / "network.toml"
    path.write_text(re.search(r"^```toml\n(.*?)^```", PAGE, flags=re.M | re.S)[1])
    network = read_network(path)
    assert network.names == ("u", "v") and [len(v) for v in network.sweep.values()] == [100, 3]


def test_every_rate_and_step_of_the_tables_is_there():
    table = lambda head: re.search(rf"^\| {head} \|.*?\n\n", PAGE, flags=re.M | re.S)[0]
    rates = set(re.findall(r"`([A-Z]\w+)", table("what"))) - {"Diffusion", "AnisotropicDiffusion"}
    assert rates <= set(vars(biology))
    cells = {n for n, x in vars(biology).items() if isinstance(x, type) and issubclass(x, biology.AbstractCell)}
    assert cells - {"AbstractCell"} <= rates
    steps = set(re.findall(r"`([A-Z]\w+)\(\)`", table(r"step \(`jaxmsm.solve`\)")))
    kinds = (solve.AbstractStep, solve.AbstractNoisyStep)
    assert steps == {n for n, x in vars(solve).items() if isinstance(x, type) and issubclass(x, kinds) and "Abstract" not in n}
