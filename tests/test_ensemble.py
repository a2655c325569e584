"""Networks of a person's own, swept by the command: against the toggle, against SciPy, and what is refused."""

import csv
from pathlib import Path

import numpy as np
import pytest
from _command import summary
from scipy.integrate import solve_ivp

from jaxmsm import cli
from jaxmsm.io import InputError
from jaxmsm.io._network import read_network

TOGGLE = """
time = 80
[genes.u]
most = 3
start = 2
[genes.v]
most = 3
start = 0.5
[[regulation]]
target = "u"
by = "v"
effect = "represses"
[[regulation]]
target = "v"
by = "u"
effect = "represses"
"""
SWEEP = """
[sweep]
"v.start" = [0.5, 3.5]
"v.u.hill" = { from = 2, to = 4, count = 3 }
"u.decay" = { from = 1, to = 100, count = 3, log = true }
"""


def written(tmp_path, text):
    path = tmp_path / "network.toml"
    path.write_text(text)
    return path


def rows(out):
    with (out / "ends.csv").open() as file:
        return list(csv.DictReader(file))


def alone(hill, decay, start):
    """Where one member ends, by LSODA."""
    rate = lambda t, y: [3 / (1 + y[1] ** 2) - decay * y[0], 3 / (1 + y[0] ** hill) - y[1]]
    return solve_ivp(rate, (0, 80), [2, start], method="LSODA", rtol=1e-10, atol=1e-12).y[:, -1]


def test_a_sweep_is_what_each_member_is_by_itself(tmp_path, capsys):
    out = tmp_path / "o"
    command = ["run", "ensemble", str(written(tmp_path, TOGGLE + SWEEP)), "--out", str(out), "--rtol", "1e-8", "--samples", "2"]
    assert cli.main([*command, "--quiet"]) == 0
    assert "u" in capsys.readouterr().out
    found = rows(out)
    assert len(found) == 18 and {r["code"] for r in found} == {"successful"}
    for row in found:
        hill, decay = float(row["v.u.hill"]), float(row["u.decay"])
        exact = alone(hill, decay, float(row["v.start"]))
        np.testing.assert_allclose([float(row["u"]), float(row["v"])], exact, rtol=1e-6)
    # The symmetric switch, from either side.
    ends = {r["v.start"]: float(r["u"]) for r in found if r["v.u.hill"] == "2.0" and r["u.decay"] == "1.0"}
    np.testing.assert_allclose([ends["0.5"], ends["3.5"]], [(3 + 5**0.5) / 2, (3 - 5**0.5) / 2], rtol=1e-7)
    # What is stiff takes more steps; the order of the file is that of the sweep.
    assert int(found[2]["steps"]) > 2 * int(found[0]["steps"]) and float(found[1]["u.decay"]) == pytest.approx(10)
    paths = np.load(out / "paths.npz")
    np.testing.assert_allclose(paths["paths"][0, -1], [float(found[0][k]) for k in "uv"], rtol=1e-6)
    assert summary(out)["codes"]["members"] == {"successful": 18}


def test_a_sweep_of_one_parameter_is_drawn(tmp_path):
    out = tmp_path / "o"
    text = TOGGLE + '[sweep]\n"u.most" = { from = 1, to = 5, count = 9 }\n'
    assert cli.main(["run", "ensemble", str(written(tmp_path, text)), "--out", str(out), "--quiet"]) == 0
    assert (out / "ends.png").exists() and len(rows(out)) == 9


@pytest.mark.parametrize(("text", "said"), [
    ("time = ", "no TOML"),
    ("time = 3", r"\[genes.NAME\]"),
    (TOGGLE + "[swep]\n", "`swep` is not known.*Did you mean `sweep`"),
    (TOGGLE.replace("most", "mots", 1), "`mots`.*`most`"),
    (TOGGLE.replace('by = "v"', 'by = "w"'), "Gene `w`"),
    (TOGGLE.replace('"represses"', '"hinders"', 1), "`hinders`.*`activates`"),
    (TOGGLE.replace("start = 2", "start = -2"), "`u.start` must not be negative"),
    (TOGGLE.replace("start = 2", "decay = 0"), "`u.decay` must be positive"),
    (TOGGLE.replace("start = 2", 'start = "two"'), "`u.start` must be a number"),
    (TOGGLE + '[[regulation]]\ntarget = "u"\nby = "v"\neffect = "activates"\n', "twice"),
    (TOGGLE + '[[regulation]]\ntarget = "u"\n', "`by` is missing"),
    (TOGGLE + '[sweep]\n"u" = [1]\n', "GENE.KEY"),
    (TOGGLE + '[sweep]\n"u.u.K" = [1]\n', "does not regulate"),
    (TOGGLE + '[sweep]\n"u.most" = 3\n', "list of numbers"),
    (TOGGLE + '[sweep]\n"u.most" = { from = 0, to = 1, count = 3, log = true }\n', "log"),
    (TOGGLE + '[sweep]\n"u.most" = [-1]\n', "must not be negative"),
])  # fmt: skip
def test_what_no_network_is(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        read_network(written(tmp_path, text))


def test_a_missing_file_and_too_many_members(tmp_path, capsys):
    assert cli.main(["run", "ensemble", str(tmp_path / "no.toml"), "--out", str(tmp_path / "o")]) == 2
    assert "no file" in capsys.readouterr().err
    text = TOGGLE + '[sweep]\n"u.most" = { from = 1, to = 5, count = 2000 }\n"v.most" = { from = 1, to = 5, count = 2000 }\n'
    assert cli.main(["run", "ensemble", str(written(tmp_path, text)), "--out", str(tmp_path / "o")]) == 2
    assert "4000000 members" in capsys.readouterr().err


def test_a_network_from_an_sbml_file_is_swept_too(tmp_path, capsys):
    myokit = pytest.importorskip("myokit", reason="brings an SBML file")
    source = Path(myokit.__file__).parent / "tests" / "data" / "formats" / "sbml" / "model" / "00001-sbml-l3v2.xml"
    (tmp_path / "decay.xml").write_bytes(source.read_bytes())
    text = """
    time = 2
    sbml = "decay.xml"
    [sweep]
    k1 = [0.5, 1, 2]
    "S1.start" = [1, 3]
    """
    out = tmp_path / "o"
    command = ["run", "ensemble", str(written(tmp_path, text)), "--out", str(out), "--rtol", "1e-9", "--samples", "1", "--quiet"]
    assert cli.main(command) == 0
    assert "S2" in capsys.readouterr().out
    found = rows(out)
    assert len(found) == 6
    for row in found:
        k, first = float(row["k1"]), float(row["S1.start"])
        np.testing.assert_allclose(float(row["S1"]), first * np.exp(-2 * k), rtol=1e-7)
        assert row["code"] == "successful"
    assert (out / "path.png").exists()
    for change, said in (
        (("k1 =", "k7 ="), "Name `k7`"),
        (("decay.xml", "none.xml"), "There is no file"),
        (("time", "tim"), "Key `tim`"),
    ):
        path = written(tmp_path, text.replace(*change))
        assert cli.main(["run", "ensemble", str(path), "--out", str(tmp_path / "p"), "--quiet"]) == 2
        assert said in capsys.readouterr().err
