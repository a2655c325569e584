"""Models of living things from the files of others: CellML, Myokit, SBML; read by the packages that are kept for them."""

from pathlib import Path
from typing import Any

from ._input import InputError, needs


def read_cell(path: str | Path) -> Any:
    """The `myokit.Model` in a CellML (`.cellml`, 1.0 to 2.0) or Myokit (`.mmt`) file; `biology.ImportedCell` makes a rate of it.

    Raises:
        InputError: there is no such file, or none that the package myokit can use; with its reason.
    """
    path = _file(path)
    try:
        import myokit
        from myokit.formats import importer
    except ImportError as error:
        raise needs("myokit", "models") from error
    # Readers meet broken files with whatever they stumble over.
    try:
        if path.suffix == ".mmt":
            model = myokit.load_model(str(path))
        else:
            model = importer("cellml").model(str(path))
        model.validate()
    except Exception as error:
        raise InputError(f"{path} is no cell that can be used: {_said(error)}") from error
    return model


def read_sbml(path: str | Path) -> Any:
    """The `libsbml.SBMLDocument` in a file of SBML, any level; `biology.ImportedNetwork` makes a rate of it.

    Raises:
        InputError: there is no such file, or it is no SBML; with the line and the reason.
    """
    path = _file(path)
    try:
        import libsbml
    except ImportError as error:
        raise needs("python-libsbml", "models") from error
    document = libsbml.readSBMLFromFile(str(path))
    if document.getNumErrors(libsbml.LIBSBML_SEV_ERROR) or document.getNumErrors(libsbml.LIBSBML_SEV_FATAL):
        wrong = (document.getError(k) for k in range(document.getNumErrors()))
        worst = next(e for e in wrong if e.getSeverity() >= libsbml.LIBSBML_SEV_ERROR)
        raise InputError(f"{path}, line {worst.getLine()}, is no SBML that can be used: {_short(worst.getMessage())}")
    if document.getModel() is None:
        raise InputError(f"{path} holds no model.")
    return document


def _file(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    return path


def _said(error: Exception) -> str:
    return _short(str(error) or type(error).__name__)


def _short(text: str) -> str:
    """The first lines of what a package says, as one."""
    text = " ".join(text.split())
    return text if len(text) < 300 else text[:297] + "..."
