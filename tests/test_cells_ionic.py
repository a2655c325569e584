"""Ionic cells: their rates against reference values, action potentials against published and computed durations."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmsm import biology
from jaxmsm.biology import BuenoOrovio, FentonKarma, HodgkinHuxley, LuoRudy, MitchellSchaeffer, TenTusscher

FILES = {HodgkinHuxley: "hodgkin_huxley_1952", LuoRudy: "luo_rudy_1991", TenTusscher: "ten_tusscher_panfilov_2006"}
SIMPLE = {
    "mitchell_schaeffer_2003": MitchellSchaeffer,
    "aliev_panfilov_1996": biology.AlievPanfilov,
    "fenton_karma_1998_MLR1": FentonKarma,
    "bueno_orovio_2008_epi": BuenoOrovio,
    "bueno_orovio_2008_endo": BuenoOrovio.endocardium,
}


def read(shared, name):
    return json.loads((shared / "reference" / "ionic" / f"{name}.json").read_text())


@pytest.mark.parametrize("kind", FILES, ids=lambda k: k.__name__)
def test_rates_at_the_first_state(shared, kind):
    reference = read(shared, FILES[kind])
    cell = kind()
    start = [state["init"] for state in reference["states"].values()]
    np.testing.assert_array_equal(np.array(cell.rest()), start)
    expected = list(reference["check_rhs_at_initial_state_pace0"].values())
    np.testing.assert_allclose(np.array(cell(0.0, cell.rest(), None)), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", SIMPLE)
def test_rates_of_the_simple_cells(shared, name):
    reference = read(shared, "phenomenological")[name]
    cell = SIMPLE[name]()
    for key, value in reference["params"].items():
        assert float(getattr(cell, key.rstrip("_"))) == value, key
    assert dict(zip(cell.rest()._fields, map(float, cell.rest()))) == reference["states"]
    y = type(cell.rest())(**{k: jnp.asarray(v) for k, v in reference["check_rhs_at"].items()})
    found = cell(0.0, y, None)._asdict()
    for key, value in reference["check_rhs"].items():
        np.testing.assert_allclose(found[key], value, rtol=1e-12, err_msg=key)
