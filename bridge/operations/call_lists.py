"""Call lists: a person names a route, and each row of a CSV file becomes an event for it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import rules.preview
from bridge.access import current_name, note_act
from bridge.operations.base import Base
from config import log
from rules.call_list import (
    ListRow,
    Unreadable,
    read_mapping,
    read_name,
    read_rows,
    row_item,
    why_held,
)
from rules.matching import as_event, delivery_of
from rules.person import name_of
from rules.preview.text import Outcome
from rules.search import mapped_person
from schemas.access import Action
from schemas.csv_table import Table
from schemas.delivery import Reason, Status
from schemas.event import Event
from schemas.records import NewDelivery
from schemas.route import Route
from schemas.source import Source

logger = log.get(__name__)

AT_ONCE: Final = 100  # rows that are stored in one step, during which Redis serves nobody else
SHOWN: Final = 10  # rows of a preview


@dataclass(frozen=True, kw_only=True, slots=True)
class CallList:
    """What became of the rows of a list, or would become of them."""

    rows: int  # the sum of the others
    accepted: int  # stored, and held until a person releases them
    # Their number is in the list twice, or a list of this name had it already.
    duplicates: int
    suppressed: int  # their number is suppressed; they are not stored
    unreadable: tuple[Unreadable, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenRow:
    """A row of a preview, and what becomes of it once it is released."""

    line: int
    number: str
    name: str | None
    outcome: Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """A list as it was read: whose number is new in it, suppressed or there before."""

    name: str
    route: Route
    source: Source
    now: datetime
    fresh: tuple[ListRow, ...]  # the first row of each number that is not suppressed
    first: tuple[ListRow, ...]  # the first row of each number
    suppressed: frozenset[str]  # numbers
    rows: int
    unreadable: tuple[Unreadable, ...]

    def result(self, known: int) -> CallList:
        """Return the counts. known: how many of `fresh` the store has already."""
        readable = self.rows - len(self.unreadable)
        return CallList(
            rows=self.rows,
            accepted=len(self.fresh) - known,
            duplicates=readable - len(self.first) + known,
            suppressed=len(self.first) - len(self.fresh),
            unreadable=self.unreadable,
        )


class CallListOperations(Base):
    """Operations that call lists."""

    __slots__ = ()

    def call_list(
        self, route_name: str, name: str, mapping: Mapping[str, str], table: Table, *, dry_run: bool
    ) -> CallList:
        """Store the rows of a list as events of a route's source, held until a person releases.

        name: of the list; with the number, it says which row is a duplicate. mapping: {path of the
        route: column}. dry_run: only count. If storing stops halfway, the same list again stores
        the rest. Raises NotFound or BadQuery.
        """
        read = self._read(route_name, name, mapping, table)
        known = len(self._known(read)) if dry_run else self._store(read)
        done = read.result(known)
        if not dry_run:
            self.store.keep_list_mapping(read.route.name, mapping)
        logger.info(
            "operation.call_list",
            route=read.route.name,
            accepted=done.accepted,
            duplicates=done.duplicates,
            suppressed=done.suppressed,
            unreadable=len(done.unreadable),
            dry_run=dry_run,
        )
        if done.accepted and not dry_run:
            note_act(Action.CALL_LIST, "route", read.route.name, count=done.accepted)
        return done

    def look_at_list(
        self, route_name: str, name: str, mapping: Mapping[str, str], table: Table
    ) -> tuple[CallList, list[SeenRow]]:
        """Return the counts of a list, and what becomes of its first rows. Nothing is stored.

        Raises NotFound or BadQuery.
        """
        read = self._read(route_name, name, mapping, table)
        known = self._known(read)
        seen = [self._seen(read, row, known) for row in read.first[:SHOWN]]
        return read.result(len(known)), seen

    def _read(self, route_name: str, name: str, mapping: Mapping[str, str], table: Table) -> _Read:
        route = self.calling_route(route_name)
        source = self.settings.routes.sources[route.source]
        name = read_name(name, self.settings.default_region)
        columns = read_mapping(mapping, route, source, table.columns)
        rows, unreadable = read_rows(table, columns, route, source, self.settings)
        first: dict[str, ListRow] = {}
        for row in rows:
            first.setdefault(self.store.list_row_key(name, row.number), row)
        suppressed = self.store.suppressed_among([row.number for row in first.values()])
        return _Read(
            name=name,
            route=route,
            source=source,
            now=datetime.now(UTC),
            fresh=tuple(row for row in first.values() if row.number not in suppressed),
            first=tuple(first.values()),
            suppressed=frozenset(suppressed),
            rows=len(table.rows),
            unreadable=tuple(unreadable),
        )

    def _known(self, read: _Read) -> frozenset[str]:
        """Return the numbers that a list of this name had already."""
        known = self.store.are_known([self._event(read, row) for row in read.fresh])
        pairs = zip(read.fresh, known, strict=True)
        return frozenset(row.number for row, is_known in pairs if is_known)

    def _store(self, read: _Read) -> int:
        """Store the rows. Returns how many the store had already."""
        digest = self.settings.routes.digest
        known = 0
        # The last row first: lists and releases begin with the newest, which is then the first row.
        waiting = read.fresh[::-1]
        for start in range(0, len(waiting), AT_ONCE):
            rows = waiting[start : start + AT_ONCE]
            made = [(event, [new]) for event, new in self._made(read, rows)]
            _, answers = self.store.accept(made, routes=digest)
            known += sum(one.duplicate for one in answers)
        return known

    def _made(self, read: _Read, rows: Sequence[ListRow]) -> Iterator[tuple[Event, NewDelivery]]:
        """Yield the event and the delivery of each row."""
        for row in rows:
            event = self._event(read, row)
            person = mapped_person(read.route, row.data)
            new = replace(
                delivery_of(event, read.route, read.source.kind),
                wait_s=0,
                bulk=why_held(read.name),
                listed_s=read.route.flood.within_s if read.route.flood else None,
                name=name_of(person, row.data, read.source.kind),
                number=row.number,
                phone=self.store.phone_key(row.number),
                actor=current_name(),
            )
            yield event, new

    def _event(self, read: _Read, row: ListRow) -> Event:
        key = self.store.list_row_key(read.name, row.number)
        return as_event(
            row_item(read.name, key, row.data),
            read.source,
            read.now,
            self.settings.dedupe_days * 86_400,
        )

    def _seen(self, read: _Read, row: ListRow, known: frozenset[str]) -> SeenRow:
        """Return a row of the preview. known: the numbers that a list of this name had already."""
        ((event, new),) = self._made(read, [row])
        outcome = rules.preview.look_at(
            self.settings, read.source, event, replace(new, bulk=None), now=read.now
        )
        if row.number in read.suppressed:
            outcome = _left_out(outcome, Reason.SUPPRESSED, "The number is suppressed.")
        elif row.number in known:
            message = "A list of this name had the number already."
            outcome = _left_out(outcome, Reason.DUPLICATE, message)
        return SeenRow(line=row.line, number=row.number, name=new.name, outcome=outcome)


def _left_out(outcome: Outcome, reason: Reason, message: str) -> Outcome:
    """Return what becomes of a row that is not stored."""
    return replace(
        outcome,
        verdict=Status.SKIPPED,
        reason=reason,
        message=f"{message} The row is left out.",
        until=None,
    )
