"""FE2 on several devices and on two processes: the answer of one device, and no talk within the cells' own iterations."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

import jaxmsm


def start(*arguments):
    here = pathlib.Path(__file__).parent
    places = [str(here), str(pathlib.Path(jaxmsm.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    cache = {"JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
    environment = os.environ | cache | {"PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, str(here / "_bodies_job.py"), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(job):
    out, err = job.communicate(timeout=600)
    assert job.returncode == 0, err[-4000:]
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def report():
    return result(start())


def same(found, expected):
    assert found["figures"] == expected["figures"]
    for name in ("force", "slope", "state"):
        # Two programs round differently; the state is compared in its own size.
        a, b = np.array(found[name]), np.array(expected[name])
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10 * np.abs(b).max(), err_msg=name)


def test_eight_devices_give_the_answer_of_one(report):
    assert len(report["one"]["force"]) == 2 and report["one"]["force"][1] < report["one"]["force"][0]
    same(report["many"], report["one"])


def test_nothing_is_exchanged_within_the_cells(report):
    # Loops around the deepest collective: steps, Newton, line search. Those of the cells are within: Newton, Krylov.
    talk, loops = report["nesting"]
    assert 0 < talk <= 3 < loops


def test_two_processes_give_the_answer_of_one(report):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    jobs = [start(port, k) for k in range(2)]
    found = [result(job) for job in jobs]
    assert found[0] == found[1]
    same(found[0]["many"], report["one"])
