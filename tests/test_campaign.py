"""Campaigns: streamed, rescued, killed and resumed."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _toys import Kepler, loads_of

import jaxmsm
from jaxmsm.io import HDF5Sink, MemorySink, ZarrSink, read_store, sink_for
from jaxmsm.solve import _identity

N = 50
CHEAP, THOROUGH = Kepler(jnp.asarray(1.0), limit=40), Kepler(jnp.asarray(1.0))


def given():
    loads = jax.tree.map(np.array, loads_of(N, hard=0.2))
    loads["a"][7] = 1.5
    return loads


@pytest.fixture(scope="module")
def expected():
    return jaxmsm.batched(THOROUGH)(jax.tree.map(jnp.asarray, given()))


def check(rows, expected):
    np.testing.assert_array_equal(rows["value"], expected.value)
    np.testing.assert_array_equal(rows["stats/cost"], expected.stats["cost"])
    np.testing.assert_array_equal(rows["code"].astype(str), jaxmsm.names(expected.result))


def test_a_campaign_is_a_batch(expected):
    sink, seen = MemorySink(), []
    tally = jaxmsm.campaign(THOROUGH, given(), sink, block=8, on_progress=lambda *x: seen.append(x))
    check(sink.rows, expected)
    assert seen[0] == (0, N, 0)
    assert seen[1] == (8, N, 1)
    assert seen[-1] == (N, N, 1)
    assert tally == (N, {"successful": N - 1, "out_of_range": 1}, N)
    assert tally.failed == 1


def test_order_by_cost_changes_nothing(expected):
    sink = MemorySink()
    jaxmsm.campaign(THOROUGH, given(), sink, block=8, cost=np.asarray(expected.stats["cost"]))
    check(sink.rows, expected)


def test_the_hard_ones_are_rescued(expected):
    cheap, both, sink = MemorySink(), [], MemorySink()
    alone = jaxmsm.campaign(CHEAP, given(), cheap, block=8)
    hard = int(np.sum(np.asarray(expected.stats["cost"]) > 40))
    assert hard > 3
    assert alone.codes["nonlinear_max_steps_reached"] == hard
    tally = jaxmsm.campaign(CHEAP, given(), sink, rescue=[THOROUGH], block=8, on_progress=lambda *x: both.append(x))
    check(sink.rows, expected)
    assert tally.codes == {"successful": N - 1, "out_of_range": 1}
    assert tally.solved == N + hard + 1  # The impossible one is tried by both.
    assert both[-1] == (N, N, 1)
    assert np.sum(sink.rows["tries"] == 2) == hard + 1
    # A rescue may also come later.
    later = jaxmsm.campaign(CHEAP, given(), cheap, rescue=[THOROUGH], block=8)
    assert later.solved == hard + 1
    check(cheap.rows, expected)


class Interrupted(MemorySink):
    """A sink whose process dies at some write."""

    def __init__(self, writes):
        super().__init__()
        self.left = writes

    def write(self, *args):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        super().write(*args)


@pytest.mark.parametrize("writes", [0, 3, 14])
def test_no_member_is_lost_or_repeated(expected, writes):
    sink = Interrupted(writes)
    options = {"rescue": [THOROUGH], "block": 4, "chunk": 4, "cost": np.asarray(expected.stats["cost"])}
    with pytest.raises(KeyboardInterrupt):
        jaxmsm.campaign(CHEAP, given(), sink, **options)
    before = int(np.sum(sink.rows["tries"].astype(int)))
    sink.left = -1
    rest = jaxmsm.campaign(CHEAP, given(), sink, **options)
    undisturbed = MemorySink()
    whole = jaxmsm.campaign(CHEAP, given(), undisturbed, **options)
    assert before + rest.solved == whole.solved
    for name, rows in undisturbed.rows.items():
        np.testing.assert_array_equal(sink.rows[name], rows)
    assert jaxmsm.campaign(CHEAP, given(), sink, **options).solved == 0


def test_leaves_of_the_scale_memory_mapped(tmp_path):
    ks = np.linspace(0.5, 1.5, N)
    np.save(tmp_path / "k.npy", ks)
    loads = loads_of(N)
    scale = eqx.tree_at(lambda s: s.k, THOROUGH, np.load(tmp_path / "k.npy", mmap_mode="r"))
    sink = MemorySink()
    jaxmsm.campaign(scale, jax.tree.map(np.asarray, loads), sink, over=lambda s: s.k, block=8, slope=True)
    x = sink.rows["value"]
    np.testing.assert_allclose(x - loads["a"] * np.sin(x), ks * loads["b"], atol=1e-14)
    np.testing.assert_allclose(sink.rows["slope/b"], ks / (1 - loads["a"] * np.cos(x)), rtol=1e-12)


def test_the_store_is_laid_out_as_documented(tmp_path, expected):
    import zarr

    path = tmp_path / "answers.zarr"
    jaxmsm.campaign(THOROUGH, given(), ZarrSink(path, rows=16), block=8, about={"why": "a test"})
    check(read_store(path), expected)
    group = zarr.open_group(path, mode="r")
    assert group.metadata.zarr_format == 3
    assert group.attrs["format"] == "jaxmsm campaign, version 1"
    assert group.attrs["about"] == {"why": "a test"}
    assert group.attrs["members"] == N
    assert group.attrs["versions"]["jax"] == jax.__version__
    assert group["value"].chunks == (16,)
    assert sorted(read_store(path)) == ["code", "stats/cost", "stats/residual", "tries", "value"]


def test_hdf5_is_laid_out_as_documented(tmp_path, expected, monkeypatch):
    import h5py

    path = tmp_path / "deep" / "answers.h5"
    about = {"why": "a test" + 70_000 * "!"}
    jaxmsm.campaign(THOROUGH, given(), HDF5Sink(path, rows=16), block=8, about=about)
    check(read_store(path), expected)
    assert sorted(p.name for p in path.with_suffix(".pieces").iterdir()) == [f"{k:09d}.h5" for k in (0, 16, 32, 48)]
    # Its pieces are found from wherever one stands.
    monkeypatch.chdir("/")
    with h5py.File(path) as file:
        assert file.attrs["format"] == "jaxmsm campaign, version 1"
        assert file.attrs["members"] == N
        assert json.loads(file.attrs["about"]) == about
        assert json.loads(file.attrs["versions"])["jax"] == jax.__version__
        np.testing.assert_array_equal(file["value"][5:40:7], expected.value[5:40:7])
        np.testing.assert_array_equal(file["code"].asstr()[:] == "successful", jaxmsm.names(expected.result) == "successful")
    assert sorted(read_store(path)) == ["code", "stats/cost", "stats/residual", "tries", "value"]


@pytest.mark.parametrize("name", ["answers.zarr", "answers.h5"])
def test_rows_that_are_not_there_yet(tmp_path, name):
    sink = sink_for(tmp_path / name)
    sink.open(5, "this", {})
    rows = {"value": np.ones((2, 3), np.float32), "on": np.ones(2, bool), "stats/step": np.array([["a", "b"]] * 2)}
    sink.write(np.array([3, 1]), rows, np.array(["successful", "stagnation"]), 2)
    found = read_store(tmp_path / name)
    assert found["tries"].tolist() == [0, 2, 0, 2, 0]
    assert found["code"].tolist() == ["not_run", "stagnation", "not_run", "successful", "not_run"]
    np.testing.assert_array_equal(found["value"][:, 0], np.array([np.nan, 1, np.nan, 1, np.nan], np.float32))
    assert found["value"].dtype == np.float32
    assert found["on"].tolist() == [False, True, False, True, False]
    assert found["stats/step"].tolist() == [["", ""], ["a", "b"], ["", ""], ["a", "b"], ["", ""]]


@pytest.mark.parametrize("name", ["answers.zarr", "answers.h5"])
def test_another_campaign_is_refused(tmp_path, name):
    path = tmp_path / name
    loads = given()
    jaxmsm.campaign(THOROUGH, loads, sink_for(path), block=8)
    assert jaxmsm.campaign(THOROUGH, loads, sink_for(path), block=8).solved == 0
    loads["b"][3] += 1e-15
    with pytest.raises(ValueError, match="holds the answers of another campaign"):
        jaxmsm.campaign(THOROUGH, loads, sink_for(path), block=8)
    with pytest.raises(ValueError, match="another campaign"):
        jaxmsm.campaign(Kepler(jnp.asarray(1.1)), given(), sink_for(path), block=8)


def shifted(solution, slope):
    """Keeps the value, moved by a number of this module."""
    return {"value": solution.value + SHIFT}


SHIFT = 0.0


def test_a_campaign_of_another_function_is_another_campaign(monkeypatch):
    def run(sink, factor, **how):
        law = jaxmsm.solids.Law(lambda F, past, p: (factor * p * F, past), 1.0)
        return jaxmsm.campaign(jaxmsm.Closed(law), np.stack([np.eye(2)] * 2), sink, **how)

    sink = MemorySink()
    run(sink, 1.0)
    assert run(sink, 1.0).solved == 0  # the same again, made anew
    with pytest.raises(ValueError, match="another campaign"):
        run(sink, 5.0)  # the same code, another number in its closure
    with pytest.raises(ValueError, match="another campaign"):
        run(sink, 1.0, keep=lambda solution, slope: {"value": 2 * solution.value})
    with monkeypatch.context() as patch:
        patch.setattr(_identity, "_PACKAGES", ("jax", "jaxlib"))
        with pytest.raises(ValueError, match="another campaign"):
            run(sink, 1.0)  # another version
    sink = MemorySink()
    run(sink, np.ones((2, 2)), keep=shifted)
    assert run(sink, np.ones((2, 2)), keep=shifted).solved == 0
    with pytest.raises(ValueError, match="another campaign"):
        run(sink, np.array([[1.0, 1.0], [1.0, 5.0]]), keep=shifted)
    monkeypatch.setitem(globals(), "SHIFT", 1.0)
    with pytest.raises(ValueError, match="another campaign"):
        run(sink, np.ones((2, 2)), keep=shifted)  # the same code, another number where it looks


def test_a_program_is_the_same_in_every_process():
    # Laws with history, a cell's loops and a controller of time steps: what is written about them must not hold addresses.
    code = """
import jax
jax.config.update('jax_enable_x64', True)
import test_campaign
print(*test_campaign.programs())
"""
    places = [str(pathlib.Path(__file__).parent), str(pathlib.Path(jaxmsm.__file__).parent.parent)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places), "PYTHONHASHSEED": "7", "JAX_NUMPY_RANK_PROMOTION": "raise"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout.split() == programs()


def programs():
    """Fingerprints of some scales' programs, slopes included."""
    metal = jaxmsm.solids.J2(lam=1.3, mu=0.7, hardening=jaxmsm.solids.Linear(sy=0.004, H=0.1))
    cell = jaxmsm.PeriodicCell(np.eye(4, dtype=int), [metal, jaxmsm.solids.NeoHookean(mu=1.0, lam=1.0)])
    flow = jaxmsm.Flow(jaxmsm.Rate(lambda t, x, drive: -x * drive), jnp.asarray(1.0))
    span = jaxmsm.Span(jnp.asarray(0.0), jnp.asarray(1.0), jnp.asarray(2.0))
    run = lambda scale, load: scale.linearize(load)
    return [
        _identity.program(run, scale, load) for scale, load in ((cell, jnp.eye(2)), (flow, span), (jaxmsm.batched(CHEAP), given()))
    ]


def test_what_is_no_store_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="must be a campaign's store"):
        jaxmsm.campaign(THOROUGH, given(), ZarrSink(tmp_path / "mine"), block=8)
    (tmp_path / "thesis.h5").write_text("precious")
    with pytest.raises(ValueError, match="must be a campaign's store"):
        jaxmsm.campaign(THOROUGH, given(), HDF5Sink(tmp_path / "thesis.h5"), block=8)
    with pytest.raises(ValueError, match="must be a campaign's store"):
        read_store(tmp_path / "nothing")
    # Pieces without their file would be taken for answers.
    (tmp_path / "mine").rename(tmp_path / "mine.pieces")
    with pytest.raises(ValueError, match="holds the pieces of a store that is gone"):
        jaxmsm.campaign(THOROUGH, given(), HDF5Sink(tmp_path / "mine.h5"), block=8)


def test_bad_input():
    with pytest.raises(ValueError, match="`block` must be a positive integer"):
        jaxmsm.campaign(THOROUGH, given(), MemorySink(), block=0)
    with pytest.raises(ValueError, match="`cost` must hold one number a member"):
        jaxmsm.campaign(THOROUGH, given(), MemorySink(), cost=np.ones(3))


def killable(path):
    """The campaign of the kill test, slow enough to be hit in the middle."""
    pause = lambda done, total, failed: time.sleep(0.1 if os.environ.get("SLOW") else 0)
    sink = type(sink_for(path))(path, rows=16)
    return jaxmsm.campaign(CHEAP, given(), sink, rescue=[THOROUGH], block=4, chunk=4, on_progress=pause)


def killed(path, after):
    """The same, which kills itself in the middle of a write: `after` datasets of HDF5 later, its file open and half full."""
    import h5py

    create, left = h5py.Group.create_dataset, [after]

    def create_dataset(self, *args, **kwargs):
        made = create(self, *args, **kwargs)
        left[0] -= 1
        if left[0] == 0:
            self.file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return made

    h5py.Group.create_dataset = create_dataset
    killable(path)


def child(call, path):
    """Another process with a call of this module's."""
    here = pathlib.Path(__file__).parent
    places = [str(here), str(pathlib.Path(jaxmsm.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"SLOW": "1", "PYTHONPATH": os.pathsep.join(places)}
    code = (
        "import sys, jax, pathlib; jax.config.update('jax_enable_x64', True); "
        f"import test_campaign; path = pathlib.Path(sys.argv[1]); test_campaign.{call}"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(path)], env=environment)


def check_resumed(path):
    """What a kill left is whole, and goes on to the bits of an undisturbed campaign."""
    before = read_store(path)
    held = before["tries"] > 0
    assert 12 < held.sum() < N
    assert np.isfinite(before["value"][held & (before["code"] == "successful")]).all()
    rest = killable(path)
    whole = killable(path.with_stem("whole"))
    assert before["tries"].astype(int).sum() + rest.solved == whole.solved
    after, undisturbed = read_store(path), read_store(path.with_stem("whole"))
    assert sorted(after) == sorted(undisturbed)
    for name, rows in undisturbed.items():
        np.testing.assert_array_equal(after[name], rows)
    return after


@pytest.mark.parametrize("name", ["killed.zarr", "killed.h5"])
def test_killed_and_resumed_with_the_same_bits(tmp_path, name):
    path = tmp_path / name
    process = child("killable(path)", path)
    until = time.time() + 60
    while time.time() < until and process.poll() is None:
        with contextlib.suppress(ValueError, KeyError, UserWarning):
            if np.sum(read_store(path)["tries"]) > 12:
                break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL  # It had not come to its end.
    check_resumed(path)


def test_hdf5_killed_in_the_middle_of_a_write(tmp_path):
    path = tmp_path / "killed.h5"
    # 4 pieces are made with 2 arrays, then with 5; each block of 4 then writes one piece: dead in the fifth block.
    process = child("killed(path, 4 * 2 + 4 * 5 + 4 * 5 + 3)", path)
    assert process.wait(60) == -signal.SIGKILL
    parts = list(tmp_path.rglob("*.part"))
    assert [p.name for p in parts] == ["000000016.h5.part"]
    found = check_resumed(path)
    # The same bits as in Zarr.
    killable(tmp_path / "whole.zarr")
    other = read_store(tmp_path / "whole.zarr")
    assert sorted(found) == sorted(other)
    for name, rows in other.items():
        np.testing.assert_array_equal(found[name], rows)
        assert found[name].dtype.kind == rows.dtype.kind
