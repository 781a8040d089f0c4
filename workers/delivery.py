"""One delivery: what to send for it, and what an attempt's answer means for it.

Nothing here does I/O: what goes in is the claim, the record, the settings and the time; what
comes out is a move in the store, or a request that is ready to be sent. drain.py does it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson
from marshmallow import ValidationError

from bridge.records import Claim, Move
from bridge.settings import Settings
from schemas.callkaro import (
    METADATA_ID,
    CampaignV1Schema,
    CampaignV2Schema,
    OutboundCallSchema,
    describe,
)
from schemas.delivery import Delivery, Reason, Status
from schemas.expression import Expression, ExpressionError
from schemas.fields import PhoneError, e164, to_schedule_at
from schemas.guards import judge
from schemas.route import Route
from schemas.source import id_text
from schemas.verdict import Meaning, Verdict
from workers.backoff import Dice, is_spent, wait_s
from workers.http import TOO_LATE, Reply

ROUTE_CHECK = timedelta(minutes=1)  # how often a delivery without a route looks for one
CAMPAIGN_CHECK = timedelta(minutes=1)  # the campaign's arrival wakes it; this is for a lost wake
RECORD_PATIENCE = timedelta(minutes=2)  # how long a record that isn't there is asked for again
CALL, V1, V2 = OutboundCallSchema(), CampaignV1Schema(), CampaignV2Schema()  # made once: 70 us each
ANSWER_CHARS = 2000  # of CallKaro's answer, kept with the attempt
# An account that is refused spends no attempt, so their number has no end. From here on the last
# one kept is written over.
KEPT_ATTEMPTS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class CampaignNeed:
    """A campaign that must be there before a call goes out, known in the store by key.

    body None: another event's delivery makes it, so we can only wait.
    """

    key: str
    body: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A delivery with its request, past all guards."""

    claim: Claim
    route: Route
    to: Literal["call", "campaign"]
    body: dict[str, Any]
    campaign: CampaignNeed | None = None
    makes: str | None = None  # the key under which this campaign can be found by calls

    @property
    def delivery(self) -> Delivery:
        """Return the delivery itself."""
        return self.claim.delivery

    @property
    def number(self) -> int:
        """Return the number of the attempt to come; the first is 1."""
        return min(len(self.delivery.attempts) + 1, KEPT_ATTEMPTS)

    def in_campaign(self, batch_id: str) -> "Ready":
        """Return the same, in a campaign that is there now."""
        return replace(self, body={**self.body, "batch_id": batch_id}, campaign=None)


class _Stop(Exception):
    """Raised within prepare() where the delivery goes no further for now."""

    def __init__(
        self, to: Status, reason: Reason, message: str, due_at: datetime | None = None
    ) -> None:
        super().__init__(message)
        self.to, self.reason, self.message, self.due_at = to, reason, message, due_at


def prepare(claim: Claim, data: Any, settings: Settings, now: datetime) -> Move | Ready:
    """Decide what a claimed delivery comes to: `when`, age, map, schema, guards, in that order.

    data is the event's, hydrated. Returns a request that is ready, or the move it ends in.
    """
    delivery = claim.delivery
    body: dict[str, Any] = {}
    try:
        route = route_of(claim, settings, now)
        check_wanted(claim, route, data, now)
        if route.to == "campaign":
            body = map_campaign(route, data)
            makes = campaign_key(route, data) or _key(claim.event and claim.event.subject)
            check_dry_run(settings)
            return Ready(claim=claim, route=route, to="campaign", body=body, makes=makes)
        body = map_call(route, data, settings, delivery.id)
        need = campaign_need(route, data, settings, now)
        check_guards(body, settings, now)
        check_dry_run(settings)
        return Ready(claim=claim, route=route, to="call", body=body, campaign=need)
    except _Stop as stop:
        return Move(
            id=delivery.id,
            to=stop.to,
            lease=delivery.lease,
            reason=stop.reason,
            message=stop.message,
            due_at=stop.due_at,
            fields={"request": orjson.dumps(body).decode()} if body else {},
        )


def route_of(claim: Claim, settings: Settings, now: datetime) -> Route:
    """Return today's route of that name; a delivery whose route is gone waits for it."""
    route = settings.routes.named(claim.delivery.route)
    if route is None or route.source != claim.delivery.source:
        raise _Stop(
            Status.HELD,
            Reason.ROUTE_MISSING,
            "There is no route of that name any more. Put it back and this goes on.",
            now + ROUTE_CHECK,
        )
    return route


def check_wanted(claim: Claim, route: Route, data: Any, now: datetime) -> None:
    """Stop what the route does not want, or not any more."""
    if claim.event is None:
        raise _Stop(Status.SKIPPED, Reason.RECORD_GONE, "The event's record is no longer kept.")
    matches = _holds("match", route.match, claim.event.data)
    if not (matches and _holds("when", route.when, data)):
        raise _Stop(Status.SKIPPED, Reason.WHEN_FALSE, "The route's condition does not hold.")
    age = now - claim.event.happened_at - timedelta(milliseconds=claim.delivery.held_ms)
    if route.max_age_s is not None and age > timedelta(seconds=route.max_age_s):
        raise _Stop(
            Status.SKIPPED,
            Reason.TOO_OLD,
            f"It happened {_span(age)} ago, and the route calls within {_span_s(route.max_age_s)}.",
        )


def map_call(route: Route, data: Any, settings: Settings, delivery_id: str) -> dict[str, Any]:
    """Return the wire body of the call that the route makes of the record."""
    mapped = mapped_fields(route, data)
    try:
        mapped["to_number"] = e164(mapped.get("to_number"), settings.default_region)
    except PhoneError as error:
        raise _Stop(Status.SKIPPED, Reason(error.reason), error.message) from None
    metadata = {
        name: _search(f"metadata.{name}", value, data) for name, value in route.metadata.items()
    }
    mapped["metadata"] = {**metadata, METADATA_ID: delivery_id}
    try:
        if not _is_blank(mapped.get("schedule_at")):
            mapped["schedule_at"] = to_schedule_at(
                mapped["schedule_at"], settings.callkaro_timezone
            )
    except ValidationError as error:
        raise _bad_request(ValidationError({"schedule_at": error.messages})) from None
    return _wire_body(CALL, mapped)


def map_campaign(route: Route, data: Any) -> dict[str, Any]:
    """Return the wire body of the campaign that the route makes of the record."""
    mapped = mapped_fields(route, data)
    if _is_blank(mapped.get("agent_id")):
        mapped.pop("agent_id", None)
        return _wire_body(V2, mapped)
    return _wire_body(V1, mapped)


def mapped_fields(route: Route, data: Any) -> dict[str, Any]:
    """Return what the route's expressions yield, unchecked."""
    return {name: _search(name, value, data) for name, value in route.request.items()}


def campaign_need(
    route: Route, data: Any, settings: Settings, now: datetime
) -> CampaignNeed | None:
    """Return the campaign that a call goes into; None: it goes into none, or names it itself."""
    if route.campaign is None:
        return None
    if route.campaign.key is not None:
        key = campaign_key(route, data)
        if key is None:
            raise _Stop(
                Status.FAILED,
                Reason.BAD_REQUEST,
                "campaign.key: yields neither text nor a number.",
            )
        return CampaignNeed(key=key, body=None)
    name = route.campaign.full_name(now, settings.callkaro_timezone)
    agent = settings.routes.campaign_agent(route)
    if agent is None:
        return CampaignNeed(key=f"v2/{name}", body={"name": name})
    return CampaignNeed(key=f"v1/{agent}/{name}", body={"name": name, "agent_id": agent})


def campaign_key(route: Route, data: Any) -> str | None:
    """Return the key that calls and a campaign find each other by; None: the route has none."""
    if route.campaign is None or route.campaign.key is None:
        return None
    return _key(_search("campaign.key", route.campaign.key, data))


def check_guards(body: dict[str, Any], settings: Settings, now: datetime) -> None:
    """Stop what a guard forbids, or forbids for now."""
    verdict = judge(
        number=body["to_number"],
        schedule_at=body.get("schedule_at"),
        zone=settings.callkaro_timezone,
        hours=settings.calling_hours,
        allowed=settings.allow_numbers,
        now=now,
    )
    if verdict is None:
        return
    to = Status.HELD if verdict.until else Status.SKIPPED
    raise _Stop(to, verdict.reason, verdict.message, verdict.until)


def check_dry_run(settings: Settings) -> None:
    """Stop everything, at the very end, while DRY_RUN is on."""
    if settings.dry_run:
        raise _Stop(
            Status.SKIPPED, Reason.DRY_RUN, "DRY_RUN is on: this is what would have been sent."
        )


# --- what became of an attempt ------------------------------------------------------------------


def begun(ready: Ready, now: datetime, *, phone: str | None, needs_s: float) -> Move:
    """Return the move that records an attempt before its first byte leaves."""
    delivery = ready.delivery
    fields: dict[str, str | int | None] = {
        "request": orjson.dumps(ready.body).decode(),
        "spent": delivery.spent + 1,
    }
    if delivery.first_attempt_at is None:
        fields["first_ms"] = int(now.timestamp() * 1000)
    if "batch_id" in ready.body:
        fields["batch_id"] = ready.body["batch_id"]
    return Move(
        id=delivery.id,
        to=Status.SENDING,
        lease=delivery.lease,
        fields=fields,
        attempt=(ready.number, {"number": ready.number, "at": _iso(now)}),
        needs_s=needs_s,
        phone=phone,
    )


def settled(ready: Ready, reply: Reply, verdict: Verdict, began: datetime, dice: Dice) -> Move:
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
        "took": took(verdict, reply),
        "pause": account_pause(verdict, began),
    }
    meaning = verdict.meaning
    if meaning is Meaning.UNKNOWN and ready.route.on_unknown == "call_again":
        meaning = Meaning.AGAIN
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
            wait = wait_s(ready.number, dice, retry_after_s=reply.retry_after_s)
            fields = {"spent": delivery.spent, "first_ms": int(began.timestamp() * 1000)}
            return Move(
                to=Status.RETRYING, reason=Reason.ACCOUNT, fields=fields, wait_s=wait, **common
            )
        case Meaning.AGAIN:
            if is_spent(delivery.spent + 1, tried_since(delivery), began):
                return Move(to=Status.FAILED, reason=Reason.GAVE_UP, **common)
            wait = wait_s(delivery.spent + 1, dice, retry_after_s=reply.retry_after_s)
            reason = Reason(verdict.why) if verdict.why else Reason.NO_ANSWER
            return Move(to=Status.RETRYING, reason=reason, wait_s=wait, **common)


def took(verdict: Verdict, reply: Reply) -> bool | None:
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


def dropped(delivery: Delivery, reply: Reply, verdict: Verdict, now: datetime, dice: Dice) -> Move:
    """Return the move of a delivery whose scheduled call CallKaro was asked to delete."""
    over: dict[str, str | int | None] = {"cancel_ms": None}
    match verdict.meaning:
        case Meaning.ACCEPTED:
            return Move(
                id=delivery.id,
                to=Status.CANCELLED,
                lease=delivery.lease,
                reason=Reason.BY_PERSON,
                message="CallKaro dropped the scheduled call, as a person asked.",
                fields=over,
            )
        case Meaning.REFUSED:
            return replace(
                waits(delivery, 0, message=f"It stays: {verdict.message}", fields=over), wait_s=None
            )
    vain = Vain.of(delivery, "cancel", now)
    if is_spent(vain.asked, vain.since, now):
        message = "It stays: CallKaro could not be asked to drop it."
        return replace(waits(delivery, 0, message=message, fields=over), wait_s=None)
    wait = wait_s(vain.asked, dice, retry_after_s=reply.retry_after_s)
    message = f"CallKaro is to drop the scheduled call, but: {verdict.message}"
    return waits(delivery, wait, message=message, fields=vain.fields)


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
        come_from=frozenset({stays}) if stays is Status.DELIVERED else None,
        message=message,
        wait_s=wait,
        fields=fields or {},
    )


def awaits_campaign(ready: Ready, key: str, now: datetime) -> Move:
    """Return the move of a call whose campaign another event has yet to make."""
    return Move(
        id=ready.delivery.id,
        to=Status.HELD,
        lease=ready.delivery.lease,
        reason=Reason.AWAITING_CAMPAIGN,
        message="The campaign that it belongs to has not been made yet.",
        due_at=now + CAMPAIGN_CHECK,
        awaits=key,
    )


def record_missing(delivery: Delivery, now: datetime, dice: Dice) -> Move:
    """Return the move of a delivery whose record is not there: again for 2 minutes, then over."""
    vain = Vain.of(delivery, "record", now)
    if now - vain.since >= RECORD_PATIENCE:
        return Move(
            id=delivery.id,
            to=Status.SKIPPED,
            lease=delivery.lease,
            reason=Reason.RECORD_GONE,
            message="The CRM has no such record; it may have been deleted or merged.",
        )
    left = (vain.since + RECORD_PATIENCE - now).total_seconds()
    wait = min(wait_s(vain.asked, dice) + 1, left)
    return waits(
        delivery,
        max(wait, 0.5),
        message="The CRM does not have the record yet.",
        fields=vain.fields,
    )


def needs_more_time(
    delivery: Delivery,
    what: Literal["record", "campaign"],
    why: str,
    now: datetime,
    dice: Dice,
    *,
    retry_after_s: float | None = None,
    may_give_up: bool = True,
) -> Move:
    """Return the move of a delivery that lacks its record or campaign: again, for a day at most."""
    vain = Vain.of(delivery, what, now)
    if may_give_up and is_spent(0, vain.since, now):
        return failed(delivery, Reason.GAVE_UP, why)
    wait = wait_s(vain.asked, dice, retry_after_s=retry_after_s)
    return waits(delivery, wait, message=why, fields=vain.fields)


def failed(delivery: Delivery, reason: Reason, message: str) -> Move:
    """Return the move of a delivery that can't be made."""
    return Move(
        id=delivery.id, to=Status.FAILED, lease=delivery.lease, reason=reason, message=message
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Vain:
    """How often one thing was asked for in vain, this time included, and since when."""

    what: Literal["record", "campaign", "cancel"]
    asked: int
    since: datetime

    @classmethod
    def of(
        cls, delivery: Delivery, what: Literal["record", "campaign", "cancel"], now: datetime
    ) -> "Vain":
        """Count on; a delivery that now lacks something else starts to count anew."""
        if delivery.asked_for != what or delivery.asked_since is None:
            return cls(what=what, asked=1, since=now)
        return cls(what=what, asked=delivery.asked + 1, since=delivery.asked_since)

    @property
    def fields(self) -> dict[str, str | int | None]:
        """Return it as the store keeps it."""
        since_ms = int(self.since.timestamp() * 1000)
        return {"asked": self.asked, "asked_for": self.what, "asked_since_ms": since_ms}


# --- within ---------------------------------------------------------------------------------


def _search(name: str, value: Any, data: Any) -> Any:
    try:
        return value.search(data)
    except ExpressionError as error:
        raise _Stop(Status.FAILED, Reason.BAD_REQUEST, f"{name}: {error}.") from None


def _holds(name: str, condition: Expression | None, data: Any) -> bool:
    try:
        return condition is None or condition.holds(data)
    except ExpressionError as error:
        raise _Stop(Status.FAILED, Reason.BAD_REQUEST, f"{name}: {error}.") from None


def _key(found: Any) -> str | None:
    text = id_text(found)
    return None if _is_blank(text) else f"key/{text}"


def _is_blank(value: Any) -> bool:
    """Say whether a CRM means "nothing" by it."""
    return value is None or (isinstance(value, str) and not value.strip())


def _wire_body(schema: Any, mapped: dict[str, Any]) -> dict[str, Any]:
    try:
        body: dict[str, Any] = schema.dump(schema.load(mapped))
        orjson.dumps(body)
    except ValidationError as error:
        raise _bad_request(error) from None
    except TypeError:
        # to_number() makes a number of any length out of a record's text.
        raise _Stop(
            Status.FAILED, Reason.BAD_REQUEST, "A number in the request is longer than 64 bits."
        ) from None
    return body


def _bad_request(error: ValidationError) -> _Stop:
    return _Stop(Status.FAILED, Reason.BAD_REQUEST, f"{describe(error)}.")


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _span(span: timedelta) -> str:
    return _span_s(int(span.total_seconds()))


def _span_s(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
