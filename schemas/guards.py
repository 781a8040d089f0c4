"""Guards: may this number be called now? Pure, and closed when in doubt."""

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from schemas.delivery import Reason
from schemas.hours import Window, next_opening, open_at, zones_of


@dataclass(frozen=True, kw_only=True, slots=True)
class No:
    """A guard's no. until: when it may be asked again (UTC); None: the answer stays no."""

    reason: Reason
    message: str
    until: datetime | None = None


def judge(
    *,
    number: str,
    schedule_at: str | None,
    zone: str,
    hours: Window,
    allowed: frozenset[str] | None,
    now: datetime,
) -> No | None:
    """Return the first guard's no to a call; None: it may be made.

    number is E.164. schedule_at is CallKaro's field, wall-clock time in `zone`; None: now.
    allowed None: anyone.
    """
    if allowed is not None and number not in allowed:
        return No(
            reason=Reason.NOT_ALLOWED, message="ALLOW_NUMBERS is set and has not this number."
        )
    return judge_hours(number=number, schedule_at=schedule_at, zone=zone, hours=hours, now=now)


def judge_hours(
    *, number: str, schedule_at: str | None, zone: str, hours: Window, now: datetime
) -> No | None:
    """Return a no outside the calling hours of the callee's own zone, in every zone it may be.

    Judged at schedule_at where that is to come: what CallKaro does with a time that has passed is
    not documented, and it may well call at once.
    """
    if hours.always:
        return None
    zones = zones_of(number)
    planned = (
        datetime.fromisoformat(schedule_at).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        if schedule_at
        else None
    )
    at = max(now, planned) if planned else now
    if open_at(hours, zones, at):
        return None
    if at is not now:
        return No(
            reason=Reason.OUTSIDE_HOURS,
            message=f"schedule_at is outside the calling hours ({hours}) where the phone is.",
        )
    until = next_opening(hours, zones, now)
    if until is None:
        return No(
            reason=Reason.OUTSIDE_HOURS,
            message="Where the phone is can't be told from the number, or no hour is lawful in "
            "every zone it may be in.",
        )
    return No(
        reason=Reason.OUTSIDE_HOURS,
        message=f"Held for the calling hours ({hours}) where the phone is.",
        until=until,
    )
