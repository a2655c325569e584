"""Run every notebook from a clean kernel, in a scratch folder; the first error ends it."""

import pathlib
import sys
import tempfile
import time

import nbformat
from nbclient import NotebookClient

HERE = pathlib.Path(__file__).parent


def execute(path: pathlib.Path) -> None:
    """Run one notebook; it must be committed without outputs."""
    notebook = nbformat.read(path, as_version=4)
    kept = [cell for cell in notebook.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)]
    if kept:
        raise SystemExit(f"{path.name} holds outputs: clear them before it is committed.")
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()


def main(names: list[str]) -> None:
    """All notebooks, or those that are named."""
    for path in sorted(HERE.glob("*.ipynb")) if not names else [HERE / name for name in names]:
        start = time.perf_counter()
        execute(path)
        print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
