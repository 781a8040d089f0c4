"""Guards: may this number be called for this event now? Pure, and closed when in doubt.

Each takes what it judges and returns a No, or None where it has nothing against the call. What the
history of a number forbids (suppressed, called_recently, day_cap) is judged in the store, in the
very step that permits the request: store/scripts/move.lua, guarded().
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from schemas.delivery import Reason
from schemas.expression import Expression, ExpressionError
from schemas.hours import Rule, next_opening, open_at, open_span


@dataclass(frozen=True, kw_only=True, slots=True)
class Denial:
    """A guard's no.

    until: when it may be asked again (UTC); None: the answer stays no. open_s: for how long it then
    has nothing against the call, as far as that is known.
    """

    reason: Reason
    message: str
    until: datetime | None = None
    open_s: float = 0.0


def check_condition(name: str, condition: Expression | None, data: Any) -> Denial | None:
    """Return a no where the route's condition does not hold; None: it does, or there is none.

    One that can't be worked out is the route's fault, so it reads as `bad_request`.
    """
    try:
        if condition is None or condition.holds(data):
            return None
    except ExpressionError as error:
        return Denial(reason=Reason.BAD_REQUEST, message=f"{name}: {error}.")
    return Denial(reason=Reason.WHEN_FALSE, message="The route's condition does not hold.")


def check_own_change(is_own: bool) -> Denial | None:
    """Return a no to an event that our own writing back caused: it would go round and round."""
    if not is_own:
        return None
    return Denial(
        reason=Reason.OWN_CHANGE,
        message="The app that this webhook belongs to made the change itself.",
    )


def check_age(age: timedelta, max_age_s: int | None) -> Denial | None:
    """Return a no to an event that is older than its route calls for; max_age_s None: never."""
    if max_age_s is None or age <= timedelta(seconds=max_age_s):
        return None
    within = span(timedelta(seconds=max_age_s))
    return Denial(
        reason=Reason.TOO_OLD,
        message=f"It happened {span(age)} ago, and the route calls within {within}.",
    )


def check_opt_out(opt_out: Expression | None, data: Any) -> Denial | None:
    """Return a no where the record says that its person is not to be called.

    What neither says so nor denies it (a text, an error) is a no, too.
    """
    found = _found(opt_out, data) if opt_out else False
    if _is_nothing(found):
        return None
    if found is True:
        return Denial(reason=Reason.SUPPRESSED, message="The record says not to call (opt_out).")
    return Denial(
        reason=Reason.SUPPRESSED,
        message="Whether the record says not to call can't be told: opt_out yields neither true "
        "nor false.",
    )


def check_consent(consent: Expression | None, data: Any) -> Denial | None:
    """Return a no unless the route's consent yields exactly true; None: it asks for none.

    A text is no consent, however it reads: "no" would be one.
    """
    found = _found(consent, data) if consent else True
    if found is True:
        return None
    if _is_nothing(found):
        return Denial(
            reason=Reason.NO_CONSENT, message="The record has no consent to being called."
        )
    return Denial(
        reason=Reason.NO_CONSENT,
        message="Whether there is consent can't be told: consent must yield true, for instance "
        "by a comparison.",
    )


def check_allowed(number: str, allowed: frozenset[str] | None) -> Denial | None:
    """Return a no to a number (E.164) that ALLOW_NUMBERS has not; allowed None: anyone."""
    if allowed is None or number in allowed:
        return None
    return Denial(
        reason=Reason.NOT_ALLOWED, message="ALLOW_NUMBERS is set and has not this number."
    )


def check_hours(rules: Sequence[Rule], *, now: datetime, planned: datetime | None) -> Denial | None:
    """Return a no outside the calling hours, all of which must be open.

    planned is schedule_at, which is judged where it is to come: what CallKaro does with a time that
    has passed is not documented, and it may well call at once.
    """
    at = max(now, planned) if planned else now
    if open_at(rules, at):
        return None
    hours = " and ".join(dict.fromkeys(str(rule.hours) for rule in rules))
    if at is not now:
        return Denial(
            reason=Reason.OUTSIDE_HOURS,
            message=f"schedule_at is outside the calling hours ({hours}).",
        )
    until = next_opening(rules, now)
    if until is None:
        zones = " and ".join(
            f"{rule.hours} in {', '.join(sorted(rule.zones)) or 'a zone that is not known'}"
            for rule in rules
            if not rule.hours.always
        )
        message = f"No time in the weeks to come is within all calling hours: {zones}."
        return Denial(reason=Reason.OUTSIDE_HOURS, message=message)
    return held_until(until, rules, f"Held for the calling hours ({hours}).")


def held_until(opening: datetime, rules: Sequence[Rule], message: str) -> Denial:
    """Return the no of a call that waits for an opening of its hours."""
    open_ = open_span(rules, opening)
    return Denial(
        reason=Reason.OUTSIDE_HOURS,
        message=message,
        until=opening,
        open_s=(open_[1] - opening).total_seconds() if open_ else 0.0,
    )


def span(length: timedelta) -> str:
    """Return a length of time for people, in its largest unit: "7 h"."""
    seconds = int(length.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _found(expression: Expression, data: Any) -> Any:
    """Return what an expression yields; where it can't be worked out, neither yes nor no."""
    try:
        return expression.search(data)
    except ExpressionError:
        return "?"


def _is_nothing(found: Any) -> bool:
    return found is None or found is False or found in ("", [], {})
