"""Reads figures, and remembers the sums of days that did not change."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rules.figures import Sums, summed, sums_of
from schemas.figures import By, FigureQuery, FigureTable
from store import Store

MOST_REMEMBERED = 40_000  # keys with their sums, of all days and questions; about 10 MB

Question = tuple[object, ...]  # a day, and what is wanted of it


class FigureReader:
    """Answers queries of figures. One is enough for all threads of a process."""

    def __init__(self, store: Store, *, most: int = MOST_REMEMBERED) -> None:
        self._store = store
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[Question, tuple[str, Sums]] = OrderedDict()
        self._size = 0

    def table(self, query: FigureQuery) -> FigureTable:
        """Return the figures that a query wants. Raises StoreUnavailable."""
        return self.tables([query])[0]

    def tables(self, queries: Sequence[FigureQuery]) -> list[FigureTable]:
        """Return the figures that each query wants. Raises StoreUnavailable."""
        # The times of changes are read first: sums that are newer than them are read again.
        changed = self._store.figures_changed()
        return [self._table(query, changed) for query in queries]

    def _table(self, query: FigureQuery, changed: Mapping[int, str]) -> FigureTable:
        days = [day for day in sorted(changed) if query.first[0] <= day <= query.last[0]]
        found = {day: self._remembered(_question(day, query), changed[day]) for day in days}
        for day, cells in self._store.figures([day for day in days if found[day] is None]):
            found[day] = sums_of(day, cells, query)
            self._remember(_question(day, query), changed[day], found[day] or {})
        return summed((sums for sums in found.values() if sums), query.by)

    def narrowed(self, query: FigureQuery, by: By, name: str) -> FigureQuery:
        """Return a query of one route, source or campaign alone.

        A campaign is given by its batch_id, or by its name, for all its periods. `none` is what has
        no such value. Raises StoreUnavailable.
        """
        keys = frozenset([name])
        if by is By.CAMPAIGN:
            keys |= frozenset(self._store.campaigns_called(name).values())
        return replace(query, only=(by, keys))

    def _remembered(self, question: Question, changed: str) -> Sums | None:
        with self._lock:
            known = self._known.get(question)
            if known is None or known[0] != changed:
                return None
            self._known.move_to_end(question)
            return known[1]

    def _remember(self, question: Question, changed: str, sums: Sums) -> None:
        with self._lock:
            if old := self._known.pop(question, None):
                self._size -= _size_of(old[1])
            self._known[question] = changed, sums
            self._size += _size_of(sums)
            while self._size > self._most and len(self._known) > 1:
                _, (_, oldest) = self._known.popitem(last=False)
                self._size -= _size_of(oldest)


def _size_of(sums: Sums) -> int:
    return len(sums) + 1


def _question(day: int, query: FigureQuery) -> Question:
    first = query.first[1] if day == query.first[0] else ""
    last = query.last[1] if day == query.last[0] else ""
    return day, query.by, query.only, first, last
