"""A source: a CRM or lead form that posts to /webhooks/<source>, described as data.

A CRM module (schemas/crm/<kind>.py) describes: how requests are signed, how a body becomes
items, which request fetches the full record. `schemas/signatures.py` checks the signatures, and
`workers/crm.py` makes the requests.
"""

import base64
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Literal

from schemas.crm_api import Api, Channels, Hydration, Reconcile, Variable, WriteBack
from schemas.errors import TooLarge
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression, ExpressionError, Path
from schemas.public_keys import Algorithm

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
class PublicKeySignature:
    """A signature over the raw body by a key that the vendor uses for all its customers, in base64.

    It does not say whose event it is, so it counts beside a token, never in its place.
    """

    header: str
    algorithm: Algorithm
    # The suffix of the variable with the vendor's public keys; see schemas/public_keys.py.
    variable: str = "PUBLIC_KEYS"
    # What the vendor writes into the header where it did not sign; None: it leaves the header out.
    absent: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A shared token: in a header, as ?token=, or in the body if the CRM puts it there."""

    header: str = "X-Webhook-Token"
    query: str = "token"
    body: tuple[str, ...] = ()  # the keys of the body where the CRM may put it
    # Strongest first. The first whose header is there must be right, too; without any of their
    # headers the token alone counts.
    beside: tuple[PublicKeySignature, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Basic:
    """HTTP Basic; the secret is `user:password`."""


JWT_KEY_BYTES: Final = 32
"""The fewest bytes of a key for HS256: https://www.rfc-editor.org/rfc/rfc7518#section-3.2"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Jwt:
    """A JSON Web Token (RFC 7519), signed with the secret by HS256 and by no other algorithm.

    It covers its own claims, not the request: until it expires, its holder may send anything.
    """

    header: str = "Authorization"  # the token alone, or after "Bearer "
    tolerance_s: int = 60  # how far the clock of the signer may differ from ours


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


Auth = Token | Basic | Jwt | Signatures


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """The answer to a request whose events are stored. The usual one: 202 with counts and events.

    body None: the counts and the events, as JSON.
    """

    status: int = 202
    body: str | None = None
    media_type: str = "application/json"
    # Whether it is also the answer to a request that proved its sender and can't be read: the
    # vendor would switch the webhook off. The body is kept for people to see.
    is_always: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Challenge:
    """A request by which a vendor asks whether a URL is ours, before it sends events there.

    The answer (200) repeats a text of the request; nothing is stored.
    """

    method: Literal["GET", "POST"]
    # The argument of the query (GET), or the key of the JSON body (POST), that has the text.
    echo: str
    # Arguments of the query that the request must have, such as {"hub.mode": "subscribe"}.
    only_with: Mapping[str, str] = field(default_factory=dict)
    # The argument with a token, and the suffix of the variable that it must equal: another one is
    # answered 401. None: the vendor sends none.
    token: tuple[str, str] | None = None
    # Whether the answer is the body itself, {"challenge": "…"}; else it is the text alone.
    as_json: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountCheck:
    """The vendor's id of its customer, in the body: no secret, so it counts beside the proof only.

    A body of another account is answered 401.
    """

    # The suffix of the variable with the id, or several with commas. Not set: nothing is checked.
    variable: str
    # (parsed body, an id) -> whether the body is of that account. It accepts any body.
    is_of: Callable[[Any, str], bool]


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

    scheme: Token | Basic | Jwt | Signature
    # The request's id, out of a header that the proof covers; None: there is none. Another header
    # can be changed by anybody who has captured a signed request.
    message_id: str | None = None

    @property
    def signed_by(self) -> Signature | None:
        """The scheme that covers the body; None: a secret or a token was sent beside it."""
        return self.scheme if isinstance(self.scheme, Signature) else None


def proof_of(scheme: Token | Basic | Jwt | Signature, headers: Headers) -> Proof:
    """Return the proof of a request that this scheme has proved.

    A signature covers its own id header alone, and a JWT covers none. A sender that sends the
    secret itself could have written any header, so ID_HEADERS count.
    """
    names: tuple[str, ...] = () if isinstance(scheme, Jwt) else ID_HEADERS
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
        case Jwt():
            return text.ljust(JWT_KEY_BYTES, "-")
        case Signatures(schemes=(Signature(secret_encoding="base64") as first, *_)):
            return first.secret_prefix + base64.b64encode(text.encode()).decode()
        case Signatures(schemes=(Signature(secret_encoding="hex") as first, *_)):
            return first.secret_prefix + text.encode().hex()
        case Signatures(schemes=(first, *_)):
            return first.secret_prefix + text
        case _:
            return text


def proof_headers(auth: Auth) -> tuple[str, ...]:
    """Return the names of the headers in which a request may prove itself, the usual one first."""
    match auth:
        case Token(header=header) | Jwt(header=header):
            return (header,)
        case Basic():
            return ("Authorization",)
        case Signatures(schemes=schemes):
            return tuple(dict.fromkeys(one.header for one in schemes))


def random_part(auth: Auth, secret: str) -> str:
    """Return the part of a webhook secret that a stranger would have to guess."""
    match auth:
        case Basic():
            return secret.partition(":")[2]
        case Signatures(schemes=(first, *_)):
            return secret.removeprefix(first.secret_prefix)
        case _:
            return secret


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
    # Whether its CRM sends XML in UTF-8 and nothing else; bridge/http/xml_body.py says how it
    # becomes values.
    is_xml_only: bool = False
    # How to see in a body whose account it is of; None: the token alone says it.
    account_check: AccountCheck | None = None
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
    # Whether a person chooses the secret of a signature or a JWT, and enters it at the vendor.
    # False: the vendor shows it. None: not known. A token and a password are always chosen.
    secret_is_chosen: bool | None = None
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
    # The answer once all is stored. [[source]] `answer` may say another status.
    reply: Reply = Reply()
    # How the vendor asks whether the URL is ours; None: it does not.
    challenge: Challenge | None = None
    # Whether a GET may carry a lead: its content is the query, as a form's, without the token.
    takes_get: bool = False
    # Over an event's data: whether the person's number is on a do-not-call list, so that the call
    # is skipped (`dnd_number`); None: the source has no such field.
    is_dnd: Expression | None = None
    # What the vendor does if it gets no success, for the table of sources: "24 hours".
    retries: str = "not known"
    # The page that says how to connect it, by its path in the project. "": see guide_path.
    guide: str = ""

    @property
    def api(self) -> Api | None:
        """How to log in at the CRM's API; None: the bridge asks it nothing."""
        return self.hydration or (self.write_back.api if self.write_back else None)

    @property
    def module_name(self) -> str:
        """The name of its module in schemas/crm, as a word of Python: google_ads."""
        return self.name.replace("-", "_")

    @property
    def guide_path(self) -> str:
        """The page that says how to connect it, by its path in the project."""
        return self.guide or f"examples/{self.name}/README.md"

    @property
    def needs(self) -> frozenset[str]:
        """The suffixes of the variables that it needs beside its webhook secret.

        Those are what the login that fetches records needs, and the token of its challenge.
        """
        login = self.hydration.login.needs if self.hydration else ()
        token = self.challenge.token[1:] if self.challenge and self.challenge.token else ()
        return frozenset((*login, *token))

    @property
    def checks(self) -> frozenset[str]:
        """The suffixes of the variables that only check what arrives, as a webhook secret does.

        They are sent to nobody.
        """
        found = (
            {one.variable for one in self.auth.beside} if isinstance(self.auth, Token) else set()
        )
        if self.account_check:
            found.add(self.account_check.variable)
        if self.challenge and self.challenge.token:
            found.add(self.challenge.token[1])
        return frozenset(found)


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
    answer: int | None = None  # the status of the answer once all is stored; None: the kind's

    @property
    def variable_prefix(self) -> str:
        """What the names of its environment variables start with: WEBSITE_2_ for `website-2`."""
        return self.name.upper().replace("-", "_") + "_"

    @property
    def takes_get(self) -> bool:
        """Whether a GET may carry a lead. A signature covers the body, so it proves no query."""
        return self.kind.takes_get and not isinstance(self.auth, Signatures)

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
        if self.kind.secret_help and self._proves_as_its_kind:
            return self.kind.secret_help
        match self.auth:
            case Basic():
                return "a user and a password that you choose, as user:password"
            case Jwt() | Signatures():
                return "the secret that signs its webhooks"
            case Token(header=header, query=query):
                return (
                    f"a token that you choose and put into the webhook's {header} header, or into "
                    f"its URL as ?{query}=…"
                )

    @property
    def secret_is_chosen(self) -> bool | None:
        """Whether a person chooses its webhook secret. False: the vendor shows it; None: either."""
        if isinstance(self.auth, Token | Basic):
            return True
        return self.kind.secret_is_chosen if self._proves_as_its_kind else None

    @property
    def _proves_as_its_kind(self) -> bool:
        """Whether its webhooks prove themselves as its kind says, and not as routes.toml does."""
        own = (self.kind.auth, *(one.auth for one in self.kind.signatures.values()))
        return self.auth in own

    def missing(self, known: Collection[str]) -> tuple[Variable, ...]:
        """Return the variables of Kind.needs, without the known suffixes."""
        needed = self.kind.needs - {*known}
        return tuple(one for one in self.kind.variables if one.suffix in needed)

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
