"""CallKaro's requests and answers: every request of ours is checked here.

A schema loads the values of a route's map into a frozen dataclass, and dumps that as the exact
body. Nothing is assumed about CallKaro: a request that its documents don't describe is refused.
https://docs.callkaro.ai/api-reference
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson
from marshmallow import (
    EXCLUDE,
    Schema,
    ValidationError,
    fields,
    post_load,
    pre_load,
    validates_schema,
)

from schemas.fields import Phone, mask_text

METADATA_ID: Final = "bridge_delivery_id"
"""The metadata key of our delivery id; CallKaro sends it back with the outcome."""

PATHS: Final = {"call": "/call/outbound", "v1": "/call/campaign", "v2": "/v2/call/campaign"}

LONGEST_ID: Final = 200
"""Characters of an id of CallKaro; a longer text is not an id."""

LANGUAGES: Final = ("hi", "en", "kn", "mr", "ta", "te", "bn", "gu", "ml")

# --- fields ----------------------------------------------------------------------------------


class Text(fields.Field[str]):
    """Text of 1 to longest characters (None: any number), not only spaces. It is not trimmed."""

    def __init__(self, *, longest: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.longest = longest

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        if not isinstance(value, str) or not _is_unicode(value):
            raise ValidationError("must be text")
        if not value.strip():
            raise ValidationError("must not be empty")
        if self.longest is not None and len(value) > self.longest:
            raise ValidationError(f"must be 1 to {self.longest} characters long")
        return value


class Whole(fields.Field[int]):
    """A whole number from least to most (None: no limit).

    Digit strings are converted, because a CRM's form post has nothing but strings; true, 2.0 and
    "2.0" are refused.
    """

    def __init__(self, least: int, most: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.least, self.most = least, most

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,9}\s*", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValidationError("must be a whole number")
        if self.most is None and value < self.least:
            raise ValidationError(f"must be {self.least} or more")
        if self.most is not None and not self.least <= value <= self.most:
            raise ValidationError(f"must be between {self.least} and {self.most}")
        return value


class Gap(fields.Field["int | tuple[int, ...]"]):
    """Minutes between redials: one whole number, or a list with one for each redial.

    A list becomes a tuple; the schema checks whether its length fits the redials.
    """

    _minutes = Whole(0, 525_600)  # a year; a longer gap is a mistake

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> int | tuple[int, ...]:
        if isinstance(value, list | tuple):
            return tuple(self._minutes._deserialize(entry, attr, data) for entry in value)
        return self._minutes._deserialize(value, attr, data)


class Flag(fields.Field[bool]):
    """true or false, and no value that only looks like one."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("must be true or false")
        return value


class LocalTime(fields.Field[str]):
    """A date and time without an offset: "2025-12-31T09:30:00". See to_schedule_at()."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        if not isinstance(value, str) or not re.fullmatch(
            r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}", value
        ):
            raise ValidationError("must read YYYY-MM-DDTHH:MM:SS, without an offset")
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise ValidationError("must be a real date and time") from None
        return value


class ClockTime(fields.Field[str]):
    """A time of day, "9:00" or "09:00". CallKaro accepts both; it gets what the route has."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        if not isinstance(value, str) or not re.fullmatch(
            r"([0-1]?[0-9]|2[0-3]):[0-5][0-9]", value
        ):
            raise ValidationError("must be a time of day, HH:MM")
        return value


class Language(fields.Field[str]):
    """One of CallKaro's languages; a CRM's locale ("en-US", "hi_IN") is cut to its language."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        subtag = re.split(r"[-_]", value.strip())[0].lower() if isinstance(value, str) else ""
        if subtag not in LANGUAGES:
            raise ValidationError(f"must be one of {' '.join(LANGUAGES)}")
        return subtag


class Metadata(fields.Field[dict[str, Any]]):
    """A JSON object whose keys a prompt reads as {{metadata.key}}.

    A null becomes "". Every mapped key is sent, because a pre-call function can't add a key, and a
    prompt must not read out "null". A null in a deeper level stays. A text is cut to LONGEST_TEXT
    characters, so that a long note does not stop a call; the whole must fit into LARGEST_METADATA.
    """

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("must be an object")
        if problem := _json_problem(value):
            raise ValidationError(problem)
        if any(key.startswith("_") for key in value):
            raise ValidationError('must not have a key that starts with "_"')
        sent = {key: "" if item is None else _cut(item) for key, item in value.items()}
        if len(orjson.dumps(sent)) > LARGEST_METADATA:
            raise ValidationError(f"must have at most {LARGEST_METADATA // 1024} kB as JSON")
        return sent


LONGEST_TEXT: Final = 5000
"""Characters that are sent of one text in the metadata."""

LARGEST_METADATA: Final = 64 * 1024
"""Bytes of JSON; each delivery keeps its request."""

_DEEPEST: Final = 20
"""Levels of metadata. Prompts read one level; more would exhaust a JSON writer's stack."""


def _json_problem(value: object, depth: int = 0) -> str | None:
    """Say why a value is not JSON, without any part of it; None: it is JSON."""
    if depth > _DEEPEST:
        return f"must not be nested deeper than {_DEEPEST} levels"
    match value:
        case None | bool():
            return None
        case int():
            # A record's text may become a number of any length; JSON readers need not accept it.
            return None if abs(value) < 2**63 else "must not contain a number of more than 64 bits"
        case str():
            return None if _is_unicode(value) else "must be Unicode text throughout"
        case float():
            # Python would write NaN, which JSON readers need not accept.
            return None if math.isfinite(value) else "must not contain NaN or infinity"
        case list():
            parts: list[object] = value
        case dict():
            if not all(isinstance(key, str) and _is_unicode(key) for key in value):
                return "must have text for keys"
            parts = list(value.values())
        case _:
            return "must contain JSON values only"
    problems = (_json_problem(part, depth + 1) for part in parts)
    return next((problem for problem in problems if problem), None)


def _cut(value: Any) -> Any:
    """Return a JSON value with each text cut to LONGEST_TEXT characters."""
    match value:
        case str() if len(value) > LONGEST_TEXT:
            return value[: LONGEST_TEXT - 1] + "…"
        case list():
            return [_cut(item) for item in value]
        case dict():
            return {key: _cut(item) for key, item in value.items()}
        case _:
            return value


def _is_unicode(text: str) -> bool:
    """Say whether text can be sent: JSON may contain half a surrogate pair, UTF-8 can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- requests --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboundCall:
    """Body of POST /call/outbound. A field that is None and empty metadata are not sent.

    The zone of schedule_at and of the trigger times is not documented: it is CALLKARO_TIMEZONE.
    """

    to_number: str  # E.164, "+919876543210"
    agent_id: str
    batch_id: str | None = None  # the campaign, if any
    metadata: dict[str, Any] = field(default_factory=dict)
    schedule_at: str | None = None  # YYYY-MM-DDTHH:MM:SS; None: now
    min_trigger_time: str | None = None  # HH:MM
    max_trigger_time: str | None = None  # HH:MM, later the same day
    carry_over: bool | None = None  # at max_trigger_time: go on the next day
    number_of_retries: int | None = None  # redials by CallKaro when nobody picks up
    gap_between_retries: int | tuple[int, ...] | None = None  # minutes
    priority: int | None = None  # -100 to 100, higher first
    language: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CampaignV1:
    """Body of POST /call/campaign: a campaign whose calls all use one agent."""

    name: str
    agent_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CampaignV2:
    """Body of POST /v2/call/campaign: a campaign whose calls each name their agent."""

    name: str


class RequestSchema(Schema):
    """A request of ours. Unknown keys raise an error, because our own people write routes.toml.

    validate(…, partial=True) checks only a route's constants, at the start.
    """

    @pre_load
    def drop_empty(self, data: Any, *, partial: Any = None, **_: Any) -> Any:
        """Drop null and blank text, which CRMs send for "nothing": a lead may have no language.

        An empty constant of a route is not dropped: it is a mistake, and is reported.
        """
        if partial or not isinstance(data, Mapping):
            return data
        return {
            key: value
            for key, value in data.items()
            if key not in self.fields
            or not (value is None or (isinstance(value, str) and not value.strip()))
        }

    def dump(self, obj: Any, *, many: bool | None = None) -> dict[str, Any]:
        """Return the body of a loaded request: its fields that have a value.

        The fields are JSON as they were loaded, so marshmallow's own way, which asks each field
        for its value, would only take longer.
        """
        values = ((name, getattr(obj, name)) for name in self.fields)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values
            if value is not None and value != {}
        }


class OutboundCallSchema(RequestSchema):
    """https://docs.callkaro.ai/api-reference/outbound-call"""

    to_number = Phone(required=True)
    # The sample in CallKaro's documents has 25 characters.
    agent_id = Text(required=True, longest=LONGEST_ID)
    batch_id = Text(longest=LONGEST_ID)
    metadata = Metadata()
    schedule_at = LocalTime()
    min_trigger_time = ClockTime()
    max_trigger_time = ClockTime()
    carry_over = Flag()
    number_of_retries = Whole(0, 10)
    gap_between_retries = Gap()
    priority = Whole(-100, 100)
    language = Language()

    @validates_schema
    def check_trigger_times(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a window that crosses midnight: CallKaro does not document its meaning."""
        if "min_trigger_time" not in data or "max_trigger_time" not in data:
            return
        if _minutes(data["min_trigger_time"]) >= _minutes(data["max_trigger_time"]):
            raise ValidationError("must be later than min_trigger_time", "max_trigger_time")

    @validates_schema
    def check_gaps(self, data: dict[str, Any], *, partial: Any = None, **_: Any) -> None:
        """Refuse more gaps than redials. build() pads a list of fewer."""
        gaps = data.get("gap_between_retries")
        if not isinstance(gaps, tuple):
            return
        if partial and "number_of_retries" not in data:  # an expression will return it
            return
        if not 1 <= len(gaps) <= data.get("number_of_retries", 0):
            raise ValidationError(
                "must have at least one entry, and at most one for each of number_of_retries",
                "gap_between_retries",
            )

    @post_load
    def build(self, data: dict[str, Any], **_: Any) -> OutboundCall:
        gaps = data.get("gap_between_retries")
        if isinstance(gaps, tuple):
            # CallKaro's own sample has 3 retries and the gaps [30, 60]. The meaning of a short list
            # is not documented, so the last gap is repeated here.
            missing = data["number_of_retries"] - len(gaps)
            data = {**data, "gap_between_retries": gaps + gaps[-1:] * missing}
        return OutboundCall(**data)


class CampaignV1Schema(RequestSchema):
    """https://docs.callkaro.ai/api-reference/campaign-v1"""

    name = Text(required=True, longest=200)
    agent_id = Text(required=True, longest=LONGEST_ID)

    @post_load
    def build(self, data: dict[str, Any], **_: Any) -> CampaignV1:
        return CampaignV1(**data)


class CampaignV2Schema(RequestSchema):
    """https://docs.callkaro.ai/api-reference/campaign-v2"""

    name = Text(required=True, longest=200)

    @post_load
    def build(self, data: dict[str, Any], **_: Any) -> CampaignV2:
        return CampaignV2(**data)


CALL_FIELDS: Final = frozenset(OutboundCallSchema().fields)
"""Every field that a route may map for a call."""

CAMPAIGN_FIELDS: Final = frozenset(CampaignV1Schema().fields) | frozenset(CampaignV2Schema().fields)
"""Every field that a route may map for a campaign, v1 or v2."""


def _minutes(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)


# --- problems ----------------------------------------------------------------------------------

# marshmallow's words -> ours.
_WORDS: Final = {
    "Missing data for required field.": "missing",
    "Field may not be null.": "missing",
    "Unknown field.": "unknown field",
    "Invalid input type.": "must be an object",
    "Not a valid mapping type.": "must be an object",
    "Not a valid list.": "must be a list",
    "Not a valid string.": "must be text",
    "Not a valid integer.": "must be a whole number",
    "Not a valid number.": "must be a number",
    "Not a valid boolean.": "must be true or false",
}
# A key that the sender chose may be a person's name or number. A key like a field name is not.
_FIELD_NAME: Final = re.compile(r"[a-z][a-z_]{0,40}")


def describe(error: ValidationError) -> str:
    """Put a schema's problems into one sentence: "to_number: missing; priority: must be …".

    The sentence has no value of the request, because neither our messages nor marshmallow's have
    one. It has no key either, unless the key looks like a field's name.
    """
    return "; ".join(_problems(error.messages, ""))


def _problems(messages: Any, path: str) -> list[str]:
    if isinstance(messages, Mapping):
        return [
            problem
            for key, below in messages.items()
            for problem in _problems(below, path if key == "_schema" else _join(path, key))
        ]
    found = messages if isinstance(messages, list) else [messages]
    return [problem for message in found for problem in _problem(message, path)]


def _problem(message: Any, path: str) -> list[str]:
    if isinstance(message, Mapping | list):
        return _problems(message, path)
    text = _WORDS.get(str(message), str(message).removesuffix("."))
    return [f"{path}: {text}" if path else text]


def _join(path: str, key: object) -> str:
    shown = isinstance(key, int) or (isinstance(key, str) and _FIELD_NAME.fullmatch(key))
    return f"{path}{'.' if path else ''}{key if shown else '(a key)'}"


# --- answers ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class CallAccepted:
    """CallKaro accepted the call: a phone will ring."""

    call_sid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CampaignAccepted:
    """CallKaro created the campaign."""

    batch_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """CallKaro refused, with this text: cut to 200 characters, phone numbers masked.

    The text may repeat other parts of the request. So it is kept with the delivery, and not logged.
    """

    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """An answer that is neither yes nor no, so a phone may ring. why is one sentence."""

    why: str


_MESSAGE_LENGTH: Final = 200
_YES: Final = frozenset({"done", "success"})  # the older documents have "success" for calls too


class AnswerId(fields.Field[str]):
    """An id in an answer, as text; a number is accepted, too."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**30:
            return str(value)
        if not isinstance(value, str) or not _is_unicode(value):
            raise ValidationError("must be text")
        found = value.strip()
        # It is never cut: half an id could be another id.
        if len(found) > LONGEST_ID:
            raise ValidationError(f"must have at most {LONGEST_ID} characters")
        return found


class AnswerSchema(Schema):
    """The fields of all answers. Unknown keys are ignored: CallKaro adds keys without notice."""

    class Meta:
        unknown = EXCLUDE

    status = fields.String(required=True)
    message = fields.Raw(allow_none=True, load_default="")


class CallAnswerSchema(AnswerSchema):
    """Answer of POST /call/outbound; call_id is the older documents' word for call_sid."""

    call_sid = AnswerId(allow_none=True)
    call_id = AnswerId(allow_none=True)


class CampaignAnswerSchema(AnswerSchema):
    """Answer of POST /call/campaign and /v2/call/campaign."""

    batch_id = AnswerId(allow_none=True)


_CALL_ANSWER: Final = CallAnswerSchema()
_CAMPAIGN_ANSWER: Final = CampaignAnswerSchema()


def read_call_answer(body: object) -> CallAccepted | Refused | Unreadable:
    """Read the decoded body of an answer to POST /call/outbound; without its HTTP status.

    Refused only if the status is "error" and there is no id; accepted only if it is "done" or
    "success" and there is an id. Everything else is unreadable: nobody knows what happened.
    """
    found = _read(_CALL_ANSWER, ("call_sid", "call_id"), body)
    return CallAccepted(call_sid=found) if isinstance(found, str) else found


def read_campaign_answer(body: object) -> CampaignAccepted | Refused | Unreadable:
    """Read the decoded body of an answer to a campaign's creation, as read_call_answer() does."""
    found = _read(_CAMPAIGN_ANSWER, ("batch_id",), body)
    return CampaignAccepted(batch_id=found) if isinstance(found, str) else found


def read_deletion_answer(body: object) -> Refused | Unreadable | None:
    """Read the decoded body of an answer to POST /call/delete-schedule-call; None: it was done."""
    if not isinstance(body, dict):
        return Unreadable(why="The answer is not a JSON object.")
    status = body.get("status")
    if status == "error":
        return Refused(message=_message(body.get("message")))
    if isinstance(status, str) and status in _YES:
        return None
    return Unreadable(why="The answer's status is neither done, success nor error.")


def _read(schema: AnswerSchema, ids: tuple[str, ...], body: object) -> str | Refused | Unreadable:
    """Return the accepted id (the first of ids that is there), or why there is none."""
    if not isinstance(body, dict):
        return Unreadable(why="The answer is not a JSON object.")
    try:
        answer = schema.load(body)
    except ValidationError as error:
        return Unreadable(why=f"The answer can't be read: {describe(error)}.")
    found: str | None = next((answer[name] for name in ids if answer.get(name)), None)
    status = answer["status"]
    if status == "error":
        if found is not None:
            return Unreadable(why="The answer has the status error and an id as well.")
        return Refused(message=_message(answer["message"]))
    if status not in _YES:
        return Unreadable(why="The answer's status is neither done, success nor error.")
    if found is None:
        return Unreadable(why=f"The answer has no {' or '.join(ids)}.")
    return found


def _message(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        return "CallKaro gave no reason."
    text = mask_text(" ".join(value[: 4 * _MESSAGE_LENGTH].split()))
    return text if len(text) <= _MESSAGE_LENGTH else text[: _MESSAGE_LENGTH - 1] + "…"
