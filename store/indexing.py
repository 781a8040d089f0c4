"""What an older release stored is indexed by the audit: names for lists, and the newest outcomes.

The audit's first round fills in what is missing. Until it has ended, lists by outcome are not
complete, and the status says how far it got. Every later round repairs the indexes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson

from config import log
from schemas.event import Event
from schemas.records import Indexing
from store.base import Base, P
from store.records import UNREADABLE, read_event

logger = log.get(__name__)

INDEXED = 2  # raise this where a later release has more to fill in
READ_AT_ONCE = 20  # events
HEAD = ("source", "to", "request", "event", "erased_ms")  # the fields of a delivery that are read
NO_HEAD = (None,) * len(HEAD)
LARGEST_EVENT = 256 * 1024  # bytes; a larger one is not read for the sake of a name


class PersonOf(Protocol):
    """Says what lists show of a delivery's person: the fields of its hash, without empty ones."""

    def __call__(
        self, source: str, request: Mapping[str, Any], event: Event | None
    ) -> Mapping[str, str]:
        """request: the body for CallKaro, {} if there is none yet. event None: it is gone."""


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

    def fill_persons(self, ids: Sequence[str], person_of: PersonOf) -> None:
        """Fill in what lists show of the persons of these deliveries."""
        for start in range(0, len(ids), READ_AT_ONCE):
            part = ids[start : start + READ_AT_ONCE]
            with self._reached():
                pipe = self.redis.pipeline(transaction=False)
                for delivery_id in part:
                    pipe.hmget(f"{P}delivery:{delivery_id}", HEAD)
                heads = [dict(zip(HEAD, one, strict=True)) for one in _answers(pipe)]
            events = self.small_events([head["event"] for head in heads])
            filled: list[bytes | str] = []
            for delivery_id, head in zip(part, heads, strict=True):
                if head["to"] != "call" or head["erased_ms"] is not None:
                    continue
                try:
                    request = orjson.loads(head["request"] or "{}")
                    record = events.get(head["event"])
                    event = read_event(record) if record else None
                    person = person_of(head["source"], request, event)
                except UNREADABLE as error:
                    logger.error("delivery.unreadable", delivery=delivery_id, exc_info=error)
                    continue
                if person:
                    filled += (delivery_id, orjson.dumps(person))
            if filled:
                self._run("fill_persons", *filled)

    def small_events(self, ids: Sequence[str | None]) -> dict[str, str]:
        """Return the records of events by id, without those that are too large or gone."""
        wanted = [one for one in dict.fromkeys(ids) if one]
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for event_id in wanted:
                pipe.hstrlen(f"{P}event:{event_id}", "record")
            sizes = _answers(pipe, 0)
            small = [
                one for one, size in zip(wanted, sizes, strict=True) if 0 < size <= LARGEST_EVENT
            ]
            for event_id in small:
                pipe.hget(f"{P}event:{event_id}", "record")
            records = _answers(pipe, None)
        return {one: text for one, text in zip(small, records, strict=True) if text}


def _answers(pipe: Any, otherwise: Any = NO_HEAD) -> list[Any]:
    """Return the answers of a pipeline; `otherwise` for a key of another type than ours."""
    found = pipe.execute(raise_on_error=False)
    refused = next((one for one in found if _is_fatal(one)), None)
    if refused is not None:
        raise refused
    return [otherwise if isinstance(one, Exception) else one for one in found]


def _is_fatal(answer: Any) -> bool:
    return isinstance(answer, Exception) and "WRONGTYPE" not in str(answer)
