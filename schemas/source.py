"""A source: a CRM or lead form that posts to /webhooks/<source>, described as data.

A CRM module (schemas/crm/<kind>.py) describes: how requests are signed, how a body becomes
items, which request fetches the full record. `bridge/verify.py` and `workers/crm.py` do it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from schemas.event import Item
from schemas.expression import Expression, ExpressionError, Path

Headers = Mapping[str, str]  # looked up without regard to case by whoever provides it


@dataclass(frozen=True, kw_only=True, slots=True)
class Incoming:
    """A webhook request as its sender made it; initially UNTRUSTED.

    url is scheme, host, path and query as the sender called it, percent-encoding untouched.
    body is the raw bytes; content_type is without its parameters, in small letters.
    """

    method: str
    url: str
    headers: Headers
    query: Mapping[str, str]
    body: bytes
    content_type: str

    def __repr__(self) -> str:
        # Body, headers and query hold people's data and secrets.
        return f"Incoming(method={self.method!r}, bytes={len(self.body)})"


# --- how a request proves itself ------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A shared token: in a header, as ?token=, or in the body where the CRM puts it there."""

    header: str = "X-Webhook-Token"
    query: str = "token"
    body: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Basic:
    """HTTP Basic; the secret is `user:password`."""


class Part(StrEnum):
    """A piece of the request that a signature covers."""

    SECRET = "secret"  # noqa: S105  (a part's name: HubSpot v1 and v2 hash the secret itself)
    METHOD = "method"
    URL = "url"
    BODY = "body"
    TIMESTAMP = "timestamp"
    ID = "id"


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """A digest over parts of the request, in a header.

    keyed: an HMAC; False: a plain hash (the secret is then one of the parts).
    several: the header may hold several signatures with this between them; None: just one.
    secret_prefix is cut from the secret before secret_encoding is undone.
    timestamp_header is in timestamp_unit, and a request is stale when it is more than
    tolerance_s away from now, both ways. only_with is a header and the value it must have.
    url_decoding lists what the signer turned back in the URL it signed.
    """

    header: str
    parts: tuple[Part, ...] = (Part.BODY,)
    separator: str = ""
    keyed: bool = True
    hash: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    several: str | None = None
    secret_encoding: Literal["text", "base64", "hex"] = "text"  # noqa: S105  (no secret)
    secret_prefix: str = ""
    timestamp_header: str | None = None
    timestamp_unit: Literal["s", "ms"] = "s"
    tolerance_s: int = 300
    id_header: str | None = None
    only_with: tuple[str, str] | None = None
    url_decoding: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Signatures:
    """Signature schemes, strongest first: the first whose header is there is the only judge."""

    schemes: tuple[Signature, ...]


Auth = Token | Basic | Signatures

# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
STANDARD_WEBHOOKS = Signatures(
    schemes=(
        Signature(
            header="webhook-signature",
            parts=(Part.ID, Part.TIMESTAMP, Part.BODY),
            separator=".",
            encoding="base64",
            prefix="v1,",
            several=" ",
            secret_encoding="base64",  # noqa: S106  (how it is written, not a secret)
            secret_prefix="whsec_",  # noqa: S106
            timestamp_header="webhook-timestamp",
            id_header="webhook-id",
        ),
    )
)


# --- how a thin event is made whole ---------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """One environment variable of a source, <SOURCE>_<suffix>: a credential or an address."""

    suffix: str
    secret: bool = True
    default: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BearerLogin:
    """A long-lived token that is sent as it is; `variable` is the suffix it is set under."""

    variable: str
    scheme: str = "Bearer"


@dataclass(frozen=True, kw_only=True, slots=True)
class RefreshLogin:
    """OAuth: a refresh token buys short access tokens, one for all workers.

    The suffixes name where each part is set. The answer's `api_domain` is used as the API's
    address where no other is set.
    """

    accounts_url: str
    path: str
    client_id: str
    client_secret: str
    refresh_token: str
    scheme: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CrmRequest:
    """One HTTP request to a CRM's API, without its base URL and its login."""

    method: Literal["GET", "POST"]
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    json: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Hydration:
    """How to fetch full records of one CRM, up to `batch` in one request.

    request(object, ids, fields) is what to ask; records(answer) gives the records by id (those
    that are not in it are not there); merge(data, record) is the event's data made whole;
    fields(paths) picks, from the paths that a route reads, the CRM fields to ask for.
    """

    batch: int
    login: BearerLogin | RefreshLogin
    api_url: str  # the suffix its base URL is set under
    request: Callable[[str, Sequence[str], Sequence[str]], CrmRequest]
    records: Callable[[Any], dict[str, dict[str, Any]]]
    merge: Callable[[Any, Mapping[str, Any]], Any]
    fields: Callable[[frozenset[Path]], frozenset[str]]


# --- the source itself ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What a CRM module says of its CRM. Modules are discovered: schemas/crm/__init__.py.

    parse(content, request, source) turns a parsed body into items, in the body's own order; it
    raises nothing for a bad item: that one carries a `problem`.
    is_import(data) says whether a notification is of a bulk import; None: they don't say.
    is_own_change(event_type, data) says whether what we wrote back caused it; None: they don't say.
    opt_out tells, over an event's data, that its person is not to be called; None: it has no word
    for that. erased_by are the types of the events that want a person erased. region yields the
    country of a record's number where that is written without one. phones yields the numbers that
    the CRM usually keeps of a record, for an opt-out that no route's to_number covers.
    full_status answers when we can't store: 503, or 429 where the CRM retries only on that.
    """

    name: str
    title: str
    auth: Auth
    parse: Callable[[Any, Incoming, "Source"], list[Item]]
    hydration: Hydration | None = None
    variables: tuple[Variable, ...] = ()
    default_type: str = "form.submitted"
    is_import: Callable[[Any], bool] | None = None
    is_own_change: Callable[[str, Any], bool] | None = None
    opt_out: Expression | None = None
    erased_by: frozenset[str] = frozenset()
    region: Expression | None = None
    phones: Expression | None = None
    full_status: Literal[429, 503] = 503


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A kind under a name of its own: its URL, its secret, where type, id and time stand.

    event, id and time are read from the body (JMESPath); None: the kind's own way. opt_out tells
    over an event's data that its person is not to be called.
    id_window_s is how long equal bytes without an id of their own are the same event.
    """

    name: str
    kind: Kind
    auth: Auth
    event: Expression | None = None
    id: Expression | None = None
    time: Expression | None = None
    default_type: str = "form.submitted"
    id_window_s: int = 86_400
    opt_out: Expression | None = None

    @property
    def variable_prefix(self) -> str:
        """What the names of its environment variables start with: `website-2` is WEBSITE_2_."""
        return self.name.upper().replace("-", "_") + "_"


# Headers that name one sending of a request, the same in its resends.
ID_HEADERS = ("webhook-id", "Idempotency-Key")


def item_by_paths(
    body: Any,
    request: Incoming,
    source: Source,
    *,
    subject: str | None = None,
    index: int | None = None,
) -> Item:
    """Read one item of a body whose shape its sender chose, by the source's paths.

    The type is at `event`, else the source's default; the id at `id`, else in a header made for
    that, else None; the time (ISO 8601 or epoch, s or ms) at `time`, else None. An unreadable
    time is no reason to lose a lead: it counts as not given, and so does an unreadable id. An
    unreadable type is one, for the default might call where the sender meant something else.

    index is the item's place where the request carries several: a header names the request, so
    without it neighbours would be duplicates of each other.
    """
    try:
        event_type, event_id, time = (
            path.search(body) if path else None for path in (source.event, source.id, source.time)
        )
    except ExpressionError as error:
        return Item(type=source.default_type, data=body, problem=str(error))
    if isinstance(event_type, dict | list):
        # Its text would put people's data where a type is shown and logged.
        problem = "What stands at the source's `event` path is no text."
        return Item(type=source.default_type, data=body, problem=problem)
    return Item(
        type=str(event_type) if event_type not in (None, "") else source.default_type,
        data=body,
        source_event_id=id_text(event_id) or _header_id(request, index),
        subject=subject,
        time=read_time(time),
    )


def _header_id(request: Incoming, index: int | None) -> str | None:
    """Return the id that a header gives this sending, told apart by index; None without one."""
    sending = next((request.headers[h] for h in ID_HEADERS if request.headers.get(h)), None)
    return sending if sending is None or index is None else f"{sending}-{index}"


def id_text(value: Any) -> str | None:
    """Return an id as text; None for what can't be one: null, "", true, a list, an object.

    A float from 2^53 on is none either: JSON's longer integers arrive so, with digits lost, and
    two records would share an id.
    """
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(value) if isinstance(value, int) or abs(value) < 2**53 else None


def read_time(value: Any) -> datetime | None:
    """Return an aware UTC time from ISO 8601 or an epoch in s or ms; None if it is neither.

    An epoch above 10^11 is in ms: in s that would be the year 5138. A time without a zone is
    taken as UTC.
    """
    if isinstance(value, bool) or value is None:
        return None
    try:
        number: float | None = float(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    try:
        if number is not None:
            return datetime.fromtimestamp(number / 1000 if abs(number) > 1e11 else number, UTC)
        parsed = datetime.fromisoformat(str(value).strip())
    except (ValueError, OverflowError, OSError):
        return None
    try:
        return (parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed).astimezone(UTC)
    except OverflowError:
        return None
