"""Makes `myokit_beats.json`: beats of the cells in CellML files that come with myokit, by its own run (CVODES, 1e-10).

It needs a compiler and the headers of SUNDIALS (`libsundials-dev`).

    python tests/oracles/myokit_beats.py
"""

import json
from pathlib import Path

import myokit
from myokit.formats import importer

FILES = Path(myokit.__file__).parent / "tests" / "data" / "formats" / "cellml"


def beat(name):
    model = importer("cellml").model(str(FILES / f"{name}.cellml"))
    simulation = myokit.Simulation(model)
    simulation.set_tolerance(1e-10, 1e-10)
    potential = next(v.qname() for v in model.states() if str(v.unit()) == "[mV]")
    log = simulation.run(401, log_times=[5.0 * k for k in range(1, 81)])
    return {"potential": potential, "every": 5.0, "v": [round(float(v), 6) for v in log[potential]]}


if __name__ == "__main__":
    beats = {name: beat(name) for name in ("br-1977", "decker-2009")}
    text = json.dumps({"myokit": myokit.__version__, "beats": beats}, indent=1)
    Path(__file__).with_suffix(".json").write_text(text + "\n")
