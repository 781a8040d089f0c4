"""The outcome of a call: CallKaro's `call_ended`, read as far as it can be read.

CallKaro sends it once, documents no retry, and documents few types. So a field that is missing or
can't be read costs only that field, and only a limited part of any body is kept.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
from marshmallow import EXCLUDE, Schema, ValidationError, fields

from schemas.callkaro import METADATA_ID, AnswerId, Flag
from schemas.expression import Expression, ExpressionError
from schemas.fields import PhoneError
from schemas.spellings import person_number
from schemas.web_address import web_address

EVENT: Final = "call_ended"

INBOUND: Final = -1  # the try_count of a call from a person to CallKaro

LONGEST_TEXT: Final = 500
"""Characters that are kept of a short text."""

LONGEST_TRANSCRIPTION: Final = 20_000
"""Characters that are kept of a transcription: more than half an hour of talk."""

LARGEST_POST_CALL: Final = 8 * 1024
"""Bytes of JSON that are kept of the variables that an agent extracted."""

LARGEST_COMMENTS: Final = 8 * 1024
"""Bytes of JSON that are kept of what the agent remarked on these variables."""

_DEEPEST: Final = 20  # levels of post_call; very many would exhaust the stack of a JSON writer
_LONGEST_CALL_S: Final = 10**9
_MOST_TRIES: Final = 10**6


class Result(StrEnum):
    """The result of a call, in words for a CRM."""

    CONNECTED = "connected"
    VOICEMAIL = "voicemail"
    NOT_REACHED = "not_reached"
    WRONG_NUMBER = "wrong_number"
    NOT_DIALLED = "not_dialled"
    CANCELLED = "cancelled"
    FAILED = "failed"
    UNRECOGNISED = "unrecognised"  # a hangup_reason that CallKaro does not document, or none


DND_NUMBER: Final = "DND_NUMBER"  # CallKaro's word: the number is on the do-not-disturb list
DND_SENTENCE: Final = (
    f"CallKaro reported that the number is on the do-not-disturb list ({DND_NUMBER})."
)

# CallKaro's hangup_reason -> ours.
RESULTS: Final = {
    "CLIENT_INITIATED": Result.CONNECTED,
    "PARTICIPANT_REMOVED": Result.CONNECTED,
    "SESSION_TIMEOUT": Result.CONNECTED,
    "VOICEMAIL_DETECTED": Result.VOICEMAIL,
    "USER_REJECTED": Result.NOT_REACHED,
    "USER_UNAVAILABLE": Result.NOT_REACHED,
    "USER_UNRESPONSIVE": Result.NOT_REACHED,
    "INVALID_PHONE_NUMBER": Result.WRONG_NUMBER,
    "OUTSIDE_TRIGGER_WINDOW": Result.NOT_DIALLED,
    DND_NUMBER: Result.NOT_DIALLED,
    "VERIFICATION_REQUIRED": Result.NOT_DIALLED,
    "DELETED_SCH_CALL_ALL": Result.CANCELLED,
    "DELETED_SCH_CALL_ONE": Result.CANCELLED,
    "PRE_CALL_FN_FAILED": Result.FAILED,
    "UNKNOWN": Result.FAILED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How one dialling of a call ended.

    CallKaro may send an outcome twice: equal (call_sid, try_count) are one outcome.
    """

    call_sid: str | None  # this or delivery_id is set
    delivery_id: str | None  # our own id, from the metadata
    try_count: int = 0  # -1: inbound; 0: the first dial; 1 and up: CallKaro's redials
    result: Result = Result.UNRECOGNISED
    hangup_reason: str | None = None
    is_final: bool = True  # no further redial follows
    duration_s: int | None = None
    ended_at: datetime | None = None  # aware, UTC
    conversion_status: bool | None = None
    disposition_reason: str | None = None
    post_call: dict[str, Any] = field(default_factory=dict)  # variables that the agent extracted
    recording_url: str | None = None
    call_link: str | None = None
    transcription: str | None = None
    batch_id: str | None = None
    # By variable of post_call: {"value": …, "comment": why the agent chose this value}.
    post_call_detail: dict[str, Any] = field(default_factory=dict)
    version_id: str | None = None  # of the agent
    received_at: datetime | None = None  # aware, UTC; None: not kept, as ended_at says enough

    @property
    def proves_cancellation(self) -> bool:
        """Whether CallKaro deleted the scheduled call, so that no phone rang."""
        return self.result is Result.CANCELLED

    def __repr__(self) -> str:
        return f"Outcome(call_sid={self.call_sid!r}, try={self.try_count}, result={self.result!r})"


# --- fields ----------------------------------------------------------------------------------


class Id(AnswerId):
    """An id of CallKaro, text or a number. It is never cut: half an id could be another id."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        found = super()._deserialize(value, attr, data, **kwargs)
        if not found or not found.isprintable():
            raise ValidationError("must be an id")
        return found


class OurId(fields.Field[str]):
    """The delivery's id in the metadata that we sent along with the call."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        found = value.get(METADATA_ID) if isinstance(value, dict) else None
        if not isinstance(found, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", found):
            raise ValidationError("must contain our id")
        return found


class CutText(fields.Field[str]):
    """Text without the space around it, cut to `longest` characters; blank text is refused."""

    def __init__(self, longest: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.longest = longest

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        if not isinstance(value, str) or not (text := value.strip()):
            raise ValidationError("must be text")
        return _as_unicode(text[: self.longest])


class Link(fields.Field[str]):
    """A web address. Pages show it as a link, so see web_address()."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        found = web_address(value.strip()) if isinstance(value, str) else None
        if found is None:
            raise ValidationError("must be a web address")
        return found


class Count(fields.Field[int]):
    """A whole number from least to most; digits as text are accepted, fractions are cut off."""

    def __init__(self, least: int, most: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.least, self.most = least, most

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,9}(\.[0-9]{1,9})?\s*", value):
            value = float(value)
        if isinstance(value, float) and math.isfinite(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValidationError("must be a number")
        if not self.least <= value <= self.most:
            raise ValidationError("is out of range")
        return value


class Variables(fields.Field[dict[str, Any]]):
    """An object of any JSON; as many entries are kept as fit into `most` bytes."""

    def __init__(self, most: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.most = most

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("must be an object")
        kept: dict[str, Any] = {}
        room = self.most
        for name, item in self.entries(_sound(value)):
            size = len(orjson.dumps({name: item}))
            if size <= room:  # an entry that is too large does not cost the others
                kept[name] = item
                room -= size
        return kept

    def entries(self, value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the entries to keep, if they fit."""
        yield from value.items()


class Details(Variables):
    """By variable, its value and the agent's comment; other keys and other entries are dropped."""

    def entries(self, value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the entries to keep, if they fit."""
        for name, item in value.items():
            if not isinstance(item, dict) or not item.keys() & {"value", "comment"}:
                continue
            comment = item.get("comment")
            cut = comment.strip()[:LONGEST_TEXT] if isinstance(comment, str) else None
            yield name, {"value": item.get("value"), "comment": cut or None}


class CallEndedSchema(Schema):
    """The `data` of call_ended, without the fields that are not kept: numbers, functions called."""

    class Meta:
        unknown = EXCLUDE

    call_sid = Id(data_key="callSid")
    delivery_id = OurId(data_key="call_metadata")
    try_count = Count(-1, _MOST_TRIES)
    hangup_reason = CutText(LONGEST_TEXT)
    next_call_scheduled = Flag()
    duration_s = Count(0, _LONGEST_CALL_S, data_key="call_duration")
    time = CutText(LONGEST_TEXT)
    conversion_status = Flag()
    disposition_reason = CutText(LONGEST_TEXT)
    post_call = Variables(LARGEST_POST_CALL)
    post_call_detail = Details(LARGEST_COMMENTS)
    recording_url = Link(data_key="recordingUrl")
    call_link = Link()
    transcription = CutText(LONGEST_TRANSCRIPTION)
    batch_id = Id(data_key="batchId")
    version_id = Id(data_key="versionId")


_SCHEMA: Final = CallEndedSchema()


# --- reading ---------------------------------------------------------------------------------


def read_outcome(content: object, zone: str) -> Outcome | None:
    """Return the outcome in a decoded body; None: it has no outcome of a call of ours.

    None means another event, not an object, or neither a callSid nor our id. zone is the IANA name
    of the zone of CallKaro's times.
    """
    if not isinstance(content, dict) or content.get("event") != EVENT:
        return None
    data = content.get("data")
    known = _readable(data) if isinstance(data, dict) else {}
    call_sid, delivery_id = known.pop("call_sid", None), known.pop("delivery_id", None)
    if call_sid is None and delivery_id is None:
        return None
    time, next_comes = known.pop("time", ""), known.pop("next_call_scheduled", False)
    return Outcome(
        call_sid=call_sid,
        delivery_id=delivery_id,
        result=RESULTS.get(known.get("hangup_reason", ""), Result.UNRECOGNISED),
        is_final=not next_comes,
        ended_at=_instant(time, zone),
        **known,
    )


def asks_to_stop(outcome: Outcome, suppress_when: Expression | None) -> bool:
    """Say whether a number must not be called again because of how a call ended.

    suppress_when is evaluated over the outcome as it is kept (`post_call`, `disposition_reason`,
    `result`…). If that fails, the number is not suppressed: an agent that does not extract such a
    variable would suppress everybody.
    """
    if outcome.result is Result.WRONG_NUMBER or outcome.hangup_reason == DND_NUMBER:
        return True
    try:
        return suppress_when is not None and suppress_when.search(as_record(outcome)) is True
    except ExpressionError:
        return False


def number_of(content: object, outcome: Outcome) -> str | None:
    """Return the person's number (E.164) in a decoded body; None: it has no valid number.

    CallKaro writes digits without a plus. For an inbound call it is the number of the caller.
    """
    data = content.get("data") if isinstance(content, dict) else None
    key = "from" if outcome.try_count == INBOUND else "to"
    number = data.get(key) if isinstance(data, dict) else None
    if isinstance(number, int) and 0 < number < 10**18:  # Python refuses to print longer integers
        number = str(number)
    digits = re.sub(r"[^0-9]", "", number) if isinstance(number, str) else ""
    try:
        return person_number(f"+{digits}", None)
    except PhoneError:
        return None


def _readable(data: dict[Any, Any]) -> dict[str, Any]:
    """Return the fields that can be read, by our names."""
    try:
        loaded = _SCHEMA.load(data)
    except ValidationError as error:
        loaded = error.valid_data
    return dict(loaded)


_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})?"
)


def _instant(text: str, zone: str) -> datetime | None:
    """Return "2025-12-19 16:01:07" in UTC; a time without an offset, as documented, is in zone."""
    if not _TIME.fullmatch(text):
        return None
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))
        return at.astimezone(UTC)
    except (ZoneInfoNotFoundError, ValueError, OverflowError, OSError):
        return None


def _as_unicode(text: str) -> str:
    """Return text that UTF-8 can encode: half a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


def _sound(value: Any, depth: int = 0) -> Any:
    """Return a JSON value that orjson writes and reads unchanged; other values become null."""
    if depth > _DEEPEST:
        return None
    match value:
        case str():
            return _as_unicode(value)
        case bool():
            return value
        case int() if abs(value) < 2**63:
            return value
        case float() if math.isfinite(value):
            return value
        case list():
            return [_sound(item, depth + 1) for item in value]
        case dict():
            named = ((key, item) for key, item in value.items() if isinstance(key, str))
            return {_as_unicode(key): _sound(item, depth + 1) for key, item in named}
    return None


# --- records ---------------------------------------------------------------------------------

_NAMES: Final = tuple(each.name for each in dataclass_fields(Outcome))
_RESULT_WORDS: Final = frozenset(Result)


def as_record(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome as JSON values, as it is stored. Fields that are None are left out."""
    kept = {name: getattr(outcome, name) for name in _NAMES}
    kept["result"] = str(outcome.result)
    kept["ended_at"] = outcome.ended_at.isoformat() if outcome.ended_at else None
    kept["received_at"] = outcome.received_at.isoformat() if outcome.received_at else None
    kept["post_call_detail"] = outcome.post_call_detail or None
    return {name: value for name, value in kept.items() if value is not None}


def stored_record(outcome: Outcome) -> dict[str, Any]:
    """Return as_record() without what the rest of it says: it is stored for each dial.

    That is when it was received if it says when the call ended, and the value of a variable in
    post_call_detail if post_call has the same.
    """
    kept = as_record(outcome)
    if outcome.ended_at:
        kept.pop("received_at", None)
    if outcome.post_call_detail:
        kept["post_call_detail"] = {
            name: _without_value(detail, outcome.post_call.get(name))
            for name, detail in outcome.post_call_detail.items()
        }
    return kept


def _without_value(detail: dict[str, Any], value: Any) -> dict[str, Any]:
    # 1 and true, or 1 and 1.0, are equal in Python.
    if "value" not in detail or orjson.dumps(detail["value"]) != orjson.dumps(value):
        return detail
    return {name: kept for name, kept in detail.items() if name != "value"}


def _with_value(detail: Any, value: Any) -> Any:
    return {"value": value, **detail} if isinstance(detail, dict) else detail


def read_record(record: Mapping[str, Any]) -> Outcome:
    """Return the outcome that stored_record() wrote; fields of a newer release are ignored."""
    kept = {name: record[name] for name in _NAMES if name in record}
    if details := kept.get("post_call_detail"):
        values = kept.get("post_call") or {}
        kept["post_call_detail"] = {
            name: _with_value(detail, values.get(name)) for name, detail in details.items()
        }
    word = kept.pop("result", None)
    ended_at, received_at = kept.pop("ended_at", None), kept.pop("received_at", None)
    return Outcome(
        call_sid=kept.pop("call_sid", None),
        delivery_id=kept.pop("delivery_id", None),
        result=Result(word) if word in _RESULT_WORDS else Result.UNRECOGNISED,
        ended_at=datetime.fromisoformat(ended_at) if ended_at else None,
        received_at=datetime.fromisoformat(received_at) if received_at else None,
        **kept,
    )
