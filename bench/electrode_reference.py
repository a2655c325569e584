"""Reference for the tests: the stiffness of a 64^3 window of a battery electrode by muGrid, its pores at zero stiffness.

The system is semidefinite and consistent; six columns are solved to 1e-8 of their right-hand sides and the entries corrected by
the residuals, which makes them good to some 1e-12. The same program on the 24^3 window is compared with scikit-fem first. It
takes some 6 minutes of one core.

    taskset -c 1 python bench/electrode_reference.py ../shared/data/nmc-1-cal_generatedCBD_bridge.tif \
        > tests/oracles/electrode_64.json

A typical printout, beside the numbers:

    24^3: 2732 iterations, 8 s, scikit-fem to 1.2e-13
    64^3: 4632 iterations, 327 s
"""

from _side_by_side import lame, seconds  # first: sets threads and precision

# isort: split
import json
import pathlib
import sys
from importlib.metadata import version

import numpy as np
import tifffile
from _peers import MuGrid

# As in `tests/oracles/electrode.py`: Young's moduli in GPa of pore, particle, binder; one Poisson's ratio.
YOUNG, NU = [0.0, 140.0, 2.0], 0.3
CORNER = (100, 120, 140)
COMMAND = "taskset -c 1 python bench/electrode_reference.py ../shared/data/nmc-1-cal_generatedCBD_bridge.tif"
# muGrid's columns are 11, 22, 33, 12, 13, 23; Voigt's order is 11, 22, 33, 23, 13, 12.
VOIGT = [0, 1, 2, 5, 4, 3]
STORED = pathlib.Path(__file__).parent.parent / "tests" / "oracles" / "electrode.json"


def stiffness(image: np.ndarray, n: int) -> tuple[np.ndarray, int, float]:
    """Voigt's matrix of the cube of edge n at the corner, the iterations it took, and the CPU seconds."""
    E = np.array(YOUNG)[image[tuple(slice(c, c + n) for c in CORNER)]]
    peer, found = MuGrid(*lame(E, NU), 1e-16, corrected=True), []
    took = seconds(lambda: found.append(peer()))
    return found[0][np.ix_(VOIGT, VOIGT)], peer.steps, took


def main(path: str) -> None:
    image = tifffile.imread(path)
    C, steps, seconds = stiffness(image, 24)
    other = np.array(json.loads(STORED.read_text())["stiffness"]["24"])
    apart = float(np.max(np.abs(C - other)) / np.max(np.abs(other)))
    print(f"24^3: {steps} iterations, {seconds:.0f} s, scikit-fem to {apart:.1e}", file=sys.stderr)
    assert apart < 1e-11
    C, steps, seconds = stiffness(image, 64)
    print(f"64^3: {steps} iterations, {seconds:.0f} s", file=sys.stderr)
    out = {
        "command": COMMAND,
        "versions": {name: version(name) for name in ("muGrid", "numpy")},
        "young": YOUNG,
        "nu": NU,
        "corner": CORNER,
        "iterations": steps,
        "scikit-fem at 24^3": apart,
        "stiffness": {"64": C.tolist()},
    }
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
