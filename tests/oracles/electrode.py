"""Windows of the battery electrode by scikit-fem: stiffness at 16^3 and 24^3, ionic conductivity of the pores at 64^3.

pip install scikit-fem==12.0.2 tifffile
python tests/oracles/electrode.py ../shared/data/nmc-1-cal_generatedCBD_bridge.tif > tests/oracles/electrode.json
"""

import json
import sys

import numpy as np
import skfem
import tifffile
from peers import conducting, elastic

# Young's moduli in GPa of pore, particle, binder; one Poisson's ratio; conductivities with the pores as one.
YOUNG, NU = [0.0, 140.0, 2.0], 0.3
CONDUCTING = [1.0, 0.0, 0.05]
CORNER = (100, 120, 140)


def window(image, n):
    """The cube of edge n at the corner."""
    return image[tuple(slice(c, c + n) for c in CORNER)]


if __name__ == "__main__":
    image = tifffile.imread(sys.argv[1])
    out = {"versions": {"scikit-fem": skfem.__version__, "numpy": np.__version__}, "stiffness": {}, "conductivity": {}}
    for n in (16, 24):
        E = np.array(YOUNG)[window(image, n)]
        out["stiffness"][n] = elastic(E * NU / ((1 + NU) * (1 - 2 * NU)), E / (2 * (1 + NU))).tolist()
        print(n, np.diag(out["stiffness"][n]), file=sys.stderr)
    for n in (16, 64):
        out["conductivity"][n] = conducting(np.array(CONDUCTING)[window(image, n)]).tolist()
        print(n, np.diag(out["conductivity"][n]), file=sys.stderr)
    print(json.dumps(out, indent=1))
