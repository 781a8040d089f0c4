"""What an older release stored is indexed by the audit: names for lists, and the newest outcomes.

The audit's first round fills in what is missing. Until it has ended, lists by outcome are not
complete, and the status says how far it got. Every later round repairs the indexes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from config import log
from schemas.event import Event
from schemas.records import Indexing
from store.base import Base, P, answers
from store.records import UNREADABLE, read_event

logger = log.get(__name__)

INDEXED = 2  # raise this where a later release has more to fill in
READ_AT_ONCE = 20  # events
# The fields of a delivery that are read.
HEAD = ("source", "route", "to", "request", "event", "erased_ms")
NO_HEAD = (None,) * len(HEAD)
LARGEST_EVENT = 256 * 1024  # bytes; a larger one is not read for the sake of a name


class PersonOf(Protocol):
    """Says what lists show of a delivery's person: the fields of its hash, without empty ones."""

    def __call__(
        self, source: str, request: Mapping[str, Any], event: Event | None
    ) -> Mapping[str, str]:
        """request: the body for CallKaro, {} if there is none yet. event None: it is gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OldRecord:
    """What the audit reads of a delivery, to fill in what an older release did not store."""

    id: str
    source: str
    route: str
    to: str
    is_erased: bool
    # The body for CallKaro; None: there is none yet, or it can't be read.
    request: Any = field(repr=False)
    event: Event | None  # None: it is gone, too large to be read for this, or unreadable


class IndexStore(Base):
    """How far the audit has filled in what an older release did not store."""

    def indexing(self) -> Indexing | None:
        """Return how far the first round of the audit has got; None: all is indexed."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            pipe.get(f"{P}indexed")
            pipe.get(f"{P}indexing")
            pipe.zcard(f"{P}deliveries")
            indexed, done, of = pipe.execute()
        if int(indexed or 0) >= INDEXED or not of:
            return None
        return Indexing(done=min(int(done or 0), int(of)), of=int(of))

    def is_indexed(self) -> bool:
        """Say whether the first round of the audit has ended."""
        with self._reached():
            return int(self.redis.get(f"{P}indexed") or 0) >= INDEXED

    def note_indexed(self, count: int, *, is_first: bool, is_last: bool) -> None:
        """Note that a round of the audit looked at `count` more deliveries."""
        self._run("note_indexed", count, "1" if is_first else "", INDEXED if is_last else "")
        if is_last:
            logger.info("store.indexed")

    def old_records(self, ids: Sequence[str]) -> Iterator[list[OldRecord]]:
        """Yield these deliveries as they are stored, a few at a time."""
        for start in range(0, len(ids), READ_AT_ONCE):
            part = ids[start : start + READ_AT_ONCE]
            with self._reached():
                pipe = self.redis.pipeline(transaction=False)
                for delivery_id in part:
                    pipe.hmget(f"{P}delivery:{delivery_id}", HEAD)
                heads = [dict(zip(HEAD, one, strict=True)) for one in answers(pipe, NO_HEAD)]
            events = self.small_events([head["event"] for head in heads])
            yield [
                _old_record(delivery_id, head, events.get(head["event"] or ""))
                for delivery_id, head in zip(part, heads, strict=True)
            ]

    def fill_persons(self, records: Iterable[OldRecord], person_of: PersonOf) -> None:
        """Fill in what lists show of the persons of these deliveries."""
        filled: list[bytes | str] = []
        for one in records:
            if one.to != "call" or one.is_erased:
                continue
            with unreadable_is_logged(one.id):
                if person := person_of(one.source, one.request or {}, one.event):
                    filled += (one.id, orjson.dumps(person))
        if filled:
            self._run("fill_persons", *filled)

    def small_events(self, ids: Sequence[str | None]) -> dict[str, str]:
        """Return the records of events by id, without those that are too large or gone."""
        wanted = [one for one in dict.fromkeys(ids) if one]
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for event_id in wanted:
                pipe.hstrlen(f"{P}event:{event_id}", "record")
            sizes = answers(pipe, 0)
            small = [
                one for one, size in zip(wanted, sizes, strict=True) if 0 < size <= LARGEST_EVENT
            ]
            for event_id in small:
                pipe.hget(f"{P}event:{event_id}", "record")
            records = answers(pipe, None)
        return {one: text for one, text in zip(small, records, strict=True) if text}


@contextmanager
def unreadable_is_logged(delivery_id: str) -> Iterator[None]:
    """Log that a record can't be read. One broken record must not stop the others."""
    try:
        yield
    except UNREADABLE as error:
        logger.error("delivery.unreadable", delivery=delivery_id, exc_info=error)


def _old_record(delivery_id: str, head: Mapping[str, str | None], record: str | None) -> OldRecord:
    request, event = None, None
    with unreadable_is_logged(delivery_id):
        request = orjson.loads(head["request"] or "null")
        event = read_event(record) if record else None
    return OldRecord(
        id=delivery_id,
        source=head["source"] or "",
        route=head["route"] or "",
        to=head["to"] or "",
        is_erased=head["erased_ms"] is not None,
        request=request,
        event=event,
    )
