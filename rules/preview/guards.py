"""Every guard's verdict on a delivery, for the preview: not only the first no."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

from rules.candidate import Candidate, Denial
from rules.guards import CALL_GUARDS, ELIGIBILITY, run_guard, span
from rules.plan import screen
from rules.preview.text import Ruling
from schemas.delivery import Reason
from schemas.records import Claim, NewDelivery

NOT_SET: Final = "not set"
# Guards that judge the notification as it came, so that no record need be fetched for them.
OVER_NOTIFICATION: Final = frozenset({"own change", "max_age"})
OF_NUMBER: Final = frozenset({"ALLOW_NUMBERS", "hours"})


def guards_of(
    claim: Claim, new: NewDelivery, candidate: Candidate, *, is_whole: bool, is_off: bool
) -> tuple[Ruling, ...]:
    """Return what each guard says, in the order in which they are asked.

    is_whole: the event has its record. is_off: the event itself suppresses its person.
    """
    return (
        *_at_intake(new),
        *_judged(claim, candidate, is_whole=is_whole),
        *_at_send(candidate, is_off=is_off),
    )


def _at_intake(new: NewDelivery) -> Iterator[Ruling]:
    if new.bulk:
        yield Ruling(guard="bulk", verdict="no", reason=Reason.BULK, message=new.bulk)
    if new.flood:
        message = f"more than {new.flood.over} within {new.flood.within_s} s are held as bulk"
        yield Ruling(guard="flood", verdict="at the intake", message=message)


def _judged(claim: Claim, candidate: Candidate, *, is_whole: bool) -> Iterator[Ruling]:
    has_number = True
    asked = (*ELIGIBILITY, *CALL_GUARDS) if candidate.route.to == "call" else ELIGIBILITY
    for name, guard in asked:
        if not _is_set(name, candidate):
            yield Ruling(guard=name, verdict="ok", message=NOT_SET)
        elif not is_whole and name not in OVER_NOTIFICATION:
            yield _over_notification(name, claim, candidate)
        elif name in OF_NUMBER and not has_number:
            yield Ruling(guard=name, verdict="not judged", message="needs a number")
        else:
            ruling = _ruling(name, run_guard(guard, candidate))
            has_number = has_number and not (name == "number" and ruling.verdict == "no")
            yield ruling


def _over_notification(name: str, claim: Claim, candidate: Candidate) -> Ruling:
    """Return what can be said without the record: of `when` only its part that is `match`."""
    if name == "when":
        move = screen(claim, candidate.settings, candidate.now)
        if move and move.reason in (Reason.BAD_REQUEST, Reason.WHEN_FALSE):
            return Ruling(guard=name, verdict="no", reason=move.reason, message=move.message)
        if candidate.route.when is None:
            return Ruling(guard=name, verdict="ok")
    return Ruling(guard=name, verdict="not judged", message="needs the record")


def _ruling(name: str, denial: Denial | None) -> Ruling:
    if denial is None:
        return Ruling(guard=name, verdict="ok")
    return Ruling(
        guard=name, verdict="no", reason=denial.reason, message=denial.message, until=denial.until
    )


# What has a guard judge at all, where that is a setting; else each event passes it.
SETTING: Final[dict[str, Callable[[Candidate], bool]]] = {
    "when": lambda candidate: bool(candidate.route.match or candidate.route.when),
    "own change": lambda candidate: candidate.source.kind.is_own_change is not None,
    "max_age": lambda candidate: candidate.route.max_age_s is not None,
    "opt_out": lambda candidate: candidate.source.opt_out is not None,
    "consent": lambda candidate: candidate.route.consent is not None,
    "ALLOW_NUMBERS": lambda candidate: candidate.settings.allow_numbers is not None,
    "hours": lambda candidate: (
        candidate.route.hours is not None or not candidate.settings.calling_hours.always
    ),
}


def _is_set(name: str, candidate: Candidate) -> bool:
    is_set = SETTING.get(name)
    return is_set is None or is_set(candidate)


def _at_send(candidate: Candidate, *, is_off: bool) -> Iterator[Ruling]:
    """Yield the guards of a number's history, which is known to the store alone; and DRY_RUN."""
    route, settings = candidate.route, candidate.settings
    if route.to == "call":
        if is_off:
            message = "The event itself says that its person is not to be called."
            yield Ruling(
                guard="suppressed", verdict="no", reason=Reason.SUPPRESSED, message=message
            )
        else:
            yield Ruling(guard="suppressed", verdict="at the send")
        if route.again_after_s:
            message = f"once in {span(timedelta(seconds=route.again_after_s))} for a number"
            yield Ruling(guard="called_recently", verdict="at the send", message=message)
        caps = [
            *([f"{route.max_per_day} a day by the route"] if route.max_per_day else []),
            *([f"{settings.max_per_number} a day to a number"] if settings.max_per_number else []),
        ]
        if caps:
            yield Ruling(guard="day_cap", verdict="at the send", message=", ".join(caps))
    if settings.dry_run:
        message = "DRY_RUN is on: this is what would have been sent."
        yield Ruling(guard="DRY_RUN", verdict="no", reason=Reason.DRY_RUN, message=message)
