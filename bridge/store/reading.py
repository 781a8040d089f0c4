"""Reading: what became of events and deliveries."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import orjson

from bridge import log
from bridge.records import (
    UNREADABLE,
    EventFilters,
    EventPage,
    Filters,
    Page,
    SeenEvent,
    fits,
    fits_event,
    read_delivery,
    read_event,
)
from bridge.store.base import Base, P
from schemas.delivery import Delivery, DeliveryRef, Reason, Status
from schemas.event import EventStatus

logger = log.get(__name__)

LOOKED_AT = 20  # pages of an index, at the most, for one page of what fits


class Reading(Base):
    """What API, command line and operations read."""

    def event(self, event_id: str) -> SeenEvent | None:
        """Return an event with what became of it; None if there is no such event."""
        return next(self._events([(event_id, 0)]), None)

    def id_of_call(self, call_sid: str | None) -> str | None:
        """Return the delivery that a call of CallKaro's belongs to; None: it is not known."""
        if not call_sid:
            return None
        with self._reached():
            found = self.redis.get(f"{P}call:{call_sid}")
        return str(found) if found else None

    def events(self, filters: EventFilters, *, before: int | None, limit: int) -> EventPage:
        """Return the newest events that fit and whose order is under `before`.

        As with deliveries(), a page may be short and still have a next_cursor.
        """
        indexes = [f"{P}events"]
        if filters.status and EventStatus.ROUTED not in filters.status:
            indexes = [f"{P}events:{status}" for status in filters.status]
        high, low = _span(filters.since, filters.until, before)
        items: list[SeenEvent] = []
        for _ in range(LOOKED_AT):
            with self._reached():
                batch = self._newest(indexes, high=high, low=low, limit=limit)
            for seen in self._events(batch):
                high = f"({seen.order}"
                if fits_event(seen, filters):
                    items.append(seen)
                if len(items) == limit:
                    return EventPage(items=tuple(items), next_cursor=str(seen.order))
            if len(batch) < limit:
                return EventPage(items=tuple(items), next_cursor=None)
            high = f"({batch[-1][1]}"
        return EventPage(items=tuple(items), next_cursor=high.removeprefix("("))

    def delivery(self, delivery_id: str) -> Delivery | None:
        """Return a delivery; None if there is no such delivery."""
        with self._reached():
            found: dict[str, str] = self.redis.hgetall(f"{P}delivery:{delivery_id}")  # type: ignore[assignment]
        return read_delivery(delivery_id, found) if found else None

    def deliveries(self, filters: Filters, *, before: int | None, limit: int) -> Page:
        """Return the newest deliveries that fit and whose order is under `before`.

        Walks the smallest index that fits and looks at the records, at most 20 times `limit` of
        them: a page may then be short and still have a next_cursor.
        """
        high, low = _span(filters.since, filters.until, before)
        items: list[Delivery] = []
        phone = self.phone_key(filters.phone) if filters.phone else None
        with self._reached():
            indexes = self._smallest_indexes(filters, phone)
            for _ in range(LOOKED_AT):
                batch = self._newest(indexes, high=high, low=low, limit=limit)
                for delivery in self._records(batch):
                    high = f"({delivery.order}"
                    if fits(delivery, filters, phone):
                        items.append(delivery)
                    if len(items) == limit:
                        return Page(items=tuple(items), next_cursor=str(delivery.order))
                if len(batch) < limit:
                    return Page(items=tuple(items), next_cursor=None)
                high = f"({batch[-1][1]}"
        return Page(items=tuple(items), next_cursor=high.removeprefix("("))

    def counts(self) -> dict[str, int]:
        """Return how many deliveries stand in each status."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for status in Status:
                pipe.zcard(f"{P}deliveries:status:{status}")
            return dict(zip(Status, pipe.execute(), strict=True))

    def oldest_waiting_s(self) -> float | None:
        """Return how long the oldest queued or retrying delivery has waited; None: none waits."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            pipe.time()
            pipe.zrange(f"{P}deliveries:status:queued", 0, 0, withscores=True)
            pipe.zrange(f"{P}deliveries:status:retrying", 0, 0, withscores=True)
            (seconds, micros), *oldest = pipe.execute()
        orders = [found[0][1] for found in oldest if found]
        return seconds + (micros - min(orders)) / 1e6 if orders else None

    def event_counts(self) -> dict[str, int]:
        """Return how many events led to nothing, by status."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            fruitless = (EventStatus.UNROUTED, EventStatus.UNREADABLE)
            for status in fruitless:
                pipe.zcard(f"{P}events:{status}")
            return dict(zip(fruitless, pipe.execute(), strict=True))

    def due_count(self) -> int:
        """Return how many deliveries wait for their time."""
        with self._reached():
            waiting = ("due", "due:retry", "due:cancel")
            return sum(int(self.redis.zcard(f"{P}{name}")) for name in waiting)

    def campaigns(self, limit: int = 200) -> list[dict[str, Any]]:
        """Return the newest campaigns: key, batch_id and what was kept with them."""
        with self._reached():
            keys = [str(key) for key in self.redis.zrange(f"{P}campaigns", 0, limit - 1, desc=True)]
            pipe = self.redis.pipeline(transaction=False)
            for key in keys:
                pipe.hgetall(f"{P}campaign:{key}")
            found = pipe.execute()
        return [
            {"key": key, "batch_id": kept["batch_id"], **orjson.loads(kept["record"])}
            for key, kept in zip(keys, found, strict=True)
            if kept
        ]

    # --- within -------------------------------------------------------------------------------

    def _smallest_indexes(self, filters: Filters, phone: str | None) -> list[str]:
        """Return the index to walk: the smallest that fits; several for several statuses."""
        choices = [[f"{P}bulk"]] if filters.reason == Reason.BULK else []
        choices += [
            [f"{P}deliveries:{by}:{value}"]
            for by, value in (
                ("phone", phone),
                ("subject", filters.subject),
                ("route", filters.route),
                ("source", filters.source),
            )
            if value
        ]
        if filters.status:
            choices.append([f"{P}deliveries:status:{status}" for status in filters.status])
        if len(choices) < 2:
            return choices[0] if choices else [f"{P}deliveries"]
        pipe = self.redis.pipeline(transaction=False)
        for index in (index for choice in choices for index in choice):
            pipe.zcard(index)
        sizes = iter(pipe.execute())
        sized = [(sum(next(sizes) for _ in choice), choice) for choice in choices]
        return min(sized)[1]

    def _newest(
        self, indexes: list[str], *, high: str, low: str, limit: int
    ) -> list[tuple[str, int]]:
        """Return (id, order) of the newest in these indexes between low and high."""
        pipe = self.redis.pipeline(transaction=False)
        for index in indexes:
            pipe.zrange(
                index, high, low, desc=True, byscore=True, offset=0, num=limit, withscores=True
            )
        found = [(member, int(score)) for listed in pipe.execute() for member, score in listed]
        return sorted(found, key=lambda pair: -pair[1])[:limit]

    def _records(self, batch: list[tuple[str, int]]) -> Iterator[Delivery]:
        pipe = self.redis.pipeline(transaction=False)
        for delivery_id, _ in batch:
            pipe.hgetall(f"{P}delivery:{delivery_id}")
        for (delivery_id, _), found in zip(batch, pipe.execute(), strict=True):
            if not found:
                continue
            try:
                yield read_delivery(delivery_id, found)
            except UNREADABLE as error:
                # One bad record must not cost its page the others; asked for alone it is an error.
                logger.error("delivery.unreadable", delivery=delivery_id, exc_info=error)

    def _events(self, batch: Sequence[tuple[str, int]]) -> Iterator[SeenEvent]:
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for event_id, _ in batch:
                pipe.hgetall(f"{P}event:{event_id}")
            records = pipe.execute()
            listed = [
                [line.split(" ", 1) for line in found.get("deliveries", "").splitlines()]
                for found in records
            ]
            for delivery_id, _ in (one for lines in listed for one in lines):
                pipe.hget(f"{P}delivery:{delivery_id}", "status")
            statuses = iter(pipe.execute())
        for (event_id, order), found, lines in zip(batch, records, listed, strict=True):
            refs = tuple(
                DeliveryRef(id=delivery_id, route=route, status=next(statuses) or "erased")
                for delivery_id, route in lines
            )
            if not found:
                continue
            try:
                yield SeenEvent(
                    event=read_event(found["record"]),
                    status=EventStatus(found["status"]),
                    deliveries=refs,
                    order=order,
                )
            except UNREADABLE as error:
                logger.error("event.unreadable", event_id=event_id, exc_info=error)


def _span(since: datetime | None, until: datetime | None, before: int | None) -> tuple[str, str]:
    """Return the highest and the lowest order to list, as Redis wants them."""
    low = f"{int(since.timestamp() * 1e6)}" if since else "-inf"
    high = f"{int(until.timestamp() * 1e6)}" if until else "+inf"
    if before is not None and (high == "+inf" or before <= int(high)):
        high = f"({before}"
    return high, low
