"""The newest outcome of a delivery: how its call ended, in a few fields."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from schemas.outcome import Outcome, Result
from schemas.web_address import web_address

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Headline:
    """How the newest dial of a delivery's newest call ended."""

    result: Result
    at: datetime | None  # when it ended, aware UTC, else when it was received; None: not known
    is_final: bool  # CallKaro does not dial again
    tries: int  # dials so far
    # The rest is None also of an erased person.
    talked_s: int | None = None
    converted: bool | None = None
    disposition: str | None = None
    # http or https with a plain host name; None also for any other link.
    recording_url: str | None = None
    call_link: str | None = None


def is_past(outcome: Outcome, past: tuple[str, ...]) -> bool:
    """Say whether an outcome is of a call from before a person's "call again".

    past: the call_sids of these calls; an empty text stands for outcomes without a call_sid.
    """
    return (outcome.call_sid or "") in past


def newest(outcomes: Iterable[Outcome], past: tuple[str, ...] = ()) -> Outcome | None:
    """Return the outcome of the newest dial of the newest call; None: there is none.

    past: as in is_past(). A past outcome never counts, and neither does a call from a person to
    CallKaro. Of the rest, the newest has the highest try_count, then the latest time. The order of
    arrival does not matter. While past is not empty, an outcome without a call_sid may be of any
    call, so that it does not count.

    store/scripts/includes/newest_outcome.lua does the same where outcomes are stored.
    """
    counted = (
        one
        for one in outcomes
        if one.try_count >= 0 and not is_past(one, past) and (one.call_sid or not past)
    )
    return max(counted, key=_age, default=None)


def headline(outcome: Outcome | None, *, is_erased: bool = False) -> Headline | None:
    """Return what is shown of a delivery's newest outcome; None: there is no outcome."""
    if outcome is None:
        return None
    kept = Headline(
        result=outcome.result,
        at=_at(outcome),
        is_final=outcome.is_final,
        tries=outcome.try_count + 1,
    )
    if is_erased:
        return kept
    return Headline(
        result=kept.result,
        at=kept.at,
        is_final=kept.is_final,
        tries=kept.tries,
        talked_s=outcome.duration_s,
        converted=outcome.conversion_status,
        disposition=outcome.disposition_reason,
        recording_url=web_address(outcome.recording_url),
        call_link=web_address(outcome.call_link),
    )


def _at(outcome: Outcome) -> datetime | None:
    return outcome.ended_at or outcome.received_at


def _age(outcome: Outcome) -> tuple[int, bool, int, str]:
    at = _at(outcome)
    ms = (at - _EPOCH) // timedelta(milliseconds=1) if at else 0
    # The call_sid only makes the choice between equal times the same everywhere.
    return outcome.try_count, at is not None, ms, outcome.call_sid or ""
