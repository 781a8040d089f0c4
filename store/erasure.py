"""Erasing a person: what they are known by, their deliveries, and all that mentions them.

The person's suppression stays, as a keyed hash: it is what keeps them from being called.
"""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from config import log
from rules.erasing import is_in_raw_text, mentions, without
from rules.search import endings
from schemas.records import BackgroundTask, SeenEvent
from schemas.refused import RefusedRequest
from store import Store
from store.records import erased
from store.refused import SEARCHED
from store.suppression import CRASHED_S, Record, Suppressions, erased_suppression

logger = log.get(__name__)

SETTLED_S = 5.0  # when to look again at what is on the wire while a person is erased
SLICE_S = 5.0  # of a search through all events; then other tasks get their turn


@dataclass(frozen=True, kw_only=True, slots=True)
class Erased:
    """How far an erasure has got."""

    deliveries: int  # erased so far
    events: int  # erased or rewritten so far
    is_done: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Eraser:
    """Erases persons. Erasing a person twice does no harm."""

    store: Store

    @property
    def suppressions(self) -> Suppressions:
        """Return what suppresses the person and cancels their calls."""
        return Suppressions(store=self.store)

    def erase(self, number: str, *, actor: str | None = None) -> Erased:
        """Erase the person of a number (E.164).

        A background task goes on with what does not fit into a slice of time. actor: the token of
        the person who asked for it; None: no person did.
        """
        keys = self.store.phone_keys(number)
        key = keys[0]
        self.suppressions.keep(erased_suppression(key, actor), replaces=True, keys=keys)
        for older in filter(self.store.suppression, keys[1:]):
            self.suppressions.keep(erased_suppression(older, actor), replaces=True)
        state = {"actor": actor} if actor else {}
        task = BackgroundTask(id=f"erase:{key}", what="erase", key=key, number=number, state=state)
        self.store.put_background_task(task, in_s=CRASHED_S + SLICE_S)
        return self.pursue(task)

    def pursue(self, task: BackgroundTask) -> Erased:
        """Go on with an erasure for a slice of time, and keep its progress."""
        if task.number is None and task.event_id is not None:
            task = self._of_record(task)
        ids = self.store.ids_by_phone(*self._keys_of(task))
        records = {tuple(one) for one in task.state.get("records", [])}
        records |= {one for delivery_id in ids for one in self.suppressions.records_of(delivery_id)}
        records = self.suppressions.person_of(records)
        ids += [one for record in records for one in self.suppressions.ids_of(record)]
        task = replace(task, state={**task.state, "records": sorted(records)})
        task = self._erase(task, [*ids, *task.state.get("pending", [])])
        return self._search(task, records)

    def _keys_of(self, task: BackgroundTask) -> tuple[str, ...]:
        """Return all keyed hashes of the number that is erased; empty: a CRM's record is."""
        return self.store.phone_keys(task.number) if task.number else ()

    def _of_record(self, task: BackgroundTask) -> BackgroundTask:
        """Begin the erasure that a CRM's event asks for: suppress the numbers of its record."""
        seen = self.store.event(str(task.event_id))
        event = seen.event if seen else None
        if event is None or event.record is None or "records" in task.state:
            return task
        key = self.store.person_key(*event.record)
        for suppression in self.store.suppressions_with(key):
            self.suppressions.keep(erased_suppression(suppression.key), replaces=True)
        records = self.suppressions.person_of({event.record})
        ids = [one for record in records for one in self.suppressions.ids_of(record)]
        for delivery_id in ids:
            delivery = self.store.delivery(delivery_id)
            if delivery and delivery.phone:
                self.suppressions.keep(erased_suppression(delivery.phone), replaces=True)
        return replace(task, state={"records": sorted(records)})

    def _search(self, task: BackgroundTask, records: set[Record]) -> Erased:
        """Search all events for what mentions the person, from the kept place on."""
        place: int | None = task.state.get("place", 0)
        ends = time.monotonic() + SLICE_S
        while place is not None and time.monotonic() < ends:
            place, page = self.store.scan_events(place)
            found = [seen for seen in page if _is_about(seen, records, task.number)]
            for seen in found:
                task = self._erase_event(task, seen, records)
            events = task.state.get("events", 0) + len(found)
            task = replace(task, state={**task.state, "events": events, "place": place})
        if place is None:
            task = self._search_refused(task, records, ends)
        state = task.state
        is_searched = place is None and state.get("refused") == []
        is_done = is_searched and not state["pending"]
        done = Erased(
            deliveries=state["deliveries"], events=state.get("events", 0), is_done=is_done
        )
        if not is_done:
            self.store.put_background_task(task, in_s=SETTLED_S if is_searched else 0)
            return done
        self.store.forget_number(*self._keys_of(task))
        self.store.forget_records(*(self.store.person_key(*record) for record in records))
        self.store.end_background_task(task.id)
        logger.info(
            "person.erased",
            deliveries=done.deliveries,
            events=done.events,
            refused=state["refused_deleted"],
        )
        return done

    def _search_refused(
        self, task: BackgroundTask, records: Collection[Record], ends: float
    ) -> BackgroundTask:
        """Delete the refused requests that mention the person, until it ends (monotonic).

        The state keeps the ids that are still to be searched; a request that came meanwhile is as
        one that comes later.
        """
        left = task.state.get("refused")
        if left is None:
            left = self.store.refused_ids()
        deleted = task.state.get("refused_deleted", 0)
        while left and time.monotonic() < ends:
            page, left = self.store.refused_requests(left[:SEARCHED]), left[SEARCHED:]
            found = [one for one in page if _is_in_refused(one, records, task.number)]
            self.store.delete_refused(found)
            deleted += len(found)
        return replace(task, state={**task.state, "refused": left, "refused_deleted": deleted})

    def _erase_event(
        self, task: BackgroundTask, seen: SeenEvent, records: set[Record]
    ) -> BackgroundTask:
        """Erase an event and its deliveries; if it calls another person, only remove the number."""
        ids = [one.id for one in seen.deliveries]
        keys = self._keys_of(task)
        found = list(filter(None, map(self.store.delivery, ids)))
        is_theirs = not records.isdisjoint(seen.event.records) or not any(
            one.phone and one.phone not in keys and one.erased_at is None for one in found
        )
        if not is_theirs:
            event = replace(seen.event, data=without(seen.event.data, str(task.number)))
            self.store.rewrite_events([event])
            self.store.forget_terms(ids, endings(str(task.number)))
            return task
        task = self._erase(task, ids)
        self.store.rewrite_events([erased(seen.event)])
        return task

    def _erase(self, task: BackgroundTask, ids: Iterable[str]) -> BackgroundTask:
        """Cancel and erase deliveries, and count those that were not erased before.

        A delivery on the wire stays pending: to have CallKaro delete its call, its request is
        needed until then.
        """
        found = filter(None, map(self.store.delivery, dict.fromkeys(ids)))
        new = [one.id for one in found if one.erased_at is None]
        pending = self.suppressions.call_off_all(new, actor=task.state.get("actor")).pending
        settled = [one for one in new if one not in pending]
        self.store.erase_deliveries(settled)
        known = set(task.state.get("pending", [])) - set(settled)
        state = {
            **task.state,
            "deliveries": task.state.get("deliveries", 0) + len(settled),
            "pending": sorted(known | set(pending)),
        }
        return replace(task, state=state)


def _is_about(seen: SeenEvent, records: set[Record], number: str | None) -> bool:
    event = seen.event
    if event.data is None:
        return False
    if not records.isdisjoint(event.records):
        return True
    return number is not None and mentions(event.data, number)


def _is_in_refused(
    refused: RefusedRequest, records: Collection[Record], number: str | None
) -> bool:
    ids = {record[2] for record in records if record[0] == refused.source}
    return is_in_raw_text(f"{refused.content_type}\n{refused.body}", number, ids)
