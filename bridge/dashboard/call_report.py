"""What the page of a delivery says of its call: how it ended, what was said, what to look up."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from bridge.dashboard.conversation import Turn, turns
from bridge.dashboard.words import outcome_words
from schemas.delivery import Delivery, Status
from schemas.headline import newest
from schemas.outcome import INBOUND, Outcome
from schemas.responses import OutcomeResponse, as_shown
from schemas.web_address import web_address

SHORT: Final = 40  # characters of what the headline names
IN_HEADLINE: Final = 2  # variables
_OLDEST: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """What an agent noted."""

    name: str
    value: Any  # any JSON value
    reason: str | None = None  # the agent's own; None: it gave none


@dataclass(frozen=True, kw_only=True, slots=True)
class Dial:
    """One dial of a call, as the page shows it. A text is None where CallKaro sent none."""

    words: str  # how it ended
    name: str  # such as "redial 1"
    ended_at: str | None  # ISO 8601
    disposition: str | None  # CallKaro's sentence on how it went
    recording: str | None
    link: str | None  # the call at CallKaro
    variables: tuple[Variable, ...]
    conversation: tuple[Turn, ...]  # empty: see text
    text: str | None  # the transcription as it is, where it is not a conversation


@dataclass(frozen=True, kw_only=True, slots=True)
class CallReport:
    """How a delivery's call ended; newest is None until CallKaro says so."""

    headline: str = ""  # empty: the status is the headline
    newest: Dial | None = None
    earlier: tuple[Dial, ...] = ()  # the other dials, the latest first
    hides_links: bool = False  # those that have the person's number, while numbers are masked


@dataclass(frozen=True, kw_only=True, slots=True)
class LookUp:
    """Where a person finds out whether CallKaro has a call or campaign."""

    page: str  # the name of CallKaro's page
    url: str
    command: str | None = None  # of CallKaro's command line; None: it can't find this


def call_report(delivery: Delivery) -> CallReport:
    """Return how a delivery's call ended. Numbers are masked unless they are revealed."""
    outcomes = as_shown(delivery).outcomes
    hides_links = outcomes != delivery.outcomes
    latest = newest(outcomes, delivery.past)
    if latest is None:
        return CallReport(earlier=_dials(outcomes), hides_links=hides_links)
    others = [one for one in outcomes if one is not latest]
    last = _dial(latest)
    noted = [one for one in last.variables if _is_short(one)][:IN_HEADLINE]
    notes = [f"{one.name.replace('_', ' ')}: {in_words(one.value)}" for one in noted]
    outcome = _as_listed(OutcomeResponse().dump(latest)) | {"tries": latest.try_count + 1}
    if any(one.name == "interested" for one in noted):
        del outcome["converted"]  # the headline says it in the agent's own words
    return CallReport(
        headline=" · ".join([outcome_words(outcome), *notes]),
        newest=last,
        earlier=_dials(others),
        hides_links=hides_links,
    )


def _dials(outcomes: Sequence[Outcome]) -> tuple[Dial, ...]:
    latest_first = sorted(outcomes, key=lambda one: one.ended_at or _OLDEST, reverse=True)
    return tuple(_dial(one) for one in latest_first)


def _dial(outcome: Outcome) -> Dial:
    seen = OutcomeResponse().dump(outcome)
    text = seen["transcription"]
    conversation = tuple(turns(text)) if text else ()
    return Dial(
        words=outcome_words(_as_listed(seen)),
        name=_name(outcome),
        ended_at=seen["ended_at"],
        disposition=seen["disposition_reason"],
        recording=web_address(outcome.recording_url),
        link=web_address(outcome.call_link),
        variables=tuple(variables(seen["post_call"], seen["post_call_detail"])),
        conversation=conversation,
        text=None if conversation else text,
    )


def _as_listed(seen: Mapping[str, Any]) -> dict[str, Any]:
    """Return an outcome under the names that lists of deliveries have."""
    return {
        "result": seen["result"],
        "talked_s": seen["duration_s"],
        "converted": seen["conversion_status"],
        "disposition": seen["disposition_reason"],
        "at": seen["ended_at"],
        "is_final": seen["final"],
    }


def _name(outcome: Outcome) -> str:
    if outcome.try_count == INBOUND:
        return "call from the person"
    return f"redial {outcome.try_count}" if outcome.try_count else "first dial"


# --- variables ------------------------------------------------------------------------------------


def variables(values: Mapping[str, Any], details: Any) -> Iterator[Variable]:
    """Yield what the agent noted, in its order: a value may be in either of the two objects."""
    details = details if isinstance(details, Mapping) else {}
    for name in [*values, *(one for one in details if one not in values)]:
        detail = details.get(name)
        known = detail if isinstance(detail, Mapping) else {"value": detail}
        comment = known.get("comment")
        yield Variable(
            name=name,
            value=values[name] if name in values else known.get("value"),
            reason=comment.strip() or None if isinstance(comment, str) else None,
        )


def in_words(value: Any) -> Any:
    """Return a variable's value in words; objects and lists stay as they are."""
    match value:
        case None | "":
            return "—"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return str(value)
    return value


def _is_short(variable: Variable) -> bool:
    value = in_words(variable.value)
    is_text = isinstance(value, str) and value != "—" and "\n" not in value
    return is_text and len(variable.name) + len(value) <= SHORT


# --- what to look up ------------------------------------------------------------------------------


def look_up(delivery: Delivery, number: str | None, zone: ZoneInfo, callkaro: str) -> LookUp | None:
    """Return where to look an unknown delivery up; None: its fate is known.

    number: as the page shows it, masked or in full. callkaro: the address of CallKaro's dashboard.
    """
    if delivery.status is not Status.UNKNOWN:
        return None
    if delivery.to != "call":
        return LookUp(page="Batch Calls", url=f"{callkaro}/dashboard/batch-calls")
    attempts = delivery.attempts
    sent_at = datetime.fromisoformat(attempts[-1]["at"]) if attempts else delivery.created_at
    digits = re.sub(r"[^0-9•]", "", number or "")
    command = f"ck calls list --to {digits} --start {sent_at.astimezone(zone):%Y-%m-%d} --json"
    return LookUp(
        page="Call History",
        url=f"{callkaro}/dashboard/call-history",
        command=command if digits else None,
    )
