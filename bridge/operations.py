"""What a person has done by hand: retry, cancel, release, resolve, replay, pause, resume, call-me.

Each is one compare-and-set in the store, on what that person saw: a worker that holds the delivery
is fenced off by it, or the person is told that it has moved on. The API and the command line only
pass on what is said here.
"""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from config import log
from rules.matching import deliveries_of
from schemas.delivery import (
    CALLKARO,
    WAITING,
    Delivery,
    Reason,
    Status,
    may_cancel,
    may_have_rung,
    retried,
)
from schemas.errors import BadQuery, Conflict, NotFound, StoreUnavailable
from schemas.event import CALL_ME, CALL_ME_ID, Event, EventStatus, derive_id
from schemas.records import EventFilters, Filters, Move, NewDelivery, SeenEvent
from schemas.settings import Settings
from schemas.source import Incoming, Source
from store import Store
from store.queue import Wakeup
from store.suppression import Suppressions, called_off, dropping, side_effect_of

logger = log.get(__name__)

MOST_AT_ONCE = 5000  # deliveries or events in one request; the caller goes on from its cursor
PAGE = 200
SLICE_S = 10.0  # where few of very many fit, so that the request is answered before anyone gives up
SIDE_EFFECT_IN_S = 5.0  # by then the event's record is what it reads now
LOCAL_TIME = "%Y-%m-%dT%H:%M:%S"  # schedule_at's
ON_THE_WIRE = "Its request may be on the wire right now. Wait until that is settled."
# What a retry forgets, so that the delivery starts anew. Its attempts stay.
ANEW: dict[str, str | int | None] = dict.fromkeys(
    (
        "first_ms",
        "lookup_failures",
        "waiting_for",
        "waiting_since_ms",
        "call_sid",
        "batch_id",
        "cancel_ms",
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bulk:
    """What became of many: how many fit, were done, and could not be.

    next_cursor: there are more; go on from here. None: that was all. refused_by: how many
    deliveries could not be moved, by the status that they were seen in.
    """

    matched: int
    done: int
    refused: int
    next_cursor: str | None
    refused_by: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """What a replay made of an event: its status now and the deliveries that are new."""

    event_id: str
    status: EventStatus
    new: tuple[NewDelivery, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Operations:
    """Does what a person asks for."""

    settings: Settings
    store: Store
    wakeup: Wakeup

    # --- deliveries ---------------------------------------------------------------------------

    def retry(self, delivery_id: str, *, call_again: bool = False) -> Delivery:
        """Have a delivery tried, now. Returns it as it then stands.

        What ended starts anew; what waits is looked at now. Raises NotFound, or Conflict where it
        is on the wire, or rang (or may have) and call_again is not given.
        """
        delivery = self._delivery(delivery_id)
        move = self._retry(delivery, call_again=call_again)
        if move is None:
            raise Conflict(
                ON_THE_WIRE
                if delivery.status is Status.SENDING
                else f"It is {delivery.status}, and a phone rang, or may have. To have it called "
                'again, say so: {"call_again": true}, or --call-again on the command line.'
            )
        return self._made(move, "call again" if move.expected_lease is not None else "retry")

    def retry_many(
        self, filters: Filters, *, call_again: bool, dry_run: bool, before: int | None = None
    ) -> Bulk:
        """Retry every delivery that fits; without a status among the filters: the failed ones."""
        filters = filters if filters.status else replace(filters, status=(Status.FAILED,))
        move = partial(self._retry, call_again=call_again)
        done = self._move_many(filters, move, dry_run=dry_run, before=before)
        _log_many("retry", done, dry_run=dry_run, call_again=call_again)
        return done

    def release_many(
        self,
        filters: Filters,
        *,
        dry_run: bool,
        most: int | None = None,
        before: int | None = None,
    ) -> Bulk:
        """Let go what is held as bulk and fits, the newest first; most: so many; None: all."""
        filters = replace(filters, status=(Status.HELD,), reason=Reason.BULK)
        done = self._move_many(filters, _released, dry_run=dry_run, before=before, most=most)
        _log_many("release", done, dry_run=dry_run)
        return done

    def cancel_many(self, filters: Filters, *, dry_run: bool, before: int | None = None) -> Bulk:
        """Call off every delivery that fits; without a status among the filters: what waits."""
        waiting = tuple(sorted(WAITING))
        filters = filters if filters.status else replace(filters, status=waiting)
        done = self._move_many(filters, self._cancel, dry_run=dry_run, before=before)
        _log_many("cancel", done, dry_run=dry_run)
        return done

    def _move_many(
        self,
        filters: Filters,
        move_of: Callable[[Delivery], Move | None],
        *,
        dry_run: bool,
        before: int | None,
        most: int | None = None,
    ) -> Bulk:
        """Move every delivery that fits as move_of says; None of it: that can't be done to it.

        The caller goes on from next_cursor, but for where `most` has been reached.
        """
        matched = done = 0
        refused: Counter[str] = Counter()
        ends = time.monotonic() + SLICE_S
        while True:
            limit = PAGE if most is None else min(PAGE, most - done)
            page = self.store.deliveries(filters, before=before, limit=limit)
            unmoved = self._unmoved(page.items, move_of, dry_run=dry_run)
            matched += len(page.items)
            refused += unmoved
            done = matched - refused.total()
            before = int(page.next_cursor) if page.next_cursor else None
            is_enough = most is not None and done >= most
            if before is None or is_enough or matched >= MOST_AT_ONCE or time.monotonic() > ends:
                break
        if done and not dry_run:
            self.wake()
        cursor = None if is_enough else _cursor(before)
        return Bulk(
            matched=matched,
            done=done,
            refused=refused.total(),
            next_cursor=cursor,
            refused_by=dict(refused),
        )

    def _unmoved(
        self,
        deliveries: Iterable[Delivery],
        move_of: Callable[[Delivery], Move | None],
        *,
        dry_run: bool,
    ) -> Counter[str]:
        """Move what can be moved; return how many could not be, by the status they were seen in."""
        moves = [(one, move_of(one)) for one in deliveries]
        wanted = [move for _, move in moves if move is not None]
        answers = iter(["ok"] * len(wanted) if dry_run else self.store.move(wanted))
        return Counter(
            str(one.status) for one, move in moves if move is None or next(answers) != "ok"
        )

    def cancel(self, delivery_id: str) -> Delivery:
        """Call a delivery off. Returns it as it then stands.

        What waits is cancelled. A call that CallKaro holds scheduled stays `delivered` until the
        worker has had it deleted there. Raises NotFound, or Conflict where it is too late.
        """
        delivery = self._delivery(delivery_id)
        if delivery.cancel_asked_at is not None:
            return delivery  # CallKaro is being asked already
        move = self._cancel(delivery)
        if move is None:
            raise Conflict(_too_late(delivery))
        return self._made(move, "cancel")

    def _cancel(self, delivery: Delivery) -> Move | None:
        """Return the move that calls a delivery off; None: it is too late for that."""
        now = datetime.now(UTC)
        local = now.astimezone(ZoneInfo(self.settings.callkaro_timezone)).strftime(LOCAL_TIME)
        match may_cancel(delivery, local):
            case None:
                return None
            case "now":
                return called_off(delivery, Reason.BY_PERSON, "A person called it off.")
            case "at_callkaro":
                return None if delivery.cancel_asked_at else dropping(delivery, Reason.BY_PERSON)

    def resolve(self, delivery_id: str, status: Status) -> Delivery:
        """Settle an `unknown` delivery as a person found it: `delivered` or `failed`.

        Raises NotFound, or Conflict where it is not `unknown`.
        """
        delivery = self._delivery(delivery_id)
        if delivery.status is not Status.UNKNOWN:
            raise Conflict(f"Only what is unknown can be resolved; this is {delivery.status}.")
        move = Move(
            id=delivery.id,
            to=status,
            from_statuses=frozenset({Status.UNKNOWN}),
            reason=Reason.BY_PERSON,
            message="A person looked, and said so.",
        )
        self._made(move, "resolve")
        if status is Status.DELIVERED:
            Suppressions(store=self.store).call_off_accepted(delivery.id)
        return self._delivery(delivery.id)

    def _delivery(self, delivery_id: str) -> Delivery:
        found = self.store.delivery(delivery_id)
        if found is None:
            raise NotFound("There is no delivery with that id; records are kept RETENTION_DAYS.")
        return found

    def _retry(self, delivery: Delivery, *, call_again: bool) -> Move | None:
        to = retried(delivery, call_again=call_again)
        if to is None:
            return None
        is_over = delivery.status not in WAITING
        return Move(
            id=delivery.id,
            to=to,
            from_statuses=frozenset({delivery.status}),
            expected_lease=delivery.lease if may_have_rung(delivery) else None,
            restarts=is_over,
            reason=Reason.BY_PERSON,
            message="A person asked for it to be called again."
            if call_again
            else "A person asked for it to be tried now.",
            fields={
                **({**ANEW, "spent": 0, "call_again": None} if is_over else {}),
                # It overrides again_after and the cap of its number, and stays on record.
                **({"call_again": 1} if call_again else {}),
            },
            wait_s=0,
        )

    def _made(self, move: Move, what: str) -> Delivery:
        answer = self.store.move([move])[0]
        if answer != "ok":
            raise Conflict(f"It has just moved on ({answer}). Look again, and decide anew.")
        if move.wait_s is not None:
            self.wake()
        logger.info("operation.done", operation=what, delivery=move.id, status=move.to)
        return self._delivery(move.id)

    # --- events -------------------------------------------------------------------------------

    def replay(self, event_id: str, *, dry_run: bool = False) -> Replayed:
        """Match an event again, under today's routes: it gets the deliveries that it never had.

        Raises NotFound.
        """
        seen = self.store.event(event_id)
        if seen is None:
            raise NotFound("There is no event with that id; records are kept RETENTION_DAYS.")
        return self._replay(seen, dry_run=dry_run)

    def replay_many(
        self, filters: EventFilters, *, dry_run: bool, before: int | None = None
    ) -> Bulk:
        """Replay every event that fits; without a status: those unrouted or unreadable.

        done counts those that got deliveries (or would); refused those that no route wants still.
        """
        ended = (EventStatus.UNROUTED, EventStatus.UNREADABLE)
        filters = filters if filters.status else replace(filters, status=ended)
        matched = done = 0
        ends = time.monotonic() + SLICE_S
        while True:
            page = self.store.events(filters, before=before, limit=PAGE)
            done += sum(self._replayed_one(seen, dry_run=dry_run) for seen in page.items)
            matched += len(page.items)
            before = int(page.next_cursor) if page.next_cursor else None
            if before is None or matched >= MOST_AT_ONCE or time.monotonic() > ends:
                break
        replayed = Bulk(
            matched=matched, done=done, refused=matched - done, next_cursor=_cursor(before)
        )
        _log_many("replay", replayed, dry_run=dry_run)
        return replayed

    def _replayed_one(self, seen: SeenEvent, *, dry_run: bool) -> bool:
        """Replay one of many; one that was forgotten meanwhile does not cost the others theirs."""
        try:
            return bool(self._replay(seen, dry_run=dry_run).new)
        except NotFound:
            return False

    def _replay(self, seen: SeenEvent, *, dry_run: bool) -> Replayed:
        restarts = self._read_anew(seen.event)
        event = restarts or seen.event
        had = {one.id for one in seen.deliveries}
        new = [one for one in deliveries_of(event, self.settings.routes) if one.id not in had]
        if dry_run:
            unwanted = EventStatus.UNREADABLE if event.problem else EventStatus.UNROUTED
            status = EventStatus.ROUTED if new or seen.deliveries else unwanted
            return Replayed(event_id=event.id, status=status, new=tuple(new))
        if seen.event.problem and not event.problem:
            self._side_effect(event)
        answer = self.store.replay(
            event, new, routes=self.settings.routes.digest, is_read_anew=restarts is not None
        )
        if answer is None:
            raise NotFound("The event has just been forgotten; records are kept RETENTION_DAYS.")
        is_rung, status, ids = answer
        if is_rung:  # by the store, in the same step
            self._request_drain()
        if ids:
            logger.info("operation.replay", event_id=event.id, status=status, new=len(ids))
        made = tuple(one for one in new if one.id in ids)
        return Replayed(event_id=event.id, status=status, new=made)

    def _side_effect(self, event: Event) -> None:
        """Do what an event wants besides deliveries, now that it can be read.

        Not at every replay: what a person has allowed again since would be undone.
        """
        source = self.settings.routes.sources[event.source]
        side_effect = side_effect_of(event, source, self.store)
        if side_effect is None:
            return
        if side_effect.person:
            self.store.suppress(side_effect.person)
        self.store.put_background_task(side_effect.task, in_s=SIDE_EFFECT_IN_S)

    def _read_anew(self, event: Event) -> Event | None:
        """Return an event as its source reads it today; None: there is nothing new in it.

        What was kept of a readable event is at times no longer what came, and then it stays.
        """
        source = self.settings.routes.sources.get(event.source)
        if source is None:
            return None
        items = source.kind.parse(event.data, _as_it_came(event, source), source)
        if len(items) != 1 or items[0].problem:
            return None
        item = items[0]
        if event.problem is None and item.data != event.data:
            return None
        # Part of a body alone can look like something else. The default type was not read at all.
        is_typed = "." in event.type and event.type != source.default_type
        if event.problem is not None and is_typed and item.type != event.type:
            return None
        return replace(
            event,
            type=item.type,
            subject=item.subject,
            subject_type=item.subject_type,
            time=item.time or event.time,
            data=item.data,
            hydrate=item.hydrate,
            problem=None,
        )

    # --- pauses -------------------------------------------------------------------------------

    def pause(self, scope: str, message: str = "") -> bool:
        """Pause a scope: `all`, `callkaro`, `source:<name>` or `route:<name>`; False: it was.

        Raises BadQuery for one that would stop nothing.
        """
        routes = self.settings.routes
        known = {"all", CALLKARO}
        known |= {f"source:{name}" for name in routes.sources}
        known |= {f"route:{route.name}" for route in routes.routes}
        if scope not in known:
            raise BadQuery(
                f"There is nothing to pause under that name; there are {_listed(known)}."
            )
        is_new = self.store.pause(
            scope, reason="person", message=message.strip()[:500] or "Paused by a person."
        )
        logger.info("operation.pause", scope=scope, new=is_new)
        return is_new

    def resume(self, scope: str) -> int:
        """End a pause; what it held is due now. Returns how many. Raises NotFound."""
        released = self.store.resume(scope)
        if released is None:
            raise NotFound("Nothing is paused under that name.")
        self.wake()
        logger.info("operation.resume", scope=scope, released=released)
        return released

    # --- a test call --------------------------------------------------------------------------

    def call_me(self, route_name: str, number: str, record: Any) -> Delivery:
        """Make one test call by a route to a number (E.164) that a person named.

        It is an event of its own, with record in the place of the CRM's. Neither the route's
        match, when and consent are asked nor again_after and the cap of the number; the other
        guards are. Raises NotFound.
        """
        route = self.settings.routes.named(route_name)
        if route is None or route.to != "call":
            raise NotFound("There is no route of that name that calls.")
        now, event_id = datetime.now(UTC), secrets.token_hex(13)
        event = Event(
            id=event_id,
            source=route.source,
            source_event_id=f"{CALL_ME_ID}{event_id}",
            fingerprint=event_id,
            remember_s=self.settings.dedupe_days * 86_400,
            type=CALL_ME,
            subject=None,
            time=now,
            received_at=now,
            data={"to_number": number, "record": record},
        )
        delivery_id = derive_id("delivery", event_id, route.name)
        made = NewDelivery(id=delivery_id, route=route.name, to="call", wait_s=0)
        is_rung, _ = self.store.accept([(event, [made])], routes=self.settings.routes.digest)
        if is_rung:
            self._request_drain()
        logger.info("operation.call_me", delivery=delivery_id)
        return self._delivery(delivery_id)

    # --- within -------------------------------------------------------------------------------

    def wake(self) -> None:
        """Ring, and ask for a drain; the worker's tick does, too."""
        try:
            if not self.store.set_wakeup():
                return
        except StoreUnavailable:
            logger.warning("bell.lost")
            return
        self._request_drain()

    def _request_drain(self) -> None:
        try:
            self.wakeup.request_drain()
        except StoreUnavailable:
            logger.warning("bell.lost")


def _released(delivery: Delivery) -> Move:
    return Move(
        id=delivery.id,
        to=Status.QUEUED,
        from_statuses=frozenset({Status.HELD}),
        reason=Reason.BY_PERSON,
        message="A person released it.",
        wait_s=0,
    )


def _log_many(what: str, done: Bulk, **said: bool) -> None:
    logger.info("operation.many", operation=what, matched=done.matched, done=done.done, **said)


def _too_late(delivery: Delivery) -> str:
    match delivery.status:
        case Status.SENDING:
            return ON_THE_WIRE
        case Status.UNKNOWN:
            return (
                "CallKaro may have it. Find out, resolve it, and then cancel it if it is scheduled."
            )
        case Status.DELIVERED:
            return "CallKaro has it and holds nothing scheduled that could still be deleted."
        case _:
            return f"It has ended already: it is {delivery.status}."


def _as_it_came(event: Event, source: Source) -> Incoming:
    """Return a request that could have brought this event; of the real one nothing else is kept."""
    return Incoming(
        method="POST",
        url=f"/webhooks/{source.name}",
        headers={},
        query={},
        body=orjson.dumps(event.data, option=orjson.OPT_NON_STR_KEYS),
        content_type="application/json",
    )


def _listed(scopes: set[str]) -> str:
    return ", ".join(sorted(scopes))


def _cursor(before: int | None) -> str | None:
    return None if before is None else str(before)
