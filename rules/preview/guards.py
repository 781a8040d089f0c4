"""The verdict of every guard on a delivery, for the preview: not only the first denial."""

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
# Guards that need only the notification, so that no record is fetched for them.
OVER_NOTIFICATION: Final = frozenset({"own change", "max_age"})
OF_NUMBER: Final = frozenset({"ALLOW_NUMBERS", "hours"})


def guards_of(
    claim: Claim, new: NewDelivery, candidate: Candidate, *, is_whole: bool, is_off: bool
) -> tuple[Ruling, ...]:
    """Return the verdict of each guard, in the order in which they run.

    is_whole: the event has its record. is_off: the event itself suppresses its person.
    """
    return (
        *_at_intake(new),
        *_before_send(claim, candidate, is_whole=is_whole),
        *_at_send(candidate, is_off=is_off),
    )


def _at_intake(new: NewDelivery) -> Iterator[Ruling]:
    if new.bulk:
        yield Ruling(guard="bulk", verdict="no", reason=Reason.BULK, message=new.bulk)
    if new.flood:
        message = f"more than {new.flood.over} within {new.flood.within_s} s are held as bulk"
        yield Ruling(guard="flood", verdict="at the intake", message=message)


def _before_send(claim: Claim, candidate: Candidate, *, is_whole: bool) -> Iterator[Ruling]:
    has_number = True
    guards = (*ELIGIBILITY, *CALL_GUARDS) if candidate.route.to == "call" else ELIGIBILITY
    for name, guard in guards:
        if not _is_set(name, candidate):
            yield Ruling(guard=name, verdict="ok", message=NOT_SET)
        elif name == "own change" and candidate.own_user_rule and not candidate.is_own_change:
            # Not known to a preview, which asks nobody.
            yield Ruling(guard=name, verdict="not checked", message="needs our user at the CRM")
        elif not is_whole and name not in OVER_NOTIFICATION:
            yield _over_notification(name, claim, candidate)
        elif name in OF_NUMBER and not has_number:
            yield Ruling(guard=name, verdict="not checked", message="needs a number")
        else:
            ruling = _ruling(name, run_guard(guard, candidate))
            has_number = has_number and not (name == "number" and ruling.verdict == "no")
            yield ruling


def _over_notification(name: str, claim: Claim, candidate: Candidate) -> Ruling:
    """Return the verdict that is possible without the record: of `when`, only the part `match`."""
    if name == "when":
        move = screen(claim, candidate.settings, candidate.now)
        if move and move.reason in (Reason.BAD_REQUEST, Reason.WHEN_FALSE):
            return Ruling(guard=name, verdict="no", reason=move.reason, message=move.message)
        if candidate.route.when is None:
            return Ruling(guard=name, verdict="ok")
    return Ruling(guard=name, verdict="not checked", message="needs the record")


def _ruling(name: str, denial: Denial | None) -> Ruling:
    if denial is None:
        return Ruling(guard=name, verdict="ok")
    return Ruling(
        guard=name, verdict="no", reason=denial.reason, message=denial.message, until=denial.until
    )


# Whether the setting of a guard is set. Without it, every event passes the guard.
SETTING: Final[dict[str, Callable[[Candidate], bool]]] = {
    "when": lambda candidate: bool(candidate.route.match or candidate.route.when),
    "own change": lambda candidate: (
        candidate.source.kind.is_own_change is not None or candidate.own_user_rule is not None
    ),
    "max_age": lambda candidate: candidate.route.max_age_s is not None,
    "opt_out": lambda candidate: candidate.source.opt_out is not None,
    "do-not-disturb": lambda candidate: candidate.source.kind.is_dnd is not None,
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
    """Yield DRY_RUN and the guards of a number's history, which only the store knows."""
    route, settings = candidate.route, candidate.settings
    if route.to == "call":
        if is_off:
            message = "The event itself says that its person must not be called."
            yield Ruling(
                guard="suppressed", verdict="no", reason=Reason.SUPPRESSED, message=message
            )
        else:
            yield Ruling(guard="suppressed", verdict="at the send")
        if route.again_after_s:
            message = f"at most once in {span(timedelta(seconds=route.again_after_s))} for a number"
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
