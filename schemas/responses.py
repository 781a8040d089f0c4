"""What the API answers, dumped from our own dataclasses. Times are ISO 8601, UTC.

An Answer always has all of its keys; null is said, never left out. Some are dumped elsewhere by
hand, for speed, and stand here for /openapi.json: tests hold the two together.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Final

from marshmallow import Schema, fields, validate

from schemas.delivery import Reason, Status
from schemas.event import EventStatus
from schemas.fields import mask, mask_marked, mask_text

_is_revealed: ContextVar[bool] = ContextVar("is_revealed", default=False)


@contextmanager
def revealed(really: bool = True) -> Iterator[None]:
    """Leave what is dumped within it unmasked; really False: mask it as always."""
    token = _is_revealed.set(really)
    try:
        yield
    finally:
        _is_revealed.reset(token)


class ResponseSchema(Schema):
    """What is answered. Its docstring and its fields' descriptions are the API's own pages."""


def doc(description: str, **more: Any) -> dict[str, Any]:
    """Return what /openapi.json says of a field."""
    return {"description": description, **more}


def one_of(words: Any) -> list[Any]:
    """Return the closed list of a field's words, for /openapi.json."""
    return [validate.OneOf([str(word) for word in words])]


class UtcTime(fields.Field[Any]):
    """An aware UTC datetime as ISO 8601 with a Z; None stays null."""

    json_schema: ClassVar = {"type": "string", "format": "date-time"}

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        if value is None:
            return None
        return str(value.isoformat(timespec="milliseconds").replace("+00:00", "Z"))


class Masked(fields.Field[Any]):
    """Any JSON value with its phone numbers masked; None stays null."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return value if _is_revealed.get() else mask(value)


class MaskedName(fields.Field[Any]):
    """What a CRM names a thing by, its numbers masked where a + marks them: digits are its own."""

    json_schema: ClassVar = {"type": "string"}

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return value if value is None or _is_revealed.get() else mask_marked(str(value))


class MaskedText(fields.Field[Any]):
    """A sentence with the phone numbers in it masked; None stays null."""

    json_schema: ClassVar = {"type": "string"}

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        if value is None:
            return None
        return str(value) if _is_revealed.get() else mask_text(str(value))


class MaskedWords(fields.Field[Any]):
    """Any JSON value that people's sentences are in, with the phone numbers in them masked."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return value if _is_revealed.get() else _mask_words(mask(value))


# mask() leaves a date and time alone; in a sentence mask_text() can't tell one from a number.
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?)?"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})?"
)


def _mask_words(value: Any) -> Any:
    match value:
        case str():
            return value if _TIME.fullmatch(value) else mask_text(value)
        case list():
            return [_mask_words(item) for item in value]
        case dict():
            return {key: _mask_words(item) for key, item in value.items()}
        case _:
            return value


class AttemptResponse(ResponseSchema):
    """One HTTP request for a delivery; what is null has not come, or never came."""

    number = fields.Integer()
    at = fields.String(metadata=doc("When it was made.", format="date-time"))
    duration_ms = fields.Integer(allow_none=True, dump_default=None)
    status_code = fields.Integer(
        allow_none=True, dump_default=None, metadata=doc("CallKaro's; null: no answer came.")
    )
    error = fields.String(allow_none=True, dump_default=None)
    answer = MaskedText(allow_none=True, dump_default=None, metadata=doc("CallKaro's answer, cut."))


class ChangeResponse(ResponseSchema):
    """One step of the timeline."""

    at = UtcTime()
    status = fields.String(validate=one_of(Status))
    reason = fields.String(allow_none=True, metadata=doc("A word of the closed list."))


class OutcomeResponse(ResponseSchema):
    """What CallKaro said of one dialling. The links are as they came.

    result is `unrecognised` where CallKaro gave a hangup_reason that it does not document.
    """

    call_sid = fields.String(allow_none=True)
    try_count = fields.Integer(metadata=doc("0 the first, 1 and up redials, -1 inbound."))
    final = fields.Boolean(attribute="is_final", metadata=doc("false: it will redial."))
    result = fields.String(metadata=doc("What the call came to, in our words."))
    hangup_reason = MaskedText(allow_none=True, metadata=doc("CallKaro's own word."))
    ended_at = UtcTime(allow_none=True)
    duration_s = fields.Integer(allow_none=True)
    conversion_status = fields.Boolean(allow_none=True)
    disposition_reason = MaskedText(allow_none=True)
    post_call = MaskedWords(metadata=doc("What the agent extracted."))
    recording_url = fields.String(allow_none=True)
    call_link = fields.String(allow_none=True)
    transcription = MaskedText(allow_none=True)


class DeliveryBrief(ResponseSchema):
    """A delivery as lists show it."""

    id = fields.String()
    event_id = fields.String()
    source = fields.String()
    subject = fields.String(allow_none=True, metadata=doc("The CRM's id of the record."))
    route = fields.String()
    to = fields.String(validate=one_of(("call", "campaign")))
    status = fields.String(validate=one_of(Status))
    reason = fields.String(
        allow_none=True,
        metadata=doc("Why it is not simply on its way.", enum=[*map(str, Reason), None]),
    )
    message = fields.String(allow_none=True, metadata=doc("One sentence for people."))
    created_at = UtcTime()
    next_attempt_at = UtcTime(allow_none=True, metadata=doc("null: nothing is planned."))
    call_sid = fields.String(allow_none=True, metadata=doc("CallKaro's id of the call."))
    batch_id = fields.String(allow_none=True, metadata=doc("CallKaro's id of the campaign."))


class DeliveryResponse(DeliveryBrief):
    """A delivery in full."""

    routes = fields.String(metadata=doc("The digest of the routes.toml it was made under."))
    request = MaskedWords(
        metadata=doc("What CallKaro is sent; null: not worked out yet, or erased.")
    )
    attempts = fields.List(fields.Nested(AttemptResponse))
    cancel_asked_at = UtcTime(
        allow_none=True, metadata=doc("Since when CallKaro is asked to drop the scheduled call.")
    )
    call_again = fields.Boolean(metadata=doc("Whether a person had it call again."))
    consent = MaskedWords(metadata=doc("The proof: the expression, what it read, and when."))
    erased_at = UtcTime(allow_none=True, metadata=doc("When the person in it was erased."))
    outcomes = fields.List(fields.Nested(OutcomeResponse))
    timeline = fields.List(fields.Nested(ChangeResponse))


class DeliveryPage(ResponseSchema):
    """Deliveries, newest first. A page may be short and still not be the last."""

    items = fields.List(fields.Nested(DeliveryBrief))
    next_cursor = fields.String(allow_none=True, metadata=doc("null: that was the last page."))


class DeliveryRefResponse(ResponseSchema):
    """A delivery as an event names it; status `erased`: its record is gone."""

    id = fields.String()
    route = fields.String()
    status = fields.String(validate=one_of([*Status, "erased"]))
    status_url = fields.String(metadata=doc("Where to ask for it."))


class EventBrief(ResponseSchema):
    """An event as lists show it."""

    id = fields.String()
    source = fields.String()
    source_event_id = MaskedName(metadata=doc("The CRM's own id; empty: it was erased."))
    type = MaskedName()
    subject = fields.String(allow_none=True, metadata=doc("The CRM's id of the record."))
    time = UtcTime(allow_none=True, metadata=doc("When it happened, as the CRM says."))
    received_at = UtcTime()
    problem = fields.String(allow_none=True, metadata=doc("Why it can't be read."))


class EventResponse(EventBrief):
    """An event that came in."""

    data = MaskedWords(metadata=doc("The notification as stored, numbers masked."))


class SeenResponse(ResponseSchema):
    """What became of an event."""

    status = fields.String(validate=one_of(EventStatus))
    deliveries = fields.List(fields.Nested(DeliveryRefResponse))


class SeenEventBrief(EventBrief, SeenResponse):
    """An event as lists show it, with its deliveries."""


class SeenEventResponse(EventResponse, SeenResponse):
    """An event that came in, with its deliveries."""


class EventPageResponse(ResponseSchema):
    """Events, newest first. A page may be short and still not be the last."""

    items = fields.List(fields.Nested(SeenEventBrief))
    next_cursor = fields.String(allow_none=True, metadata=doc("null: that was the last page."))


class CallKaroResponse(ResponseSchema):
    """How CallKaro took the latest requests; null: none yet."""

    answered_at = UtcTime(allow_none=True)
    failed_at = UtcTime(allow_none=True)
    message = MaskedText(allow_none=True)


class CampaignResponse(ResponseSchema):
    """A campaign that the bridge made."""

    key = fields.String()
    name = fields.String()
    agent_id = fields.String(
        allow_none=True, dump_default=None, metadata=doc("null: a v2; each call brings its own.")
    )
    batch_id = fields.String()
    created_at = fields.String(metadata={"format": "date-time"})


class CampaignsResponse(ResponseSchema):
    """The newest campaigns."""

    items = fields.List(fields.Nested(CampaignResponse))


class SuppressionResponse(ResponseSchema):
    """Who is not to be called.

    id is the keyed hash that it is known by; it takes the place of the phone in a DELETE.
    """

    id = fields.String(attribute="key")
    phone = Masked(
        attribute="number",
        metadata=doc(
            "null: it is a CRM's record, or the person was erased.", type=["string", "null"]
        ),
    )
    reason = fields.String()
    message = MaskedText()
    source = fields.String(allow_none=True, metadata=doc("Whose event it was."))
    since = UtcTime()


class SuppressionPageResponse(ResponseSchema):
    """Who is not to be called, newest first."""

    items = fields.List(fields.Nested(SuppressionResponse))
    next_cursor = fields.String(allow_none=True, metadata=doc("null: that was the last page."))


class CalledOffResponse(ResponseSchema):
    """What became of what was planned."""

    cancelled = fields.Integer()
    dropping = fields.Integer(metadata=doc("CallKaro is asked to drop these."))
    on_the_wire = fields.Integer(metadata=doc("These may be ringing right now."))


class SuppressedResponse(SuppressionResponse, CalledOffResponse):
    """A suppression that is kept, and what became of what was planned."""


class UnsuppressedResponse(ResponseSchema):
    """Who may be called again."""

    id = fields.String()
    suppressed = fields.Boolean()


class RefusedNumber(ResponseSchema):
    """A number that can't be read."""

    place = fields.Integer(metadata=doc("Where it stands in the list; the first is 0."))
    message = fields.String()


class SuppressedManyResponse(ResponseSchema):
    """How many were suppressed now, or before, and which can't be read."""

    suppressed = fields.Integer()
    known = fields.Integer()
    refused = fields.List(fields.Nested(RefusedNumber))


class ErasedResponse(ResponseSchema):
    """How far an erasure got."""

    deliveries = fields.Integer()
    events = fields.Integer()
    done = fields.Boolean(attribute="is_done", metadata=doc("false: a worker goes on with it."))


class PauseResponse(ResponseSchema):
    """What is paused."""

    scope = fields.String()
    reason = fields.String(validate=one_of(("person", "account", "breaker")))
    message = MaskedText()
    since = UtcTime()
    until = UtcTime(allow_none=True, metadata=doc("null: until a person resumes it."))


class PausesResponse(ResponseSchema):
    """Everything that is paused, the oldest pause first."""

    items = fields.List(fields.Nested(PauseResponse))


class ResumedResponse(ResponseSchema):
    """A pause that is over, and how many deliveries it had held."""

    scope = fields.String()
    released = fields.Integer()


# --- many at once -------------------------------------------------------------------------------


class BulkResponse(ResponseSchema):
    """What became of many; with dry_run, what would."""

    matched = fields.Integer(metadata=doc("How many fit the filters."))
    dry_run = fields.Boolean()
    next_cursor = fields.String(
        allow_none=True, metadata=doc("There are more: ask again with it. null: that was all.")
    )


class RefusingResponse(BulkResponse):
    """What became of many deliveries."""

    refused = fields.Integer()
    refused_by = fields.Dict(
        keys=fields.String(validate=one_of(Status)),
        values=fields.Integer(),
        metadata=doc("How many were refused, by the status that they stood in."),
    )


class RetriedResponse(RefusingResponse):
    """How many were tried again."""

    retried = fields.Integer()


class CancelledResponse(RefusingResponse):
    """How many were called off."""

    cancelled = fields.Integer()


class ReleasedResponse(RefusingResponse):
    """How many were let go."""

    released = fields.Integer()


class ReplayedManyResponse(BulkResponse):
    """How many events got deliveries, and how many no route wants still."""

    replayed = fields.Integer()
    unchanged = fields.Integer()


class ReplayedResponse(ResponseSchema):
    """What a replay made of an event: the deliveries that are new."""

    id = fields.String()
    status = fields.String(validate=one_of(EventStatus))
    deliveries = fields.List(fields.Nested(DeliveryRefResponse))
    dry_run = fields.Boolean()


# --- how it stands ------------------------------------------------------------------------------


class QueueResponse(ResponseSchema):
    """RQ's queue."""

    drains_queued = fields.Integer()


class WorkerResponse(ResponseSchema):
    """An RQ worker that runs."""

    name = fields.String()
    state = fields.String(metadata=doc("RQ's own word.", type=["string", "null"]))


class PersistenceResponse(ResponseSchema):
    """How safe Redis keeps what it took."""

    append_only = fields.Boolean()
    fsync = fields.String()
    policy = fields.String()
    used_bytes = fields.Integer()
    used_ratio = fields.Float(allow_none=True, metadata=doc("null: no limit is set."))


class StatusResponse(ResponseSchema):
    """How the bridge stands."""

    deliveries = fields.Dict(
        keys=fields.String(), values=fields.Integer(), metadata=doc("How many, by status.")
    )
    events = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata=doc("How many led to nothing, by status."),
    )
    oldest_waiting_s = fields.Float(allow_none=True, metadata=doc("null: none waits."))
    waiting = fields.Integer()
    bulk = fields.Integer(metadata=doc("How many are held until a person releases them."))
    suppressions = fields.Integer()
    next_due_s = fields.Float(allow_none=True, metadata=doc("null: nothing is planned."))
    queue = fields.Nested(QueueResponse)
    workers = fields.List(fields.Nested(WorkerResponse))
    pauses = fields.List(fields.Nested(PauseResponse))
    callkaro = fields.Nested(CallKaroResponse)
    routes = fields.String(metadata=doc("The digest of routes.toml."))
    persistence = fields.Nested(PersistenceResponse)
    warnings = fields.List(fields.String(), metadata=doc("What to look at, a sentence each."))


class AliveResponse(ResponseSchema):
    """This process lives."""

    status = fields.String(validate=one_of(("ok",)))


class ReadyResponse(ResponseSchema):
    """This process can store."""

    status = fields.String(validate=one_of(("ready",)))
    warnings = fields.List(fields.String())


# --- what senders are told ----------------------------------------------------------------------


class AcceptedEventResponse(ResponseSchema):
    """An event as its sender is told of it; a duplicate with the ids of the first."""

    id = fields.String()
    status = fields.String(validate=one_of(EventStatus))
    duplicate = fields.Boolean()
    status_url = fields.String()
    deliveries = fields.List(fields.Nested(DeliveryRefResponse))


class WebhookResponse(ResponseSchema):
    """What became of a request's items; the four counts add up to them."""

    accepted = fields.Integer()
    duplicates = fields.Integer()
    unrouted = fields.Integer()
    unreadable = fields.Integer()
    events = fields.List(fields.Nested(AcceptedEventResponse))


class OutcomeKeptResponse(ResponseSchema):
    """What became of an outcome."""

    status = fields.String(validate=one_of(("stored", "duplicate", "full", "kept", "ignored")))


class ErrorResponse(ResponseSchema):
    """Every error has this shape."""

    error = fields.String(metadata=doc("One word, for programs."))
    message = fields.String(metadata=doc("One sentence, for people."))
