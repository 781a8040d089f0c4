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


class Answer(Schema):
    """What is answered. Its docstring and its fields' descriptions are the API's own pages."""


def said(description: str, **more: Any) -> dict[str, Any]:
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


class AttemptAnswer(Answer):
    """One HTTP request for a delivery; what is null has not come, or never came."""

    number = fields.Integer()
    at = fields.String(metadata=said("When it was made.", format="date-time"))
    duration_ms = fields.Integer(allow_none=True, dump_default=None)
    status_code = fields.Integer(
        allow_none=True, dump_default=None, metadata=said("CallKaro's; null: no answer came.")
    )
    error = fields.String(allow_none=True, dump_default=None)
    answer = MaskedText(
        allow_none=True, dump_default=None, metadata=said("CallKaro's answer, cut.")
    )


class ChangeAnswer(Answer):
    """One step of the timeline."""

    at = UtcTime()
    status = fields.String(validate=one_of(Status))
    reason = fields.String(allow_none=True, metadata=said("A word of the closed list."))


class OutcomeAnswer(Answer):
    """What CallKaro said of one dialling. The links are as they came.

    result is `unrecognised` where CallKaro gave a hangup_reason that it does not document.
    """

    call_sid = fields.String(allow_none=True)
    try_count = fields.Integer(metadata=said("0 the first, 1 and up redials, -1 inbound."))
    final = fields.Boolean(attribute="is_final", metadata=said("false: it will redial."))
    result = fields.String(metadata=said("What the call came to, in our words."))
    hangup_reason = MaskedText(allow_none=True, metadata=said("CallKaro's own word."))
    ended_at = UtcTime(allow_none=True)
    duration_s = fields.Integer(allow_none=True)
    conversion_status = fields.Boolean(allow_none=True)
    disposition_reason = MaskedText(allow_none=True)
    post_call = MaskedWords(metadata=said("What the agent extracted."))
    recording_url = fields.String(allow_none=True)
    call_link = fields.String(allow_none=True)
    transcription = MaskedText(allow_none=True)


class DeliveryBrief(Answer):
    """A delivery as lists show it."""

    id = fields.String()
    event_id = fields.String()
    source = fields.String()
    subject = fields.String(allow_none=True, metadata=said("The CRM's id of the record."))
    route = fields.String()
    to = fields.String(validate=one_of(("call", "campaign")))
    status = fields.String(validate=one_of(Status))
    reason = fields.String(
        allow_none=True,
        metadata=said("Why it is not simply on its way.", enum=[*map(str, Reason), None]),
    )
    message = fields.String(allow_none=True, metadata=said("One sentence for people."))
    created_at = UtcTime()
    next_attempt_at = UtcTime(allow_none=True, metadata=said("null: nothing is planned."))
    call_sid = fields.String(allow_none=True, metadata=said("CallKaro's id of the call."))
    batch_id = fields.String(allow_none=True, metadata=said("CallKaro's id of the campaign."))


class DeliveryAnswer(DeliveryBrief):
    """A delivery in full."""

    routes = fields.String(metadata=said("The digest of the routes.toml it was made under."))
    request = MaskedWords(
        metadata=said("What CallKaro is sent; null: not worked out yet, or erased.")
    )
    attempts = fields.List(fields.Nested(AttemptAnswer))
    cancel_asked_at = UtcTime(
        allow_none=True, metadata=said("Since when CallKaro is asked to drop the scheduled call.")
    )
    call_again = fields.Boolean(metadata=said("Whether a person had it call again."))
    consent = MaskedWords(metadata=said("The proof: the expression, what it read, and when."))
    erased_at = UtcTime(allow_none=True, metadata=said("When the person in it was erased."))
    outcomes = fields.List(fields.Nested(OutcomeAnswer))
    timeline = fields.List(fields.Nested(ChangeAnswer))


class DeliveryPage(Answer):
    """Deliveries, newest first. A page may be short and still not be the last."""

    items = fields.List(fields.Nested(DeliveryBrief))
    next_cursor = fields.String(allow_none=True, metadata=said("null: that was the last page."))


class DeliveryRefAnswer(Answer):
    """A delivery as an event names it; status `erased`: its record is gone."""

    id = fields.String()
    route = fields.String()
    status = fields.String(validate=one_of([*Status, "erased"]))
    status_url = fields.String(metadata=said("Where to ask for it."))


class EventBrief(Answer):
    """An event as lists show it."""

    id = fields.String()
    source = fields.String()
    source_event_id = MaskedName(metadata=said("The CRM's own id; empty: it was erased."))
    type = MaskedName()
    subject = fields.String(allow_none=True, metadata=said("The CRM's id of the record."))
    time = UtcTime(allow_none=True, metadata=said("When it happened, as the CRM says."))
    received_at = UtcTime()
    problem = fields.String(allow_none=True, metadata=said("Why it can't be read."))


class EventAnswer(EventBrief):
    """An event that came in."""

    data = MaskedWords(metadata=said("The notification as stored, numbers masked."))


class SeenAnswer(Answer):
    """What became of an event."""

    status = fields.String(validate=one_of(EventStatus))
    deliveries = fields.List(fields.Nested(DeliveryRefAnswer))


class SeenEventBrief(EventBrief, SeenAnswer):
    """An event as lists show it, with its deliveries."""


class SeenEventAnswer(EventAnswer, SeenAnswer):
    """An event that came in, with its deliveries."""


class EventPageAnswer(Answer):
    """Events, newest first. A page may be short and still not be the last."""

    items = fields.List(fields.Nested(SeenEventBrief))
    next_cursor = fields.String(allow_none=True, metadata=said("null: that was the last page."))


class CallKaroAnswer(Answer):
    """How CallKaro took the latest requests; null: none yet."""

    answered_at = UtcTime(allow_none=True)
    failed_at = UtcTime(allow_none=True)
    message = MaskedText(allow_none=True)


class CampaignAnswer(Answer):
    """A campaign that the bridge made."""

    key = fields.String()
    name = fields.String()
    agent_id = fields.String(
        allow_none=True, dump_default=None, metadata=said("null: a v2; each call brings its own.")
    )
    batch_id = fields.String()
    created_at = fields.String(metadata={"format": "date-time"})


class CampaignsAnswer(Answer):
    """The newest campaigns."""

    items = fields.List(fields.Nested(CampaignAnswer))


class SuppressionAnswer(Answer):
    """Who is not to be called.

    id is the keyed hash that it is known by; it takes the place of the phone in a DELETE.
    """

    id = fields.String(attribute="key")
    phone = Masked(
        attribute="number",
        metadata=said(
            "null: it is a CRM's record, or the person was erased.", type=["string", "null"]
        ),
    )
    reason = fields.String()
    message = MaskedText()
    source = fields.String(allow_none=True, metadata=said("Whose event it was."))
    since = UtcTime()


class SuppressionPageAnswer(Answer):
    """Who is not to be called, newest first."""

    items = fields.List(fields.Nested(SuppressionAnswer))
    next_cursor = fields.String(allow_none=True, metadata=said("null: that was the last page."))


class CalledOffAnswer(Answer):
    """What became of what was planned."""

    cancelled = fields.Integer()
    dropping = fields.Integer(metadata=said("CallKaro is asked to drop these."))
    on_the_wire = fields.Integer(metadata=said("These may be ringing right now."))


class SuppressedAnswer(SuppressionAnswer, CalledOffAnswer):
    """A suppression that is kept, and what became of what was planned."""


class UnsuppressedAnswer(Answer):
    """Who may be called again."""

    id = fields.String()
    suppressed = fields.Boolean()


class RefusedNumber(Answer):
    """A number that can't be read."""

    place = fields.Integer(metadata=said("Where it stands in the list; the first is 0."))
    message = fields.String()


class SuppressedManyAnswer(Answer):
    """How many were suppressed now, or before, and which can't be read."""

    suppressed = fields.Integer()
    known = fields.Integer()
    refused = fields.List(fields.Nested(RefusedNumber))


class ErasedAnswer(Answer):
    """How far an erasure got."""

    deliveries = fields.Integer()
    events = fields.Integer()
    done = fields.Boolean(attribute="is_done", metadata=said("false: a worker goes on with it."))


class PauseAnswer(Answer):
    """What is paused."""

    scope = fields.String()
    reason = fields.String(validate=one_of(("person", "account", "breaker")))
    message = MaskedText()
    since = UtcTime()
    until = UtcTime(allow_none=True, metadata=said("null: until a person resumes it."))


class PausesAnswer(Answer):
    """Everything that is paused, the oldest pause first."""

    items = fields.List(fields.Nested(PauseAnswer))


class ResumedAnswer(Answer):
    """A pause that is over, and how many deliveries it had held."""

    scope = fields.String()
    released = fields.Integer()


# --- many at once -------------------------------------------------------------------------------


class BulkAnswer(Answer):
    """What became of many; with dry_run, what would."""

    matched = fields.Integer(metadata=said("How many fit the filters."))
    dry_run = fields.Boolean()
    next_cursor = fields.String(
        allow_none=True, metadata=said("There are more: ask again with it. null: that was all.")
    )


class RefusingAnswer(BulkAnswer):
    """What became of many deliveries."""

    refused = fields.Integer()
    refused_by = fields.Dict(
        keys=fields.String(validate=one_of(Status)),
        values=fields.Integer(),
        metadata=said("How many were refused, by the status that they stood in."),
    )


class RetriedAnswer(RefusingAnswer):
    """How many were tried again."""

    retried = fields.Integer()


class CancelledAnswer(RefusingAnswer):
    """How many were called off."""

    cancelled = fields.Integer()


class ReleasedAnswer(RefusingAnswer):
    """How many were let go."""

    released = fields.Integer()


class ReplayedManyAnswer(BulkAnswer):
    """How many events got deliveries, and how many no route wants still."""

    replayed = fields.Integer()
    unchanged = fields.Integer()


class ReplayedAnswer(Answer):
    """What a replay made of an event: the deliveries that are new."""

    id = fields.String()
    status = fields.String(validate=one_of(EventStatus))
    deliveries = fields.List(fields.Nested(DeliveryRefAnswer))
    dry_run = fields.Boolean()


# --- how it stands ------------------------------------------------------------------------------


class QueueAnswer(Answer):
    """RQ's queue."""

    drains_queued = fields.Integer()


class WorkerAnswer(Answer):
    """An RQ worker that runs."""

    name = fields.String()
    state = fields.String(metadata=said("RQ's own word.", type=["string", "null"]))


class PersistenceAnswer(Answer):
    """How safe Redis keeps what it took."""

    append_only = fields.Boolean()
    fsync = fields.String()
    policy = fields.String()
    used_bytes = fields.Integer()
    used_ratio = fields.Float(allow_none=True, metadata=said("null: no limit is set."))


class StatusAnswer(Answer):
    """How the bridge stands."""

    deliveries = fields.Dict(
        keys=fields.String(), values=fields.Integer(), metadata=said("How many, by status.")
    )
    events = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata=said("How many led to nothing, by status."),
    )
    oldest_waiting_s = fields.Float(allow_none=True, metadata=said("null: none waits."))
    waiting = fields.Integer()
    bulk = fields.Integer(metadata=said("How many are held until a person releases them."))
    suppressions = fields.Integer()
    next_due_s = fields.Float(allow_none=True, metadata=said("null: nothing is planned."))
    queue = fields.Nested(QueueAnswer)
    workers = fields.List(fields.Nested(WorkerAnswer))
    pauses = fields.List(fields.Nested(PauseAnswer))
    callkaro = fields.Nested(CallKaroAnswer)
    routes = fields.String(metadata=said("The digest of routes.toml."))
    persistence = fields.Nested(PersistenceAnswer)
    warnings = fields.List(fields.String(), metadata=said("What to look at, a sentence each."))


class AliveAnswer(Answer):
    """This process lives."""

    status = fields.String(validate=one_of(("ok",)))


class ReadyAnswer(Answer):
    """This process can store."""

    status = fields.String(validate=one_of(("ready",)))
    warnings = fields.List(fields.String())


# --- what senders are told ----------------------------------------------------------------------


class AcceptedEventAnswer(Answer):
    """An event as its sender is told of it; a duplicate with the ids of the first."""

    id = fields.String()
    status = fields.String(validate=one_of(EventStatus))
    duplicate = fields.Boolean()
    status_url = fields.String()
    deliveries = fields.List(fields.Nested(DeliveryRefAnswer))


class WebhookAnswer(Answer):
    """What became of a request's items; the four counts add up to them."""

    accepted = fields.Integer()
    duplicates = fields.Integer()
    unrouted = fields.Integer()
    unreadable = fields.Integer()
    events = fields.List(fields.Nested(AcceptedEventAnswer))


class OutcomeKeptAnswer(Answer):
    """What became of an outcome."""

    status = fields.String(validate=one_of(("stored", "duplicate", "full", "kept", "ignored")))


class ErrorAnswer(Answer):
    """Every error has this shape."""

    error = fields.String(metadata=said("One word, for programs."))
    message = fields.String(metadata=said("One sentence, for people."))
