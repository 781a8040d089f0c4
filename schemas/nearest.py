"""Which known name a person may have meant by one that does not exist. Pure."""

import difflib
from collections.abc import Iterable
from typing import Final

LONGEST: Final = 100  # characters of a misspelt name that are compared


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return "Did you mean 'x'? " for the known name that is nearest; "": none is near.

    What was given is not repeated: it may be a person's name, typed into the wrong field.
    """
    by_plain = {_plain(name): str(name) for name in known}
    near = difflib.get_close_matches(_plain(given), by_plain, n=1)
    return f"Did you mean {by_plain[near[0]]!r}? " if near else ""


def _plain(name: str) -> str:
    """Return a name without its case, and with a space for each mark between words."""
    return name[:LONGEST].casefold().replace("-", " ").replace("_", " ")
