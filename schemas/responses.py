"""Answers of the API, dumped from our own dataclasses. Times are ISO 8601, UTC.

A response always has all of its keys; a key without a value is null, never left out. For speed,
some responses are built by hand elsewhere; their schemas here are for /openapi.json, and tests
compare the two.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, ClassVar, Final

from marshmallow import Schema, fields, pre_dump, validate

from schemas.access import ACTS
from schemas.delivery import KINDS, Delivery, Reason, Status
from schemas.event import EventStatus
from schemas.expression import Path
from schemas.fields import distinct, mask, mask_marked, mask_text
from schemas.links import Addresses, links_of, without_numbers
from schemas.outcome import Result
from schemas.raw_text import mask_raw
from schemas.reconcile import ReconcileStatus
from schemas.records import NO_OUTCOME
from schemas.source import Source
from schemas.write_back import Moment

_is_revealed: ContextVar[bool] = ContextVar("is_revealed", default=False)


@contextmanager
def revealed(really: bool = True) -> Iterator[None]:
    """Dump without masks inside this context; really False: with masks, as always."""
    token = _is_revealed.set(really)
    try:
        yield
    finally:
        _is_revealed.reset(token)


def as_shown(delivery: Delivery) -> Delivery:
    """Return a delivery with the links that may be shown now: see without_numbers()."""
    return delivery if _is_revealed.get() else without_numbers(delivery)


OPTIONAL: Final = "x-optional"
"""In a field's metadata: an answer may leave the field out."""


class ResponseSchema(Schema):
    """An answer. /openapi.json shows its docstring and the descriptions of its fields."""


def doc(description: str, **more: Any) -> dict[str, Any]:
    """Return the description of a field in /openapi.json."""
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
    """A CRM's id or type, with phone numbers masked where a + marks them; other digits are kept."""

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


class RawText(fields.Field[Any]):
    """A text that nobody could parse, with its phone numbers masked, in whatever escapes."""

    json_schema: ClassVar = {"type": "string"}

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str:
        return mask_raw(str(value))


class MaskedWords(fields.Field[Any]):
    """Any JSON value that may have sentences, with the phone numbers in them masked."""

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
            return distinct((_key(key), _mask_words(item)) for key, item in value.items())
        case _:
            return value


def _key(key: Any) -> Any:
    """Return an object's key, with the phone numbers in its words masked.

    Of digits alone, mask() has decided: Zoho has long ids as keys.
    """
    has_words = isinstance(key, str) and any(map(str.isalpha, key))
    return mask_text(key) if has_words else key


_DIGITS: Final = re.compile(r"[0-9]{1,40}")


class EventData(MaskedWords):
    """The data of an event: its phone numbers are masked, and the ids that its kind names are not.

    The schema that has it has `sources`, by name.
    """

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        shown = super()._serialize(value, attr, obj, **kwargs)
        source = getattr(self.parent, "sources", {}).get(obj.source)
        if source is None or shown is value:
            return shown
        for path in source.kind.ids:
            shown = _put_back(shown, value, path)
        return shown


def _put_back(shown: Any, original: Any, path: Path) -> Any:
    """Return a masked copy with the ids at a path as they are in the original."""
    if isinstance(original, list) and isinstance(shown, list):
        for at, item in enumerate(original):
            shown[at] = _put_back(shown[at], item, path)
    elif path and isinstance(original, dict) and isinstance(shown, dict):
        if path[0] in original and path[0] in shown:
            shown[path[0]] = _put_back(shown[path[0]], original[path[0]], path[1:])
    elif (not path and isinstance(original, int)) or (
        not path and isinstance(original, str) and _DIGITS.fullmatch(original)
    ):
        return original
    return shown


ACTOR: Final = doc("The name of the token of the person who did it; null: no person, or not known.")


class ActResponse(ResponseSchema):
    """What a person did. It has ids and no personal data."""

    id = fields.String()
    at = UtcTime()
    actor = fields.String(metadata=doc("The name of the token."))
    action = fields.String(validate=one_of(ACTS))
    kind = fields.String(
        allow_none=True,
        metadata=doc(
            "What target is of: delivery, event, suppression, pause, or the route of a call list. "
            "null: neither."
        ),
    )
    target = fields.String(
        allow_none=True,
        metadata=doc(
            "The id; a pause's is its scope, a route's its name. null: it was about many, or about "
            "none."
        ),
    )
    count = fields.Integer(
        allow_none=True, metadata=doc("How many it changed; null: it was on one.")
    )


class ActPageResponse(ResponseSchema):
    """What people did, newest first. A page may be short and still not be the last."""

    items = fields.List(fields.Nested(ActResponse))
    next_cursor = fields.String(allow_none=True, metadata=doc("null: that was the last page."))


class AttemptResponse(ResponseSchema):
    """One HTTP request for a delivery. A field is null until its value arrives, or for ever."""

    number = fields.Integer()
    at = fields.String(metadata=doc("When the request was made.", format="date-time"))
    duration_ms = fields.Integer(allow_none=True, dump_default=None)
    status_code = fields.Integer(
        allow_none=True, dump_default=None, metadata=doc("CallKaro's; null: there was no answer.")
    )
    error = fields.String(allow_none=True, dump_default=None)
    answer = MaskedText(allow_none=True, dump_default=None, metadata=doc("CallKaro's answer, cut."))


class ChangeResponse(ResponseSchema):
    """One step of the timeline."""

    at = UtcTime()
    status = fields.String(validate=one_of(Status))
    reason = fields.String(allow_none=True, metadata=doc("A word of the closed list."))
    actor = fields.String(allow_none=True, metadata=ACTOR)


LINK: Final = doc("Null also if it has the person's number, and numbers are masked.")


class OutcomeResponse(ResponseSchema):
    """CallKaro's report on one dial. The links are CallKaro's own.

    result is `unrecognised` where CallKaro gave a hangup_reason that it does not document.
    """

    call_sid = fields.String(allow_none=True)
    try_count = fields.Integer(metadata=doc("0: the first dial, 1 and up: redials, -1: inbound."))
    final = fields.Boolean(attribute="is_final", metadata=doc("false: CallKaro will redial."))
    result = fields.String(metadata=doc("The result of the call, as one of our words."))
    hangup_reason = MaskedText(allow_none=True, metadata=doc("CallKaro's own word."))
    ended_at = UtcTime(allow_none=True)
    duration_s = fields.Integer(allow_none=True)
    conversion_status = fields.Boolean(allow_none=True)
    disposition_reason = MaskedText(allow_none=True)
    post_call = MaskedWords(metadata=doc("The data that the agent extracted."))
    recording_url = fields.String(allow_none=True, metadata=LINK)
    call_link = fields.String(allow_none=True, metadata=LINK)
    transcription = MaskedText(allow_none=True)
    post_call_detail = MaskedWords(
        metadata=doc("By variable, its value and the agent's comment on why.")
    )
    version_id = MaskedText(allow_none=True, metadata=doc("The version of the agent."))


class HeadlineResponse(ResponseSchema):
    """How the newest dial of the newest call ended. The links are CallKaro's own.

    Of an erased person only result, at, is_final and tries are kept.
    """

    result = fields.String(validate=one_of(Result))
    talked_s = fields.Integer(allow_none=True)
    converted = fields.Boolean(allow_none=True)
    disposition = MaskedText(allow_none=True)
    at = UtcTime(allow_none=True, metadata=doc("When it ended, else when it was received."))
    is_final = fields.Boolean(metadata=doc("false: CallKaro will redial."))
    tries = fields.Integer(metadata=doc("Dials so far."))
    recording_url = fields.String(allow_none=True, metadata=LINK)
    call_link = fields.String(allow_none=True, metadata=LINK)


class LinksResponse(ResponseSchema):
    """Where people find it; null: nothing says where."""

    record = fields.String(allow_none=True, metadata=doc("In the CRM."))
    campaign = fields.String(allow_none=True, metadata=doc("At CallKaro."))
    call = fields.String(allow_none=True, metadata=doc("At CallKaro: call_link."))


class Links(fields.Nested):
    """What links_of() returned, which is as LinksResponse describes it already."""

    # marshmallow's Nested and Field name the first parameter differently.
    def _serialize(  # type: ignore[override]
        self, nested_obj: Any, attr: str | None, obj: Any, **kwargs: Any
    ) -> Any:
        return nested_obj


class WriteBackResponse(ResponseSchema):
    """What a CRM was told of a call, in short; the delivery with this id says more."""

    id = fields.String()
    moment = fields.String(validate=one_of(Moment))
    status = fields.String(validate=one_of(Status))
    reason = fields.String(allow_none=True, metadata=doc("null: there is nothing to explain."))
    message = fields.String(allow_none=True, metadata=doc("One sentence for people."))
    at = UtcTime(metadata=doc("When it got this status."))


class DeliveryBrief(ResponseSchema):
    """A delivery as lists show it."""

    def __init__(self, addresses: Addresses | None = None, **more: Any) -> None:
        """addresses: where its links lead."""
        super().__init__(**more)
        self.addresses = addresses or Addresses()

    @pre_dump
    def hide_links(self, delivery: Delivery, **_: Any) -> Delivery:
        """Leave out the links that have the person's number, unless numbers are revealed."""
        return as_shown(delivery)

    def get_attribute(self, obj: Any, attr: str, default: Any) -> Any:
        """Return a value to dump; the links come from several fields of the delivery."""
        if attr == "links":
            return links_of(obj, self.addresses)
        return getattr(obj, attr, default)  # marshmallow's own also tries keys and paths

    def rows(self, deliveries: Iterable[Delivery]) -> list[dict[str, Any]]:
        """Return what dump() does, in less time: a delivery has a value for each field."""
        columns = [
            (name, field.attribute or name, field._serialize)
            for name, field in self.dump_fields.items()
        ]
        return [
            {
                name: serialize(self.get_attribute(one, attribute, None), attribute, one)
                for name, attribute, serialize in columns
            }
            for one in map(as_shown, deliveries)
        ]

    id = fields.String()
    event_id = fields.String()
    source = fields.String()
    subject = fields.String(allow_none=True, metadata=doc("The CRM's id of the record."))
    route = fields.String()
    to = fields.String(validate=one_of(KINDS))
    of = fields.String(
        allow_none=True, metadata=doc("Of a write_back: the id of the call that it tells of.")
    )
    moment = fields.String(
        allow_none=True,
        metadata=doc("Of a write_back: what it tells.", enum=[*map(str, Moment), None]),
    )
    status = fields.String(validate=one_of(Status))
    reason = fields.String(
        allow_none=True,
        metadata=doc(
            "Why it has this status; null: there is nothing to explain.",
            enum=[*map(str, Reason), None],
        ),
    )
    message = fields.String(allow_none=True, metadata=doc("One sentence for people."))
    created_at = UtcTime()
    next_attempt_at = UtcTime(allow_none=True, metadata=doc("null: nothing is planned."))
    call_sid = fields.String(allow_none=True, metadata=doc("CallKaro's id of the call."))
    batch_id = fields.String(allow_none=True, metadata=doc("CallKaro's id of the campaign."))
    name = MaskedText(allow_none=True, metadata=doc("The person's name; null: not known."))
    phone = Masked(
        attribute="number",
        allow_none=True,
        metadata=doc("The number that is called, masked; null: not read yet, or erased."),
    )
    outcome = fields.Nested(
        HeadlineResponse,
        attribute="headline",
        allow_none=True,
        metadata=doc("How the call ended; null: CallKaro has not reported it."),
    )
    links = Links(LinksResponse)


class DeliveryResponse(DeliveryBrief):
    """A delivery in full."""

    routes = fields.String(metadata=doc("The digest of the routes.toml that it was made with."))
    request = MaskedWords(metadata=doc("The body for CallKaro; null: not made yet, or erased."))
    attempts = fields.List(fields.Nested(AttemptResponse))
    cancel_asked_at = UtcTime(
        allow_none=True,
        metadata=doc("When the deletion of the scheduled call was requested."),
    )
    call_again = fields.Boolean(metadata=doc("Whether a person asked for another call."))
    consent = MaskedWords(
        metadata=doc("The proof: the expression, its result, and when it was read.")
    )
    erased_at = UtcTime(allow_none=True, metadata=doc("When the person was erased."))
    outcomes = fields.List(fields.Nested(OutcomeResponse))
    timeline = fields.List(fields.Nested(ChangeResponse))
    write_backs = fields.List(
        fields.Nested(WriteBackResponse),
        metadata=doc("What the CRM was told of this call, the oldest first."),
    )


class DeliveryPage(ResponseSchema):
    """Deliveries, newest first. A page may be short and still not be the last."""

    items = fields.List(fields.Nested(DeliveryBrief))
    next_cursor = fields.String(allow_none=True, metadata=doc("null: that was the last page."))
    total = fields.Integer(
        allow_none=True, metadata=doc("How many match in all; null: that is not known exactly.")
    )


class DeliveryRefResponse(ResponseSchema):
    """A delivery of an event; status `erased`: its record is gone, or unreadable."""

    id = fields.String()
    route = fields.String()
    status = fields.String(validate=one_of([*Status, "erased"]))
    status_url = fields.String(metadata=doc("The address of its API resource."))


class EventBrief(ResponseSchema):
    """An event as lists show it."""

    id = fields.String()
    source = fields.String()
    source_event_id = MaskedName(
        metadata=doc(
            "The CRM's own id, or the ids that make a notification unique, joined by a dash. "
            "Empty: it was erased."
        )
    )
    type = MaskedName()
    subject = fields.String(allow_none=True, metadata=doc("The CRM's id of the record."))
    time = UtcTime(allow_none=True, metadata=doc("When it happened, as the CRM reports it."))
    received_at = UtcTime()
    problem = fields.String(
        allow_none=True, metadata=doc("Why the event can't be read; null: it can.")
    )
    is_test = fields.Boolean(
        metadata=doc(
            "Whether its source says that it is a test, or about no lead. Then it calls nobody."
        )
    )


class EventResponse(EventBrief):
    """An event that was received."""

    data = EventData(metadata=doc("The notification as stored, numbers masked; ids are not."))

    def __init__(self, sources: Mapping[str, Source] = MappingProxyType({}), **more: Any) -> None:
        """sources: by name, for the ids in the data that need no mask."""
        super().__init__(**more)
        self.sources = sources


class SeenResponse(ResponseSchema):
    """The result of an event."""

    status = fields.String(validate=one_of(EventStatus))
    deliveries = fields.List(fields.Nested(DeliveryRefResponse))


class SeenEventBrief(EventBrief, SeenResponse):
    """An event as lists show it, with its deliveries."""


class SeenEventResponse(EventResponse, SeenResponse):
    """An event that was received, with its deliveries."""


class EventPageResponse(ResponseSchema):
    """Events, newest first. A page may be short and still not be the last."""

    items = fields.List(fields.Nested(SeenEventBrief))
    next_cursor = fields.String(allow_none=True, metadata=doc("null: that was the last page."))


class RefusedResponse(ResponseSchema):
    """A request that proved its source and could not be parsed. It can't be replayed."""

    id = fields.String()
    source = fields.String()
    at = UtcTime()
    content_type = MaskedText(metadata=doc("The header of the request, cut."))
    bytes = fields.Integer(metadata=doc("Of the whole body, as it came."))
    problem = fields.String(metadata=doc("The sentence that its sender got."))
    place = fields.String(
        metadata=doc("Where in the body, such as `line 1, column 5`. Empty: not known.")
    )
    body = RawText(
        metadata=doc(
            "Its first 64 kB, numbers and secrets masked. Empty: nobody can read it as text."
        )
    )


class RefusedBrief(RefusedResponse):
    """A refused request as lists show it."""

    body = RawText(attribute="head", metadata=doc("The beginning: 1,000 bytes at most."))


class RefusedPageResponse(ResponseSchema):
    """Refused requests, newest first. A page may be short and still not be the last."""

    items = fields.List(fields.Nested(RefusedBrief))
    next_cursor = fields.String(allow_none=True, metadata=doc("null: that was the last page."))


class CallKaroResponse(ResponseSchema):
    """CallKaro's answers to the latest requests; null: none yet."""

    answered_at = UtcTime(allow_none=True)
    failed_at = UtcTime(allow_none=True)
    message = MaskedText(allow_none=True, metadata=doc("About the latest of these answers."))
    failed_message = MaskedText(allow_none=True, metadata=doc("About the latest failure."))


class SuppressionResponse(ResponseSchema):
    """A number or record that must not be called.

    id is a keyed hash; a DELETE takes it instead of the phone number.
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
    source = fields.String(
        allow_none=True, metadata=doc("The source of the event that suppressed it.")
    )
    event_id = fields.String(
        allow_none=True, metadata=doc("The event that suppressed it. null: it was not an event.")
    )
    delivery_id = fields.String(
        allow_none=True,
        metadata=doc("The delivery whose call suppressed it. null: not a call, or not known."),
    )
    actor = fields.String(allow_none=True, metadata=ACTOR)
    since = UtcTime()


class SuppressionPageResponse(ResponseSchema):
    """Numbers and records that must not be called, newest first."""

    items = fields.List(fields.Nested(SuppressionResponse))
    next_cursor = fields.String(allow_none=True, metadata=doc("null: that was the last page."))


class CalledOffResponse(ResponseSchema):
    """The result for planned calls."""

    cancelled = fields.Integer()
    dropping = fields.Integer(metadata=doc("The bridge asks CallKaro to delete these."))
    on_the_wire = fields.Integer(metadata=doc("These may be ringing right now."))


class SuppressedResponse(SuppressionResponse, CalledOffResponse):
    """A suppression, and the result for planned calls."""


class UnsuppressedResponse(ResponseSchema):
    """A number or record that may be called again."""

    id = fields.String()
    suppressed = fields.Boolean()


class RefusedNumber(ResponseSchema):
    """A number that can't be read."""

    place = fields.Integer(metadata=doc("Its place in the list; the first is 0."))
    message = fields.String()


class SuppressedManyResponse(ResponseSchema):
    """How many numbers were suppressed now, how many before, and which can't be read."""

    suppressed = fields.Integer()
    known = fields.Integer()
    refused = fields.List(fields.Nested(RefusedNumber))


class UnreadableRow(ResponseSchema):
    """A row of a call list that can't become a call."""

    line = fields.Integer(metadata=doc("In the file; the first is 1."))
    message = fields.String()


class CallListResponse(ResponseSchema):
    """What became of the rows of a call list; `rows` is the sum of the others."""

    rows = fields.Integer()
    accepted = fields.Integer(metadata=doc("Stored, and held as bulk until a person releases."))
    duplicates = fields.Integer(
        metadata=doc("The number is in the list twice, or a list of this name had it.")
    )
    suppressed = fields.Integer(metadata=doc("The number is suppressed; the row is left out."))
    unreadable = fields.List(fields.Nested(UnreadableRow))


class ChannelResponse(ResponseSchema):
    """A notification channel: what a CRM tells the bridge of, and until when."""

    source = fields.String()
    events = fields.List(fields.String(), metadata=doc("In the CRM's words: Leads.create."))
    renewed_at = UtcTime(allow_none=True, metadata=doc("null: it was not made yet."))
    expires_at = UtcTime(allow_none=True)
    failures = fields.Integer(metadata=doc("Tries in a row to make or renew it that failed."))
    message = fields.String(allow_none=True, metadata=doc("Why the latest try failed."))
    notified_at = UtcTime(
        allow_none=True, metadata=doc("When the latest webhook of the source came.")
    )


class MissedResponse(ResponseSchema):
    """An event that never arrived."""

    type = fields.String()
    subject = fields.String(metadata=doc("The end of the id of the CRM's record."))
    at = fields.String(allow_none=True, metadata=doc("null: the CRM does not say."))


class ReconcileResponse(ResponseSchema):
    """The latest reconcile of a source: what its CRM has that never arrived here."""

    source = fields.String()
    status = fields.String(
        validate=one_of(tuple(ReconcileStatus)),
        metadata=doc("counting: nothing is stored yet. A dry run ends after it."),
    )
    dry_run = fields.Boolean()
    since = UtcTime()
    started_at = UtcTime()
    ended_at = UtcTime(allow_none=True, metadata=doc("null: it has not ended."))
    message = fields.String(
        allow_none=True, metadata=doc("Why it waits or failed; null: it does not.")
    )
    known = fields.Integer(metadata=doc("Events that were here already."))
    missed = fields.Integer(metadata=doc("Events that never arrived, and that a route calls for."))
    left_out = fields.Integer(
        metadata=doc("Events that never arrived, and that no route takes from a reconcile.")
    )
    own = fields.Integer(
        metadata=doc("Changes of records that the bridge wrote to; they are left out, too.")
    )
    taken = fields.Integer(metadata=doc("Events that were stored."))
    is_held = fields.Boolean(metadata=doc("Their calls wait until a person releases them."))
    examples = fields.List(fields.Nested(MissedResponse))
    actor = fields.String(allow_none=True, metadata=ACTOR)


class ErasedResponse(ResponseSchema):
    """The progress of an erasure."""

    deliveries = fields.Integer()
    events = fields.Integer()
    done = fields.Boolean(attribute="is_done", metadata=doc("false: a worker continues."))


class PauseResponse(ResponseSchema):
    """A pause."""

    scope = fields.String()
    reason = fields.String(
        validate=one_of(("person", "account", "breaker", "failing", "credentials"))
    )
    message = MaskedText()
    since = UtcTime()
    until = UtcTime(allow_none=True, metadata=doc("null: until a person resumes it."))
    actor = fields.String(allow_none=True, metadata=ACTOR)


class PausesResponse(ResponseSchema):
    """Everything that is paused, the oldest pause first."""

    items = fields.List(fields.Nested(PauseResponse))


class CampaignResponse(ResponseSchema):
    """A campaign, and what became of its calls.

    A call that waits counts in the campaign that its route would use now, every other call in the
    campaign that its request named.
    """

    key = MaskedName(
        allow_none=True,
        dump_default=None,
        metadata=doc("How the bridge finds it; null: the bridge did not make it."),
    )
    name = MaskedName(
        allow_none=True, dump_default=None, metadata=doc("null: the bridge did not make it.")
    )
    agent_id = fields.String(
        allow_none=True,
        dump_default=None,
        metadata=doc("null: a v2 campaign; each call has its own agent."),
    )
    batch_id = fields.String()
    created_at = fields.String(
        allow_none=True,
        dump_default=None,
        metadata=doc("null: the bridge did not make it.", format="date-time"),
    )
    counts = fields.Dict(
        keys=fields.String(validate=one_of(Status)),
        values=fields.Integer(),
        metadata=doc("Calls by status; a status without a call is left out."),
    )
    outcomes = fields.Dict(
        keys=fields.String(validate=one_of((*Result, NO_OUTCOME))),
        values=fields.Integer(),
        metadata=doc("Accepted calls by result; none: nothing was reported yet."),
    )
    total = fields.Integer(metadata=doc("All its calls."))
    forgotten = fields.Integer(
        metadata=doc("Those of the total whose records were deleted after RETENTION_DAYS.")
    )
    progress = fields.Float(
        allow_none=True, metadata=doc("The settled share, 0 to 1; null: it has no calls.")
    )
    first_call_at = UtcTime(
        allow_none=True, metadata=doc("When CallKaro first accepted a call; null: not yet.")
    )
    last_call_at = UtcTime(
        allow_none=True, metadata=doc("When CallKaro last accepted a call; null: not yet.")
    )
    routes = fields.List(
        fields.String(), metadata=doc("The routes whose calls join it by its name now.")
    )
    paused = fields.Nested(PauseResponse, allow_none=True, metadata=doc("null: it is not paused."))
    link = fields.String(metadata=doc("Its page at CallKaro."))


class CampaignPageResponse(ResponseSchema):
    """Campaigns, newest first."""

    items = fields.List(fields.Nested(CampaignResponse))
    next_cursor = fields.String(allow_none=True, metadata=doc("null: that was the last page."))


class ResumedResponse(ResponseSchema):
    """A pause that has ended, and how many deliveries it had held."""

    scope = fields.String()
    released = fields.Integer()
    too_old = fields.Integer(
        metadata=doc("Only with dry_run: of these, how many max_age ends.", **{OPTIONAL: True})
    )
    dry_run = fields.Boolean(metadata=doc("True, or left out.", **{OPTIONAL: True}))


# --- many at once -------------------------------------------------------------------------------


class BulkResponse(ResponseSchema):
    """The result of a command on many; with dry_run, what it would be."""

    matched = fields.Integer(metadata=doc("How many match the filters."))
    dry_run = fields.Boolean()
    next_cursor = fields.String(
        allow_none=True,
        metadata=doc("There are more: ask again with this cursor. null: that was all."),
    )


class RefusingResponse(BulkResponse):
    """The result of a command on many deliveries."""

    refused = fields.Integer()
    refused_by = fields.Dict(
        keys=fields.String(validate=one_of(Status)),
        values=fields.Integer(),
        metadata=doc("How many could not be changed, by their status."),
    )


class RetriedResponse(RefusingResponse):
    """How many deliveries were retried."""

    retried = fields.Integer()


class CancelledResponse(RefusingResponse):
    """How many deliveries were cancelled."""

    cancelled = fields.Integer()


class ReleasedResponse(RefusingResponse):
    """How many deliveries were released."""

    released = fields.Integer()


class ReplayedManyResponse(BulkResponse):
    """How many events got new deliveries, and how many did not."""

    replayed = fields.Integer()
    unchanged = fields.Integer()


class ReplayedResponse(ResponseSchema):
    """An event after a replay, with its new deliveries."""

    id = fields.String()
    status = fields.String(validate=one_of(EventStatus))
    deliveries = fields.List(fields.Nested(DeliveryRefResponse))
    dry_run = fields.Boolean()


# --- the state of the bridge ---------------------------------------------------------------------


class QueueResponse(ResponseSchema):
    """RQ's queue."""

    drains_queued = fields.Integer()


class WorkerResponse(ResponseSchema):
    """An RQ worker that runs."""

    name = fields.String()
    state = fields.String(metadata=doc("RQ's own word.", type=["string", "null"]))


class PersistenceResponse(ResponseSchema):
    """How safely Redis keeps data."""

    append_only = fields.Boolean(allow_none=True, metadata=doc("null: Redis does not say."))
    fsync = fields.String()
    policy = fields.String()
    used_bytes = fields.Integer(allow_none=True, metadata=doc("null: Redis does not say."))
    used_ratio = fields.Float(
        allow_none=True, metadata=doc("null: no limit is set, or Redis does not say.")
    )


class IndexingResponse(ResponseSchema):
    """Until all is indexed, lists by outcome are not complete."""

    done = fields.Integer(metadata=doc("Deliveries."))
    of = fields.Integer()


class StatusResponse(ResponseSchema):
    """The state of the bridge."""

    deliveries = fields.Dict(
        keys=fields.String(), values=fields.Integer(), metadata=doc("How many, by status.")
    )
    events = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata=doc("How many have no delivery, by status."),
    )
    write_backs = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata=doc("What CRMs were told of calls: how many, by status."),
    )
    oldest_waiting_s = fields.Float(allow_none=True, metadata=doc("null: no delivery waits."))
    waiting = fields.Integer()
    bulk = fields.Integer(
        metadata=doc("How many deliveries are held until a person releases them.")
    )
    suppressions = fields.Integer()
    next_due_s = fields.Float(allow_none=True, metadata=doc("null: nothing is planned."))
    queue = fields.Nested(QueueResponse)
    workers = fields.List(fields.Nested(WorkerResponse))
    pauses = fields.List(fields.Nested(PauseResponse))
    channels = fields.List(
        fields.Nested(ChannelResponse), metadata=doc("The notification channels of CRMs.")
    )
    callkaro = fields.Nested(CallKaroResponse)
    routes = fields.String(metadata=doc("The digest of routes.toml."))
    indexing = fields.Nested(
        IndexingResponse,
        allow_none=True,
        metadata=doc(
            "How far an older release's deliveries are indexed and counted; null: all are."
        ),
    )
    persistence = fields.Nested(PersistenceResponse)
    warnings = fields.List(fields.String(), metadata=doc("What needs a look, a sentence each."))


class AliveResponse(ResponseSchema):
    """This process runs."""

    status = fields.String(validate=one_of(("ok",)))


class ReadyResponse(ResponseSchema):
    """This process can store."""

    status = fields.String(validate=one_of(("ready",)))
    warnings = fields.List(fields.String())


# --- answers to senders of webhooks -------------------------------------------------------------


class AcceptedEventResponse(ResponseSchema):
    """An event in the answer to its sender; a duplicate has the ids of the first."""

    id = fields.String()
    status = fields.String(validate=one_of(EventStatus))
    duplicate = fields.Boolean()
    status_url = fields.String()
    deliveries = fields.List(fields.Nested(DeliveryRefResponse))


class WebhookResponse(ResponseSchema):
    """The result of a webhook request; the four counts add up to the number of its items."""

    accepted = fields.Integer()
    duplicates = fields.Integer()
    unrouted = fields.Integer()
    unreadable = fields.Integer()
    events = fields.List(fields.Nested(AcceptedEventResponse))


class OutcomeKeptResponse(ResponseSchema):
    """What the bridge did with an outcome."""

    status = fields.String(validate=one_of(("stored", "duplicate", "full", "kept", "ignored")))


class ErrorResponse(ResponseSchema):
    """Every error has this shape."""

    error = fields.String(metadata=doc("One word, for programs."))
    message = fields.String(metadata=doc("One sentence, for people."))
