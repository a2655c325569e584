"""Names that a person wrote, and what was meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def hint(given: str, known: Iterable[str]) -> str:
    """` Did you mean ...?` with the known name nearest to the given one, small or capital; nothing where none is near."""
    small = {name.lower(): name for name in known}
    near = get_close_matches(given.lower(), list(small), 1)
    return f" Did you mean `{small[near[0]]}`?" if near else ""
