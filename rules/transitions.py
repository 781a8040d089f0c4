"""Transitions: the moves of one delivery, and the sentences that people read about them.

Nothing here does I/O. A delivery, an answer and the time go in, and a move comes out, which the
drain makes in the store. What is sent for a delivery is decided in rules/plan.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson

from rules.backoff import LONGEST_S, Jitter, is_spent, wait_s
from rules.guards import span
from rules.plan import Ready
from rules.verdict import Meaning, Verdict
from schemas.delivery import Delivery, Reason, Status
from schemas.event import CALL_ME
from schemas.fields import mask_text
from schemas.http_result import TOO_LATE, HttpResult
from schemas.records import Claim, HistoryCheck, Move

# The campaign's creation wakes the calls that wait for it. This is for a wake-up that was lost.
CAMPAIGN_CHECK = timedelta(minutes=1)
RECORD_PATIENCE = timedelta(minutes=2)  # how long a record that is missing is fetched again
ANSWER_CHARS = 2000  # of CallKaro's answer, kept with the attempt
STILL_SCHEDULED = "The scheduled call was not deleted."
# An item that raised an error waits this long. So a fault that ends soon does not end the item.
CRASH_WAIT_S = 10.0
CRASHES_END = 2
CRASHED = (
    "This record caused an error in the bridge. The worker's log has the details "
    "(delivery.crashed)."
)
CRASHED_ONCE = f"{CRASHED} The bridge tries once more."
CRASHED_AGAIN = f"{CRASHED} It happened twice, so the bridge does not try again by itself."
RESOLVE = "Look for the call in CallKaro's dashboard, then resolve this delivery."
CRASHED_ON_THE_WIRE = f"{CRASHED} A phone may ring. {RESOLVE}"


def start_sending(
    ready: Ready, now: datetime, *, guard: HistoryCheck | None, needs_s: float
) -> Move:
    """Return the move that records an attempt before its first byte is sent.

    guard: what the number's history must permit in the same step; None: the request is no call.
    """
    delivery = ready.delivery
    fields: dict[str, str | int | None] = {
        "request": orjson.dumps(ready.body).decode(),
        "spent": delivery.spent + 1,
        "batch_id": ready.body.get("batch_id"),
        "campaign_key": None,
    }
    if delivery.first_attempt_at is None:
        fields["first_ms"] = int(now.timestamp() * 1000)
    if ready.consent:
        fields["consent"] = orjson.dumps({**ready.consent, "at": iso(now)}).decode()
    if ready.terms is not None:
        fields["terms"] = ready.terms
    return Move(
        id=delivery.id,
        to=Status.SENDING,
        lease=delivery.lease,
        fields=fields,
        attempt=(ready.number, {"number": ready.number, "at": iso(now)}),
        needs_s=needs_s,
        phone=guard.phone if guard else None,
        number=ready.body.get("to_number"),
        name=ready.name,
        guard=guard,
    )


def skip_dry_run(ready: Ready, guard: HistoryCheck | None) -> Move:
    """Return the move of a delivery that is not sent because DRY_RUN is on."""
    return Move(
        id=ready.delivery.id,
        to=Status.SKIPPED,
        lease=ready.delivery.lease,
        reason=Reason.DRY_RUN,
        message="DRY_RUN is on: this is what would have been sent.",
        fields={
            "request": orjson.dumps(ready.body).decode(),
            **({} if ready.terms is None else {"terms": ready.terms}),
        },
        phone=guard.phone if guard else None,
        number=ready.body.get("to_number"),
        name=ready.name,
        guard=guard,
    )


def skip_forbidden(move: Move, answer: str) -> Move:
    """Return the move of a call for which the store answered `no <reason> …`.

    Of two calls to one number, the second is skipped, because the first is sent or may be sent.
    """
    guard = move.guard
    assert guard is not None  # noqa: S101  (other moves get no such answer)
    _, word, what = f"{answer} ".split(" ", 2)
    reason = Reason(word)
    match reason:
        case Reason.SUPPRESSED:
            message = "The number or its CRM record is suppressed."
        case Reason.DUPLICATE:
            message = (
                f"The CRM merged the records of this delivery and of {what.strip()}, which calls "
                "the person for both."
            )
        case Reason.CALLED_RECENTLY if what.strip() == "0":
            message = "The history of this number can't be read, so it is not called."
        case Reason.CALLED_RECENTLY:
            again = span(timedelta(seconds=guard.again_s))
            message = f"This route called the number already, and calls it once in {again} at most."
        case _ if what.strip() == "route":
            message = (
                f"The route has made {guard.day_cap} calls that day, its maximum (max_per_day)."
            )
        case _:
            message = (
                f"The number was called {guard.number_cap} times that day, the maximum "
                "(MAX_PER_NUMBER_PER_DAY)."
            )
    return Move(
        id=move.id,
        to=Status.SKIPPED,
        lease=move.lease,
        reason=reason,
        message=message,
        # Nothing of a suppressed person is kept: that person may have been erased.
        fields={
            name: move.fields[name]
            for name in ("request", "terms")
            if name in move.fields and reason is not Reason.SUPPRESSED
        },
        phone=guard.phone,
        number=None if reason is Reason.SUPPRESSED else move.number,
        name=None if reason is Reason.SUPPRESSED else move.name,
    )


def settle(
    ready: Ready, result: HttpResult, verdict: Verdict, began: datetime, jitter: Jitter
) -> Move:
    """Return the move of a delivery after the answer to an attempt."""
    delivery = ready.delivery
    attempt = {
        "number": ready.number,
        "at": iso(began),
        "duration_ms": result.duration_ms,
        "status_code": result.status_code,
        "error": result.error,
        "answer": result.body[: 4 * ANSWER_CHARS].decode("utf-8", "replace")[:ANSWER_CHARS],
    }
    common: dict[str, Any] = {
        "id": delivery.id,
        "lease": delivery.lease,
        "message": verdict.message,
        "attempt": (ready.number, attempt),
        "callkaro_ok": callkaro_ok(verdict, result),
        "pause": account_pause(verdict, began),
        "sentence": verdict.public if _repeats(verdict, ready.body) else verdict.message,
    }
    meaning = verdict.meaning
    may_call_again = ready.route.on_unknown == "call_again" and not verdict.is_our_error
    if meaning is Meaning.UNKNOWN and may_call_again:
        meaning = Meaning.AGAIN
        common["keeps_number"] = True
    match meaning:
        case Meaning.ACCEPTED:
            name = "call_sid" if ready.to == "call" else "batch_id"
            return Move(to=Status.DELIVERED, fields={name: verdict.id or ""}, **common)
        case Meaning.REFUSED:
            reason = verdict.refusal or Reason.REFUSED
            is_about = verdict.is_about_person
            return Move(to=Status.FAILED, reason=reason, is_about_person=is_about, **common)
        case Meaning.UNKNOWN:
            common["message"] = f"{verdict.message} {RESOLVE}"
            return Move(to=Status.UNKNOWN, reason=Reason.NO_ANSWER, **common)
        case Meaning.PAUSE:
            # The account at CallKaro is at fault, not the lead. So the attempt does not count, and
            # the 24 hours of retries start again.
            wait = wait_s(ready.number, jitter, retry_after_s=result.retry_after_s)
            fields = {
                "spent": delivery.spent,
                "first_ms": int(began.timestamp() * 1000),
                **_not_before(result.retry_after_s, wait, began),
            }
            return Move(
                to=Status.RETRYING, reason=Reason.ACCOUNT, fields=fields, wait_s=wait, **common
            )
        case Meaning.AGAIN:
            if is_spent(delivery.spent + 1, tried_since(delivery), began):
                return Move(to=Status.FAILED, reason=Reason.GAVE_UP, **common)
            wait = wait_s(delivery.spent + 1, jitter, retry_after_s=result.retry_after_s)
            reason = Reason(verdict.why) if verdict.why else Reason.NO_ANSWER
            asked = _not_before(result.retry_after_s, wait, began)
            return Move(to=Status.RETRYING, reason=reason, wait_s=wait, fields=asked, **common)


def settle_crashed(ready: Ready, began: datetime) -> Move:
    """Return the move of a delivery whose request went out, after an error in the bridge.

    The error says nothing about the call, so a call is `unknown`. All else is sent again.
    """
    delivery = ready.delivery
    common: dict[str, Any] = {
        "id": delivery.id,
        "lease": delivery.lease,
        "attempt": (ready.number, {"number": ready.number, "at": iso(began), "error": "crashed"}),
    }
    if ready.to != "call":
        if is_spent(delivery.spent + 1, tried_since(delivery), began):
            return Move(to=Status.FAILED, reason=Reason.GAVE_UP, message=CRASHED, **common)
        return Move(to=Status.RETRYING, message=CRASHED, wait_s=LONGEST_S, **common)
    return Move(to=Status.UNKNOWN, reason=Reason.NO_ANSWER, message=CRASHED_ON_THE_WIRE, **common)


def after_crash(move: Move, now: datetime) -> Move:
    """Return the move of a delivery whose request went out, if its own move raised an error."""
    assert move.attempt is not None  # noqa: S101  (other moves are replaced by crashed())
    number = move.attempt[0]
    return Move(
        id=move.id,
        to=Status.UNKNOWN,
        lease=move.lease,
        reason=Reason.NO_ANSWER,
        message=CRASHED_ON_THE_WIRE,
        attempt=(number, {"number": number, "at": iso(now), "error": "crashed"}),
        is_after_crash=True,
    )


def crashed(delivery: Delivery, now: datetime, jitter: Jitter) -> Move:
    """Return the move of a claimed delivery that raised an error before its request went out.

    The second error ends it. A call that CallKaro must delete is never given up for an error.
    """
    if delivery.status is Status.DELIVERED:
        lookups = FailedLookups.of(delivery, "cancel", now)
        wait = CRASH_WAIT_S + wait_s(lookups.lookup_failures, jitter)
        message = f"The bridge will ask CallKaro again to delete the call. {CRASHED}"
        return keep_waiting(delivery, wait, message=message, fields=lookups.fields)
    if delivery.crashes + 1 >= CRASHES_END:
        return fail(delivery, Reason.BAD_REQUEST, CRASHED_AGAIN)
    fields: dict[str, str | int | None] = {"crashes": delivery.crashes + 1}
    return keep_waiting(delivery, CRASH_WAIT_S, message=CRASHED_ONCE, fields=fields)


def in_row(move: Move, claim: Claim, most: int, now: datetime) -> Move:
    """Return the move with what it does to its route's row of failed calls.

    An accepted call ends the row, a call that fails by `refused` or `bad_request` adds to it, and
    nothing else counts. most: the failures in a row that pause the route; 0: never.
    """
    is_test = claim.event is not None and claim.event.type == CALL_ME
    if most == 0 or claim.delivery.to != "call" or is_test:
        return move
    if move.to is Status.DELIVERED and move.attempt:
        return replace(move, row={"ends": True})
    is_failure = move.to is Status.FAILED and move.reason in (Reason.REFUSED, Reason.BAD_REQUEST)
    if not is_failure or move.is_about_person:
        return move
    scope = f"route:{claim.delivery.route}"
    calls = "The last call" if most == 1 else f"The last {most} calls"
    sentence = mask_text(move.sentence or move.message or "").strip()
    if sentence and sentence[-1] not in ".!?":
        sentence += "."  # CallKaro's own text has no end
    pause = {
        "reason": "failing",
        "message": f"{calls} of this route failed. The latest: {sentence} Fix the route, try it "
        f"with call-me, then resume {scope}.",
        "since_ms": int(now.timestamp() * 1000),
    }
    return replace(move, row={"most": most, "pause": orjson.dumps(pause).decode()})


def callkaro_ok(verdict: Verdict, result: HttpResult) -> bool | None:
    """Say whether CallKaro works, for the breaker; a refusal is an answer of a working CallKaro.

    None: the answer does not show it. Either the account is at fault, which has its own pause, or
    the bridge was too slow.
    """
    if verdict.meaning is Meaning.PAUSE or result.error == TOO_LATE:
        return None
    return verdict.meaning in (Meaning.ACCEPTED, Meaning.REFUSED)


def account_pause(verdict: Verdict, now: datetime) -> dict[str, Any] | None:
    """Return the pause of CallKaro if the key or the account is at fault; None: no pause."""
    if verdict.meaning is not Meaning.PAUSE:
        return None
    return {
        "reason": "account",
        "message": f"{verdict.message} Fix CALLKARO_API_KEY or the account, restart the worker, "
        "then resume callkaro.",
        "since_ms": int(now.timestamp() * 1000),
    }


def settle_cancellation(
    delivery: Delivery, result: HttpResult, verdict: Verdict, now: datetime, jitter: Jitter
) -> Move:
    """Return the move of a delivery after CallKaro's answer to the deletion of its call."""
    is_over: dict[str, str | int | None] = dict.fromkeys(
        ("cancel_ms", "cancel_reason", "cancel_actor")
    )
    match verdict.meaning:
        case Meaning.ACCEPTED:
            return Move(
                id=delivery.id,
                to=Status.CANCELLED,
                lease=delivery.lease,
                reason=Reason(delivery.cancel_reason or Reason.BY_PERSON),
                actor=delivery.cancel_actor,
                message="CallKaro deleted the scheduled call.",
                fields=is_over,
            )
        case Meaning.REFUSED:
            return replace(
                keep_waiting(
                    delivery, 0, message=f"{STILL_SCHEDULED} {verdict.message}", fields=is_over
                ),
                wait_s=None,
            )
    lookups = FailedLookups.of(delivery, "cancel", now)
    if is_spent(lookups.lookup_failures, lookups.since, now):
        message = f"{STILL_SCHEDULED} CallKaro gave no clear answer for too long."
        return replace(keep_waiting(delivery, 0, message=message, fields=is_over), wait_s=None)
    wait = wait_s(lookups.lookup_failures, jitter, retry_after_s=result.retry_after_s)
    message = f"The bridge will ask CallKaro again to delete the call. {verdict.message}"
    return keep_waiting(delivery, wait, message=message, fields=lookups.fields)


def tried_since(delivery: Delivery) -> datetime | None:
    """Return the time of the first attempt, plus the time held or paused, which does not count."""
    first = delivery.first_attempt_at
    free = timedelta(milliseconds=delivery.held_ms + delivery.paused_ms)
    return None if first is None else first + free


def undo_sending(
    ready: Ready, now: datetime, *, wait: float, message: str | None = None
) -> tuple[Move, Move]:
    """Return two moves for a request that was surely not begun, but may be recorded as `sending`.

    Redis went away while it recorded `sending`, or too few replicas confirmed it. If it is
    recorded, the first move undoes that. If not, the second move lets the delivery wait. The store
    refuses the move that does not fit. message: why it waits, a sentence for people.
    """
    delivery = ready.delivery
    attempt = {"number": ready.number, "at": iso(now), "error": "not_sent"}
    unspent: dict[str, str | int | None] = {"spent": delivery.spent}
    back = Move(
        id=delivery.id,
        to=Status.RETRYING,
        lease=delivery.lease,
        message=message,
        fields=unspent,
        attempt=(ready.number, attempt),
        wait_s=wait,
    )
    return back, keep_waiting(delivery, wait, message=message)


def keep_waiting(
    delivery: Delivery,
    wait: float,
    *,
    message: str | None = None,
    fields: dict[str, str | int | None] | None = None,
) -> Move:
    """Return the move of a claimed delivery that waits in its status for `wait` seconds.

    A delivery that was held is `queued` since its claim. A `delivered` delivery waits for its
    cancellation.
    """
    stays = Status.QUEUED if delivery.status is Status.HELD else delivery.status
    return Move(
        id=delivery.id,
        to=stays,
        lease=delivery.lease,
        from_statuses=frozenset({stays}) if stays is Status.DELIVERED else None,
        message=message,
        wait_s=wait,
        fields=fields or {},
    )


def hold_for_campaign(ready: Ready, key: str, now: datetime) -> Move:
    """Return the move of a call that waits until another event has made its campaign."""
    return Move(
        id=ready.delivery.id,
        to=Status.HELD,
        lease=ready.delivery.lease,
        reason=Reason.AWAITING_CAMPAIGN,
        message="Waiting for its campaign: no event has created it yet.",
        due_at=now + CAMPAIGN_CHECK,
        awaits_campaign=key,
        fields={"campaign_key": key},
    )


def wait_for_pause(ready: Ready, wait: float) -> Move:
    """Return the move of a call whose request a pause forbids. The next claim holds it.

    The claim has to know its campaign, and only the record gives that where the route names none.
    """
    given = ready.given_campaign
    fields: dict[str, str | int | None] = {"campaign_key": given} if given else {}
    return keep_waiting(ready.delivery, wait, fields=fields)


def retry_missing_record(delivery: Delivery, now: datetime, jitter: Jitter) -> Move:
    """Return the move of a delivery whose CRM record is missing; after 2 minutes it is skipped."""
    lookups = FailedLookups.of(delivery, "record", now)
    if now - lookups.since >= RECORD_PATIENCE:
        return Move(
            id=delivery.id,
            to=Status.SKIPPED,
            lease=delivery.lease,
            reason=Reason.RECORD_GONE,
            message="The CRM has no such record. It may have been deleted or merged.",
        )
    left = (lookups.since + RECORD_PATIENCE - now).total_seconds()
    wait = min(wait_s(lookups.lookup_failures, jitter) + 1, left)
    return keep_waiting(
        delivery,
        max(wait, 0.5),
        message="The CRM does not have the record yet.",
        fields=lookups.fields,
    )


def retry_lookup(
    delivery: Delivery,
    what: Literal["record", "campaign"],
    why: str,
    now: datetime,
    jitter: Jitter,
    *,
    retry_after_s: float | None = None,
    may_give_up: bool = True,
) -> Move:
    """Return the move of a delivery without its record or campaign; after a day it fails."""
    lookups = FailedLookups.of(delivery, what, now)
    if may_give_up and is_spent(0, lookups.since, now):
        return fail(delivery, Reason.GAVE_UP, why)
    wait = wait_s(lookups.lookup_failures, jitter, retry_after_s=retry_after_s)
    fields = {**lookups.fields, **_not_before(retry_after_s, wait, now)}
    return keep_waiting(delivery, wait, message=why, fields=fields)


def fail(delivery: Delivery, reason: Reason, message: str) -> Move:
    """Return the move of a delivery that can't be sent."""
    return Move(
        id=delivery.id, to=Status.FAILED, lease=delivery.lease, reason=reason, message=message
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedLookups:
    """The failed lookups in a row of one record, campaign or cancellation, with this failure."""

    waiting_for: Literal["record", "campaign", "cancel"]
    lookup_failures: int
    since: datetime  # the time of the first failure

    @classmethod
    def of(
        cls, delivery: Delivery, waiting_for: Literal["record", "campaign", "cancel"], now: datetime
    ) -> "FailedLookups":
        """Count one more failure; if the delivery now waits for something else, start at 1."""
        if delivery.waiting_for != waiting_for or delivery.waiting_since is None:
            return cls(waiting_for=waiting_for, lookup_failures=1, since=now)
        failures = delivery.lookup_failures + 1
        return cls(waiting_for=waiting_for, lookup_failures=failures, since=delivery.waiting_since)

    @property
    def fields(self) -> dict[str, str | int | None]:
        """Return the fields as the store keeps them."""
        since_ms = int(self.since.timestamp() * 1000)
        return {
            "lookup_failures": self.lookup_failures,
            "waiting_for": self.waiting_for,
            "waiting_since_ms": since_ms,
        }


# --- helpers --------------------------------------------------------------------------------


def _not_before(
    retry_after_s: float | None, wait: float, now: datetime
) -> dict[str, str | int | None]:
    """Return the field that keeps a wait that the other side asked for from looking late."""
    if retry_after_s is None:
        return {}
    return {"not_before_ms": int((now.timestamp() + wait) * 1000)}


def _repeats(verdict: Verdict, body: Mapping[str, Any]) -> bool:
    """Say whether CallKaro's own text may repeat a value of the request."""
    text = verdict.callkaro_text.casefold()
    values = [*body.values(), *(body.get("metadata") or {}).values()]
    return any(isinstance(one, str) and one and one.casefold() in text for one in values)


def iso(at: datetime) -> str:
    """Return a time as records have it: ISO 8601 in UTC, with ms."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
