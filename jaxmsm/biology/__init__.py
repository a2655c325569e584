"""Rates of living things. Potentials in mV, times in ms, concentrations in mM, currents as the change of potential they make."""

from ._evolution import (
    MutationSelection as MutationSelection,
    WrightFisher as WrightFisher,
    selection as selection,
    stationary_moments as stationary_moments,
)
from ._genes import (
    Delay as Delay,
    HillNetwork as HillNetwork,
    Repressilator as Repressilator,
    RepressilatorState as RepressilatorState,
    Toggle as Toggle,
    ToggleState as ToggleState,
    activated as activated,
    repressed as repressed,
)
from ._growth import (
    Chemostat as Chemostat,
    ChemostatState as ChemostatState,
    Recoding as Recoding,
    Spread as Spread,
    bramson as bramson,
    front_speed as front_speed,
    front_speed_on_grid as front_speed_on_grid,
)
from ._growth_laws import (
    Allee as Allee,
    Bertalanffy as Bertalanffy,
    Gompertz as Gompertz,
    Logistic as Logistic,
    Richards as Richards,
)
from ._hodgkin_huxley import HodgkinHuxley as HodgkinHuxley, HodgkinHuxleyState as HodgkinHuxleyState
from ._imported import ImportedCell as ImportedCell
from ._imported_network import ImportedNetwork as ImportedNetwork
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
from ._morphs import (
    Morphs as Morphs,
    MorphState as MorphState,
    score_of_mean as score_of_mean,
    smoothed_win as smoothed_win,
    won as won,
)
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
from ._reactions import Reactions as Reactions
from ._ten_tusscher import TenTusscher as TenTusscher, TenTusscherState as TenTusscherState
from ._tissue import Region as Region, Several as Several, Tissue as Tissue
