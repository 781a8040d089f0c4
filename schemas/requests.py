"""Requests to the API: JSON bodies. Our own users write them, so an unknown key is refused.

The queries at the end name what a query string may have; bridge/api/queries.py reads them.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, validate

from schemas.access import ACTS
from schemas.delivery import KINDS, Reason, Status
from schemas.event import EventStatus
from schemas.outcome import Result
from schemas.records import NO_OUTCOME

MOST_NUMBERS = 1000  # in one request
LIMIT, LIMIT_MAX = 50, 200  # of a page
LONGEST_WAIT_S = 25  # Heroku's router gives up after 30 s
LONGEST_MESSAGE = 500
PHONE = {"examples": ["+919876543210"]}
TIME = {"description": "ISO 8601; without a zone: UTC.", "examples": ["2026-01-31T09:30:00Z"]}
RECORD_ID = {"description": "The CRM's id of the record."}
CAMPAIGN = {
    "description": "The batch_id of a campaign, or its name, which finds those of all periods."
}
ANY_OF = {"description": "Several, with commas: any of them."}
CURSOR = {"description": "The next_cursor of an earlier page."}
DRY_RUN = {"description": "Change nothing; only answer what would happen."}


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
    """Words in a list, or in one text with commas between them; any of them matches."""

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
    """There are no options."""


class ResumeRequest(Schema):
    """Whether only to count what a resume makes due."""

    dry_run = Yes(load_default=False, metadata=DRY_RUN)


class RetryRequest(Schema):
    """Whether a phone may ring a second time."""

    call_again = Yes(
        load_default=False,
        metadata={"description": "Call again, although a phone rang or may have rung."},
    )


class ResolveRequest(Schema):
    """How a person found an unknown delivery."""

    found = fields.String(
        required=True, data_key="as", validate=validate.OneOf(["delivered", "failed"])
    )


class ReplayRequest(Schema):
    """Whether to replay, or only to answer what would happen."""

    dry_run = Yes(load_default=False, metadata=DRY_RUN)


class PauseRequest(Schema):
    """Why, for people who find it paused."""

    message = fields.String(load_default="", validate=validate.Length(max=LONGEST_MESSAGE))


class SuppressRequest(Schema):
    """Why, for people who find the number suppressed."""

    message = fields.String(load_default="", validate=validate.Length(max=LONGEST_MESSAGE))


class SuppressManyRequest(SuppressRequest):
    """Numbers in full, or as DEFAULT_REGION writes them."""

    numbers = fields.List(
        fields.String(metadata=PHONE),
        required=True,
        validate=validate.Length(min=1, max=MOST_NUMBERS),
    )


class EraseRequest(Schema):
    """The person's number."""

    phone = fields.String(required=True, metadata=PHONE)


class CallMeRequest(Schema):
    """The number to call, and the CRM record to use."""

    to_number = fields.String(required=True, metadata=PHONE)
    record = fields.Dict(keys=fields.String(), load_default=dict)


class CallListRequest(Schema):
    """A list of people to call by a route."""

    route = fields.String(required=True)
    name = fields.String(
        required=True,
        metadata={
            "description": "Of the list. A number that a list of this name had is a duplicate.",
            "examples": ["Diwali leads"],
        },
    )
    mapping = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={
            "description": "Which column fills a path that the route reads: {path: column}.",
            "examples": [{"properties.phone": "Phone"}],
        },
    )
    csv = fields.String(
        required=True,
        metadata={"description": "A line with the names of the columns, then at most 10,000 rows."},
    )
    dry_run = Yes(load_default=False, metadata=DRY_RUN)


class ReconcileRequest(Schema):
    """How far back a CRM is asked for what never arrived."""

    since = fields.String(
        required=True,
        metadata={
            "description": "Records that were created or changed at this time or later; at most "
            "DEDUPE_DAYS ago.",
            "examples": ["2026-01-31T04:00:00Z"],
        },
    )
    dry_run = Yes(load_default=False, metadata={"description": "Only count; store nothing."})


class _Span(Schema):
    """The filters of all lists."""

    source = fields.String()
    since = fields.String(metadata=TIME)
    until = fields.String(metadata=TIME)
    cursor = fields.String(metadata=CURSOR)


class EventsRequest(_Span):
    """The filters of the list of events; an event must match all that are given."""

    status = Words(EventStatus, metadata=ANY_OF)
    source_event_id = fields.String(metadata={"description": "As an event shows it."})


class DeliveriesRequest(_Span):
    """The filters of the list of deliveries; a delivery must match all that are given."""

    status = Words(Status, metadata=ANY_OF)
    reason = fields.String(validate=validate.OneOf([str(reason) for reason in Reason]))
    route = fields.String()
    subject = fields.String(metadata=RECORD_ID)
    campaign = fields.String(metadata=CAMPAIGN)
    phone = fields.String(metadata={"description": "In a URL, + is %2B.", **PHONE})
    outcome = Words(
        [*Result, NO_OUTCOME],
        metadata={
            "description": "Results of the newest outcome; none: CallKaro accepted the call and "
            "has reported nothing yet. Several, with commas: any of them."
        },
    )
    to = Words(
        KINDS,
        metadata={
            "description": "write_back: what a CRM was told of a call. Without it, calls and "
            "campaigns. Several, with commas: any of them."
        },
    )
    of = fields.String(
        metadata={"description": "The id of a call: only what its CRM was told of it."}
    )


class ReplayManyRequest(EventsRequest, ReplayRequest):
    """Which events to replay."""


class RetryManyRequest(DeliveriesRequest, RetryRequest):
    """Which deliveries to retry."""

    dry_run = Yes(load_default=False, metadata=DRY_RUN)


class CancelManyRequest(DeliveriesRequest):
    """Which deliveries to cancel."""

    dry_run = Yes(load_default=False, metadata=DRY_RUN)


class ReleaseManyRequest(_Span):
    """Which of the deliveries that are held as bulk to release."""

    route = fields.String()
    subject = fields.String(metadata=RECORD_ID)
    campaign = fields.String(metadata=CAMPAIGN)
    limit = fields.Integer(
        strict=True, validate=validate.Range(min=1), metadata={"description": "At most this many."}
    )
    dry_run = Yes(load_default=False, metadata=DRY_RUN)


# --- what a query string may have ---------------------------------------------------------------


class _Reveal(Schema):
    """Whether to unmask."""

    reveal = fields.Boolean(
        load_default=False, metadata={"description": "Unmask numbers; each such look is logged."}
    )


class _Limit(Schema):
    """How long a page is."""

    limit = fields.Integer(load_default=LIMIT, validate=validate.Range(min=1, max=LIMIT_MAX))


class CampaignsQuery(_Limit):
    """The query of the list of campaigns."""

    cursor = fields.String(metadata=CURSOR)


class _Find(Schema):
    q = fields.String(
        metadata={
            "description": "Words of a name, an e-mail address, the last 4 to 10 digits of a "
            "number, or an id: of a CRM record, a delivery, a call, or the CRM's own of an event. "
            "For a viewer, 5 to 9 digits of a number count as the last 4 of them."
        }
    )


class DeliveriesQuery(DeliveriesRequest, _Find, _Limit):
    """The query of the list of deliveries."""


class DeliveriesTableQuery(DeliveriesRequest, _Find, _Reveal):
    """The query of the file of deliveries: the list's, without pages."""

    class Meta:
        """A file has no pages."""

        exclude = ("cursor",)


class EventsQuery(EventsRequest, _Limit):
    """The query of the list of events."""


class ActsQuery(_Limit):
    """The query of the audit."""

    actor = fields.String(metadata={"description": "The name of a token."})
    action = fields.String(validate=validate.OneOf([str(action) for action in ACTS]))
    since = fields.String(metadata=TIME)
    cursor = fields.String(metadata=CURSOR)


class RefusedQuery(_Limit):
    """The query of the list of refused requests."""

    source = fields.String()
    cursor = fields.String(metadata=CURSOR)


class SuppressionsQuery(_Limit, _Reveal):
    """The query of the list of suppressions."""

    cursor = fields.String(metadata=CURSOR)


class LookQuery(_Reveal):
    """The query of one event or suppression."""


class DeliveryQuery(_Reveal):
    """The query of one delivery."""

    wait = fields.Integer(
        validate=validate.Range(min=1, max=LONGEST_WAIT_S),
        metadata={
            "description": "How many seconds to wait for its status to change, or, with "
            "If-None-Match, for any change."
        },
    )
