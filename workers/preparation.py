"""Preparation: a claimed delivery and its data become a request, or the move that ends it.

The rules decide (rules/plan.py). This module adds what only the store knows, and lets no broken
record stop the others.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from rules.plan import Ready, prepare
from rules.search import found_by
from rules.transitions import skip_dry_run
from schemas.delivery import Status
from schemas.errors import StoreUnavailable
from schemas.event import CALL_ME, Event
from schemas.records import Claim, HistoryCheck, Move, RecordCheck
from schemas.settings import Settings
from store import Store
from store.suppression import older_person_keys, person_key
from workers.campaigns import Campaigns
from workers.drain_context import DrainContext

MakeWhole = Callable[[], Any]  # merges an event's data with its fetched record


class Preparation:
    """Prepares the deliveries of one drain."""

    def __init__(
        self, store: Store, settings: Settings, drain: DrainContext, campaigns: Campaigns
    ) -> None:
        self._store = store
        self._settings = settings
        self._drain = drain
        self._campaigns = campaigns

    def prepare(self, claim: Claim, make_whole: MakeWhole | None) -> None:
        """Prepare one delivery. make_whole None: the event's own data is complete."""
        try:
            data = make_whole() if make_whole else claim.event and claim.event.data
            prepared = prepare(claim, data, self._settings, self._drain.now())
            terms = self._terms(claim, data, prepared)
            if isinstance(prepared, Move):
                prepared = self._findable(claim, _with_terms(prepared, terms))
            else:
                prepared = replace(prepared, terms=terms)
        except Exception as error:  # one bad record must not cost the others
            self._drain.crashed(claim, error)
            return
        if isinstance(prepared, Move):
            self._drain.move(prepared)
        elif self._settings.dry_run:
            skip = partial(self._skip_dry_run, prepared)
            self._drain.store_later(skip, partial(self._drain.crashed, claim))
        else:
            self._campaigns.join(prepared)

    def _terms(self, claim: Claim, data: Any, prepared: Move | Ready) -> str | None:
        """Return what people find a delivery by; None: what the intake stored stays."""
        event, delivery = claim.event, claim.delivery
        source = event and self._settings.routes.sources.get(event.source)
        if event is None or not source or delivery.erased_at:
            return None
        if isinstance(prepared, Move):
            request = orjson.loads(str(prepared.fields.get("request") or "{}"))
        else:
            request = prepared.body
        route = self._settings.routes.named(delivery.route)
        try:
            return self._store.terms_of(
                found_by(event, source.kind, route, data=data, request=request)
            )
        except StoreUnavailable:
            return None  # the other deliveries of the batch matter more

    def _findable(self, claim: Claim, move: Move) -> Move:
        """Let people find a delivery by its number, although it goes no further.

        A delivery that would wait for its hours does not wait if its number is suppressed.
        """
        number = orjson.loads(str(move.fields.get("request") or "{}")).get("to_number")
        if not number:
            return move
        try:
            phone, *older = self._store.phone_keys(number)
            person = person_key(claim.event, self._store) if claim.event else None
            older_persons = older_person_keys(claim.event, self._store) if claim.event else ()
        except StoreUnavailable:
            return move  # the other deliveries of the batch matter more
        guard = HistoryCheck(
            phone=phone,
            older_phones=tuple(older),
            person=person,
            older_persons=older_persons,
            rings_at=self._drain.now(),
        )
        return replace(move, phone=phone, guard=guard if move.to is Status.HELD else None)

    def _skip_dry_run(self, ready: Ready) -> None:
        """Do everything except the request; the number's history is checked here, too."""
        check = history_check(ready, self._store, self._settings)
        self._drain.move(skip_dry_run(ready, check))


def _with_terms(move: Move, terms: str | None) -> Move:
    return move if terms is None else replace(move, fields={**move.fields, "terms": terms})


def history_check(ready: Ready, store: Store, settings: Settings) -> HistoryCheck | None:
    """Return what the number's history must permit; None: a campaign calls no number."""
    if ready.to != "call":
        return None
    route, event = ready.route, ready.claim.event
    is_call_me = event is not None and event.type == CALL_ME
    zone = ZoneInfo(settings.callkaro_timezone)
    phone, *older = store.phone_keys(ready.body["to_number"])
    return HistoryCheck(
        phone=phone,
        older_phones=tuple(older),
        person=person_key(event, store) if event else None,
        older_persons=older_person_keys(event, store) if event else (),
        record=_record_check(event, store, settings) if event else None,
        again_s=0 if is_call_me else route.again_after_s,
        number_cap=0 if is_call_me else settings.max_per_number,
        day_cap=route.max_per_day,
        day=ready.rings_at.astimezone(zone).date().isoformat(),
        rings_at=ready.rings_at,
        closes_at=ready.closes_at,
    )


def _record_check(event: Event, store: Store, settings: Settings) -> RecordCheck | None:
    """Return what the calls of the event's record must permit; None: its CRM merges no records."""
    source = settings.routes.sources.get(event.source)
    hydration = source.kind.hydration if source else None
    if source is None or hydration is None or hydration.alone is None:
        return None
    if event.hydrate is None or event.record is None:
        return None
    return RecordCheck(
        key=store.person_key(*event.record),
        is_merged=bool(event.merged_from),
        since=min(event.happened_at, event.received_at),
        window_s=source.id_window_s,
    )
