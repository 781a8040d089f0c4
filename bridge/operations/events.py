"""What a person does to events: replay them under today's routes."""

from dataclasses import dataclass, replace

import orjson

from bridge.access import current_name, note_act
from bridge.operations import bulk
from bridge.operations.base import NO_EVENT, Base
from bridge.operations.bulk import Bulk, cursor_of, log_many
from config import log
from rules.matching import deliveries_of
from schemas.access import Action
from schemas.errors import NotFound
from schemas.event import BY_PERSON, Event, EventStatus
from schemas.event_time import event_time
from schemas.records import EventFilters, NewDelivery, SeenEvent
from schemas.source import Incoming, Source
from store.suppression import side_effect_of

logger = log.get(__name__)

SIDE_EFFECT_IN_S = 5.0  # by then the store has the event as it is read today
ENDED = (EventStatus.UNROUTED, EventStatus.UNREADABLE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """The result of a replay: the event's status now, and its new deliveries."""

    event_id: str
    status: EventStatus
    new: tuple[NewDelivery, ...]


class EventOperations(Base):
    """Operations on events."""

    __slots__ = ()

    def replay(self, event_id: str, *, dry_run: bool = False) -> Replayed:
        """Match an event again, under today's routes: it gets the deliveries that it never had.

        Raises NotFound.
        """
        seen = self.store.event(event_id)
        if seen is None:
            raise NotFound(NO_EVENT)
        done = self._replay(seen, dry_run=dry_run)
        if not dry_run:
            note_act(Action.REPLAY, "event", event_id)
        return done

    def replay_many(
        self, filters: EventFilters, *, dry_run: bool, before: int | None = None
    ) -> Bulk:
        """Replay every event that matches; without a status: those unrouted or unreadable.

        `done` counts events that got deliveries (or would get them), `refused` those that today's
        routes want nothing new of.
        """
        filters = filters if filters.status else replace(filters, status=ENDED)
        matched = done = 0
        share = bulk.Slice()
        while True:
            page = self.store.events(filters, before=before, limit=bulk.PAGE)
            done += sum(self._has_new(seen, dry_run=dry_run) for seen in page.items)
            matched += len(page.items)
            before = int(page.next_cursor) if page.next_cursor else None
            if before is None or share.is_over(matched):
                break
        replayed = Bulk(
            matched=matched, done=done, refused=matched - done, next_cursor=cursor_of(before)
        )
        log_many(Action.REPLAY, replayed, of="event", dry_run=dry_run)
        return replayed

    def _has_new(self, seen: SeenEvent, *, dry_run: bool) -> bool:
        """Replay one of many. An event that was forgotten meanwhile does not stop the others."""
        try:
            return bool(self._replay(seen, dry_run=dry_run).new)
        except NotFound:
            return False

    def _replay(self, seen: SeenEvent, *, dry_run: bool) -> Replayed:
        reread = self._reread(seen.event)
        event = reread or seen.event
        had = {one.id for one in seen.deliveries}
        new = [one for one in deliveries_of(event, self.settings.routes) if one.id not in had]
        if dry_run:
            without = EventStatus.UNREADABLE if event.problem else EventStatus.UNROUTED
            status = EventStatus.ROUTED if new or seen.deliveries else without
            return Replayed(event_id=event.id, status=status, new=tuple(new))
        if seen.event.problem and not event.problem:
            self._side_effect(event)
        new = [replace(one, actor=current_name()) for one in new]
        answer = self.store.replay(
            event, new, routes=self.settings.routes.digest, is_record_new=reread is not None
        )
        if answer is None:
            raise NotFound(NO_EVENT)  # it was forgotten in this moment
        needs_drain, status, ids = answer
        if needs_drain:  # the store set the wake-up in the same step
            self._request_drain()
        if ids:
            logger.info("operation.replay", event_id=event.id, status=status, new=len(ids))
        made = tuple(one for one in new if one.id in ids)
        return Replayed(event_id=event.id, status=status, new=made)

    def _side_effect(self, event: Event) -> None:
        """Do what an event asks for besides deliveries (an opt-out, an erasure), once readable.

        Not at every replay: that would undo what a person has allowed again since.
        """
        source = self.settings.routes.sources[event.source]
        side_effect = side_effect_of(event, source, self.store)
        if side_effect is None:
            return
        if side_effect.person:
            self.store.suppress(side_effect.person)
        self.store.put_background_task(side_effect.task, in_s=SIDE_EFFECT_IN_S)
        self.tell_tickers()

    def _reread(self, event: Event) -> Event | None:
        """Return an event as its source reads it today; None: that changes nothing.

        The stored data of a readable event may differ from the body that was posted (a record
        fetched since, an erasure). Such an event stays as it is.
        """
        source = self.settings.routes.sources.get(event.source)
        if source is None or event.type in BY_PERSON or source.kind.count(event.data) != 1:
            return None
        items = source.kind.parse(event.data, _request_of(event, source), source)
        if len(items) != 1 or items[0].problem:
            return None
        item = items[0]
        if event.problem is None and item.data != event.data:
            return None
        # A part of a body can look like another kind of event. The default type was read nowhere.
        is_typed = "." in event.type and event.type != source.default_type
        if event.problem is not None and is_typed and item.type != event.type:
            return None
        zone = source.timezone or self.settings.callkaro_timezone
        return replace(
            event,
            type=item.type,
            # The CRM has merged the record that the body names into another one.
            subject=event.subject if event.merged_from else item.subject,
            subject_type=item.subject_type,
            time=event_time(item.time, zone, event.received_at) or event.time,
            data=item.data,
            hydrate=item.hydrate,
            problem=None,
        )


def _request_of(event: Event, source: Source) -> Incoming:
    """Return a request that could have brought this event; the real one is not kept."""
    return Incoming(
        method="POST",
        url=f"/webhooks/{source.name}",
        headers={},
        query={},
        body=orjson.dumps(event.data, option=orjson.OPT_NON_STR_KEYS),
        content_type="application/json",
    )
