"""Search: the index of what deliveries are found by, and what a typed text stands for.

The index has no text of a person: each text is a keyed hash, and no list of all texts can be read
from it. Nothing is scanned; see store/scripts/includes/search_index.lua.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from rules.search import read_text
from schemas.event import Event, event_ids
from schemas.outcome import Result
from schemas.records import NO_OUTCOME
from schemas.search import TERM, FoundBy, Search
from store.base import P
from store.indexing import IndexStore, OldRecord, unreadable_is_logged

MOST_CHOSEN: Final = 20  # deliveries that a search finds by an id of their own
STALE_AT_ONCE: Final = 64  # indexes of terms that one call looks through for what is too old
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"  # of a term
# (event, the delivery's route, its request as it was mapped or None) -> what it is found by.
DescribeFound = Callable[[Event, str, Any], FoundBy]

# The two letters of each ten bits: base64.b32encode() takes ten times as long.
_PAIRS: Final = tuple(first + second for first in LETTERS for second in LETTERS)
_DELIVERY: Final = re.compile(r"[0-9a-f]{26}")


class SearchStore(IndexStore):
    """What people find deliveries by."""

    def terms_of(self, found_by: FoundBy) -> str:
        """Return what a delivery is found by as its field `terms` has it."""
        indexed = "".join(map(self._term, found_by.indexed))
        if not found_by.compared:
            return indexed
        return f"{indexed} {''.join(map(self._term, found_by.compared))}"

    def search(self, text: str, sources: Iterable[str], *, may_reveal: bool = True) -> Search:
        """Return the search for a text that a person typed; sources: whose events it may name.

        may_reveal: see rules/search.py. Raises BadQuery for a text that it refuses.
        """
        needs = read_text(text, may_reveal=may_reveal)
        any_of = tuple(
            tuple((self._term(index), self._term(wanted)) for index, wanted in one) for one in needs
        )
        return Search(any_of=any_of, ids=self._ids_by(text.strip(), sources))

    def forget_terms(self, ids: Sequence[str], found_by: FoundBy) -> None:
        """Remove from deliveries of other people what an erased number is found by."""
        if not ids:
            return
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for delivery_id in ids:
                pipe.hget(f"{P}delivery:{delivery_id}", "terms")
            kept = pipe.execute()
        erased = {self._term(text) for text in (*found_by.indexed, *found_by.compared)}
        changes = []
        for delivery_id, terms in zip(ids, kept, strict=True):
            if terms:
                changes += [delivery_id, _without(str(terms), erased)]
        if changes:
            self._run("index_terms", "", *changes)

    def fill_terms(self, records: Iterable[OldRecord], found_by: DescribeFound) -> None:
        """Fill in what these deliveries are found by."""
        changes: list[str] = []
        for one in records:
            terms = ""  # one without a readable event is found by its id
            if one.event:
                with unreadable_is_logged(one.id):
                    terms = self.terms_of(found_by(one.event, one.route, one.request))
            changes += [one.id, terms]
        if changes:
            self._run("index_terms", "1", *changes)

    def forget_stale_terms(self, start: int) -> int:
        """Remove index entries that are older than every delivery. Returns where to go on.

        There are such entries only after an older release ran on this store for a while.
        """
        count = len(LETTERS) ** 3
        with self._reached():
            oldest: Any = self.redis.zrange(f"{P}deliveries", 0, 0, withscores=True)
            below = f"({int(oldest[0][1])}" if oldest else "+inf"
            pipe = self.redis.pipeline(transaction=False)
            for number in range(start, min(start + STALE_AT_ONCE, count)):
                pipe.zremrangebyscore(f"{P}find:{_index_name(number)}", "-inf", below)
            for place in (NO_OUTCOME, *Result):
                pipe.zremrangebyscore(f"{P}deliveries:outcome:{place}", "-inf", below)
            pipe.execute()
        return (start + STALE_AT_ONCE) % count

    # --- helpers ------------------------------------------------------------------------------

    def _term(self, text: str) -> str:
        # The label keeps the hash apart from those of numbers and records. No source has no name.
        bits = int.from_bytes(self._digest(f"\0find\0{text}", TERM * 5 // 8))
        ends = _PAIRS[bits >> 10 & 1023] + _PAIRS[bits & 1023]
        return _PAIRS[bits >> 30] + _PAIRS[bits >> 20 & 1023] + ends

    def _ids_by(self, text: str, sources: Iterable[str]) -> tuple[str, ...]:
        """Return the deliveries that have this id, this call or the event with this id."""
        if not text:
            return ()
        found: list[str] = []
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            pipe.get(f"{P}call:{text}")
            pipe.exists(f"{P}delivery:{text}" if _DELIVERY.fullmatch(text) else f"{P}nothing")
            for event_id in event_ids(text, sources):
                pipe.hget(f"{P}event:{event_id}", "deliveries")
            by_call, is_delivery, *listed = pipe.execute()
        found += [str(by_call)] if by_call else []
        found += [text] if is_delivery else []
        lines = [line for lines in listed for line in (lines or "").splitlines()]
        found += self._not_erased([line.split(" ", 1)[0] for line in lines])
        return tuple(islice(dict.fromkeys(filter(_DELIVERY.fullmatch, found)), MOST_CHOSEN))

    def _not_erased(self, ids: Sequence[str]) -> Iterator[str]:
        """Yield the ids without those of erased people: the CRM's id of their event is theirs."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for delivery_id in ids:
                pipe.hexists(f"{P}delivery:{delivery_id}", "erased_ms")
            are_erased = pipe.execute()
        yield from (one for one, is_erased in zip(ids, are_erased, strict=True) if not is_erased)


def _without(terms: str, erased: set[str]) -> str:
    parts = ([one[at : at + TERM] for at in range(0, len(one), TERM)] for one in terms.split(" "))
    return " ".join("".join(term for term in part if term not in erased) for part in parts).rstrip()


def _index_name(number: int) -> str:
    base = len(LETTERS)
    return LETTERS[number // base**2] + LETTERS[number // base % base] + LETTERS[number % base]
