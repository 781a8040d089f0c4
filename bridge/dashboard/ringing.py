"""When phones begin to ring if a person releases what is held as bulk."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from bridge.campaigns import campaign_scopes
from bridge.dashboard.filters import clock_text
from bridge.operations import Operations
from rules.candidate import Candidate, Denied, candidate_of
from rules.guards import check_hours
from schemas.delivery import CALLKARO, Delivery, Reason, Status
from schemas.event import Event
from schemas.hours import Hours, Rule, next_opening
from schemas.records import Claim, Filters
from schemas.settings import Settings

# Of how many deliveries the hours are worked out, the newest first: about 20 ms.
LOOKED_AT: Final = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Ringing:
    """When the phones of released deliveries begin to ring."""

    first_at: datetime | None = None  # UTC; None: not in the coming weeks
    is_paused: bool = False  # a pause keeps all of them waiting
    is_whole: bool = True  # False: it is about the newest deliveries alone


def look(operations: Operations, filters: Filters, now: datetime) -> Ringing:
    """Return when phones begin to ring if the matching bulk is released now."""
    store, settings = operations.store, operations.settings
    held = replace(filters, status=(Status.HELD,), reason=Reason.BULK)
    page = store.deliveries(held, before=None, limit=LOOKED_AT)
    scopes = {pause.scope for pause in store.pauses()}
    campaigns = campaign_scopes(page.items, settings, store, now)
    free = [one for one in page.items if not _is_paused(one, scopes, campaigns.get(one.id))]
    claims = []
    for one in free:
        seen = store.event(one.event_id)
        claims.append(Claim(delivery=one, event=seen.event if seen else None))
    return Ringing(
        first_at=first_ring(claims, settings, now),
        is_paused=bool(page.items) and not free,
        is_whole=page.next_cursor is None,
    )


def first_ring(claims: Iterable[Claim], settings: Settings, now: datetime) -> datetime | None:
    """Return the first time at which one of these calls may be made; None: there is none."""
    times = [_rings_at(claim, settings, now) for claim in claims]
    return min((at for at in times if at), default=None)


def ringing_words(ringing: Ringing, count: int, settings: Settings, now: datetime) -> str:
    """Return the sentence above the button, such as "32 phones will ring, from 09:30 on.".

    count: how many deliveries the person may release at once.
    """
    phones = f"{count:,} phone{'' if count == 1 else 's'} will ring"
    if settings.dry_run:
        return "No phone will ring: DRY_RUN is on, and these deliveries will be skipped."
    if settings.allow_numbers is not None:
        phones = "Only phones in ALLOW_NUMBERS will ring"
    if ringing.is_paused:
        return f"{phones}, but not before you resume what is paused."
    if ringing.first_at is None:
        return f"{phones}, but no time in the coming weeks is within the calling hours."
    if ringing.first_at <= now:
        return f"{phones}, the first at once."
    zone = ZoneInfo(settings.callkaro_timezone)
    clock = clock_text(ringing.first_at.astimezone(zone), now.astimezone(zone))
    return f"{phones}, {'' if ringing.is_whole else 'the newest '}from {clock} on."


def _is_paused(delivery: Delivery, scopes: set[str], campaign: str | None) -> bool:
    own = {f"source:{delivery.source}", f"route:{delivery.route}", campaign}
    return bool(scopes & {"all", CALLKARO, *own})


def _rings_at(claim: Claim, settings: Settings, now: datetime) -> datetime | None:
    """Return when a call may be made; None: never, as far as is known today."""
    event = claim.event
    try:
        candidate = candidate_of(claim, event.data if event else None, settings, now)
        if candidate.route.to != "call":
            return now  # CallKaro's campaign calls in its own time
        return _by_hours(candidate)
    except Denied:
        return None


def _by_hours(candidate: Candidate) -> datetime | None:
    now, planned = candidate.now, candidate.planned
    try:
        denial = check_hours(candidate)
    except Denied:
        if not _is_thin(candidate.event):
            raise
        return next_opening(_usual_rules(candidate), now)
    if denial is not None:
        return denial.until
    return max(now, planned) if planned else now


def _is_thin(event: Event) -> bool:
    """Say whether the record, with its number, is fetched only before the call."""
    return event.hydrate is not None


def _usual_rules(candidate: Candidate) -> Sequence[Rule]:
    """Return the hours of a number that is not known yet: as in CALLKARO_TIMEZONE."""
    settings, hours = candidate.settings, candidate.route.hours
    usual = frozenset({settings.callkaro_timezone})
    rules = [Rule(hours=Hours(window=settings.calling_hours), zones=usual)]
    if hours:
        zone = hours.timezone
        own = frozenset({zone}) if isinstance(zone, str) else usual
        rules.append(Rule(hours=hours.hours, zones=own))
    return rules
