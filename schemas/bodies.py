"""What the API is sent: JSON bodies of our own people's making, so an unknown key is refused."""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from schemas.delivery import Reason

MOST_NUMBERS = 1000  # in one request


class Yes(fields.Field[bool]):
    """true or false and nothing else: "false" as text must not mean yes."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("must be true or false")
        return value


class Words(fields.Field[list[str]]):
    """Words in a list, or in one text with commas between them."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> list[str]:
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list) or not all(isinstance(word, str) for word in given):
            raise ValidationError("must be a text or a list of texts")
        return given


class NoBody(Schema):
    """Nothing may be said."""


class RetryBody(Schema):
    """call_again: although a phone rang, or may have."""

    call_again = Yes(load_default=False)


class ResolveBody(Schema):
    """How a person found an unknown delivery."""

    found = fields.String(
        required=True, data_key="as", validate=validate.OneOf(["delivered", "failed"])
    )


class ReplayBody(Schema):
    """dry_run: only say what would come of it."""

    dry_run = Yes(load_default=False)


class PauseBody(Schema):
    """message: why, for whoever finds it paused."""

    message = fields.String(load_default="", validate=validate.Length(max=500))


class SuppressBody(Schema):
    """message: why, for whoever finds the number suppressed."""

    message = fields.String(load_default="", validate=validate.Length(max=500))


class SuppressManyBody(SuppressBody):
    """Numbers in full, or as their region writes them."""

    numbers = fields.List(
        fields.String(), required=True, validate=validate.Length(min=1, max=MOST_NUMBERS)
    )


class EraseBody(Schema):
    """Whose number it is."""

    phone = fields.String(required=True)


class CallMeBody(Schema):
    """record: what stands in the place of the CRM's record."""

    to_number = fields.String(required=True)
    record = fields.Dict(keys=fields.String(), load_default=dict)


class EventsBody(Schema):
    """The filters of the list of events."""

    status = Words()
    source = fields.String()
    since = fields.String()
    until = fields.String()
    cursor = fields.String()


class DeliveriesBody(EventsBody):
    """The filters of the list of deliveries."""

    reason = fields.String(validate=validate.OneOf([str(reason) for reason in Reason]))
    route = fields.String()
    subject = fields.String()
    phone = fields.String()


class ReplayManyBody(EventsBody, ReplayBody):
    """Which events to replay."""


class RetryManyBody(DeliveriesBody, RetryBody):
    """Which deliveries to retry."""

    dry_run = Yes(load_default=False)


class CancelManyBody(DeliveriesBody):
    """Which deliveries to cancel."""

    dry_run = Yes(load_default=False)


class ReleaseManyBody(Schema):
    """Which of the deliveries that are held as bulk to release; limit: so many of them."""

    route = fields.String()
    source = fields.String()
    subject = fields.String()
    since = fields.String()
    until = fields.String()
    cursor = fields.String()
    limit = fields.Integer(strict=True, validate=validate.Range(min=1))
    dry_run = Yes(load_default=False)
