"""What the API answers, dumped from our own dataclasses. Times are ISO 8601, UTC."""

import re
from typing import Any, Final

from marshmallow import Schema, fields

from schemas.fields import mask, mask_text


class UtcTime(fields.Field[Any]):
    """An aware UTC datetime as ISO 8601 with a Z; None stays null."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        if value is None:
            return None
        return str(value.isoformat(timespec="milliseconds").replace("+00:00", "Z"))


class Masked(fields.Field[Any]):
    """Any JSON value with its phone numbers masked; None stays null."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return mask(value)


class MaskedText(fields.Field[Any]):
    """A sentence with the phone numbers in it masked; None stays null."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return None if value is None else mask_text(str(value))


class MaskedWords(fields.Field[Any]):
    """Any JSON value that people's sentences are in, with the phone numbers in them masked."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return _mask_words(mask(value))


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


class AttemptAnswer(Schema):
    """One HTTP request for a delivery; status_code null: no answer came."""

    number = fields.Integer()
    at = fields.String()
    duration_ms = fields.Integer()
    status_code = fields.Integer(allow_none=True)
    error = fields.String(allow_none=True)
    answer = MaskedText()


class ChangeAnswer(Schema):
    """One step of the timeline."""

    at = UtcTime()
    status = fields.String()
    reason = fields.String(allow_none=True)


class OutcomeAnswer(Schema):
    """What CallKaro said of one dialling; final false: it will redial. The links are as they came.

    result is `unrecognised` where CallKaro gave a hangup_reason that it does not document.
    """

    call_sid = fields.String(allow_none=True)
    try_count = fields.Integer()
    final = fields.Boolean(attribute="is_final")
    result = fields.String()
    hangup_reason = MaskedText()
    ended_at = UtcTime()
    duration_s = fields.Integer(allow_none=True)
    conversion_status = fields.Boolean(allow_none=True)
    disposition_reason = MaskedText()
    post_call = MaskedWords()
    recording_url = fields.String(allow_none=True)
    call_link = fields.String(allow_none=True)
    transcription = MaskedText()


class DeliveryBrief(Schema):
    """A delivery as lists show it."""

    id = fields.String()
    event_id = fields.String()
    source = fields.String()
    subject = fields.String(allow_none=True)
    route = fields.String()
    to = fields.String()
    status = fields.String()
    reason = fields.String(allow_none=True)
    message = fields.String(allow_none=True)
    created_at = UtcTime()
    next_attempt_at = UtcTime()
    call_sid = fields.String(allow_none=True)
    batch_id = fields.String(allow_none=True)


class DeliveryAnswer(DeliveryBrief):
    """A delivery in full. `routes` is the digest of the routes.toml it was made under."""

    routes = fields.String()
    request = Masked()
    attempts = fields.List(fields.Nested(AttemptAnswer))
    cancel_asked_at = UtcTime()
    call_again = fields.Boolean()
    consent = MaskedWords()
    erased_at = UtcTime()
    outcomes = fields.List(fields.Nested(OutcomeAnswer))
    timeline = fields.List(fields.Nested(ChangeAnswer))


class EventBrief(Schema):
    """An event as lists show it."""

    id = fields.String()
    source = fields.String()
    source_event_id = fields.String()
    type = fields.String()
    subject = fields.String(allow_none=True)
    time = UtcTime()
    received_at = UtcTime()
    problem = fields.String(allow_none=True)


class EventAnswer(EventBrief):
    """An event that came in; data is the notification as stored, numbers masked."""

    data = Masked()


class CallKaroAnswer(Schema):
    """How CallKaro took the latest requests; null: none yet."""

    answered_at = UtcTime()
    failed_at = UtcTime()
    message = MaskedText()


class CampaignAnswer(Schema):
    """A campaign that the bridge made. agent_id null: a v2, where each call brings its own."""

    key = fields.String()
    name = fields.String()
    agent_id = fields.String(allow_none=True, dump_default=None)
    batch_id = fields.String()
    created_at = fields.String()


class SuppressionAnswer(Schema):
    """Who is not to be called. phone null: a CRM's record, or a person who was erased.

    id is the keyed hash that it is known by; it takes the place of the phone in a DELETE.
    """

    id = fields.String(attribute="key")
    phone = Masked(attribute="number")
    reason = fields.String()
    message = MaskedText()
    source = fields.String(allow_none=True)
    since = UtcTime()


class CalledOffAnswer(Schema):
    """What became of what was planned: cancelled here, to be dropped by CallKaro, on the wire."""

    cancelled = fields.Integer()
    dropping = fields.Integer()
    on_the_wire = fields.Integer()


class ErasedAnswer(Schema):
    """How far an erasure got; done false: a worker goes on with it."""

    deliveries = fields.Integer()
    events = fields.Integer()
    done = fields.Boolean(attribute="is_done")


class PauseAnswer(Schema):
    """What is paused; until null: until a person resumes it."""

    scope = fields.String()
    reason = fields.String()
    message = MaskedText()
    since = UtcTime()
    until = UtcTime()
