"""routes.toml, compiled and checked: every problem at once, with file, entry and key."""

import hashlib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import phonenumbers
from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from schemas.callkaro import (
    CALL_FIELDS,
    CAMPAIGN_FIELDS,
    LANGUAGES,
    CampaignV1Schema,
    OutboundCallSchema,
    Text,
)
from schemas.expression import Expression, ExpressionError
from schemas.hours import Hours, parse_days, parse_holidays, parse_window, read_zone
from schemas.route import (
    CampaignChoice,
    Constant,
    Flood,
    Period,
    Route,
    RouteHours,
    Routes,
    RouteWriteBack,
    Value,
)
from schemas.source import (
    STANDARD_WEBHOOKS,
    Auth,
    Basic,
    Fixed,
    Kind,
    Part,
    Signature,
    Signatures,
    Source,
    Token,
)
from schemas.write_back import Moment

Read = Callable[[str], str]  # name -> the text of a file beside routes.toml; raises OSError


class RoutesError(ValueError):
    """The routes can't be used. Each of `problems` is a sentence with file, entry and key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


DURATION = re.compile(r"^\s*(\d{1,9})\s*([smhd])\s*$")
UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LONGEST_D = 3650  # a date far beyond that can't be shown


def duration_s(text: object) -> int:
    """Return the seconds in `90s`, `2m`, `6h` or `3d`. Raises ValueError with what to write."""
    found = DURATION.match(text) if isinstance(text, str) else None
    if not found:
        raise ValueError('must be a number and a unit, such as "90s", "2m", "6h" or "3d"')
    seconds = int(found[1]) * UNIT_S[found[2]]
    if seconds > LONGEST_D * UNIT_S["d"]:
        raise ValueError(f"must be at most {LONGEST_D}d")
    return seconds


class Duration(fields.Field[int]):
    """A duration in routes.toml, in seconds inside."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        try:
            return duration_s(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None


class ExpressionField(fields.Field[Expression]):
    """A JMESPath expression, compiled."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Expression:
        if not isinstance(value, str) or not value.strip():
            raise ValidationError("must be a JMESPath expression, as text")
        try:
            return Expression.of(value)
        except ExpressionError as error:
            raise ValidationError(f"is not a JMESPath expression: {error}") from None


class ValueField(fields.Field[Value]):
    """Where a field of the request comes from: an expression, or `{ value = … }`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Value:
        if isinstance(value, dict):
            if set(value) != {"value"}:
                raise ValidationError("a constant is written { value = … }, with that key alone")
            return Constant(value["value"])
        if not isinstance(value, str):
            raise ValidationError("must be a JMESPath expression, or a constant { value = … }")
        return ExpressionField().deserialize(value)


class RegionField(fields.Field[Value]):
    """The country of a number: two capital letters, or an expression."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Value:
        if isinstance(value, str) and value in phonenumbers.SUPPORTED_REGIONS:
            return Constant(value)
        if isinstance(value, str) and re.fullmatch(r"[A-Z]{2}", value.strip()):
            # As an expression it would be the name of a field, which no record has.
            raise ValidationError(f"{value!r} is not the two letters of a country (GB for Britain)")
        found: Value = ExpressionField().deserialize(value)
        return found


class CountriesField(fields.Field["frozenset[str] | str"]):
    """The countries that a route calls: a list of two letters each, or "any"."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Any, **kwargs: Any
    ) -> frozenset[str] | str:
        if value == "any":
            return "any"
        if not isinstance(value, list) or not value:
            raise ValidationError('must be a list such as ["IN", "AE"], or "any"')
        known = phonenumbers.SUPPORTED_REGIONS
        if wrong := [one for one in value if not isinstance(one, str) or one not in known]:
            raise ValidationError(
                f"{wrong[0]!r} is not the two letters of a country (GB for Britain)"
            )
        return frozenset(value)


class ZoneField(fields.Field[str]):
    """A time zone, by its IANA name."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        zone = read_zone(value)
        if zone is None:
            raise ValidationError(f'{value!r} is not a time zone: write "Asia/Kolkata" or "UTC"')
        return zone


class HoursSchema(Schema):
    """`hours = { days, from, to, timezone, holidays }`; each key is optional."""

    days = fields.Raw()
    opens = fields.String(data_key="from")
    closes = fields.String(data_key="to")
    timezone = fields.String(validate=validate.Length(1))
    holidays = fields.Raw()  # a list of dates, or the text of the file (see _with_holidays)

    @post_load
    def build(self, data: dict[str, Any], **kwargs: Any) -> RouteHours:
        """Return the hours themselves."""
        problems: dict[str, str] = {}

        def tried(key: str, parse: Callable[[Any], Any], value: Any) -> Any:
            try:
                return parse(value)
            except ValueError as error:
                problems[key] = str(error)

        opens = tried("from", _time_of_day, data.get("opens", "00:00"))
        closes = tried("to", _time_of_day, data.get("closes", "24:00"))
        parts = {}
        if not problems:
            parts["window"] = tried("to", parse_window, f"{opens}-{closes}")
        if "days" in data:
            parts["days"] = tried("days", parse_days, data["days"])
        if "holidays" in data:
            parts["holidays"] = tried("holidays", parse_holidays, data["holidays"])
        zone = tried("timezone", _zone_or_expression, data.get("timezone"))
        if problems:
            raise ValidationError({key: [text] for key, text in problems.items()})
        return RouteHours(hours=Hours(**parts), timezone=zone)


def _time_of_day(text: str) -> str:
    if not re.fullmatch(r"([01]?[0-9]|2[0-3]):[0-5][0-9]|24:00", text):
        raise ValueError(f'{text!r} is not a time of day: write "09:30"')
    return text


def _zone_or_expression(text: str | None) -> str | Expression | None:
    """Return an IANA zone, else an expression for one. "Asia/Kolkata" is not JMESPath."""
    if text is None:
        return None
    if zone := read_zone(text):
        return zone
    try:
        return Expression.of(text)
    except ExpressionError:
        raise ValueError(f"{text!r} is neither a time zone nor a JMESPath expression") from None


class FloodSchema(Schema):
    """`flood = { over = 100, within = "5m" }`."""

    over = fields.Integer(required=True, strict=True, validate=validate.Range(min=1))
    within_s = Duration(
        required=True,
        data_key="within",
        validate=validate.Range(min=1, max=86_400, error="must be from 1s to 1d"),
    )

    @post_load
    def build(self, data: dict[str, Any], **kwargs: Any) -> Flood:
        """Return the limit itself."""
        return Flood(**data)


class CampaignChoiceSchema(Schema):
    """`campaign = { name = …, period = … }` or `{ key = … }`."""

    name = Text(longest=180)  # 200 less the period's label
    period = fields.String(validate=validate.OneOf(get_args(Period)))
    key = ExpressionField()

    @validates_schema
    def check_one_way(self, data: dict[str, Any], **kwargs: Any) -> None:
        """A campaign is found by its name, or by the key of another event; never by both."""
        if ("name" in data) == ("key" in data):
            raise ValidationError('needs either "name" or "key"')
        if "key" in data and "period" in data:
            raise ValidationError('"period" is allowed only with "name"')

    @post_load
    def build(self, data: dict[str, Any], **kwargs: Any) -> CampaignChoice:
        """Return the choice itself."""
        return CampaignChoice(**data)


class WriteBackSchema(Schema):
    """`[route.write_back]`: what the CRM is told of the route's calls."""

    on = fields.List(
        fields.String(validate=validate.OneOf(tuple(Moment))),
        required=True,
        validate=validate.Length(1, error="must name at least one moment"),
    )
    call = fields.Boolean(truthy={True}, falsy={False})
    fields_of_record = fields.Dict(
        keys=fields.String(validate=validate.Length(1, 200)), values=ValueField(), data_key="fields"
    )

    @validates_schema
    def check_tells_something(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Check that there is something to tell."""
        if not data.get("call", True) and not data.get("fields_of_record"):
            raise ValidationError("is false and there are no fields: nothing would be told", "call")

    @post_load
    def build(self, data: dict[str, Any], **kwargs: Any) -> RouteWriteBack:
        """Return what is told."""
        return RouteWriteBack(
            on=frozenset(map(Moment, data["on"])),
            call=data.get("call", True),
            fields=data.get("fields_of_record", {}),
        )


class RouteSchema(Schema):
    """One [[route]]. An unknown key is an error: it is likely to be a spelling mistake."""

    # It is part of lists in the store and of log lines: one line, no space at its ends.
    name = fields.String(
        required=True,
        validate=validate.Regexp(
            r"^(?!\s)[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,100}(?<!\s)\Z",
            error="must be one line of 1 to 100 characters",
        ),
    )
    source = fields.String(required=True)
    event = fields.String(required=True, validate=validate.Length(1, 200))
    to = fields.String(required=True, validate=validate.OneOf(("call", "campaign")))
    match = ExpressionField()
    when = ExpressionField()
    fetch = fields.List(fields.String(validate=validate.Length(1)))
    campaign = fields.Nested(CampaignChoiceSchema)
    delay_s = Duration(data_key="delay")
    max_age_s = Duration(data_key="max_age")
    on_unknown = fields.String(validate=validate.OneOf(("hold", "call_again")))
    hours = fields.Nested(HoursSchema)
    again_after_s = Duration(data_key="again_after")
    max_per_day = fields.Integer(strict=True, validate=validate.Range(min=1))
    consent = ExpressionField()
    countries = CountriesField()
    region = RegionField()
    flood = fields.Nested(FloodSchema)
    write_back = fields.Nested(WriteBackSchema)
    request = fields.Dict(keys=fields.String(), values=fields.Raw(), required=True)

    @validates_schema(skip_on_field_errors=False)  # so that every problem is reported at once
    def check_request(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Check the names in the request against CallKaro's fields, and its constants."""
        problems: dict[str, str] = {}
        if "request" in data:
            problems = dict(_request_problems(data.get("to"), data["request"]))
        campaign = data.get("campaign")
        if data.get("to") == "campaign" and campaign and campaign.name:
            problems["campaign"] = (
                'a route to = "campaign" names the campaign in request.name; '
                "campaign = { key = … } says under which key calls find it"
            )
        if data.get("to") == "campaign":
            # Creating a campaign calls nobody: a guard there would not apply to its calls, and
            # there is no call to tell a CRM of.
            misplaced = 'is allowed only with to = "call"'
            only_for_calls = (*GUARDS, "write_back")
            problems |= {key.removesuffix("_s"): misplaced for key in only_for_calls if key in data}
        if campaign and "batch_id" in data.get("request", {}):
            problems["campaign"] = "request.batch_id already says which campaign it is"
        if problems:
            raise ValidationError(problems)

    @post_load
    def build(self, data: dict[str, Any], **kwargs: Any) -> Route:
        """Return the route itself."""
        mapped = dict(data.pop("request"))
        metadata = mapped.pop("metadata", {})
        read = ValueField().deserialize
        return Route(
            **{**data, "fetch": tuple(data.get("fetch", ()))},
            request={name: read(value) for name, value in mapped.items()},  # type: ignore[misc]
            metadata={name: read(value) for name, value in metadata.items()},
        )


GUARDS = ("hours", "again_after_s", "max_per_day", "consent", "countries", "region", "flood")
NEEDED = {"call": ("to_number", "agent_id"), "campaign": ("name",)}


def _request_problems(to: str | None, request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong with it) for the [route.request] of a route."""
    if to not in NEEDED:
        return
    known = CALL_FIELDS if to == "call" else CAMPAIGN_FIELDS
    for name in NEEDED[to]:
        if name not in request:
            yield f"request.{name}", "is missing"
    for name, value in request.items():
        if name not in known:
            yield f"request.{name}", f"CallKaro has no such field; it has {_listed(known)}"
        elif name == "metadata":
            yield from _metadata_problems(value)
        elif isinstance(value, str) and _is_bare_constant(name, value):
            yield (
                f"request.{name}",
                f"{value.strip()} means the record's field of that name; for a constant, write "
                f'{{ value = "{value.strip()}" }}',
            )
        else:
            yield from _value_problems(f"request.{name}", value)
    constants = {
        name: value["value"]
        for name, value in request.items()
        if name in known and name != "metadata" and isinstance(value, dict) and "value" in value
    }
    schema = OutboundCallSchema() if to == "call" else CampaignV1Schema()
    for name, messages in schema.validate(constants, partial=True).items():
        yield f"request.{name}", _flat(messages)


def _is_bare_constant(name: str, text: str) -> bool:
    """Return whether an expression must be meant as a constant: no record has such a field."""
    text = text.strip()
    if name == "language":
        return text in LANGUAGES
    return name in ("agent_id", "batch_id") and bool(re.fullmatch(r"[0-9a-f]{16,}", text))


def _metadata_problems(metadata: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(metadata, dict):
        yield "request.metadata", "must be a table"
        return
    for name, value in metadata.items():
        key = f"request.metadata.{name}"
        if name.startswith("_"):
            yield key, "CallKaro does not allow a key that starts with _"
        elif isinstance(value, dict) and set(value) == {"value"}:
            constant = {"metadata": {name: value["value"]}}
            for messages in OutboundCallSchema().validate(constant, partial=True).values():
                yield key, _flat(messages)
        else:
            yield from _value_problems(key, value)


def _value_problems(key: str, value: Any) -> Iterator[tuple[str, str]]:
    try:
        ValueField().deserialize(value)
    except ValidationError as error:
        yield key, _flat(error.messages)


class HeaderName(fields.String):
    """The name of an HTTP header."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        name: str = super()._deserialize(value, attr, data, **kwargs)
        if "_" in name:
            raise ValidationError(
                "must not have a _: servers and proxies drop such headers. Write it with - here "
                "and in the sender"
            )
        if not HEADER_NAME.fullmatch(name):
            raise ValidationError("must be the name of a header, such as X-Signature")
        return name


class SignedParts(fields.Field[tuple[Part | Fixed, ...]]):
    """What an hmac signs, in this order: "body", "timestamp", and fixed texts such as "'v0'"."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Any, **kwargs: Any
    ) -> tuple[Part | Fixed, ...]:
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise ValidationError('must be a list such as ["timestamp", "body"]')
        for word in value:
            if word not in ("body", "timestamp") and not re.fullmatch(r"'[^']*'", word):
                raise ValidationError(
                    f'{word!r} is none of "body", "timestamp" and a fixed text in quotes, '
                    "such as \"'v0'\""
                )
        if value.count("body") != 1 or value.count("timestamp") > 1:
            raise ValidationError('must have "body" once, and "timestamp" at most once')
        return tuple(Fixed(word[1:-1]) if word[0] == "'" else Part(word) for word in value)


PAIR_KEY = fields.String(
    validate=validate.Regexp(r"[^\s=,;]{1,40}\Z", error="must be a key such as v1 in v1=…")
)
HMAC_KEYS = (
    "hash",
    "encoding",
    "prefix",
    "parts",
    "separator",
    "signature_key",
    "timestamp_key",
    "timestamp_header",
    "timestamp_unit",
    "tolerance_s",
    "secret_encoding",
)
TIME_KEYS = ("timestamp_unit", "tolerance_s")

# https://www.rfc-editor.org/rfc/rfc9110#name-tokens
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]{1,100}")


class SourceSchema(Schema):
    """One [[source]]: a form or program of the user's own, or a second account of a CRM."""

    name = fields.String(
        required=True,
        validate=validate.Regexp(
            r"^[a-z][a-z0-9-]{0,39}\Z", error="must be small letters, digits and -"
        ),
    )
    kind = fields.String()  # if missing: the kind with the source's name, else generic
    auth = fields.String(validate=validate.OneOf(("token", "basic", "hmac", "standard")))
    header = HeaderName()
    hash = fields.String(validate=validate.OneOf(("sha1", "sha256", "sha512")))
    encoding = fields.String(validate=validate.OneOf(("hex", "base64")))
    prefix = fields.String()
    parts = SignedParts()
    separator = fields.String()
    signature_key = PAIR_KEY
    timestamp_key = PAIR_KEY
    timestamp_header = HeaderName()
    timestamp_unit = fields.String(validate=validate.OneOf(("s", "ms")))
    tolerance_s = Duration(
        data_key="tolerance",
        validate=validate.Range(min=1, max=86_400, error="must be from 1s to 1d"),
    )
    secret_encoding = fields.String(validate=validate.OneOf(("text", "hex", "base64")))
    signatures = fields.String()
    answer = fields.Integer(
        strict=True, validate=validate.Range(min=200, max=299, error="must be from 200 to 299")
    )
    event = ExpressionField()
    id = ExpressionField()
    time = ExpressionField()
    opt_out = ExpressionField()
    timezone = ZoneField()
    reconcile_s = Duration(
        data_key="reconcile",
        validate=validate.Range(min=3600, max=30 * 86_400, error="must be from 1h to 30d"),
    )
    # Redis can't keep a key for 0 seconds.
    id_window_s = Duration(
        data_key="id_window", validate=validate.Range(min=1, error="must be at least 1s")
    )

    @validates_schema(skip_on_field_errors=False)
    def check_auth(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Check that the keys of an hmac are used with an hmac."""
        auth = data.get("auth")
        if auth == "hmac" and "header" not in data:
            raise ValidationError('auth = "hmac" needs the header that has the signature', "header")
        for key in HMAC_KEYS:
            if key in data and auth != "hmac":
                name = key.removesuffix("_s")
                raise ValidationError('is allowed only with auth = "hmac"', name)
        if "signatures" in data and auth is not None:
            raise ValidationError("is allowed only without auth", "signatures")
        if "header" in data and auth not in ("hmac", "token"):
            raise ValidationError('is allowed only with auth = "hmac" or "token"', "header")

    @validates_schema
    def check_time(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Check that a time is signed if it is read, and read if it is signed."""
        places = [key for key in ("timestamp_header", "timestamp_key") if key in data]
        if Part.TIMESTAMP in data.get("parts", ()):
            if len(places) != 1:
                raise ValidationError(
                    '"timestamp" needs either timestamp_header or timestamp_key', "parts"
                )
        elif unsigned := [key for key in (*places, *TIME_KEYS) if key in data]:
            raise ValidationError('needs "timestamp" in parts', unsigned[0].removesuffix("_s"))
        if "timestamp_key" in data and "signature_key" not in data:
            raise ValidationError("needs a signature_key", "timestamp_key")


def _auth(data: Mapping[str, Any], kind: Kind) -> Auth:
    """Return how requests prove who sent them: as the source says, else as its kind does."""
    match data.get("auth"):
        case "token":
            base = kind.auth if isinstance(kind.auth, Token) else Token()
            return replace(base, header=data["header"]) if "header" in data else base
        case "basic":
            return Basic()
        case "standard":
            return STANDARD_WEBHOOKS
        case "hmac":
            keys = ("header", *HMAC_KEYS)
            return Signatures(schemes=(Signature(**{k: data[k] for k in keys if k in data}),))
        case _:
            chosen = kind.signatures.get(data.get("signatures", ""))
            return chosen.auth if chosen else kind.auth


def load_routes(
    text: str, *, file: str, kinds: Mapping[str, Kind], read: Read | None = None
) -> Routes:
    """Compile the text of routes.toml. Raises RoutesError with every problem.

    file is its name in messages. read returns the text of a holidays file; None: there are no
    files beside the text.
    """
    try:
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        document = tomllib.loads(text)
    except UnicodeEncodeError:
        raise RoutesError([f"{file}: is not TOML: a part of it is not UTF-8"]) from None
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError, a number of 5000 digits
        raise RoutesError([f"{file}: is not TOML: {error}"]) from None
    problems = [
        f"{file}: unknown table or key [{key}]; it may have [[route]] and [[source]]"
        for key in sorted(document.keys() - {"route", "source"})
    ]
    sources = {
        kind.name: Source(
            name=kind.name,
            kind=kind,
            auth=kind.auth,
            default_type=kind.default_type,
            opt_out=kind.opt_out,
        )
        for kind in kinds.values()
    }
    sources |= _load_sources(document.get("source", []), file, kinds, problems)
    routes = _load_routes(document.get("route", []), file, sources, problems, read)
    if not problems:
        problems += _wrong_agents(routes, file)
    if problems:
        raise RoutesError(problems)
    return Routes(routes=tuple(routes), sources=sources, digest=digest)


def _wrong_agents(routes: Sequence[Route], file: str) -> Iterator[str]:
    """Yield a problem for each call that can't have the agent of the campaign that it refers to.

    Only if all agents are constant: else the worker checks each call.
    """
    makers = [route for route in routes if route.to == "campaign"]
    agents = {
        str(one.request["agent_id"].search(None)) if one.has_constant_agent else None
        for one in makers
    }
    if not agents or None in agents:
        return
    for route in routes:
        is_keyed = route.campaign is not None and route.campaign.key is not None
        if route.to != "call" or not is_keyed or not route.has_constant_agent:
            continue
        agent = str(route.request["agent_id"].search(None))
        if agent not in agents:
            yield (
                f"{file}: route {route.name!r}: request.agent_id: no route makes a campaign with "
                "this agent, and CallKaro wants the same agent in both"
            )


def _load_sources(
    entries: Any, file: str, kinds: Mapping[str, Kind], problems: list[str]
) -> dict[str, Source]:
    sources: dict[str, Source] = {}
    for where, entry in _entries(entries, "source", file, problems):
        try:
            data = SourceSchema().load(entry)
        except ValidationError as error:
            problems += [f"{where}: {key}: {text}" for key, text in _flat_items(error.messages)]
            continue
        kind_name = data.get("kind", data["name"] if data["name"] in kinds else "generic")
        kind = kinds.get(kind_name)
        if kind is None:
            problems.append(f"{where}: kind: there is no {kind_name!r}; there are {_listed(kinds)}")
        elif data.get("signatures") not in (None, *kind.signatures):
            words = _listed(kind.signatures)
            allowed = f"must be one of {words}" if words else f"{kind.title} has no such choice"
            problems.append(f"{where}: signatures: {allowed}")
        elif "reconcile_s" in data and kind.reconcile is None:
            problems.append(f"{where}: reconcile: {kind.title} can't be asked what was missed")
        elif data["name"] in sources:
            problems.append(f"{where}: name: another [[source]] has the same name")
        else:
            own = ("event", "id", "time", "id_window_s", "timezone", "reconcile_s", "answer")
            paths = {key: data[key] for key in own if key in data}
            paths["is_window_set"] = "id_window_s" in data
            default_type = kind.default_type if data["name"] == kind.name else "form.submitted"
            sources[data["name"]] = Source(
                name=data["name"],
                kind=kind,
                auth=_auth(data, kind),
                opt_out=data.get("opt_out", kind.opt_out),
                default_type=default_type if kind.name == "generic" else kind.default_type,
                **paths,
            )
    return sources


def _load_routes(
    entries: Any,
    file: str,
    sources: Mapping[str, Source],
    problems: list[str],
    read: Read | None,
) -> list[Route]:
    routes: list[Route] = []
    taken: set[str] = set()
    for where, entry in _entries(entries, "route", file, problems):
        name, source = entry.get("name"), entry.get("source")
        if isinstance(source, str) and source not in sources:
            problems.append(
                f"{where}: source: there is no {source!r}; there are {_listed(sources)}"
            )
        if isinstance(name, str):
            if name in taken:
                problems.append(f"{where}: name: another route has the same name")
            taken.add(name)
        try:
            routes.append(RouteSchema().load(_with_holidays(entry, read, where, problems)))
        except ValidationError as error:
            problems += [f"{where}: {key}: {text}" for key, text in _flat_items(error.messages)]
    return routes


def _with_holidays(
    entry: dict[str, Any], read: Read | None, where: str, problems: list[str]
) -> dict[str, Any]:
    """Return a route's entry with the text of its holidays file in place of the file's name."""
    hours = entry.get("hours")
    name = hours.get("holidays") if isinstance(hours, dict) else None
    if not isinstance(hours, dict) or not isinstance(name, str):
        return entry
    try:
        if read is None:
            raise OSError
        holidays: Any = read(name)
    except (OSError, ValueError):  # bad UTF-8 and a null byte in a name are ValueErrors
        problem = f"the file {name!r} can't be read; a list of dates is possible, too"
        problems.append(f"{where}: hours.holidays: {problem}")
        holidays = []  # so that other problems are found, too
    return {**entry, "hours": {**hours, "holidays": holidays}}


def _entries(
    entries: Any, table: str, file: str, problems: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (its name in messages, the entry) for each entry of an array of tables."""
    if not isinstance(entries, list):
        problems.append(f"{file}: {table}: write [[{table}]], with two brackets")
        return
    for number, entry in enumerate(entries, start=1):
        name = entry.get("name") if isinstance(entry, dict) else None
        where = (
            f"{file}: {table} {name!r}" if isinstance(name, str) else f"{file}: {table} {number}"
        )
        if isinstance(entry, dict):
            yield where, entry
        else:
            problems.append(f"{where}: must be a table")


def _flat_items(messages: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, sentence) out of marshmallow's nested messages."""
    if not isinstance(messages, dict):
        yield prefix.rstrip(".") or '""', _flat(messages)
        return
    for key, inner in messages.items():
        name = "" if key == "_schema" else f"{key}."
        yield from _flat_items(inner, f"{prefix}{name}")


def _flat(messages: Any) -> str:
    """Return one sentence out of marshmallow's messages, which may be nested."""
    if isinstance(messages, dict):
        return "; ".join(_flat(inner) for inner in messages.values())
    if isinstance(messages, list):
        return "; ".join(_flat(inner) for inner in messages)
    return str(messages)


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))
