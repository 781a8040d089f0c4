"""What the CRM would be told of a call, for a sample outcome.

rules/write_back.py prepares it, and the CRM module makes its requests, as for a real call.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from rules import write_back as rules
from rules.person import name_of
from rules.plan import Ready
from rules.preview.requests import crm_request
from rules.preview.text import Outcome, Request, WrittenBack
from schemas.callkaro import PATHS
from schemas.crm_api import UnwritableError
from schemas.delivery import WRITE_BACK, WRITE_BACK_ID, Reason, Status
from schemas.outcome import Outcome as CallOutcome
from schemas.outcome import Result
from schemas.records import Claim
from schemas.settings import Settings
from schemas.source import Kind
from schemas.write_back import Moment, WriteBackClaim

SAMPLE_SID: Final = "sample"  # the call_sid of a call that nobody made
SAMPLE_S: Final = 62


def sample_outcome(now: datetime) -> CallOutcome:
    """Return the outcome of a call that was connected and ended now."""
    return CallOutcome(
        call_sid=SAMPLE_SID,
        delivery_id=None,
        result=Result.CONNECTED,
        hangup_reason="CLIENT_INITIATED",
        duration_s=SAMPLE_S,
        ended_at=now.replace(microsecond=0),
        conversion_status=True,
        disposition_reason="asked for a visit",
        post_call={"interested": "yes"},
    )


def written_back(
    claim: Claim, seen: Outcome, ended: CallOutcome | None, settings: Settings, now: datetime
) -> WrittenBack | None:
    """Return what the CRM would be told of a call; None: its route has no [route.write_back].

    claim: the call, as the intake makes it. seen: what the preview makes of it. If it is skipped or
    failed, the CRM is told of that; else of how it ended: `ended`, or None for a sample. As for the
    call, DRY_RUN hides nothing.
    """
    route = settings.routes.named(claim.delivery.route)
    if route is None or route.write_back is None:
        return None
    is_never_made = (
        seen.verdict in (Status.SKIPPED, Status.FAILED) and seen.reason != Reason.DRY_RUN
    )
    moment = Moment(seen.verdict) if is_never_made else Moment.OUTCOME
    if moment not in route.write_back.on:
        moments = ", ".join(sorted(route.write_back.on))
        message = f"The route writes nothing back at this moment; its `on` has: {moments}."
        return WrittenBack(moment=str(moment), message=message)
    outcome = None if is_never_made else ended or sample_outcome(now)
    kind = settings.routes.sources[claim.delivery.source].kind
    prepared = rules.prepare(_write_back(claim, seen, outcome, kind, now), settings, now)
    if not isinstance(prepared, Ready):
        return WrittenBack(moment=str(moment), message=prepared.message)
    try:
        requests = tuple(_requests(prepared, settings))
    except UnwritableError as error:
        return WrittenBack(moment=str(moment), message=str(error))
    nothing = None if requests else rules.nothing_to_write().message
    return WrittenBack(moment=str(moment), requests=requests, message=nothing)


def _write_back(
    claim: Claim, seen: Outcome, outcome: CallOutcome | None, kind: Kind, now: datetime
) -> WriteBackClaim:
    """Return the write-back of a call, as a worker would claim it.

    outcome: how the call ended; None: it was skipped or failed, as seen.
    """
    bodies = [one.body for one in seen.requests if one.path == PATHS["call"]]
    call = bodies[-1] if bodies and isinstance(bodies[-1], dict) else {}
    number = call.get("to_number")
    parent = replace(
        claim.delivery,
        status=Status.DELIVERED if outcome else Status(seen.verdict),
        # What stopped the preview, such as DRY_RUN, is no news of a call that ended.
        reason=None if outcome else seen.reason,
        message=None if outcome else seen.message,
        number=number if isinstance(number, str) else None,
        name=name_of(call.get("metadata"), claim.event.data if claim.event else None, kind),
        outcomes=(outcome,) if outcome else (),
    )
    write_back = replace(
        claim.delivery,
        id=f"{WRITE_BACK_ID}sample",
        to=WRITE_BACK,
        created_at=now,
        of=parent.id,
        moment=Moment.OUTCOME if outcome else Moment(seen.verdict),
        # That of the outcome: a write-back tells of the outcome that has its own.
        call_sid=outcome.call_sid if outcome else None,
        try_count=outcome.try_count if outcome else None,
    )
    return WriteBackClaim(delivery=write_back, parent=parent, event=claim.event)


def _requests(ready: Ready, settings: Settings) -> Iterator[Request]:
    """Yield the requests that tell the CRM, as for the first dial of a call."""
    source = settings.routes.sources[ready.delivery.source]
    writer, said = source.kind.write_back, ready.route.write_back
    if writer is None or said is None or not settings.writes_by_api(source):
        path = f"<{source.variable_prefix}WRITE_BACK_URL>"
        yield Request(method="POST", path=path, body=ready.body, note="a signed webhook")
        return
    told = rules.told(ready)
    if said.call and writer.keeps_call(told):
        asked = writer.create_calls([told])
        note = "once a call; a later dial updates the record"
        yield crm_request(settings, source, asked, note=note)
    if told.fields:
        yield crm_request(settings, source, writer.set_fields([told]))
