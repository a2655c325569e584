"""The rows named on the command line in float32, with x64 off and nothing of the tests' setup; answers as JSON."""

import json
import sys

import jax
import numpy as np
from _contract import in_single
from _scales import ROWS

from jaxmsm import names

assert not jax.config.jax_enable_x64
out = {}
for name in sys.argv[1:]:
    answer = in_single(ROWS[name])
    leaves = jax.tree.leaves(answer.value)
    assert all(x.dtype == np.float32 for x in leaves)
    out[name] = {"code": str(names(answer.result)), "value": [float(x) for leaf in leaves for x in np.ravel(leaf)]}
print(json.dumps(out))
