"""What the API answers, dumped from our own dataclasses. Times are ISO 8601, UTC."""

from typing import Any

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
    outcomes: fields.Constant[list[Any]] = fields.Constant(
        []
    )  # CallKaro's call_ended is not taken in yet
    timeline = fields.List(fields.Nested(ChangeAnswer))


class EventAnswer(Schema):
    """An event that came in; data is the notification as stored, numbers masked."""

    id = fields.String()
    source = fields.String()
    source_event_id = fields.String()
    type = fields.String()
    subject = fields.String(allow_none=True)
    time = UtcTime()
    received_at = UtcTime()
    problem = fields.String(allow_none=True)
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
