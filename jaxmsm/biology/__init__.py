"""Rates of living things. Potentials in mV, times in ms, concentrations in mM, currents as the change of potential they make."""

from ._hodgkin_huxley import HodgkinHuxley as HodgkinHuxley, HodgkinHuxleyState as HodgkinHuxleyState
from ._ionic import AbstractCell as AbstractCell, Pacing as Pacing, Tuning as Tuning
from ._luo_rudy import LuoRudy as LuoRudy, LuoRudyState as LuoRudyState
from ._maps import (
    PseudoECG as PseudoECG,
    dispersion as dispersion,
    phase as phase,
    qt as qt,
    singularities as singularities,
    velocity as velocity,
)
from ._markers import crossing as crossing, duration as duration, peak as peak
from ._phenomenological import (
    AlievPanfilov as AlievPanfilov,
    AlievPanfilovState as AlievPanfilovState,
    BuenoOrovio as BuenoOrovio,
    BuenoOrovioState as BuenoOrovioState,
    FentonKarma as FentonKarma,
    FentonKarmaState as FentonKarmaState,
    MitchellSchaeffer as MitchellSchaeffer,
    MitchellSchaefferState as MitchellSchaefferState,
)
from ._protocols import Beat as Beat, Train as Train
from ._ten_tusscher import TenTusscher as TenTusscher, TenTusscherState as TenTusscherState
from ._tissue import Region as Region, Several as Several, Tissue as Tissue
