"""Queries: what became of events and deliveries."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

import orjson

from config import log
from schemas.delivery import (
    WAITING,
    WRITE_BACK,
    Delivery,
    DeliveryRef,
    Reason,
    Status,
    WriteBackBrief,
)
from schemas.event import EventStatus
from schemas.records import CampaignFilter, EventFilters, EventPage, Filters, Page, SeenEvent
from schemas.search import Search
from store.base import P, answers, delivery_key
from store.campaigns import CampaignStore
from store.indexing import IndexStore
from store.records import (
    BRIEF_FIELDS,
    UNREADABLE,
    fits,
    fits_event,
    newest_field,
    read_delivery,
    read_event,
    read_write_back_brief,
)

logger = log.get(__name__)

# The fields whose change is shown. The lease is not: a claim alone changes nothing that is shown.
CHANGE_TOKEN = (
    "status",
    "reason",
    "message",
    "next_ms",
    "timeline",
    "outcomes",
    "cancel_ms",
    "erased_ms",
    "told",
)
Batch = Sequence[tuple[str, int]]  # (id, order) of records, the newest first

# The filters for which count() knows the indexes; any other one makes the total unknown.
COUNTED = frozenset(
    {
        *("status", "reason", "route", "source", "subject", "phone", "phone_key", "outcome"),
        *("since", "until", "to"),
    }
)
# Filters of which each value has an index with all deliveries that match, but those that were put
# aside. That of a subject has others, too: it knows the ids of merged records.
HAVE_INDEXES = frozenset({"status", "route", "source", "outcome", "phone"})
LOOKED_AT = 1200  # records that one script reads, in some 5 ms; a page runs at most LOOKS scripts
LOOKS = 2
MOST_INDEXES = 40  # of campaigns that one list merges; a name may have more periods
PAGE_BYTES = 8 * 1024 * 1024
"""About how many bytes of records one page loads; a page has one record at least."""

HEADS = 100  # events that one script reads without their data
AT_ONCE = 25  # whole deliveries in one request to Redis
# What a list shows of a delivery, and what its filters read. The rest may be large: the request,
# the answers of CallKaro, the transcriptions of its outcomes.
LISTED = (
    *("event", "source", "subject", "route", "to", "routes", "status", "order", "created_ms"),
    *("lease", "next_ms", "reason", "message", "phone", "call_sid", "batch_id", "merged_from"),
    *("campaign_key",),
    *("name", "number", "record_page", "newest", "past", "erased_ms", "of", "moment", "try"),
)


class QueryStore(IndexStore, CampaignStore):
    """What the API, the dashboard and operations read."""

    def event(self, event_id: str) -> SeenEvent | None:
        """Return an event with its deliveries; None if there is no such event."""
        return next(self._events([(event_id, 0)]), None)

    def events(
        self, filters: EventFilters, *, before: int | None, limit: int, brief: bool = False
    ) -> EventPage:
        """Return the newest events that match and whose order is below `before`.

        brief: without their data. As with deliveries(), a page may be short and still have a
        next_cursor.
        """
        indexes = ["events"]
        if filters.status and EventStatus.ROUTED not in filters.status:
            indexes = [f"events:{status}" for status in filters.status]
        high, low = _span(filters.since, filters.until, before)
        if filters.source_event_id is not None:
            return self._events_by_id(filters, high=high, low=low, limit=limit, brief=brief)
        wanted: dict[str, tuple[str, ...]] = {}
        if filters.source:
            wanted["source"] = (filters.source,)
        if filters.status:
            wanted["status"] = filters.status
        batch: Batch
        batch, cursor = self._fitting("event", indexes, wanted, high=high, low=low, limit=limit)
        if not brief:
            batch, cursor = self._affordable(batch, cursor)
        found = self._event_heads(batch) if brief else self._events(batch)
        items = tuple(seen for seen in found if fits_event(seen, filters))
        return EventPage(items=items, next_cursor=cursor)

    def _events_by_id(
        self, filters: EventFilters, *, high: str, low: str, limit: int, brief: bool
    ) -> EventPage:
        """Return the events with one source_event_id that match: at most one in each source."""
        with self._reached():
            orders: Any = self.redis.zmscore(f"{P}events", [*filters.ids]) if filters.ids else []
        # _span() puts "(" before a bound that is excluded.
        most = float(high.removeprefix("(")) - high.startswith("(")
        found = [
            (event_id, int(order))
            for event_id, order in zip(filters.ids, orders, strict=True)
            if order is not None and float(low) <= order <= most
        ]
        newest = sorted(found, key=lambda pair: -pair[1])
        seen = self._event_heads(newest) if brief else self._events(newest)
        items = tuple(one for one in seen if fits_event(one, filters))
        is_last = len(items) <= limit
        cursor = None if is_last else str(items[limit - 1].order)
        return EventPage(items=items[:limit], next_cursor=cursor)

    def change_token(self, delivery_id: str) -> tuple[str | None, ...]:
        """Return a value that changes whenever the delivery does; cheap, for long polling."""
        with self._reached():
            found: Any = self.redis.hmget(delivery_key(delivery_id), CHANGE_TOKEN)
        return tuple(found)

    def delivery(self, delivery_id: str) -> Delivery | None:
        """Return a delivery; None if there is no such delivery."""
        with self._reached():
            found: dict[str, str] = self.redis.hgetall(delivery_key(delivery_id))  # type: ignore[assignment]
        if not found:
            return None
        briefs = self._write_back_briefs(found.get("write_backs", "").splitlines())
        return replace(read_delivery(delivery_id, found), write_backs=briefs)

    def _write_back_briefs(self, ids: Sequence[str]) -> tuple[WriteBackBrief, ...]:
        if not ids:
            return ()
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for one in ids:
                pipe.hmget(delivery_key(one), BRIEF_FIELDS)
            kept = answers(pipe, [None] * len(BRIEF_FIELDS))
        pairs = zip(ids, kept, strict=True)
        return tuple(read_write_back_brief(one, values) for one, values in pairs if values[1])

    def deliveries(
        self, filters: Filters, *, before: int | None, limit: int, brief: bool = False
    ) -> Page:
        """Return the newest deliveries that match and whose order is below `before`.

        brief: only with what lists show of them. Walks the smallest index that contains them, and
        reads at most LOOKS * LOOKED_AT records and about PAGE_BYTES. So a page may be short and
        still have a next_cursor.
        """
        if filters.of is not None:
            return self._of_call(filters, filters.of, before=before, limit=limit)
        high, low = _span(filters.since, filters.until, before)
        phones: tuple[str, ...] = (filters.phone_key,) if filters.phone_key else ()
        if filters.phone:
            phones = self.phone_keys(filters.phone)
        wanted = _wanted(filters, phones)
        with self._reached():
            by, indexes = self._smallest_indexes(filters, phones, high=high, low=low)
        # All records of this index match its filter already.
        wanted.pop(by, None)
        batch, cursor = self._fitting(
            "delivery", indexes, wanted, high=high, low=low, limit=limit, filters=filters
        )
        with self._reached():
            found, cursor = self._listed(batch, cursor) if brief else self._whole(batch, cursor)
        items = tuple(delivery for delivery in found if fits(delivery, filters, phones))
        return Page(items=items, next_cursor=cursor)

    def write_backs_of(self, parent_id: str) -> list[Delivery]:
        """Return the write-backs of a call, the oldest first."""
        with self._reached():
            lines = self.redis.hget(f"{P}delivery:{parent_id}", "write_backs")
            batch = [(one, 0) for one in str(lines or "").splitlines()]
            found, _ = self._whole(batch, None)
        return found

    def _of_call(self, filters: Filters, call: str, *, before: int | None, limit: int) -> Page:
        """Return a page of the write-backs of a call: they are few."""
        since_us = filters.since.timestamp() * 1e6 if filters.since else 0
        until_us = filters.until.timestamp() * 1e6 if filters.until else float("inf")
        found = [
            one
            for one in reversed(self.write_backs_of(call))
            if since_us <= one.order <= until_us
            and (before is None or one.order < before)
            and fits(one, filters, self.phone_keys(filters.phone) if filters.phone else ())
        ]
        cursor = str(found[limit - 1].order) if len(found) > limit else None
        return Page(items=tuple(found[:limit]), next_cursor=cursor)

    def count(self, filters: Filters) -> int | None:
        """Return how many deliveries match; None: only a look at each of them could tell.

        It is known if a single filter, besides the times, has an index; without a filter; and for a
        campaign, also with statuses.
        """
        if filters.campaign is not None:
            return self._count_in_campaign(filters, filters.campaign)
        phones: tuple[str, ...] = (filters.phone_key,) if filters.phone_key else ()
        if filters.phone:
            phones = self.phone_keys(filters.phone)
        wanted = _wanted(filters, phones)
        has_another = any(
            getattr(filters, one.name) for one in fields(filters) if one.name not in COUNTED
        )
        if filters.to == (WRITE_BACK,):
            wanted.pop("to")
        if has_another or len(wanted) > 1 or wanted.keys() & {"reason", "to"}:
            return None
        if filters.to and wanted.keys() - {"status"}:
            return None
        if "outcome" in wanted and self.indexing() is not None:
            return None
        high, low = _span(filters.since, filters.until, None)
        names = [name for by, values in wanted.items() for name in _indexes_of(by, values)]
        if filters.to:
            names = _indexes_with_write_backs(filters)
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for name in names or ["deliveries"]:
                pipe.zcount(f"{P}{name}", low, high)
            return int(sum(pipe.execute()))

    def _count_in_campaign(self, filters: Filters, campaign: CampaignFilter) -> int | None:
        alone = Filters(campaign=campaign, status=filters.status)
        if filters != alone or self.indexing() is not None:
            return None
        [found] = self.campaign_counts([campaign])
        return sum(
            count - found.pruned.get(status, 0)
            for status, count in found.statuses.items()
            if not filters.status or status in filters.status
        )

    def counts(self) -> dict[str, int]:
        """Return how many deliveries have each status."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for status in Status:
                pipe.zcard(f"{P}deliveries:status:{status}")
            return dict(zip(Status, pipe.execute(), strict=True))

    def counts_of(self, by: str, names: Sequence[str]) -> dict[str, int]:
        """Return how many deliveries each route or source has; by: `route` or `source`."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for name in names:
                pipe.zcard(f"{P}deliveries:{by}:{name}")
            return dict(zip(names, pipe.execute(), strict=True))

    def oldest_waiting_s(self) -> float | None:
        """Return how long the oldest delivery waits that could have been sent; None: none waits.

        Its own delay, its hours, a pause and a wait that CallKaro or a CRM asked for do not count.
        """
        age_ms = int(self._run("oldest_waiting"))
        return age_ms / 1000 if age_ms >= 0 else None

    def event_counts(self) -> dict[str, int]:
        """Return how many events led to no delivery, by status."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            without = (EventStatus.UNROUTED, EventStatus.UNREADABLE)
            for status in without:
                pipe.zcard(f"{P}events:{status}")
            return dict(zip(without, pipe.execute(), strict=True))

    def due_count(self) -> int:
        """Return how many deliveries wait for their time."""
        with self._reached():
            waiting = ("due", "due:retry", "due:cancel")
            return sum(int(self.redis.zcard(f"{P}{name}")) for name in waiting)

    # --- helpers ------------------------------------------------------------------------------

    def _smallest_indexes(
        self, filters: Filters, phones: tuple[str, ...], *, high: str, low: str
    ) -> tuple[str, list[str]]:
        """Return a filter and its indexes: those with the fewest entries between high and low.

        There are several indexes if the filter has several statuses, or a search several meanings.
        A subject always has few entries, and only its index knows the ids of merged records.
        """
        if WRITE_BACK in filters.to:
            return "", _indexes_with_write_backs(filters)
        if filters.subject:
            return "subject", [f"deliveries:subject:{filters.subject}"]
        if filters.search:
            return "search", self._search_indexes(filters.search, high=high, low=low)
        choices: list[tuple[str, list[str]]] = [
            (by, _indexes_of(by, values))
            for by, values in _wanted(filters, phones).items()
            if by not in ("reason", "to")
        ]
        if filters.campaign and len(filters.campaign.campaigns) <= MOST_INDEXES:
            choices.append(("campaign", self._campaign_indexes(filters, high=high, low=low)))
        if filters.reason == Reason.BULK:
            choices.append(("reason", ["bulk"]))
        if len(choices) < 2:
            return choices[0] if choices else ("", ["deliveries"])
        pipe = self.redis.pipeline(transaction=False)
        for index in (index for _, indexes in choices for index in indexes):
            pipe.zcount(f"{P}{index}", low, high)
        sizes = iter(pipe.execute())
        sized = [(sum(next(sizes) for _ in choice[1]), choice) for choice in choices]
        return min(sized)[1]

    def _campaign_indexes(self, filters: Filters, *, high: str, low: str) -> list[str]:
        """Return the indexes that have all calls of a campaign: also those that wait to join it."""
        only = filters.campaign or CampaignFilter()
        found = [f"deliveries:campaign:{one}" for one in sorted(only.campaigns)]
        waiting = sorted(WAITING & set(filters.status or WAITING))
        if not only.routes or not waiting:
            return found
        by_status = [f"deliveries:status:{status}" for status in waiting]
        by_route = [f"deliveries:route:{route}" for route in sorted(only.routes)]
        pipe = self.redis.pipeline(transaction=False)
        for index in (*by_status, *by_route):
            pipe.zcount(f"{P}{index}", low, high)
        sizes = pipe.execute()
        is_rare = sum(sizes[: len(by_status)]) <= sum(sizes[len(by_status) :])
        return found + (by_status if is_rare else by_route)

    def _search_indexes(self, search: Search, *, high: str, low: str) -> list[str]:
        """Return an index for each entry of any_of: the one with the fewest entries."""
        found = []
        for needs in search.any_of:
            names = list(dict.fromkeys(f"find:{index[:3]}" for index, _ in needs))
            pipe = self.redis.pipeline(transaction=False)
            for name in names:
                pipe.zcount(f"{P}{name}", low, high)
            found.append(min(zip(pipe.execute(), names, strict=True))[1])
        return list(dict.fromkeys(found))

    def _chosen(self, search: Search, *, high: str, low: str) -> list[str]:
        """Return the deliveries that a search names itself: id, order, id, order, newest first."""
        if not search.ids:
            return []
        with self._reached():
            orders: Any = self.redis.zmscore(f"{P}deliveries", [*search.ids])
        # _span() puts "(" before a bound that is excluded.
        most = float(high.removeprefix("(")) - high.startswith("(")
        found = [
            (int(order), one)
            for one, order in zip(search.ids, orders, strict=True)
            if order is not None and float(low) <= order <= most
        ]
        return [text for order, one in sorted(found, reverse=True) for text in (one, str(order))]

    def _fitting(
        self,
        kind: str,
        indexes: list[str],
        wanted: Mapping[str, tuple[str, ...]],
        *,
        high: str,
        low: str,
        limit: int,
        filters: Filters | None = None,
    ) -> tuple[list[tuple[str, int]], str | None]:
        """Return (id, order) of the newest that match, and the cursor to go on from; None: the end.

        wanted: the values that a field of the record may have. Each script reads a limited number
        of records, so that no other client waits long for Redis.
        """
        query: dict[str, Any] = {"kind": kind, "indexes": indexes, "low": low, "look": LOOKED_AT}
        stored = {name: values for name, values in wanted.items() if name != "outcome"}
        # list.lua compares one after the other. What an index has let through fits nearly always.
        query["fields"] = sorted(stored, key=lambda by: by in HAVE_INDEXES)
        query["values"] = [dict.fromkeys(map(str, stored[by]), True) for by in query["fields"]]
        if "outcome" in wanted:
            query["outcomes"] = {str(place): True for place in wanted["outcome"]}
        if kind == "delivery":
            query["within"] = self._indexes_within(wanted)
        search = filters and filters.search
        if filters and filters.campaign:
            query["campaign"] = _sets(filters.campaign)
        if filters and filters.unfinished:
            query["unfinished"] = True
        if search:
            query["any_of"] = [[wanted for _, wanted in needs] for needs in search.any_of]
        found: list[tuple[str, int]] = []
        for _ in range(LOOKS):
            if search:
                query["chosen"] = self._chosen(search, high=high, low=low)
            query |= {"high": high, "limit": limit - len(found)}
            cursor, *flat = self._run("list", orjson.dumps(query))
            found += zip(flat[::2], map(int, flat[1::2]), strict=True)
            if not cursor or len(found) == limit:
                break
            high = f"({cursor}"
        return found, cursor or None

    def _indexes_within(self, wanted: Mapping[str, tuple[str, ...]]) -> list[list[str]]:
        """Return for each filter the indexes of which one has each delivery that matches it."""
        if "to" in wanted:  # write-backs have indexes of their own
            return []
        filters = wanted.keys() & HAVE_INDEXES
        if "outcome" in filters and self.indexing() is not None:
            filters -= {"outcome"}
        return [_indexes_of(by, wanted[by]) for by in sorted(filters)]

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

    def _listed(self, batch: Batch, cursor: str | None) -> tuple[list[Delivery], str | None]:
        """Return deliveries with what lists show of them; and the cursor, unchanged.

        Of their outcomes, they have the newest one alone.
        """
        pipe = self.redis.pipeline(transaction=False)
        for delivery_id, _ in batch:
            pipe.hmget(delivery_key(delivery_id), LISTED)
        found = [
            {name: value for name, value in zip(LISTED, values, strict=True) if value is not None}
            for values in answers(pipe, [None] * len(LISTED))
        ]
        heard = [(at, one) for at, one in enumerate(found) if "newest" in one]
        for at, one in heard:
            pipe.hget(f"{P}delivery:{batch[at][0]}", newest_field(one["newest"]))
        for (_, one), record in zip(heard, pipe.execute(), strict=True):
            if record is not None:
                one[newest_field(one["newest"])] = record
        return list(_readable(batch, found)), cursor

    def _whole(self, batch: Batch, cursor: str | None) -> tuple[list[Delivery], str | None]:
        """Return whole deliveries of about PAGE_BYTES, and the cursor to go on from."""
        found: list[dict[str, str]] = []
        room = PAGE_BYTES
        while len(found) < len(batch):
            if room < 0:
                return list(_readable(batch, found)), str(batch[len(found) - 1][1])
            pipe = self.redis.pipeline(transaction=False)
            for delivery_id, _ in batch[len(found) : len(found) + AT_ONCE]:
                pipe.hgetall(delivery_key(delivery_id))
            records = answers(pipe, {})
            room -= sum(len(value) for one in records for value in one.values())
            found += records
        return list(_readable(batch, found)), cursor

    def _affordable(self, batch: Batch, cursor: str | None) -> tuple[Batch, str | None]:
        """Return the first events whose records have PAGE_BYTES, and the cursor to go on from."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for event_id, _ in batch:
                pipe.hstrlen(f"{P}event:{event_id}", "record")
            sizes = answers(pipe, 0)
        room = PAGE_BYTES
        for at, size in enumerate(sizes):
            if at and size > room:
                return batch[:at], str(batch[at - 1][1])
            room -= size
        return batch, cursor

    def _event_heads(self, batch: Batch) -> Iterator[SeenEvent]:
        """Yield events without their data."""
        found: list[dict[str, str]] = []
        while len(found) < len(batch):
            ids = [event_id for event_id, _ in batch[len(found) : len(found) + HEADS]]
            heads = self._run("event_heads", PAGE_BYTES, *ids)
            names = ("record", "status", "deliveries")
            found += [dict(zip(names, head, strict=True)) if head[0] else {} for head in heads]
        return self._seen(batch, found)

    def _events(self, batch: Batch) -> Iterator[SeenEvent]:
        """Yield whole events."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for event_id, _ in batch:
                pipe.hgetall(f"{P}event:{event_id}")
            found = answers(pipe, {})
        return self._seen(batch, found)

    def _seen(self, batch: Batch, records: Sequence[Mapping[str, str]]) -> Iterator[SeenEvent]:
        """Yield the events of these hashes, with their deliveries; an empty hash is left out.

        A delivery whose record is gone, or is none, counts as erased.
        """
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            listed = [
                [line.split(" ", 1) for line in found.get("deliveries", "").splitlines()]
                for found in records
            ]
            for delivery_id, _ in (one for lines in listed for one in lines):
                pipe.hget(f"{P}delivery:{delivery_id}", "status")
            statuses = iter(answers(pipe, None))
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


def _readable(batch: Batch, records: Sequence[Mapping[str, str]]) -> Iterator[Delivery]:
    """Yield the deliveries of the first ids, of which these are the hashes."""
    for (delivery_id, _), found in zip(batch, records, strict=False):
        if not found:
            continue
        try:
            yield read_delivery(delivery_id, found)
        except UNREADABLE as error:
            # One broken record must not hide the others of its page. Read alone, it raises.
            logger.error("delivery.unreadable", delivery=delivery_id, exc_info=error)


def _sets(campaign: CampaignFilter) -> dict[str, dict[str, bool]]:
    """Return a campaign as list.lua reads it."""
    sets = (
        ("campaigns", campaign.campaigns),
        ("routes", campaign.routes),
        ("named", campaign.named),
    )
    return {name: dict.fromkeys(words, True) for name, words in sets}


def _wanted(filters: Filters, phones: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the values that fields of a record may have; phones: keyed hashes of a number."""
    one_of = {
        "subject": filters.subject,
        "route": filters.route,
        "source": filters.source,
        "reason": filters.reason,
    }
    wanted: dict[str, tuple[str, ...]] = {"status": filters.status} if filters.status else {}
    if filters.outcome:
        wanted["outcome"] = filters.outcome
    if phones:
        wanted["phone"] = phones
    if filters.to:
        wanted["to"] = filters.to
    return wanted | {name: (value,) for name, value in one_of.items() if value}


def _indexes_of(by: str, values: Sequence[str]) -> list[str]:
    """Return the indexes of deliveries in which a filter has one of these values."""
    return [f"deliveries:{by}:{value}" for value in values]


def _indexes_with_write_backs(filters: Filters) -> list[str]:
    """Return the indexes of a list that has write-backs, alone or beside calls and campaigns."""
    bases = ["write_backs"] if filters.to == (WRITE_BACK,) else ["deliveries", "write_backs"]
    if not filters.status:
        return bases
    return [f"{base}:status:{status}" for base in bases for status in filters.status]


def _span(since: datetime | None, until: datetime | None, before: int | None) -> tuple[str, str]:
    """Return the highest and the lowest order to list, in the syntax of ZRANGE."""
    low = f"{int(since.timestamp() * 1e6)}" if since else "-inf"
    high = f"{int(until.timestamp() * 1e6)}" if until else "+inf"
    if before is not None and (high == "+inf" or before <= int(high)):
        high = f"({before}"
    return high, low
