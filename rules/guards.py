"""Guards: may this number be called for this event now? Pure. In doubt, a guard denies the call.

A guard takes a Candidate. It returns a Denial, or None if it permits the call. The history of a
number (suppressed, called_recently, day_cap) is checked by the store, in the same step that permits
the request: denial() in store/scripts/move.lua.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from rules.candidate import Candidate, Denial, Denied
from schemas.delivery import Reason
from schemas.expression import Expression, ExpressionError, Path
from schemas.hours import Rule, next_opening, open_at, open_span

Guard = Callable[[Candidate], Denial | None]
Guards = tuple[tuple[str, Guard], ...]
MOST_SEEN: Final = 4  # values of a condition that a message describes


def check_match(candidate: Candidate) -> Denial | None:
    """Deny an event if the route's `match` is false for the notification."""
    return _check_condition("match", candidate.route.match, candidate.event.data)


def check_when(candidate: Candidate) -> Denial | None:
    """Deny an event if `match` or `when` is false.

    A person's test call needs neither. A row of a call list has no notification to match.
    """
    if candidate.is_call_me:
        return None
    unmatched = None if candidate.is_list_row else check_match(candidate)
    return unmatched or _check_condition("when", candidate.route.when, candidate.data)


def _check_condition(name: str, condition: Expression | None, data: Any) -> Denial | None:
    try:
        if condition is None or condition.holds(data):
            return None
    except ExpressionError as error:
        # The route is wrong, not the event.
        return Denial(reason=Reason.BAD_REQUEST, message=f"{name}: {error}.")
    text = " ".join(condition.text.split())
    message = f"The route's condition `{name}` is false for this event: `{text}`."
    if seen := ", ".join(_seen(condition, data)):
        message += f" In this event, {seen}."
    return Denial(reason=Reason.WHEN_FALSE, message=message)


def _seen(condition: Expression, data: Any) -> Iterator[str]:
    """Yield what a condition found, without texts and numbers: these may be a person's data."""
    for path in sorted(condition.paths)[:MOST_SEEN]:
        yield f"`{'.'.join(path)}` {_kind_of(_value_at(path, data))}"


def _value_at(path: Path, data: Any) -> Any:
    for name in path:
        if isinstance(data, list):
            return data
        data = data.get(name) if isinstance(data, dict) else None
    return data


def _kind_of(value: Any) -> str:
    match value:
        case None:
            return "has no value"
        case bool():
            return f"is {str(value).lower()}"
        case "" | [] | {} if not value:
            return "is empty"
        case str():
            return "is a text"
        case list():
            return "is a list"
        case dict():
            return "is an object"
        case _:
            return "is a number"


def check_own_change(candidate: Candidate) -> Denial | None:
    """Deny an event that our own write to the CRM caused: calls and writes would go in a circle."""
    if not candidate.is_own_change:
        return None
    message = (
        "The bridge's own app, user or write-back at the CRM made this change, so nobody is called."
    )
    return Denial(reason=Reason.OWN_CHANGE, message=message)


def check_age(candidate: Candidate) -> Denial | None:
    """Deny an event that is older than its route's max_age."""
    max_age_s = candidate.route.max_age_s
    if max_age_s is None or candidate.age <= timedelta(seconds=max_age_s):
        return None
    within = span(timedelta(seconds=max_age_s))
    message = f"The event is {span(candidate.age)} old, and the route calls within {within}."
    return Denial(reason=Reason.TOO_OLD, message=message)


def check_opt_out(candidate: Candidate) -> Denial | None:
    """Deny a call if the record says that its person must not be called.

    A value that is neither true nor false (a text, an error) denies the call, too.
    """
    opt_out = candidate.source.opt_out
    found = _found(opt_out, candidate.data) if opt_out else False
    if _is_nothing(found):
        return None
    message = "The CRM record says that this person must not be called (opt_out)."
    if found is not True:
        message = (
            "The source's opt_out is neither true nor false for this record, so nobody is called. "
            "Fix the expression, for instance with a comparison."
        )
    return Denial(reason=Reason.SUPPRESSED, message=message)


def check_dnd(candidate: Candidate) -> Denial | None:
    """Deny a call if the source marks the person's number as one of a do-not-disturb list.

    A value that is neither true nor false denies the call, too. A person's test call goes to
    another number.
    """
    is_dnd = candidate.source.kind.is_dnd
    if is_dnd is None or candidate.is_call_me or _is_nothing(_found(is_dnd, candidate.data)):
        return None
    message = "The source marks this person's number as one on the do-not-disturb list."
    return Denial(reason=Reason.DND_NUMBER, message=message)


def check_consent(candidate: Candidate) -> Denial | None:
    """Deny a call unless the route's consent is exactly true; a person's test call needs none.

    A text is not a consent: it could be "no".
    """
    consent = candidate.route.consent
    if consent is None or candidate.is_call_me:
        return None
    found = _found(consent, candidate.data)
    if found is True:
        return None
    message = "The CRM record has no consent to calls (consent)."
    if not _is_nothing(found):
        message = (
            "The route's consent is neither true nor false for this record, so nobody is called. "
            "Fix the expression, for instance with a comparison."
        )
    return Denial(reason=Reason.NO_CONSENT, message=message)


def check_number(candidate: Candidate) -> Denial | None:
    """Deny a call without a number that may be called. Raises Denied."""
    _ = candidate.number
    return None


def check_allowed(candidate: Candidate) -> Denial | None:
    """Deny a call to a number that is not in ALLOW_NUMBERS, if that is set."""
    allowed = candidate.settings.allow_numbers
    if allowed is None or candidate.number in allowed:
        return None
    message = "ALLOW_NUMBERS is set and does not contain this number."
    return Denial(reason=Reason.NOT_ALLOWED, message=message)


def check_hours(candidate: Candidate) -> Denial | None:
    """Deny a call outside the calling hours. All of the hours that apply must be open.

    A planned call is checked at its planned time. If that has passed, CallKaro may call at once
    (its documentation does not say), so then the current time counts.
    """
    rules, now, planned = candidate.rules, candidate.now, candidate.planned
    at = max(now, planned) if planned else now
    if open_at(rules, at):
        return None
    limits = [rule for rule in rules if not rule.hours.always]
    hours = " and ".join(dict.fromkeys(str(rule.hours) for rule in limits))
    if at is not now:
        message = f"schedule_at is outside the calling hours ({hours})."
        return Denial(reason=Reason.OUTSIDE_HOURS, message=message)
    until = next_opening(rules, now)
    if until is None:
        zones = " and ".join(
            f"{rule.hours} in {', '.join(sorted(rule.zones)) or 'an unknown time zone'}"
            for rule in limits
        )
        message = f"No time in the coming weeks is within all calling hours: {zones}."
        return Denial(reason=Reason.OUTSIDE_HOURS, message=message)
    return closed_until(until, rules, f"Outside the calling hours ({hours}).")


def closed_until(opening: datetime, rules: Sequence[Rule], message: str) -> Denial:
    """Return the denial of a call that must wait for an opening of its hours."""
    open_ = open_span(rules, opening)
    return Denial(
        reason=Reason.OUTSIDE_HOURS,
        message=message,
        until=opening,
        open_s=(open_[1] - opening).total_seconds() if open_ else 0.0,
    )


# --- the guards, in the order in which they are run: the first denial counts ----------------------

# Those that need no record, before it is fetched.
BEFORE_FETCH: Final[Guards] = (
    ("match", check_match),
    ("own change", check_own_change),
    ("max_age", check_age),
)
# "own change" before "when": the CRM may be told that `when` is false, and that would be the next
# change of our own.
ELIGIBILITY: Final[Guards] = (
    ("own change", check_own_change),
    ("when", check_when),
    ("max_age", check_age),
)
CONSENT: Final[Guards] = (
    ("opt_out", check_opt_out),
    ("do-not-disturb", check_dnd),
    ("consent", check_consent),
)
REACHABILITY: Final[Guards] = (
    ("number", check_number),
    ("ALLOW_NUMBERS", check_allowed),
    ("hours", check_hours),
)
CALL_GUARDS: Final = CONSENT + REACHABILITY


def run_guards(guards: Guards, candidate: Candidate) -> None:
    """Run guards in their order. Raises Denied with the first denial."""
    for _, guard in guards:
        if denial := guard(candidate):
            raise Denied(denial)


def run_guard(guard: Guard, candidate: Candidate) -> Denial | None:
    """Return a guard's denial; also if it can't get at what it must check."""
    try:
        return guard(candidate)
    except Denied as denied:
        return denied.denial


# --- helpers --------------------------------------------------------------------------------------


def span(length: timedelta) -> str:
    """Return a length of time for people, in its largest unit: "7 h"."""
    seconds = int(length.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _found(expression: Expression, data: Any) -> Any:
    """Return an expression's value; if it fails, a value that is neither true nor false."""
    try:
        return expression.search(data)
    except ExpressionError:
        return "?"


def _is_nothing(found: Any) -> bool:
    return found is None or found is False or found in ("", [], {})
