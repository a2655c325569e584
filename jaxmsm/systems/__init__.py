"""The named systems, one story a file, runnable from the command line.

A system is a module with `Options` (a dataclass upon `Common`, whose docstrings are the help, units included) and
`run(options, out, console) -> Report`, which writes its files into the folder `out`. A new one is a line in a table below; nothing
is imported before it is asked for. Units: the caller's own, any consistent set, unless a system states its own.
"""

import importlib
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class System:
    """Where a system is and what it does.

    Attributes:
        module: its module's name in this room.
        summary: one sentence.
        resumes: it writes into its final folder as it goes and takes up there after a kill; others leave a whole folder or none.
    """

    module: str
    summary: str
    resumes: bool = False

    def load(self) -> ModuleType:
        """The module, imported now."""
        return importlib.import_module(f"{__name__}.{self.module}")


COMMANDS: dict[str, System] = {
    "homogenize": System("_homogenize", "Effective law of an image of phases, with its bounds and brackets."),
    "dataset": System("_dataset", "A training set on disk: images times load paths, with stress, tangent, codes.", resumes=True),
    "fe2": System("_problem", "A structure from a TOML file: your mesh, a law or a cell at every point.", resumes=True),
}
"""Systems that are a command of their own: `jaxmsm NAME`."""

SYSTEMS: dict[str, System] = {
    "codon": System("_codon", "Reassigned codons: enzyme, growth, a chemostat; the critical number and its slopes."),
    "electrode": System("_electrode", "A tomography of a battery electrode: moduli and ionic tortuosity by volume.", resumes=True),
    "ensemble": System("_ensemble", "A network of genes of your own from a TOML file, swept over its parameters."),
    "fe2": System("_fe2", "A perforated plate with a plastic cell at every point, pulled and let go.", resumes=True),
    "fe2-fit": System("_fe2_fit", "Yield and hardening of two phases, fitted to the curves of a structure through both scales."),
    "heart": System("_heart", "A mutated channel, its action potential, the wave through a wall, the ECG, a spiral wave; slopes."),
    "masonry": System("_masonry", "A photograph of bricks: effective law, scatter by window, mortar past its yield."),
    "metamaterial": System(
        "_metamaterial", "Cells designed by gradient: negative Poisson's ratio, greatest bulk modulus.", resumes=True
    ),
    "mutant-spread": System("_mutant_spread", "A harmful variant: how often, what it changes, and what spreads over a landscape."),
    "niederer": System("_niederer", "The 2011 benchmark of heart codes: activation times of a slab of tissue."),
    "plasticity": System("_plasticity", "Two forms from one genotype: cue, hormone, switch and growth of a population."),
    "surrogate": System("_surrogate", "Networks in the place of cells, elastic and plastic, that fall back to them.", resumes=True),
}
"""Systems that are stories: `jaxmsm run NAME`."""
