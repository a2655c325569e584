"""The house keeps its rules: who imports whom, sizes, docstrings, and nothing that touches jax at import."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

import jaxmsm

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted((ROOT / "jaxmsm").rglob("*.py"))
SOURCES = {str(path.relative_to(ROOT)): path.read_text() for path in FILES}
TREES = {name: ast.parse(text) for name, text in SOURCES.items()}
ROOMS = sorted(path.parent.name for path in FILES if path.name == "__init__.py" and path.parent != ROOT / "jaxmsm")

# Files and functions past these want splitting (STYLE).
MOST_LINES, MOST_FUNCTION = 500, 60


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def length(node) -> int:
    """Lines of a function without its docstring."""
    lines = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


def test_rooms_import_only_what_they_may():
    # The contracts stand in pyproject.toml; the tool has its own process, since it reads the sources anew.
    run = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"\b[1-9]\d* kept, 0 broken", run.stdout), run.stdout


@pytest.mark.parametrize("name", SOURCES)
def test_no_file_imports_the_whole_house(name):
    # Rooms meet at the top (`.._scale`), so that no import is circular; the command line is above them all.
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom):
            assert node.level > 0 or (node.module or "").split(".")[0] != "jaxmsm", f"{name}:{node.lineno}"
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "jaxmsm" for alias in node.names), f"{name}:{node.lineno}"


def test_importing_touches_no_setting_of_jax():
    code = """
import jax
before = {k: jax.config.values[k] for k in jax.config.values}
import jaxmsm, jaxmsm.io, jaxmsm.viz, jaxmsm.systems
after = {k: jax.config.values[k] for k in jax.config.values}
changed = {k for k in after if before.get(k, after[k]) != after[k]}
assert not changed, changed
from jax._src import xla_bridge
assert not xla_bridge._backends, "importing started a device"
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=_plain_environment())
    assert run.returncode == 0, run.stderr


def _plain_environment():
    import os

    return {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))} | {"JAX_PLATFORMS": "cpu"}


@pytest.mark.parametrize("name", SOURCES)
def test_only_the_command_line_sets_jax_up(name):
    if name != "jaxmsm/cli.py":
        code = "\n".join(line.split("#")[0] for line in SOURCES[name].splitlines())
        assert "config.update" not in code and "enable_x64" not in code


@pytest.mark.parametrize("name", SOURCES)
def test_files_and_functions_are_short(name):
    assert SOURCES[name].count("\n") <= MOST_LINES
    long = {f"{node.name}:{node.lineno}": length(node) for node in functions(TREES[name]) if length(node) > MOST_FUNCTION}
    assert not long


@pytest.mark.parametrize("name", SOURCES)
def test_modules_open_with_a_sentence(name):
    text = ast.get_docstring(TREES[name])
    assert text and re.match(r"[A-Z`].*?[.]($|\s)", text, re.S), f"{name} opens with {text!r}"


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_is_shifted_in_place(name):
    # openxla 49176: `b.at[1:].set(b[:-1])` reads its own output on a CPU.
    assert not re.search(r"\.at\[[^\]]*1:[^\]]*\]\s*\.set\([^)]*\[[^\]]*:-1", SOURCES[name])


@pytest.mark.parametrize("name", SOURCES)
def test_no_maximum_decides_what_is_finite(name):
    # `jnp.max` loses NaN on a CPU from 4,096 elements; 2-norms and `all(isfinite)` keep it.
    assert not re.search(r"isfinite\(\s*jnp\.(max|min)\b|max_norm", SOURCES[name])


def _public(module):
    return {name: getattr(module, name) for name in vars(module) if not name.startswith("_")}


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_public_names_are_documented(room):
    module = jaxmsm if room == "" else __import__(f"jaxmsm.{room}", fromlist=["x"])
    assert module.__doc__
    for name, item in _public(module).items():
        home = getattr(item, "__module__", "")
        if home and home.startswith("jaxmsm") and callable(item):
            text = (item.__doc__ or "").strip()
            # A dataclass without a docstring is given its signature.
            assert text and not text.startswith(f"{name}("), f"{room}.{name} has no docstring"
