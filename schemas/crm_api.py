"""What the bridge asks of a CRM's API, described as data: a CRM module says it, workers/ does it.

How we log in, which request reads records, finds what never arrived, makes a notification channel,
and tells the CRM of calls.
"""

import base64
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from schemas.event import Item
from schemas.expression import Path

# --- how the record of a thin event is fetched ----------------------------------------------

# What a variable of a source is. A token lets its holder in by itself; a secret goes with an id.
Holds = Literal["address", "token", "secret", "id", "choice", "version", "public_keys"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """One environment variable of a source, <SOURCE>_<suffix>.

    With a stand-in in the CRM's place, an address is the stand-in's and all else is `sample`: so
    no real credential is ever sent to a stand-in, and no made-up one to the CRM. `make run` leaves
    what only checks what arrives (Kind.checks), because the real vendor may send.
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
    "public_keys": "the public keys of its signatures, with commas between them",
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

    def headers(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the headers that let us in, with the source's variables by suffix."""
        return {self.header: self.prefix + variables[self.token]}


@dataclass(frozen=True, kw_only=True, slots=True)
class BasicLogin:
    """HTTP Basic with a key as the user, and no password."""

    user: str  # the suffix of the variable that holds the key

    @property
    def needs(self) -> tuple[str, ...]:
        """The suffixes of the variables that must be set."""
        return (self.user,)

    def headers(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the headers that let us in, with the source's variables by suffix."""
        pair = base64.b64encode(f"{variables[self.user]}:".encode())
        return {"Authorization": f"Basic {pair.decode()}"}


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadersLogin:
    """Long-lived keys that are sent as they are, each in a header of its own."""

    keys: Mapping[str, str]  # the header -> the suffix of the variable that holds the key

    @property
    def needs(self) -> tuple[str, ...]:
        """The suffixes of the variables that must be set."""
        return tuple(self.keys.values())

    def headers(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the headers that let us in, with the source's variables by suffix."""
        return {header: variables[suffix] for header, suffix in self.keys.items()}


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
    # The `error` of an answer without a token because too many were asked for; "": none says so.
    too_often: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """The suffixes of the variables that must be set."""
        return (self.accounts_url, self.client_id, self.client_secret, self.refresh_token)


_NAMED_VARIABLE: Final = re.compile(r"\{([A-Z_]+)\}")


@dataclass(frozen=True, slots=True)
class FromVariable:
    """A value in a request's JSON body: that of a variable of the source, by its suffix.

    It is no text in braces, for a text there may be a person's.
    """

    suffix: str
    is_number: bool = False  # it is sent as a number; the variable's pattern accepts digits alone


@dataclass(frozen=True, kw_only=True, slots=True)
class CrmRequest:
    """One HTTP request to a CRM's API, without its base URL and its login."""

    method: Literal["GET", "POST", "PUT", "PATCH"]
    # It may name variables of the source by their suffixes: "/crm/{API_VERSION}/contacts".
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    json: Any = None  # it may have values that are FromVariable
    headers: Mapping[str, str] = field(default_factory=dict)  # besides those of the login

    def path_with(self, variables: Mapping[str, str], *, prefix: str) -> str:
        """Return the path with the values of the source's variables, by suffix.

        A variable without a value stays as its name, with the source's prefix: <HUBSPOT_API_URL>.
        """
        return _NAMED_VARIABLE.sub(
            lambda found: variables.get(found[1]) or f"<{prefix}{found[1]}>", self.path
        )

    def unset(self, variables: Mapping[str, str]) -> list[str]:
        """Return the suffixes of the variables that it names and that have no value."""
        named = (*_NAMED_VARIABLE.findall(self.path), *sorted(self.json_needs))
        return [name for name in named if not variables.get(name)]

    def json_with(self, variables: Mapping[str, str], *, prefix: str) -> Any:
        """Return the JSON body with the values of the source's variables, by suffix.

        A variable without a value stays as its name, with the source's prefix.
        """

        def filled(value: Any) -> Any:
            match value:
                case FromVariable(suffix, is_number):
                    found = variables.get(suffix) or f"<{prefix}{suffix}>"
                    return int(found) if is_number and found.isdecimal() else found
                case dict():
                    return {key: filled(one) for key, one in value.items()}
                case list():
                    return [filled(one) for one in value]
                case _:
                    return value

        return filled(self.json)

    @property
    def json_needs(self) -> frozenset[str]:
        """The suffixes of the variables whose values the JSON body has."""

        def named(value: Any) -> Iterator[str]:
            match value:
                case FromVariable(suffix):
                    yield suffix
                case dict():
                    yield from named(list(value.values()))
                case list():
                    for one in value:
                        yield from named(one)

        return frozenset(named(self.json))


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
    scope: str  # the one that the question needs, for people; "": the login has no scopes
    # The fields of a record that is_change reads.
    fields: frozenset[str]
    # (the event's data with its record, the user's id, the fields that write-backs of the source
    # set) -> whether that user made the change. It accepts any data and never raises.
    is_change: Callable[[Any, str, frozenset[str]], bool]
    # What types of events begin with whose records are no leads: those that our login creates are
    # answers to calls, too.
    answers: tuple[str, ...] = ()


# Why a CRM refuses a question: our login, one of the ids, or that it is asked now.
RefusedFor = Literal["login", "ids", "busy"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Api:
    """How to log in at a CRM's API, and how often it may be asked."""

    login: BearerLogin | BasicLogin | HeadersLogin | RefreshLogin
    # The suffix of the variable with the address of the CRM's API.
    api_url: str
    # Requests in 10 s over all workers, reads and writes, if <SOURCE>_API_RATE is not set.
    rate: int = 100
    # The headers that say how many more requests it accepts, and in how many ms; None: none do.
    rate_headers: tuple[str, str] | None = None
    # (the status of an answer, its parsed body) -> the status that says what the body says, for an
    # API that answers 500 or 200 to what it refuses. It accepts any body and never raises. None:
    # its statuses say it.
    status_of: Callable[[int, Any], int] | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """The suffixes of the variables that must be set for it to be asked."""
        if isinstance(self.login, RefreshLogin):
            return self.login.needs  # the API's address comes with each token
        return (*self.login.needs, self.api_url)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hydration(Api):
    """How to fetch full records of one CRM."""

    # At most this many records in one request.
    batch: int
    # (object, ids, fields) -> the request that fetches these fields of these records
    request: Callable[[str, Sequence[str], Sequence[str]], CrmRequest]
    # The API's answer -> its records by their own ids.
    records: Callable[[Any], dict[str, dict[str, Any]]]
    # (the event's data, the record) -> the event's data with the record in it
    merge: Callable[[Any, Mapping[str, Any]], Any]
    # The paths that a route reads -> the CRM's fields to ask for
    fields: Callable[[frozenset[Path]], frozenset[str]]
    # The statuses of an answer that says: none of these records exists. 404 only if `batch` is 1:
    # of many ids it means that the address is wrong.
    none_statuses: tuple[int, ...] = (204,)
    # How to read an id that is not among the records; None: there is no record of that id.
    alone: ReadAlone | None = None
    # How to tell our own changes by the record; None: the record does not say who changed it.
    own_user: OwnUser | None = None
    # (the parsed body of a refusal; None: it can't be read) -> why it refuses; None: its status
    # says that. It accepts any body and never raises. Without it, the status always says it.
    refused_for: Callable[[Any], RefusedFor | None] | None = None

    def own_user_of(self, event_type: str) -> OwnUser | None:
        """Return how to tell our own changes among events of a type; None: we cause none such.

        Else, a record that our login creates is a lead, and no answer to a call.
        """
        own = self.own_user
        is_answer = own is not None and event_type.startswith(own.answers)
        return own if is_answer or event_type.endswith(".updated") else None


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
    # Requests in 10 s over all workers, if fewer than Hydration.rate; None: as many.
    rate: int | None = None
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


# --- how a CRM is told of calls -------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a CRM's API is told of a call at a moment.

    id: that of the write-back. key: our id of the call, equal for all its moments. at: when it was,
    ISO 8601 with an offset. subject, subject_type: the CRM's id of the record, and our word for
    what it is: "contact". delivery, outcome: as expressions of [route.write_back.fields] see them;
    outcome is None before a dial ended. fields: what to set in the record. call_id: the CRM's id of
    its record of this call; None: it has none yet. event: the data of the call's event, as it came.
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
    event: Any = None


@dataclass(frozen=True, slots=True)
class Written:
    """The CRM wrote it. call_id: its id of a call's record; None: its answer does not say."""

    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The CRM refuses it by a rule of its own, so that it is not repeated."""

    sentence: str  # the CRM's own


class UnwritableError(Exception):
    """What is told can't be put into a request: its sentence, for people, says why.

    It is raised instead of a request, and ends the write-back as a refusal of the CRM's own does.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteCheck:
    """How to ask a CRM whether it would accept what routes write back.

    Types of records are our words, such as "contact"; "call" is the CRM's record of a call.
    """

    field_word: str  # the CRM's word for a field of a record
    # (a type of record) -> the request for all its fields.
    fields: Callable[[str], CrmRequest]
    # The API's answer -> by a field's name, whether the API can set it; None: it can't be read.
    read_fields: Callable[[Any], Mapping[str, bool] | None]
    # (types that are read, types that are written) -> what the login needs. Each need is a list of
    # scopes of which one is enough, the narrowest first. (): the login has no scopes.
    scopes: Callable[[Set[str], Set[str]], Sequence[Sequence[str]]] = lambda read, written: ()
    # The body of a refusal -> the scopes that are missing; (): it is about something else.
    missing: Callable[[Any], Sequence[str]] = lambda answer: ()
    # Asks for the scopes of our login, and reads them in the answer (None: it has none). Without
    # it, they come with each access token.
    granted: tuple[CrmRequest, Callable[[Any], frozenset[str] | None]] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteBack:
    """How to tell a CRM of calls by its API.

    A request may tell of several calls, at most one of each record. Instead of one of the three
    requests that write, UnwritableError may be raised.
    """

    # At most this many in one request.
    batch: int
    # The types of records that can be written: "contact".
    subject_types: frozenset[str]
    # Whether the CRM keeps a record of a call at such a moment.
    keeps_call: Callable[[Told], bool]
    # -> the requests that look for the CRM's record of the call by its key. Each is sent its
    # parsed answer, an object; {}: the CRM answered 404. Returns the record's id; None: there is
    # none. Raises ValueError for an answer that does not say it.
    find_call: Callable[[Told], Generator[CrmRequest, Any, str | None]]
    # -> the request that creates the records of calls.
    create_calls: Callable[[Sequence[Told]], CrmRequest]
    # -> the request that changes the records of calls; each has a call_id.
    update_calls: Callable[[Sequence[Told]], CrmRequest]
    # -> the request that sets fields of records, all of one type.
    set_fields: Callable[[Sequence[Told]], CrmRequest]
    # (the parsed answer to one of these three, what was told) -> what became of each, by Told.id.
    # None: not now, so it is told again. What is missing is in doubt, and is told again, too; an
    # answer that refuses (4xx) wrote nothing of it. It accepts any answer and never raises.
    read: Callable[[Any, Sequence[Told]], Mapping[str, Written | Refused | None]]
    # How `check` asks whether it can work; None: the CRM can't be asked.
    check: WriteCheck | None = None
    # What the subject of an event is, if not the record that its type names: {"deal": "person"}.
    # "*": each event says it, so that it is not known before.
    about: Mapping[str, str] = field(default_factory=dict)
    # Whether an update of a record says that we made it (Kind.is_own_change, Hydration.own_user).
    # If not, a route that takes updates and sets fields may call in a circle.
    tells_own_updates: bool = True
    # (an event's type, its data, the source's variables by suffix) -> whether it is about a record
    # that the bridge makes of calls. It accepts any data and never raises. None: is_own_change says
    # it without the variables.
    is_own_call: Callable[[str, Any, Mapping[str, str]], bool] | None = None
    # How to log in; None: as Hydration says.
    api: Api | None = None
    # The suffixes of the variables that must be set for a call's record, besides the login's.
    call_needs: tuple[str, ...] = ()
