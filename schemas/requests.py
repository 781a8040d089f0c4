"""What the API is sent: JSON bodies of our own people's making, so an unknown key is refused.

The queries at the end name what a query string may hold; api_queries.py reads them.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, validate

from schemas.delivery import Reason, Status
from schemas.event import EventStatus

MOST_NUMBERS = 1000  # in one request
LIMIT, LIMIT_MAX = 50, 200  # of a page
LONGEST_WAIT_S = 25  # under the 30 s after which routers give up on an answer
PHONE = {"examples": ["+919876543210"]}
TIME = {"examples": ["2026-01-31T09:30:00Z"]}


class Yes(fields.Field[bool]):
    """true or false and nothing else: "false" as text must not mean yes."""

    json_schema: ClassVar = {"type": "boolean"}

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("must be true or false")
        return value


class Words(fields.Field[list[str]]):
    """Words in a list, or in one text with commas between them; any of these will do."""

    def __init__(self, words: Iterable[str], **more: Any) -> None:
        super().__init__(**more)
        known = {"type": "string", "enum": [str(word) for word in words]}
        self.json_schema = {"anyOf": [{"type": "array", "items": known}, {"type": "string"}]}

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> list[str]:
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list) or not all(isinstance(word, str) for word in given):
            raise ValidationError("must be a text or a list of texts")
        return given


class NoRequest(Schema):
    """Nothing may be said."""


class RetryRequest(Schema):
    """Whether a phone may ring a second time."""

    call_again = Yes(
        load_default=False,
        metadata={"description": "Although a phone rang, or may have."},
    )


class ResolveRequest(Schema):
    """How a person found an unknown delivery."""

    found = fields.String(
        required=True, data_key="as", validate=validate.OneOf(["delivered", "failed"])
    )


class ReplayRequest(Schema):
    """Whether to replay, or only to say what would come of it."""

    dry_run = Yes(load_default=False, metadata={"description": "Only say what would come of it."})


class PauseRequest(Schema):
    """Why, for whoever finds it paused."""

    message = fields.String(load_default="", validate=validate.Length(max=500))


class SuppressRequest(Schema):
    """Why, for whoever finds the number suppressed."""

    message = fields.String(load_default="", validate=validate.Length(max=500))


class SuppressManyRequest(SuppressRequest):
    """Numbers in full, or as their region writes them."""

    numbers = fields.List(
        fields.String(metadata=PHONE),
        required=True,
        validate=validate.Length(min=1, max=MOST_NUMBERS),
    )


class EraseRequest(Schema):
    """Whose number it is."""

    phone = fields.String(required=True, metadata=PHONE)


class CallMeRequest(Schema):
    """Whom to call, and what stands in the place of the CRM's record."""

    to_number = fields.String(required=True, metadata=PHONE)
    record = fields.Dict(keys=fields.String(), load_default=dict)


class _Span(Schema):
    """What all lists share."""

    source = fields.String()
    since = fields.String(metadata={"description": "ISO 8601; without a zone: UTC.", **TIME})
    until = fields.String(metadata={"description": "ISO 8601; without a zone: UTC.", **TIME})
    cursor = fields.String(metadata={"description": "The next_cursor of an earlier page."})


class EventsRequest(_Span):
    """The filters of the list of events; all that are given must fit."""

    status = Words(EventStatus, metadata={"description": "Several, with commas: any of them."})
    source_event_id = fields.String(metadata={"description": "The CRM's own id of the event."})


class DeliveriesRequest(_Span):
    """The filters of the list of deliveries; all that are given must fit."""

    status = Words(Status, metadata={"description": "Several, with commas: any of them."})
    reason = fields.String(validate=validate.OneOf([str(reason) for reason in Reason]))
    route = fields.String()
    subject = fields.String(metadata={"description": "The CRM's id of the record."})
    phone = fields.String(metadata={"description": "In a URL, + is %2B.", **PHONE})


class ReplayManyRequest(EventsRequest, ReplayRequest):
    """Which events to replay."""


class RetryManyRequest(DeliveriesRequest, RetryRequest):
    """Which deliveries to retry."""

    dry_run = Yes(load_default=False, metadata={"description": "Only say what would come of it."})


class CancelManyRequest(DeliveriesRequest):
    """Which deliveries to cancel."""

    dry_run = Yes(load_default=False, metadata={"description": "Only say what would come of it."})


class ReleaseManyRequest(_Span):
    """Which of the deliveries that are held as bulk to release."""

    route = fields.String()
    subject = fields.String(metadata={"description": "The CRM's id of the record."})
    limit = fields.Integer(
        strict=True, validate=validate.Range(min=1), metadata={"description": "So many of them."}
    )
    dry_run = Yes(load_default=False, metadata={"description": "Only say what would come of it."})


# --- what a query string may hold ---------------------------------------------------------------


class _Reveal(Schema):
    """Whether to unmask."""

    reveal = fields.Boolean(
        load_default=False, metadata={"description": "Unmask numbers; each such look is logged."}
    )


class _Limit(Schema):
    """How long a page is."""

    limit = fields.Integer(load_default=LIMIT, validate=validate.Range(min=1, max=LIMIT_MAX))


class DeliveriesQuery(DeliveriesRequest, _Limit):
    """The query of the list of deliveries."""


class EventsQuery(EventsRequest, _Limit):
    """The query of the list of events."""


class SuppressionsQuery(_Limit, _Reveal):
    """The query of the list of suppressions."""

    cursor = fields.String(metadata={"description": "The next_cursor of an earlier page."})


class LookQuery(_Reveal):
    """The query of one event or suppression."""


class DeliveryQuery(_Reveal):
    """The query of one delivery."""

    wait = fields.Integer(
        validate=validate.Range(min=1, max=LONGEST_WAIT_S),
        metadata={
            "description": "Seconds to wait for its status to change, or, with If-None-Match, for "
            "anything of it to change."
        },
    )
