"""Several devices, in one process of its own: the same bits as on one."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import pytest

import jaxmsm


@pytest.fixture(scope="module")
def report():
    here = pathlib.Path(__file__).parent
    places = [str(here), str(pathlib.Path(jaxmsm.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    cache = {"JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
    environment = os.environ | cache | {"PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run(
        [sys.executable, str(here / "_devices_job.py")], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_same_bits_on_any_number_of_devices(report):
    cases = [case for case in report if case != "collectives"]
    assert len(cases) == 10
    for case in cases:
        for name, found in report[case].items():
            # The gradient of what all members share is summed in another order: 21 terms of some units.
            assert found["off"] <= 1e-13 if name == "dk" else found["same"], (case, name, found)


def test_devices_do_not_talk(report):
    assert report["collectives"] == 0
