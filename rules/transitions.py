"""One delivery: what an attempt's answer means for it, as a move in the store.

Nothing here does I/O: what goes in is the delivery, the answer and the time; drain.py makes the
moves. What is sent for a delivery is preparing.py's.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson

from rules.backoff import Jitter, is_spent, wait_s
from rules.guards import span
from rules.plan import Ready
from rules.verdict import Meaning, Verdict
from schemas.delivery import Delivery, Reason, Status
from schemas.http_result import TOO_LATE, HttpResult
from schemas.records import HistoryCheck, Move

CAMPAIGN_CHECK = timedelta(minutes=1)  # the campaign's arrival wakes it; this is for a lost wake
RECORD_PATIENCE = timedelta(minutes=2)  # how long a record that isn't there is asked for again
ANSWER_CHARS = 2000  # of CallKaro's answer, kept with the attempt


def begun(ready: Ready, now: datetime, *, guard: HistoryCheck | None, needs_s: float) -> Move:
    """Return the move that records an attempt before its first byte leaves.

    guard is what the history of the number must permit in that very step; None: it is no call.
    """
    delivery = ready.delivery
    fields: dict[str, str | int | None] = {
        "request": orjson.dumps(ready.body).decode(),
        "spent": delivery.spent + 1,
    }
    if delivery.first_attempt_at is None:
        fields["first_ms"] = int(now.timestamp() * 1000)
    if ready.consent:
        fields["consent"] = orjson.dumps({**ready.consent, "at": _iso(now)}).decode()
    if "batch_id" in ready.body:
        fields["batch_id"] = ready.body["batch_id"]
    return Move(
        id=delivery.id,
        to=Status.SENDING,
        lease=delivery.lease,
        fields=fields,
        attempt=(ready.number, {"number": ready.number, "at": _iso(now)}),
        needs_s=needs_s,
        phone=guard.phone if guard else None,
        guard=guard,
    )


def dry(ready: Ready, guard: HistoryCheck | None) -> Move:
    """Return the move of what would have been sent, had DRY_RUN not been on."""
    return Move(
        id=ready.delivery.id,
        to=Status.SKIPPED,
        lease=ready.delivery.lease,
        reason=Reason.DRY_RUN,
        message="DRY_RUN is on: this is what would have been sent.",
        fields={"request": orjson.dumps(ready.body).decode()},
        phone=guard.phone if guard else None,
        guard=guard,
    )


def forbidden(move: Move, answer: str) -> Move:
    """Return what becomes of a call whose guard the store answered with `no <reason> …`.

    The loser of two for one number is skipped at once: it is the other one that calls.
    """
    guard = move.guard
    assert guard is not None  # noqa: S101  (no other move is answered so)
    _, word, what = f"{answer} ".split(" ", 2)
    reason = Reason(word)
    match reason:
        case Reason.SUPPRESSED:
            message = "The number, or the record, is suppressed."
        case Reason.CALLED_RECENTLY if what.strip() == "0":
            message = "When the number was called before can't be read."
        case Reason.CALLED_RECENTLY:
            again = span(timedelta(seconds=guard.again_s))
            message = f"The route called this number already, and does so once in {again}."
        case _ if what.strip() == "route":
            message = f"The route has made its {guard.day_cap} calls of the day."
        case _:
            message = f"The number was called {guard.number_cap} times that day."
    return Move(
        id=move.id,
        to=Status.SKIPPED,
        lease=move.lease,
        reason=reason,
        message=message,
        # Of who is not to be called, who may have been erased, nothing is kept that was read.
        fields={} if reason is Reason.SUPPRESSED else {"request": move.fields["request"]},
        phone=guard.phone,
    )


def settled(
    ready: Ready, reply: HttpResult, verdict: Verdict, began: datetime, jitter: Jitter
) -> Move:
    """Return the move that an attempt's answer means for its delivery."""
    delivery = ready.delivery
    attempt = {
        "number": ready.number,
        "at": _iso(began),
        "duration_ms": reply.duration_ms,
        "status_code": reply.status_code,
        "error": reply.error,
        "answer": reply.body[: 4 * ANSWER_CHARS].decode("utf-8", "replace")[:ANSWER_CHARS],
    }
    common: dict[str, Any] = {
        "id": delivery.id,
        "lease": delivery.lease,
        "message": verdict.message,
        "attempt": (ready.number, attempt),
        "callkaro_ok": callkaro_ok(verdict, reply),
        "pause": account_pause(verdict, began),
    }
    meaning = verdict.meaning
    if meaning is Meaning.UNKNOWN and ready.route.on_unknown == "call_again":
        meaning = Meaning.AGAIN
        common["keeps_number"] = True
    match meaning:
        case Meaning.ACCEPTED:
            name = "call_sid" if ready.to == "call" else "batch_id"
            return Move(to=Status.DELIVERED, fields={name: verdict.id or ""}, **common)
        case Meaning.REFUSED:
            return Move(to=Status.FAILED, reason=Reason.REFUSED, **common)
        case Meaning.UNKNOWN:
            return Move(to=Status.UNKNOWN, reason=Reason.NO_ANSWER, **common)
        case Meaning.PAUSE:
            # It is CallKaro's account that is wrong, not the lead: the attempt is not spent, and
            # the day after which it is given up starts anew.
            wait = wait_s(ready.number, jitter, retry_after_s=reply.retry_after_s)
            fields = {"spent": delivery.spent, "first_ms": int(began.timestamp() * 1000)}
            return Move(
                to=Status.RETRYING, reason=Reason.ACCOUNT, fields=fields, wait_s=wait, **common
            )
        case Meaning.AGAIN:
            if is_spent(delivery.spent + 1, tried_since(delivery), began):
                return Move(to=Status.FAILED, reason=Reason.GAVE_UP, **common)
            wait = wait_s(delivery.spent + 1, jitter, retry_after_s=reply.retry_after_s)
            reason = Reason(verdict.why) if verdict.why else Reason.NO_ANSWER
            return Move(to=Status.RETRYING, reason=reason, wait_s=wait, **common)


def callkaro_ok(verdict: Verdict, reply: HttpResult) -> bool | None:
    """Say whether CallKaro took a request well, for the breaker; a refusal is a sensible answer.

    None: the account is at fault, and that has a pause of its own; or it was we who were too slow.
    """
    if verdict.meaning is Meaning.PAUSE or reply.error == TOO_LATE:
        return None
    return verdict.meaning in (Meaning.ACCEPTED, Meaning.REFUSED)


def account_pause(verdict: Verdict, now: datetime) -> dict[str, Any] | None:
    """Return why CallKaro is paused from now on, lest a wrong key burn leads; None: it is not."""
    if verdict.meaning is not Meaning.PAUSE:
        return None
    return {
        "reason": "account",
        "message": f"{verdict.message} Mend CALLKARO_API_KEY or the account, restart the worker, "
        "then resume callkaro.",
        "since_ms": int(now.timestamp() * 1000),
    }


def dropped(
    delivery: Delivery, reply: HttpResult, verdict: Verdict, now: datetime, jitter: Jitter
) -> Move:
    """Return the move of a delivery whose scheduled call CallKaro was asked to delete."""
    over: dict[str, str | int | None] = {"cancel_ms": None, "cancel_reason": None}
    match verdict.meaning:
        case Meaning.ACCEPTED:
            return Move(
                id=delivery.id,
                to=Status.CANCELLED,
                lease=delivery.lease,
                reason=Reason(delivery.cancel_reason or Reason.BY_PERSON),
                message="CallKaro dropped what it still held of the call, as it was asked to.",
                fields=over,
            )
        case Meaning.REFUSED:
            return replace(
                waits(delivery, 0, message=f"It stays: {verdict.message}", fields=over), wait_s=None
            )
    lookups = FailedLookups.of(delivery, "cancel", now)
    if is_spent(lookups.asked, lookups.since, now):
        message = "It stays: CallKaro could not be asked to drop it."
        return replace(waits(delivery, 0, message=message, fields=over), wait_s=None)
    wait = wait_s(lookups.asked, jitter, retry_after_s=reply.retry_after_s)
    message = f"CallKaro is to drop the scheduled call, but: {verdict.message}"
    return waits(delivery, wait, message=message, fields=lookups.fields)


def tried_since(delivery: Delivery) -> datetime | None:
    """Return when the first attempt was, later by what the delivery was held: that time is free."""
    first = delivery.first_attempt_at
    free = timedelta(milliseconds=delivery.held_ms + delivery.paused_ms)
    return None if first is None else first + free


def never_sent(ready: Ready, now: datetime, *, wait: float) -> tuple[Move, Move]:
    """Return the moves for an attempt that may be recorded and surely was not begun.

    Redis went away while `sending` was being recorded. If it was, the delivery is `sending` and
    the first move takes it back; if it was not, the second puts it back where it was.
    """
    delivery = ready.delivery
    attempt = {"number": ready.number, "at": _iso(now), "error": "not_sent"}
    unspent: dict[str, str | int | None] = {"spent": delivery.spent}
    back = Move(
        id=delivery.id,
        to=Status.RETRYING,
        lease=delivery.lease,
        fields=unspent,
        attempt=(ready.number, attempt),
        wait_s=wait,
    )
    return back, waits(delivery, wait)


def waits(
    delivery: Delivery,
    wait: float,
    *,
    message: str | None = None,
    fields: dict[str, str | int | None] | None = None,
) -> Move:
    """Return the move that lets a claimed delivery wait where it stands.

    One that was held is `queued` by its claim. A `delivered` one waits for its cancellation.
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
    """Return the move of a call whose campaign another event has yet to make."""
    return Move(
        id=ready.delivery.id,
        to=Status.HELD,
        lease=ready.delivery.lease,
        reason=Reason.AWAITING_CAMPAIGN,
        message="The campaign that it belongs to has not been made yet.",
        due_at=now + CAMPAIGN_CHECK,
        awaits_campaign=key,
    )


def record_missing(delivery: Delivery, now: datetime, jitter: Jitter) -> Move:
    """Return the move of a delivery whose record is not there: again for 2 minutes, then over."""
    lookups = FailedLookups.of(delivery, "record", now)
    if now - lookups.since >= RECORD_PATIENCE:
        return Move(
            id=delivery.id,
            to=Status.SKIPPED,
            lease=delivery.lease,
            reason=Reason.RECORD_GONE,
            message="The CRM has no such record; it may have been deleted or merged.",
        )
    left = (lookups.since + RECORD_PATIENCE - now).total_seconds()
    wait = min(wait_s(lookups.asked, jitter) + 1, left)
    return waits(
        delivery,
        max(wait, 0.5),
        message="The CRM does not have the record yet.",
        fields=lookups.fields,
    )


def needs_more_time(
    delivery: Delivery,
    what: Literal["record", "campaign"],
    why: str,
    now: datetime,
    jitter: Jitter,
    *,
    retry_after_s: float | None = None,
    may_give_up: bool = True,
) -> Move:
    """Return the move of a delivery that lacks its record or campaign: again, for a day at most."""
    lookups = FailedLookups.of(delivery, what, now)
    if may_give_up and is_spent(0, lookups.since, now):
        return failed(delivery, Reason.GAVE_UP, why)
    wait = wait_s(lookups.asked, jitter, retry_after_s=retry_after_s)
    return waits(delivery, wait, message=why, fields=lookups.fields)


def failed(delivery: Delivery, reason: Reason, message: str) -> Move:
    """Return the move of a delivery that can't be made."""
    return Move(
        id=delivery.id, to=Status.FAILED, lease=delivery.lease, reason=reason, message=message
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedLookups:
    """How often one thing was asked for in vain, this time included, and since when."""

    what: Literal["record", "campaign", "cancel"]
    asked: int
    since: datetime

    @classmethod
    def of(
        cls, delivery: Delivery, what: Literal["record", "campaign", "cancel"], now: datetime
    ) -> "FailedLookups":
        """Count on; a delivery that now lacks something else starts to count anew."""
        if delivery.waiting_for != what or delivery.waiting_since is None:
            return cls(what=what, asked=1, since=now)
        return cls(what=what, asked=delivery.lookup_failures + 1, since=delivery.waiting_since)

    @property
    def fields(self) -> dict[str, str | int | None]:
        """Return it as the store keeps it."""
        since_ms = int(self.since.timestamp() * 1000)
        return {
            "lookup_failures": self.asked,
            "waiting_for": self.what,
            "waiting_since_ms": since_ms,
        }


# --- within ---------------------------------------------------------------------------------


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
