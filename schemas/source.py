"""A source: a CRM or lead form that posts to /webhooks/<source>, described as data.

A CRM module (schemas/crm/<kind>.py) describes: how requests are signed, how a body becomes
items, which request fetches the full record. `schemas/signatures.py` checks the signatures, and
`workers/crm.py` makes the requests.
"""

import base64
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal

from schemas.errors import TooLarge
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression, ExpressionError, Path

Headers = Mapping[str, str]  # must be a mapping that ignores the case of names


@dataclass(frozen=True, kw_only=True, slots=True)
class Incoming:
    """A webhook request as its sender made it; initially UNTRUSTED."""

    method: str
    # Scheme, host, path and query as the sender called it, percent-encoding unchanged.
    url: str
    headers: Headers
    query: Mapping[str, str]
    body: bytes  # as received, not decoded
    content_type: str  # without its parameters, in small letters
    proof: "Proof | None" = None  # None: it has not been verified

    def __repr__(self) -> str:
        # Body, headers and query hold people's data and secrets.
        return f"Incoming(method={self.method!r}, bytes={len(self.body)})"


# --- how a request proves itself ------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A shared token: in a header, as ?token=, or in the body if the CRM puts it there."""

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


@dataclass(frozen=True, slots=True)
class Fixed:
    """A text that a signature covers beside parts of the request, such as a version."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """A digest over parts of the request, in a header."""

    header: str
    # What is hashed, in this order, with the separator between.
    parts: tuple[Part | Fixed, ...] = (Part.BODY,)
    separator: str = ""
    # True: an HMAC with the secret as its key. False: a plain hash; the secret is one of the parts.
    keyed: bool = True
    hash: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    # What the header has before the digest, such as "sha256=".
    prefix: str = ""
    # What separates signatures if the header may have several; None: it has one.
    several: str | None = None
    # For a header of pairs, `t=1767250800,v1=5257a8…` or `ts=1767250800;h1=5257a8…`: the keys of
    # its signatures and of its time. None: the header is the signature, and the time is elsewhere.
    signature_key: str | None = None
    timestamp_key: str | None = None
    # How the secret is written. secret_prefix is removed before the secret is decoded.
    secret_encoding: Literal["text", "base64", "hex"] = "text"  # noqa: S105  (no secret)
    secret_prefix: str = ""
    # The header with the time of the request. Without it and timestamp_key the scheme has no time,
    # so a request never gets too old.
    timestamp_header: str | None = None
    timestamp_unit: Literal["s", "ms"] = "s"
    # A request is refused if its time differs from now by more than this, in either direction.
    tolerance_s: int = 300
    id_header: str | None = None
    # A header and the value that it must have for this scheme to apply; None: it always applies.
    only_with: tuple[str, str] | None = None
    # (encoded, decoded) pairs: what the signer decodes in the URL before it signs it.
    url_decoding: tuple[tuple[str, str], ...] = ()

    @property
    def has_time(self) -> bool:
        """Whether a captured request is refused after a while: the time is there, and signed."""
        is_there = self.timestamp_header is not None or self.timestamp_key is not None
        return is_there and Part.TIMESTAMP in self.parts

    @property
    def is_extendable(self) -> bool:
        """Whether a stranger can append to a signed message and compute the new signature.

        That works for a plain hash (SHA-1, SHA-2) over the secret and a message, with one observed
        signature and without the secret.
        """
        return not self.keyed


@dataclass(frozen=True, kw_only=True, slots=True)
class Signatures:
    """Signature schemes, strongest first. Only the first whose header is present is checked."""

    schemes: tuple[Signature, ...]


Auth = Token | Basic | Signatures


@dataclass(frozen=True, kw_only=True, slots=True)
class SignatureChoice:
    """Some of the signature schemes of a CRM, for a person to choose."""

    auth: Signatures
    # The type of events that the CRM signs with none of them; None: it signs all events so.
    misses: str | None = None


SIGNATURES: Final = "SIGNATURES"  # the suffix of the variable that chooses

# Headers in which senders name a request; a resend of the request has the same value.
ID_HEADERS = ("webhook-id", "Idempotency-Key")


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """What proved that a request's sender knows the secret."""

    scheme: Token | Basic | Signature
    # The request's id, out of a header that the proof covers; None: there is none. Another header
    # can be changed by anybody who has captured a signed request.
    message_id: str | None = None

    @property
    def signed_by(self) -> Signature | None:
        """The signature scheme; None: the secret itself was sent, so its owner may say anything."""
        return self.scheme if isinstance(self.scheme, Signature) else None


def proof_of(scheme: Token | Basic | Signature, headers: Headers) -> Proof:
    """Return the proof of a request that this scheme has proved.

    A signature covers its own id header alone. A sender that sends the secret itself could have
    written any header, so ID_HEADERS count.
    """
    names: tuple[str, ...] = ID_HEADERS
    if isinstance(scheme, Signature):
        is_signed = scheme.id_header is not None and Part.ID in scheme.parts
        names = (scheme.id_header,) if scheme.id_header and is_signed else ()
    found = (headers.get(name, "").strip() for name in names)  # stripped as it is signed
    return Proof(scheme=scheme, message_id=next(filter(None, found), None))


def assumed_proof(auth: Auth, headers: Headers) -> Proof:
    """Return the proof that a request of this source will have, for a preview of it."""
    if not isinstance(auth, Signatures):
        return proof_of(auth, headers)
    sent = (one for one in auth.schemes if headers.get(one.id_header or "") is not None)
    return proof_of(next(sent, auth.schemes[0]), headers)


# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
_STANDARD = Signature(
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
)
# Svix sends the same under its own names: https://docs.svix.com/receiving/verifying-payloads/how-manual
_SVIX = replace(
    _STANDARD,
    header="svix-signature",
    timestamp_header="svix-timestamp",
    id_header="svix-id",
)
STANDARD_WEBHOOKS = Signatures(schemes=(_STANDARD, _SVIX))


def secret_of(auth: Auth, text: str) -> str:
    """Return a webhook secret made of a text, in the form that this way of proof needs."""
    match auth:
        case Basic():
            return f"crm:{text}"
        case Signatures(schemes=(Signature(secret_encoding="base64") as first, *_)):
            return first.secret_prefix + base64.b64encode(text.encode()).decode()
        case Signatures(schemes=(Signature(secret_encoding="hex") as first, *_)):
            return first.secret_prefix + text.encode().hex()
        case Signatures(schemes=(first, *_)):
            return first.secret_prefix + text
        case _:
            return text


def random_part(auth: Auth, secret: str) -> str:
    """Return the part of a webhook secret that a stranger would have to guess."""
    match auth:
        case Basic():
            return secret.partition(":")[2]
        case Signatures(schemes=(first, *_)):
            return secret.removeprefix(first.secret_prefix)
        case _:
            return secret


# --- how the record of a thin event is fetched ----------------------------------------------

# What a variable of a source is. A token lets its holder in by itself; a secret goes with an id.
Holds = Literal["address", "token", "secret", "id", "choice", "version"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """One environment variable of a source, <SOURCE>_<suffix>.

    With a stand-in in the CRM's place, an address is the stand-in's and all else is `sample`: so
    no real credential is ever sent to a stand-in, and no made-up one to the CRM.
    """

    suffix: str
    holds: Holds = "token"
    # Its value if it is not set; None: it has none then.
    default: str | None = None
    # The words that it may be; (): anything. A kind says what its choice does.
    choices: tuple[str, ...] = ()
    # A regular expression that its whole value must match, as `sample` does; "": anything does.
    pattern: str = ""
    # A made-up value in the CRM's own format. An address needs none.
    sample: str = "made-up"
    # What it is, for the person who sets it: words that may follow "HubSpot: ". "": see about().
    help: str = ""

    def about(self) -> str:
        """Return what it is, for the person who sets it."""
        return self.help or ABOUT[self.holds]


ABOUT: Mapping[Holds, str] = {
    "address": "the address of its API",
    "token": "a token that may read its records",
    "secret": "the secret of the client that reads its records",
    "id": "the id of the client that reads its records",
    "choice": "one of several words",
    "version": "the version of its API",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class BearerLogin:
    """A long-lived token that is sent as it is, in a header."""

    token: str  # the suffix of the variable that holds it
    header: str = "Authorization"
    prefix: str = "Bearer "  # what the header has before the token

    @property
    def needs(self) -> tuple[str, ...]:
        """The suffixes of the variables that must be set."""
        return (self.token,)


@dataclass(frozen=True, kw_only=True, slots=True)
class RefreshLogin:
    """OAuth: a refresh token buys short access tokens, which all workers share.

    The answer's `api_domain` is the API's address if no other is set.
    """

    # Where a token is bought: the suffix of the address's variable, and the path below it.
    accounts_url: str
    path: str
    # The suffixes of the variables that hold the credentials.
    client_id: str
    client_secret: str
    refresh_token: str
    # The word before the token in the Authorization header.
    scheme: str

    @property
    def needs(self) -> tuple[str, ...]:
        """The suffixes of the variables that must be set."""
        return (self.accounts_url, self.client_id, self.client_secret, self.refresh_token)


_NAMED_VARIABLE: Final = re.compile(r"\{([A-Z_]+)\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class CrmRequest:
    """One HTTP request to a CRM's API, without its base URL and its login."""

    method: Literal["GET", "POST", "PUT", "PATCH"]
    # It may name variables of the source by their suffixes: "/crm/{API_VERSION}/contacts".
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)  # besides those of the login

    def path_with(self, variables: Mapping[str, str], *, prefix: str) -> str:
        """Return the path with the values of the source's variables, by suffix.

        A variable without a value stays as its name, with the source's prefix: <HUBSPOT_API_URL>.
        """
        return _NAMED_VARIABLE.sub(
            lambda found: variables.get(found[1]) or f"<{prefix}{found[1]}>", self.path
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadAlone:
    """How to read one record of a CRM that answers a merged id with another record.

    Its answers to many ids may leave a merged one out.
    """

    # (object, id, fields) -> the request; None: the id can't be in a URL, so there is no record
    request: Callable[[str, str, Sequence[str]], CrmRequest | None]
    # The API's answer -> the record with its own id; None: it is not a record
    record: Callable[[Any], tuple[str, dict[str, Any]] | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnUser:
    """How to tell which changes the user of our login made, so that no call follows them."""

    # Asks the API who that user is.
    request: CrmRequest
    # The API's answer -> the user's id; None: it names none.
    read: Callable[[Any], str | None]
    # The body of a 401 -> whether the token is good, and only its scope is too narrow.
    is_out_of_scope: Callable[[Any], bool]
    scope: str  # the one that the question needs, for people
    # The fields of a record that is_change reads.
    fields: frozenset[str]
    # (the event's data with its record, the user's id) -> whether that user made the change. It
    # accepts any data and never raises.
    is_change: Callable[[Any, str], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hydration:
    """How to fetch full records of one CRM."""

    # At most this many records in one request.
    batch: int
    login: BearerLogin | RefreshLogin
    # The suffix of the variable with the address of the CRM's API.
    api_url: str
    # (object, ids, fields) -> the request that fetches these fields of these records
    request: Callable[[str, Sequence[str], Sequence[str]], CrmRequest]
    # The API's answer -> its records by their own ids.
    records: Callable[[Any], dict[str, dict[str, Any]]]
    # (the event's data, the record) -> the event's data with the record in it
    merge: Callable[[Any, Mapping[str, Any]], Any]
    # The paths that a route reads -> the CRM's fields to ask for
    fields: Callable[[frozenset[Path]], frozenset[str]]
    # Requests in 10 s over all workers, reads and writes, if <SOURCE>_API_RATE is not set.
    rate: int = 100
    # The headers that say how many more requests it accepts, and in how many ms; None: none do.
    rate_headers: tuple[str, str] | None = None
    # How to read an id that is not among the records; None: there is no record of that id.
    alone: ReadAlone | None = None
    # How to tell our own changes by the record; None: the record does not say who changed it.
    own_user: OwnUser | None = None

    def own_user_of(self, event_type: str) -> OwnUser | None:
        """Return how to tell our own changes among events of a type; None: we cause none such.

        A record that our login creates is a lead, and no answer to a call.
        """
        return self.own_user if event_type.endswith(".updated") else None


# --- how what never arrived is found --------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordSearch:
    """A question for the records of one object that were created or changed since a time."""

    crm_object: str  # "contacts", "Leads"
    since: datetime
    with_changed: bool  # False: only those that were created since
    cursor: str | None = None  # of the page, as the page before gave it; None: the first one


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangedRecord:
    """A record that a search found. The times are aware UTC; None: the CRM does not say."""

    id: str
    created_at: datetime | None
    changed_at: datetime | None
    data: Mapping[str, Any]  # what the CRM answered


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordPage:
    """A page of a search; cursor None: it is the last one."""

    records: tuple[ChangedRecord, ...]
    cursor: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconcile:
    """How to find the records whose webhooks never arrived."""

    objects: Mapping[str, str]  # our word for a record -> the CRM's object: {"contact": "contacts"}
    search: Callable[[RecordSearch], CrmRequest]
    # (the parsed answer; None: it has no body, and the search) -> the page
    page: Callable[[Any, RecordSearch], RecordPage]
    # (the event's type, the CRM's object, the record, the account) -> what a webhook would have
    # made. It carries the account, and is_reconciled.
    item: Callable[[str, str, ChangedRecord, str], Item]
    rate: int  # requests in 10 s over all workers
    # Asks for the account, and reads its id in the answer; None: a source has one account, "".
    account: tuple[CrmRequest, Callable[[Any], str | None]] | None = None


# --- how a CRM is asked to notify us --------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """A notification channel as the bridge asks for it, or as the CRM granted it."""

    channel_id: str  # digits
    events: tuple[str, ...]  # in the CRM's words: "Leads.create"
    url: str
    token: str = field(repr=False)  # the CRM sends it back with each notification
    expires_at: datetime  # aware UTC, in whole seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Channels:
    """How to make a CRM notify us, for a time that has to be renewed."""

    objects: Mapping[str, str]  # our word for a record -> the CRM's object: {"lead": "Leads"}
    happened: Mapping[str, str]  # our word for what happened -> the CRM's: {"updated": "edit"}
    make: Callable[[Watched], CrmRequest]
    renew: Callable[[Watched], CrmRequest]
    # (the parsed answer) -> why the CRM made no channel; None: it made one
    refusal: Callable[[Any], str | None]
    # (the parsed answer) -> until when it notifies us; None: as it was asked
    expiry: Callable[[Any], datetime | None]
    lifetime_s: int  # what is asked for
    renew_s: int  # how long after that it is renewed
    longest_token: int
    scope: str  # the one that the login needs, for people
    rate: int  # requests in 10 s over all workers


# --- how a CRM is told of calls -------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a CRM's API is told of a call at a moment.

    id: that of the write-back. key: our id of the call, equal for all its moments. at: when it was,
    ISO 8601 with an offset. subject, subject_type: the CRM's id of the record, and our word for
    what it is: "contact". delivery, outcome: as expressions of [route.write_back.fields] see them;
    outcome is None before a dial ended. fields: what to set in the record. call_id: the CRM's id of
    its record of this call; None: it has none yet.
    """

    id: str
    key: str
    moment: str
    at: str
    subject: str
    subject_type: str
    delivery: Mapping[str, Any]
    outcome: Mapping[str, Any] | None
    fields: Mapping[str, Any]
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """The CRM wrote it. call_id: its id of a call's record; None: its answer does not say."""

    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The CRM refuses it by a rule of its own, so that it is not repeated."""

    sentence: str  # the CRM's own


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteBack:
    """How to tell a CRM of calls by its API. The login is that of Hydration.

    A request may tell of several calls, at most one of each record.
    """

    # At most this many in one request.
    batch: int
    # The types of records that can be written: "contact".
    subject_types: frozenset[str]
    # Whether the CRM keeps a record of a call at such a moment.
    keeps_call: Callable[[Told], bool]
    # -> the requests that look for the CRM's record of the call by its key. Each is sent its
    # parsed answer; {}: the CRM answered 404. Returns the record's id; None: there is none.
    find_call: Callable[[Told], Generator[CrmRequest, Any, str | None]]
    # -> the request that creates the records of calls.
    create_calls: Callable[[Sequence[Told]], CrmRequest]
    # -> the request that changes the records of calls; each has a call_id.
    update_calls: Callable[[Sequence[Told]], CrmRequest]
    # -> the request that sets fields of records, all of one type.
    set_fields: Callable[[Sequence[Told]], CrmRequest]
    # (the parsed answer to one of these three, what was told) -> what became of each, by Told.id.
    # What is missing is in doubt, and is told again. It accepts any answer and never raises.
    read: Callable[[Any, Sequence[Told]], Mapping[str, Written | Refused]]


# --- the source itself ----------------------------------------------------------------------

MAX_ITEMS = 1000
"""Items in a request. HubSpot sends at most 100. The bridge stores all items of a request in one
transaction, and Redis serves no other client during that time."""


def count_items(content: Any) -> int:
    """Return how many items a body has in which a list has one item for each entry."""
    return len(content) if isinstance(content, list) else 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What a CRM module says about its CRM. schemas/crm/__init__.py discovers the modules."""

    # The word in routes.toml and in the URL, and the name for people.
    name: str
    title: str
    auth: Auth
    # (parsed body, request, source) -> items, in the order of the body. It raises nothing for a
    # bad item: that item carries a `problem`.
    parse: Callable[[Any, Incoming, "Source"], list[Item]]
    # Whether its CRM sends JSON in UTF-8 and nothing else. Required if a scheme is extendable.
    is_json_only: bool = False
    # What `signatures` in routes.toml and <SOURCE>_SIGNATURES may say, from the widest choice to
    # the strictest; {}: there is no choice.
    signatures: Mapping[str, SignatureChoice] = field(default_factory=dict)
    # (parsed body) -> how many items `parse` makes of it at most. It must be cheap: it is asked
    # before anything is parsed.
    count: Callable[[Any], int] = count_items
    # How to fetch the record of a thin event; None: events of this CRM are never thin.
    hydration: Hydration | None = None
    # How to find what never arrived; None: the CRM can't be asked. It needs `hydration`, too.
    reconcile: Reconcile | None = None
    # How to have the CRM notify us; None: a person does that in the CRM.
    channels: Channels | None = None
    # How to tell the CRM of calls by its API; None: it gets signed webhooks.
    write_back: WriteBack | None = None
    variables: tuple[Variable, ...] = ()
    # What the webhook secret is, for the person who sets it. "": see Source.secret_about().
    secret_help: str = ""
    # The type of an event whose body names none.
    default_type: str = "form.submitted"
    # (data) -> whether a bulk import made this notification; None: the CRM does not say.
    is_import: Callable[[Any], bool] | None = None
    # (type, data) -> whether our own write-back caused this event; None: the CRM does not say.
    is_own_change: Callable[[str, Any], bool] | None = None
    # Over an event's data: whether its person must not be called; None: the CRM has no such field.
    opt_out: Expression | None = None
    # The places of ids and times in an event's data; lists on the way are left out. A whole number
    # or digits there are shown as they are. Everywhere else they may be a phone number.
    ids: frozenset[Path] = frozenset()
    # The types of events that ask for a person to be erased.
    erased_by: frozenset[str] = frozenset()
    # Over an event's data: the country of a number that is written without one.
    region: Expression | None = None
    # Over an event's data: the numbers that the CRM usually keeps of a record. An opt-out
    # suppresses these too, not only those of the routes' to_number.
    phones: Expression | None = None
    # Over an event's data: the person's name (or its parts, in order), and the e-mail address.
    # None: the CRM has no such field.
    names: Expression | None = None
    emails: Expression | None = None
    # Over an event's data: the CRM's own id of the event, if source_event_id is composed of more.
    event_id: Expression | None = None
    # (what the record is, as in "contact"; the event's data) -> the path of the page that shows the
    # record, up to its id: "contacts/62515/record/0-1/". It follows <SOURCE>_APP_URL. None: the
    # page is not known.
    record_page: Callable[[str, Any], str | None] | None = None
    # The answer while nothing can be stored: 429 if the CRM tries again only after that.
    full_status: Literal[429, 503] = 503


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A kind under a name of its own, with its own URL and secret."""

    name: str
    kind: Kind
    auth: Auth
    # The paths of the type, the id and the time in the body; None: the kind's own places.
    event: Expression | None = None
    id: Expression | None = None
    time: Expression | None = None
    # The type of an event whose body names none.
    default_type: str = "form.submitted"
    # For how long equal bytes without an id are the same event; see remember_s(). is_window_set:
    # routes.toml says it.
    id_window_s: int = 86_400
    is_window_set: bool = False
    # Over an event's data: whether its person must not be called.
    opt_out: Expression | None = None
    # The IANA zone of times without a zone and of days; None: times are UTC, and days are in
    # CALLKARO_TIMEZONE.
    timezone: str | None = None
    reconcile_s: int | None = None  # how far a reconcile looks back each day; None: there is none

    @property
    def variable_prefix(self) -> str:
        """What the names of its environment variables start with: WEBSITE_2_ for `website-2`."""
        return self.name.upper().replace("-", "_") + "_"

    def remember_s(self, proof: Proof | None, dedupe_s: int) -> int:
        """Return for how long equal bytes without an id are the same event.

        A captured request whose signature has no time can be sent again at any time, so its bytes
        are remembered as long as an id is. One with a time can be sent again while the time is
        accepted, on both sides of our clock.
        """
        signature = proof.signed_by if proof else None
        if signature is None:
            return self.id_window_s
        if not signature.has_time:
            return dedupe_s
        return max(self.id_window_s, 2 * signature.tolerance_s)

    def secret_about(self) -> str:
        """Return what its webhook secret is, for the person who sets it."""
        if self.kind.secret_help and self.auth == self.kind.auth:
            return self.kind.secret_help
        match self.auth:
            case Basic():
                return "a user and a password that you choose, as user:password"
            case Signatures():
                return "the secret that signs its webhooks"
            case Token(header=header, query=query):
                return (
                    f"a token that you choose and put into the webhook's {header} header, or into "
                    f"its URL as ?{query}=…"
                )

    def simulated_variables(self, url: str) -> dict[str, str]:
        """Return its variables, by name, for a stand-in at this URL in the place of the CRM."""
        return {
            self.variable_prefix + one.suffix: url if one.holds == "address" else one.sample
            for one in self.kind.variables
        }


def read_items(source: Source, content: Any, request: Incoming) -> list[Item]:
    """Return the items of a parsed body. Raises TooLarge, before anything is parsed."""
    if source.kind.count(content) > MAX_ITEMS:
        raise TooLarge(f"The body has more than {MAX_ITEMS} items. Send them in parts.")
    return source.kind.parse(content, request, source)


def item_by_paths(
    body: Any,
    request: Incoming,
    source: Source,
    *,
    subject: str | None = None,
    index: int | None = None,
) -> Item:
    """Read one item of a body whose shape its sender chose, by the source's paths.

    The type is at `event`, else the source's default. The id is at `id`, else it is the one that
    the request's proof covers, else None. The time (see read_time()) is at `time`, else None. An
    unreadable time or id counts as missing, so that no lead is lost. An unreadable type makes the
    item unreadable: the default type might cause a call that the sender did not ask for.

    index is the item's place if the request carries several items; None: it carries one. The
    header identifies the whole request, so without the index its items would be duplicates.
    """
    try:
        event_type, event_id, time = (
            path.search(body) if path else None for path in (source.event, source.id, source.time)
        )
    except ExpressionError as error:
        return Item(type=source.default_type, data=body, problem=str(error))
    if isinstance(event_type, dict | list):
        # As a type, people's data would be shown and logged.
        problem = "The value at the source's `event` path is not text."
        return Item(type=source.default_type, data=body, problem=problem)
    return Item(
        type=str(event_type) if event_type not in (None, "") else source.default_type,
        data=body,
        source_event_id=id_text(event_id) or _header_id(request, index),
        subject=subject,
        time=read_time(time, source.timezone),
    )


def _header_id(request: Incoming, index: int | None) -> str | None:
    """Return the id that the request's proof covers, with the item's index; None: it has none."""
    given = request.proof.message_id if request.proof else None
    return given if given is None or index is None else f"{given}-{index}"


def id_text(value: Any) -> str | None:
    """Return an id as text; None for what can't be an id: null, "", true, a list, an object.

    A float of 2^53 or more can't be one either: a longer integer in JSON has lost digits by then,
    and two records would have the same id.
    """
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(value) if isinstance(value, int) or abs(value) < 2**53 else None
