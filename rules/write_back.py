"""Write-backs: what a CRM is told of a call, and the moves of the deliveries that tell it.

Nothing here does I/O. A write-back is a delivery, and moves as one. It differs in what an answer
means: a write-back rings no phone, so it is repeated in doubt.

    what happened                                        meaning
    ------------------------------------------------------------------------
    2xx                                                  ACCEPTED
    401, 403                                             PAUSE of crm:<source>
    402, 408, 423, 425, 429, 5xx, a redirect, no answer  AGAIN
    any other 4xx                                        REFUSED
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal

import orjson

from rules import transitions
from rules.backoff import LONGEST_S, Jitter
from rules.candidate import Denial, Denied, search
from rules.plan import Ready
from rules.verdict import Meaning, Verdict
from schemas.crm_api import Told
from schemas.delivery import WRITE_BACK, Delivery, Reason, Status
from schemas.event import Event
from schemas.fields import mask_text
from schemas.http_result import HttpResult
from schemas.outcome import Outcome
from schemas.records import Claim, Move
from schemas.route import Route
from schemas.settings import Settings
from schemas.source import Kind
from schemas.web_address import web_address
from schemas.write_back import CRM, MARK, Moment, WriteBackClaim

SENTENCE_CHARS: Final = 300  # of a receiver's own sentence that are kept
# 402 is about the account and its bill, whatever the CRM is told.
AGAIN: Final = frozenset({402, 408, 423, 425, 429})
# The status of the call at a moment; of an outcome, its status now.
STATUS: Final = {
    Moment.ACCEPTED: Status.DELIVERED,
    Moment.FAILED: Status.FAILED,
    Moment.SKIPPED: Status.SKIPPED,
    Moment.UNKNOWN: Status.UNKNOWN,
}
NOT_CONFIGURED: Final = "routes.toml says no more that the CRM is told of this route's calls."
NO_CALL: Final = "The bridge does not have the call any more."
NO_OUTCOME: Final = "The bridge does not have the outcome any more."


# --- what is told -----------------------------------------------------------------------------


def prepare(claim: WriteBackClaim, settings: Settings, now: datetime) -> Move | Ready:
    """Return the request of a claimed write-back, or the move of one that is not sent.

    A webhook that was recorded stays as it is: a receiver knows a repeated one by its id, and may
    compare the bytes. What an API is told is made anew, so that a retry after a misspelt field was
    refused sets the corrected one. A field of a record to which a newer call was written stays
    out.
    """
    delivery = claim.delivery
    route = settings.routes.named(delivery.route)
    try:
        source = settings.routes.sources.get(delivery.source)
        if route is None or route.write_back is None or source is None:
            raise Denied(Denial(reason=Reason.ROUTE_MISSING, message=NOT_CONFIGURED))
        recorded = delivery.request
        if settings.writes_by_api(source):
            _check_record(claim, source.kind)
            recorded = None
        elif source.name not in settings.webhooks_out:
            raise Denied(Denial(reason=Reason.ROUTE_MISSING, message=NOT_CONFIGURED))
        body = dict(recorded or _body(claim, route))
    except Denied as denied:
        return _denied(delivery, denied.denial)
    if delivery.newer_fields:  # also if an earlier attempt had them
        fields = body.get("fields", {})
        body["fields"] = {k: v for k, v in fields.items() if k not in delivery.newer_fields}
    return Ready(
        claim=Claim(delivery=delivery, event=claim.event, traceparent=claim.traceparent),
        route=route,
        to="write_back",
        body=body,
        rings_at=now,
    )


def _denied(delivery: Delivery, denial: Denial) -> Move:
    return Move(
        id=delivery.id,
        to=Status.FAILED if denial.reason is Reason.BAD_REQUEST else Status.SKIPPED,
        lease=delivery.lease,
        reason=denial.reason,
        message=denial.message,
    )


def _check_record(claim: WriteBackClaim, kind: Kind) -> None:
    """Raise Denied if the CRM's API has no record of the call's event that can be written."""
    event, writer = claim.event, kind.write_back
    if event is None:
        raise Denied(Denial(reason=Reason.RECORD_GONE, message=NO_CALL))
    if writer is None or event.record is None or event.record[1] not in writer.subject_types:
        message = f"The event names no record of {kind.title} that the bridge can write to."
        raise Denied(Denial(reason=Reason.BAD_REQUEST, message=message))


def told(ready: Ready) -> Told:
    """Return what the CRM's API is told by a prepared write-back of a record that it has."""
    delivery, body, event = ready.delivery, ready.body, ready.claim.event
    record = event.record if event else None
    assert record is not None  # noqa: S101  (_check_record())
    _, subject_type, subject = record
    outcome = body["outcome"]
    at = outcome["at"] if outcome else None
    call = f"{delivery.of}\0{delivery.call_sid or ''}"
    return Told(
        id=delivery.id,
        key=f"bridge-{hashlib.sha256(call.encode()).hexdigest()[:20]}",
        moment=str(delivery.moment),
        at=at or transitions.iso(delivery.created_at),
        subject=subject,
        subject_type=subject_type,
        delivery=body["delivery"],
        outcome=outcome,
        fields=body["fields"],
        event=event.data if event else None,
    )


def _body(claim: WriteBackClaim, route: Route) -> dict[str, Any]:
    """Return the body of the signed webhook. Raises Denied."""
    said, parent, event = route.write_back, claim.parent, claim.event
    if parent is None or event is None:
        raise Denied(Denial(reason=Reason.RECORD_GONE, message=NO_CALL))
    assert said is not None  # noqa: S101  (prepare() checked it)
    told = {
        "delivery": _delivery(claim.delivery, parent),
        "outcome": _outcome(_outcome_of(claim.delivery, parent)),
        "event": event.data,
    }
    fields = {
        name: search(f"write_back.fields.{name}", value, told)
        for name, value in said.fields.items()
    }
    body = {
        MARK: WRITE_BACK,
        "moment": claim.delivery.moment,
        "delivery": told["delivery"],
        "outcome": told["outcome"] if said.call else None,
        "event": _event(event),
    }
    try:
        orjson.dumps(body)
        kept = orjson.loads(orjson.dumps(fields))  # to_number('nan') becomes null
    except TypeError:
        message = "A number in the write-back is longer than 64 bits."
        raise Denied(Denial(reason=Reason.BAD_REQUEST, message=message)) from None
    # Null means "nothing is known", and would empty the record's field.
    body["fields"] = {name: value for name, value in kept.items() if value is not None}
    return body


def _delivery(write_back: Delivery, parent: Delivery) -> dict[str, Any]:
    status = STATUS.get(Moment(write_back.moment or Moment.OUTCOME), parent.status)
    is_now = status == parent.status
    return {
        "id": parent.id,
        "route": parent.route,
        "status": str(status),
        "reason": parent.reason if is_now else None,
        "message": parent.message if is_now else None,
        "call_sid": write_back.call_sid,
        "batch_id": parent.batch_id,
        "number": parent.number,
        "name": parent.name,
    }


def _outcome_of(write_back: Delivery, parent: Delivery) -> Outcome | None:
    """Return the outcome that a write-back tells; None: it tells another moment. Raises Denied."""
    if write_back.moment != Moment.OUTCOME:
        return None
    # An outcome without a call_sid is told under the call's own, unless that call has one itself.
    for call_sid in (write_back.call_sid, None):
        for one in parent.outcomes:
            if one.call_sid == call_sid and one.try_count == write_back.try_count:
                return one
    raise Denied(Denial(reason=Reason.RECORD_GONE, message=NO_OUTCOME))


def _outcome(outcome: Outcome | None) -> dict[str, Any] | None:
    if outcome is None:
        return None
    at = outcome.ended_at or outcome.received_at
    return {
        "result": str(outcome.result),
        "talked_s": outcome.duration_s,
        "converted": outcome.conversion_status,
        "disposition": outcome.disposition_reason,
        "at": transitions.iso(at) if at else None,
        "is_final": outcome.is_final,
        "tries": outcome.try_count + 1,
        "recording_url": web_address(outcome.recording_url),
        "call_link": web_address(outcome.call_link),
        "variables": outcome.post_call,
        "transcript": outcome.transcription,
    }


def _event(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "source_event_id": event.source_event_id,
        "type": event.type,
        "subject": event.subject,
    }


# --- what an answer means ---------------------------------------------------------------------


def verdict(result: HttpResult, crm: str | None = None) -> Verdict:
    """Return what the answer to a write-back means.

    crm: the name of the CRM whose API answered; None: the receiver of a signed webhook did.
    """
    code, who = result.status_code, crm or "The receiver"
    if code is None:
        if not result.sent:
            return later(f"{who} could not be reached.", why="unreachable")
        return later(f"{who} did not answer. The bridge tries again.")
    if 200 <= code < 300:
        return Verdict(meaning=Meaning.ACCEPTED, message=f"{who} accepted it ({code}).")
    if code in (401, 403):
        proof = "the signature" if crm is None else "the access token, or its scopes"
        return no_access(f"{who} does not accept {proof} ({code}).")
    if code in AGAIN or not 400 <= code < 500:
        return later(f"{who} answered {code}. The bridge tries again.", why="busy")
    return refused(who, sentence(result.body), code)


def refused(who: str, text: str, code: int | None = None) -> Verdict:
    """Return what it means that a rule of the CRM's own refuses a write-back.

    text: the CRM's sentence; "": it gave none. code: None: its answer was a 2xx.
    """
    text = _cut(text)
    place = "" if code is None else f" ({code})"
    message = f"{who} refused it{place}: {text or 'it gave no reason'}"
    return Verdict(meaning=Meaning.REFUSED, message=message, callkaro_text=text)


def unwritable(text: str) -> Verdict:
    """Return what it means that a CRM module makes no request of what is told."""
    return Verdict(meaning=Meaning.REFUSED, message=_cut(text))


def no_access(message: str) -> Verdict:
    """Return what it means that the CRM does not let us in."""
    return Verdict(meaning=Meaning.PAUSE, message=message)


def later(message: str, *, why: Literal["unreachable", "busy"] | None = None) -> Verdict:
    """Return what it means that a write-back was not written, or may not have been."""
    return Verdict(meaning=Meaning.AGAIN, why=why, message=message)


def nothing_to_write() -> Verdict:
    """Return what it means that the CRM keeps nothing of such a moment."""
    message = "There was nothing to write: the CRM keeps no record of this moment."
    return Verdict(meaning=Meaning.ACCEPTED, message=message)


def sentence(body: bytes) -> str:
    """Return the receiver's own sentence out of an answer, masked and cut; "": it has none."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    for _ in range(2):  # {"message": …}, or {"error": {"message": …}}
        if isinstance(answer, Mapping):
            answer = answer.get("message") or answer.get("error") or answer.get("detail")
    if isinstance(answer, list):
        answer = "; ".join(one for one in answer if isinstance(one, str))
    return _cut(answer) if isinstance(answer, str) else ""


def _cut(text: str) -> str:
    return mask_text(text)[:SENTENCE_CHARS].strip()


# --- moves ------------------------------------------------------------------------------------


def start(ready: Ready, now: datetime, *, needs_s: float) -> Move:
    """Return the move that records an attempt before its first byte is sent.

    It names the fields of the CRM's record that the request sets: see write_back_record.lua.
    """
    move = _own(transitions.start_sending(ready, now, guard=None, needs_s=needs_s))
    names = orjson.dumps(list(ready.body.get("fields", ()))).decode()
    return replace(move, fields={**move.fields, "sent_fields": names})


def settle(
    ready: Ready,
    result: HttpResult,
    meant: Verdict,
    began: datetime,
    jitter: Jitter,
    *,
    proof: str,
) -> Move:
    """Return the move after the answer to an attempt.

    The answer says nothing about CallKaro: it does not count for its breaker, and a pause is that
    of the CRM. proof: what a person has to fix if the CRM does not let us in.
    """
    move = transitions.settle(ready, result, meant, began, jitter)
    pause = _pause(ready.delivery, meant, proof, began)
    return replace(_own(move), callkaro_ok=None, pause=pause)


def settle_crashed(ready: Ready, began: datetime) -> Move:
    """Return the move after an error in the bridge: nobody knows whether the request arrived."""
    return transitions.settle_crashed(ready, began)


def after_crash(move: Move, now: datetime) -> Move:
    """Return the move of a write-back whose request went out, if its own move raised an error."""
    plain = transitions.after_crash(move, now)
    message = transitions.CRASHED
    return replace(plain, to=Status.RETRYING, reason=None, message=message, wait_s=LONGEST_S)


def superseded(ready: Ready) -> Move:
    """Return the move of a write-back that an older state would overwrite a newer one with."""
    return _denied(
        ready.delivery,
        Denial(reason=Reason.SUPERSEDED, message="A newer write-back of the same call exists."),
    )


def dry_run(ready: Ready) -> Move:
    """Return the move of a write-back that is not sent because DRY_RUN is on."""
    return transitions.skip_dry_run(ready, None)


def _pause(delivery: Delivery, meant: Verdict, proof: str, now: datetime) -> dict[str, Any] | None:
    """Return the pause of the CRM after an answer that refused our proof; None: no pause."""
    if meant.meaning is not Meaning.PAUSE:
        return None
    return {
        "reason": "credentials",
        "message": f"{meant.message} Fix {proof}, "
        f"restart the worker, then resume {CRM}{delivery.source}.",
        "since_ms": int(now.timestamp() * 1000),
    }


def _own(move: Move) -> Move:
    """Return a move without what belongs to a call: the call or campaign at CallKaro."""
    not_ours: tuple[Literal["batch_id", "campaign_key", "call_sid"], ...]
    not_ours = ("batch_id", "campaign_key", "call_sid")
    fields = {name: value for name, value in move.fields.items() if name not in not_ours}
    return replace(move, fields=fields)
