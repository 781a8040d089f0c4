"""What a delivery is found by, and what is searched for."""

import re
from dataclasses import dataclass
from typing import Final

from schemas.errors import BadQuery

TERM: Final = 8
"""Characters of a term: the keyed hash of a text that a delivery is found by.

They have 40 bits: of a million deliveries that a search compares, one is wrong in some 10,000
searches.
"""

_DELIVERY: Final = "[0-9a-f]{26}"
_TERM: Final = f"[a-z2-7]{{{TERM}}}"
_PAIR: Final = f"{_TERM}(?:-{_TERM})?"
_KEY: Final = re.compile(
    rf"(?:i(?:\.{_DELIVERY}){{1,20}}|t(?:\.{_PAIR}){{1,12}})"
    rf"(?:~t(?:\.{_PAIR}){{1,12}}){{0,3}}"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundBy:
    """The texts that a delivery is found by; folded, as rules/search.py folds what is typed."""

    # Those that lead to the delivery: words of the name, e-mail, last four digits, ids.
    indexed: tuple[str, ...] = ()
    # Those that are only compared: the last 5 to 10 digits, which the last four lead to.
    compared: tuple[str, ...] = ()


# What a delivery must have (second), and what leads to the deliveries that may have it (first).
# Both are texts, or both are terms.
Need = tuple[str, str]
Needs = tuple[Need, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What is searched for, without the text that a person typed.

    A delivery matches if its id is in `ids`, or if it has all terms of one of `any_of`.
    """

    any_of: tuple[Needs, ...] = ()
    ids: tuple[str, ...] = ()

    def key(self) -> str:
        """Return the search as it may stand in an address: keyed hashes and ids of deliveries."""
        ids = ["i." + ".".join(self.ids)] if self.ids else []
        return "~".join([*ids, *("t." + ".".join(map(_pair, needs)) for needs in self.any_of)])


def read_search(key: str) -> Search:
    """Return the search that key() wrote. Raises BadQuery."""
    if not _KEY.fullmatch(key):
        raise BadQuery("This is not a search. Type into the search box what you look for.")
    groups = [group.split(".") for group in key.split("~")]
    ids = tuple(one for kind, *found in groups if kind == "i" for one in found)
    any_of = tuple(tuple(map(_needs, found)) for kind, *found in groups if kind == "t")
    return Search(any_of=any_of, ids=ids)


def _pair(need: Need) -> str:
    return need[0] if need[0] == need[1] else "-".join(need)


def _needs(pair: str) -> Need:
    index, _, wanted = pair.partition("-")
    return index, wanted or index
