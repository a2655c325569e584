"""What a person handed over and nobody can use."""

from .._names import hint


class InputError(ValueError):
    """An input that cannot be used; its message is one sentence that says what to do."""


def unknown(what: str, given: str, known, *, where: str = "") -> InputError:
    """The sentence for a name that is none of the known ones, with the nearest of them."""
    listed = ", ".join(f"`{name}`" for name in known)
    return InputError(f"{where}{what} `{given}` is not known; known are {listed}.{hint(given, known)}")


def needs(package: str, extra: str = "files") -> InputError:
    """The sentence for a package that some files need, and the extra that installs it."""
    return InputError(f"The package `{package}` is not installed: run `pip install 'jaxmsm[{extra}]'`.")
