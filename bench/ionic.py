"""Claim: a step of an ionic model costs at most 1.2 times what it does in C.

The cells of three CellML and Myokit files that come with myokit (8, 8 and 46 unknowns), imported, in Rush-Larsen steps; against C
written from the same formulas, one loop over the cells (gcc -O3 -march=native -ffast-math, whose exponentials come from the
vectors of libmvec). 65,536 cells, CPU seconds of one core, in alternation. The ten Tusscher-Panfilov cell, written by hand, beside.

In float32 the C of Luo-Rudy 1991 is no number and crawls, and ours of Decker 2009 none: an arc cosine of just above one.

    python bench/ionic.py

AMD EPYC (AVX-512), one core, jax 0.12.0.1, myokit 1.39.2, gcc 12:

    cell                            ns a cell and step   in C  over C  difference  compile
    Luo-Rudy 1991, float32                       16.63    124  0.1341         nan   0.1616
    Beeler-Reuter 1977, float32                  13.39  15.02  0.8918   9.313e-10   0.1205
    Decker 2009, float32                         138.4  71.76   1.928         nan    1.093
    ten Tusscher-Panfilov, float32                36.8    nan     nan         nan   0.3241
    Luo-Rudy 1991, float64                       52.69  43.76   1.204   9.216e-18   0.1703
    Beeler-Reuter 1977, float64                  42.78   30.6   1.398   1.735e-18   0.1286
    Decker 2009, float64                         465.6  156.1   2.983   4.547e-13    1.117
    ten Tusscher-Panfilov, float64               124.6    nan     nan         nan   0.3321
"""

from _side_by_side import alternate, compiled, table, versions  # first: sets threads and precision

# isort: split
import ctypes
import subprocess
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import myokit
import numpy as np

from jaxmsm.biology import ImportedCell, TenTusscher
from jaxmsm.biology._expressions import names
from jaxmsm.io import read_cell
from jaxmsm.solve import RushLarsen, Steps, follow

N, STEPS, DT = 65_536, 50, 0.01
DATA = Path(myokit.__file__).parent / "tests" / "data"
FILES = {"Luo-Rudy 1991": "lr-1991.mmt", "Beeler-Reuter 1977": "formats/cellml/br-1977.cellml", "Decker 2009": "decker-2009.mmt"}
INFIX = ("+", "*", "/", "<", "<=", ">", ">=", "==", "!=")


def written(e, f):
    """An expression in C; f is the suffix of the precision."""
    if isinstance(e, float):
        return f"{e!r}{f}"
    if isinstance(e, str):
        return "v_" + e.replace(".", "_").replace("(", "_").replace(")", "_")
    op, *parts = e
    parts = [written(p, f) for p in parts]
    if op == "-":
        return f"({parts[0]} - {parts[1]})" if len(parts) == 2 else f"(-{parts[0]})"
    if op in INFIX:
        return "(" + f" {op} ".join(parts) + ")"
    if op in ("and", "or", "not"):
        return f"(!{parts[0]})" if op == "not" else "(" + (" && " if op == "and" else " || ").join(parts) + ")"
    if op == "piecewise":
        value = parts[-1]
        for k in range(len(parts) - 3, -1, -2):
            value = f"({parts[k + 1]} ? {parts[k]} : {value})"
        return value
    return {"^": "pow", "abs": "fabs", "arccos": "acos"}.get(op, op) + f"{f}(" + ", ".join(parts) + ")"


def ordered(cell):
    """The rules that the rates need, each after what it needs itself."""
    rules, done = dict(cell.equations.rules), {}

    def visit(name):
        if name in rules and name not in done:
            for other in names(rules[name], {}):
                visit(other)
            done[name] = rules[name]

    lines = dict(cell.lines)
    for name, rate in cell.equations.rates:
        for part in lines.get(name, (rate,)):
            for other in names(part, {}):
                visit(other)
    return done


def by_c(cell, dtype):
    f, kind = ("f", "float") if dtype == np.float32 else ("", "double")
    unknowns, lines = [name for name, _ in cell.equations.rates], dict(cell.lines)
    body = [f"const {kind} {written(n, f)} = y{k}[i];" for k, n in enumerate(unknowns)]
    body += [f"const {kind} {written(n, f)} = {written(e, f)};" for n, e in ordered(cell).items()]
    after = []
    for k, (name, rate) in enumerate(cell.equations.rates):
        x = written(name, f)
        if name in lines:
            height, slope = (written(part, f) for part in lines[name])
            body.append(f"const {kind} s{k} = {slope}, t{k} = -({height}) / s{k};")
            after.append(f"y{k}[i] = t{k} + ({x} - t{k}) * exp{f}(dt * s{k});")
        else:
            after.append(f"y{k}[i] = {x} + dt * ({written(rate, f)});")
    numbers = [f"const {kind} {written(n, f)} = {float(x)!r}{f};" for n, x in cell.parameters.items()]
    numbers.append(f"const {kind} {written(cell.clock, f)} = 0;")
    arrays = ", ".join(f"{kind} *restrict y{k}" for k in range(len(unknowns)))
    source = (
        f"#include <math.h>\nvoid step({arrays}, int n, {kind} dt) {{\n" + "\n".join(numbers) + "\nfor (int i = 0; i < n; i++) {\n"
        + "\n".join(body + after) + "\n}}\n"
    )  # fmt: skip
    folder = Path(tempfile.mkdtemp())
    (folder / "cell.c").write_text(source)
    flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, "-o", folder / "cell.so", folder / "cell.c", "-lm"], check=True)
    library = ctypes.CDLL(str(folder / "cell.so"))
    number = ctypes.c_float if dtype == np.float32 else ctypes.c_double
    library.step.argtypes = [ctypes.c_void_p] * len(unknowns) + [ctypes.c_int, number]

    def run():
        y = [np.full(N, float(x), dtype) for x in cell.rest()]
        for _ in range(STEPS):
            library.step(*(x.ctypes.data for x in y), N, DT)
        return y

    return run


def ours(cell, dtype):
    cell, step = jax.tree.map(lambda x: jnp.asarray(x, dtype), cell), RushLarsen()
    y = jax.tree.map(lambda x: jnp.full(N, x, dtype), cell.rest())
    advance = lambda t, y, dt: step(cell.driven(None), t, y, dt)
    program, seconds = compiled(lambda y: follow(advance, y, Steps(dtype(0), dtype(DT), STEPS)).end, y)
    return (lambda: program(y)), seconds


def main():
    print(versions("jaxmsm", "myokit"), subprocess.run(["gcc", "-dumpversion"], capture_output=True, text=True).stdout.strip())
    rows = []
    for dtype in (jnp.float32, jnp.float64):
        kind = np.dtype(dtype).name
        for name, file in FILES.items():
            model = read_cell(DATA / file)
            stimulus = [v.qname() for v in model.variables(deep=True) if v.qname() in ("stimulus_protocol.Istim",)]
            cell = ImportedCell(model, without=stimulus)
            program, seconds = ours(cell, dtype)
            c = by_c(cell, np.dtype(dtype).type)
            off = max(float(np.abs(np.asarray(a) - b).max()) for a, b in zip(program(), c(), strict=True))
            times = alternate({"jaxmsm": program, "C": c})
            each = {k: 1e9 * t / N / STEPS for k, t in times.items()}
            rows.append((f"{name}, {kind}", each["jaxmsm"], each["C"], each["jaxmsm"] / each["C"], off, seconds))
        program, seconds = ours(TenTusscher(), dtype)
        t = alternate({"": program})[""]
        rows.append((f"ten Tusscher-Panfilov, {kind}", 1e9 * t / N / STEPS, float("nan"), float("nan"), float("nan"), seconds))
    table(("cell", "ns a cell and step", "in C", "over C", "difference", "compile"), rows)


if __name__ == "__main__":
    main()
