"""Zoho CRM: webhooks of workflow rules, and the notification API.

A workflow rule posts a form or JSON with field names that its author chose. A notification may name
several records in `ids`, with changed values for some or none of them; so it
becomes one item for each of `ids`, and records are fetched. Neither is signed: the token is in a
header, in the URL, or in the body's `token`, which is never stored.

https://www.zoho.com/crm/developer/docs/api/v7/notifications/enable.html
https://www.zoho.com/crm/developer/docs/api/v8/get-records.html
https://www.zoho.com/crm/developer/docs/api/v8/get-users.html
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from schemas.crm.fields import RecordId, Word, instant, sentence
from schemas.crm.zoho_writing import WRITE_BACK
from schemas.crm_api import (
    ChangedRecord,
    Channels,
    CrmRequest,
    Hydration,
    OwnUser,
    Reconcile,
    RecordPage,
    RecordSearch,
    RefreshLogin,
    Variable,
    Watched,
)
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression, Path
from schemas.fields import EpochMillis
from schemas.source import Incoming, Kind, Source, Token, count_items, id_text, item_by_paths

# Zoho's module -> our object. Another module keeps Zoho's spelling, in small letters.
OBJECTS: Final = {
    "Leads": "lead",
    "Contacts": "contact",
    "Accounts": "account",
    "Deals": "deal",
    "Potentials": "deal",  # what Deals were called before v2 of the API
    "Campaigns": "campaign",
    "Tasks": "task",
    "Calls": "call",
    "Events": "event",
    "Products": "product",
    "Vendors": "vendor",
    "Cases": "case",
    "Solutions": "solution",
    "Notes": "note",
    "Quotes": "quote",
    "Invoices": "invoice",
    "Sales_Orders": "sales_order",
    "Purchase_Orders": "purchase_order",
    "Price_Books": "price_book",
}
# Channels subscribe to `create` and `edit`; notifications have `insert` and `update`.
HAPPENED: Final = {
    "insert": "created",
    "create": "created",
    "update": "updated",
    "edit": "updated",
    "delete": "deleted",
}
# Where a workflow's author may have put the record's id.
SUBJECTS: Final = ("id", "Id", "ID", "record_id", "Record_Id", "recordId", "entity_id")
MODULE: Final = "module"  # where that author may have put whose id it is: "Leads"
# A body with three of these is a notification, perhaps a broken one. The author of a workflow may
# have chosen one or two of these names.
MARKS: Final = frozenset({"channel_id", "server_time", "module", "operation", "ids"})
NOTIFICATION: Final = "notification"
# Fields of a record that refer to another record.
REFERENCES: Final = (
    *("Owner", "Created_By", "Modified_By", "Account_Name", "Contact_Name", "Deal_Name"),
    *("Layout", "What_Id", "Who_Id", "Converted_Contact", "Converted_Account"),
)
IDS: Final = frozenset(
    {
        *((name,) for name in SUBJECTS),
        *((name, "id") for name in REFERENCES),
        *((NOTIFICATION, name) for name in ("ids", "channel_id", "server_time")),
    }
)
_SHORT: Final = validate.Length(min=1, max=100, error="must have 1 to 100 characters")


class NotificationSchema(Schema):
    """The fields of a notification that we need."""

    class Meta:
        """Zoho adds keys without notice."""

        unknown = EXCLUDE

    # These are part of each record's id and type, so a long text would be stored for each record.
    channel_id = RecordId(required=True, validate=_SHORT)
    server_time = EpochMillis(
        required=True, error_messages={"required": "is missing", "null": "is null"}
    )
    # It becomes part of a URL.
    module = Word(
        required=True,
        validate=validate.Regexp(r"[A-Za-z0-9_]{1,100}\Z", error="must be a module's API name"),
    )
    operation = Word(
        required=True,
        validate=_SHORT,
    )
    # Each id is read later, so that a bad one does not make the others unreadable.
    ids = fields.List(
        fields.Raw(allow_none=True),
        required=True,
        validate=validate.Length(min=1, error="names no record"),
        error_messages={"required": "is missing", "null": "is null", "invalid": "must be a list"},
    )


_NOTIFICATION: Final = NotificationSchema()
# An id becomes part of a comma-separated list.
_RECORD_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


# Each record of a notification carries its envelope, so of a notification of 1,000 records it is
# stored 1,000 times. Zoho's own keys take some 400 bytes.
LARGEST_ENVELOPE: Final = 4096


def count(content: Any) -> int:
    """Return how many items a body has at most."""
    if _is_notification(content):
        return len(_list(content.get("ids"))) or 1
    return count_items(content)


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read a notification, a workflow's form or object, or a list of records."""
    if _is_notification(content):
        return _notified(content)
    if not isinstance(content, list):
        return [_workflow_item(content, request, source)]
    if len(content) == 1:
        return [_workflow_item(content[0], request, source)]
    return [_workflow_item(body, request, source, index) for index, body in enumerate(content)]


def _is_notification(content: Any) -> bool:
    return isinstance(content, dict) and len(MARKS & content.keys()) >= 3


def _workflow_item(body: Any, request: Incoming, source: Source, index: int | None = None) -> Item:
    if not isinstance(body, dict):
        return Item(type=source.default_type, data=body, problem="The body is not a JSON object.")
    data = _without_token(body)
    subject = next((found for key in SUBJECTS if (found := id_text(data.get(key)))), None)
    item = item_by_paths(data, request, source, subject=subject, index=index)
    return replace(item, subject_type=OBJECTS.get(str(data.get(MODULE))))


def _without_token(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "token"}


# --- links ----------------------------------------------------------------------------------

_MODULES: Final = {word: module for module, word in OBJECTS.items() if module != "Potentials"}
_MODULE: Final = re.compile(r"[A-Za-z0-9_]{1,100}")


def record_page(subject_type: str, data: Any) -> str | None:
    """Return where Zoho shows records of a module; None: the module is not known."""
    notification = data.get(NOTIFICATION) if isinstance(data, dict) else None
    named = notification.get("module") if isinstance(notification, dict) else None
    module = named or _MODULES.get(subject_type)
    if not isinstance(module, str) or not _MODULE.fullmatch(module):
        return None
    return f"crm/tab/{module}/"


# --- notifications --------------------------------------------------------------------------


def _notified(content: Mapping[str, Any]) -> list[Item]:
    """Return an item for each record that a notification names, also if it names one twice."""
    original = _without_token(content)
    try:
        known = _NOTIFICATION.load(original)
    except ValidationError as error:
        problem = sentence("notification", error.messages_dict)
        return [Item(type=NOTIFICATION, data=original, problem=problem)]
    envelope = _envelope(original)
    values = _values_by_id(original.get("affected_values"))
    changed = _changed_by_id(original.get("affected_fields"))
    event_type = _type(known)
    # One of equal ids: it is one event, and its values need not be copied again.
    ids = dict.fromkeys(map(id_text, known["ids"]))
    return [
        _record_item(known, record_id, event_type, envelope, values, changed) for record_id in ids
    ]


def _envelope(original: Mapping[str, Any]) -> dict[str, Any]:
    """Return what each record keeps of its notification: what fits into LARGEST_ENVELOPE.

    The keys that a notification must have come first, then the smallest. The records' own keys are
    added for each record.
    """
    sizes = {
        name: len(orjson.dumps({name: value}))
        for name, value in original.items()
        if name not in ("affected_values", "affected_fields", "ids")
    }
    kept: set[str] = set()
    room = LARGEST_ENVELOPE
    for name in sorted(sizes, key=lambda one: (one not in MARKS, sizes[one])):
        if sizes[name] <= room:
            kept.add(name)
            room -= sizes[name]
    return {name: value for name, value in original.items() if name in kept}


def _record_item(
    known: Mapping[str, Any],
    record_id: str | None,
    event_type: str,
    envelope: Mapping[str, Any],
    values: Mapping[str, Mapping[str, Any]],
    changed: Mapping[str, Any],
) -> Item:
    """Return the item of one record, with nothing of the other records: they are other people's."""
    if record_id is None or not _RECORD_ID.fullmatch(record_id):
        alone = {**envelope, "ids": [], "affected_fields": []}
        problem = sentence("notification", {"ids": ["has a value that is not a record's id"]})
        return Item(type=event_type, data={NOTIFICATION: alone}, problem=problem)
    own = [{record_id: changed[record_id]}] if record_id in changed else []
    alone = {**envelope, "ids": [record_id], "affected_fields": own}
    # Zoho sends no event id. A request may name several records, so the record's id is in it.
    stable = (known["channel_id"], known["module"], known["operation"], record_id)
    return Item(
        type=event_type,
        data={**values.get(record_id, {}), NOTIFICATION: alone},
        source_event_id="-".join((*stable, str(envelope["server_time"]))),
        subject=record_id,
        time=known["server_time"],
        account="",
        hydrate=None if event_type.endswith(".deleted") else known["module"],
    )


def _type(known: Mapping[str, Any]) -> str:
    module, operation = known["module"], known["operation"].lower()
    return f"{OBJECTS.get(module, module.lower())}.{HAPPENED.get(operation, operation)}"


def _values_by_id(affected: Any) -> dict[str, dict[str, Any]]:
    """Return the changed values of each record: [{"record_id": …, "values": {…}}]."""
    entries = (entry for entry in _list(affected) if isinstance(entry, dict))
    return {
        found: entry["values"]
        for entry in entries
        if (found := id_text(entry.get("record_id"))) and isinstance(entry.get("values"), dict)
    }


def _changed_by_id(affected: Any) -> dict[str, Any]:
    """Return the names of each record's changed fields: [{"<record id>": ["Phone"]}]."""
    entries = (entry for entry in _list(affected) if isinstance(entry, dict))
    return {record_id: names for entry in entries for record_id, names in entry.items()}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


# --- hydration ------------------------------------------------------------------------------


def _request(module: str, ids: Sequence[str], wanted: Sequence[str]) -> CrmRequest:
    return CrmRequest(
        method="GET",
        path=f"/crm/v8/{module}",
        params={"ids": ",".join(ids), "fields": ",".join(sorted(wanted) or ["id"])},
    )


def _records(answer: Any) -> dict[str, dict[str, Any]]:
    """Return the records by id. Zoho answers 204, without a body, if it finds none."""
    data = answer.get("data") if isinstance(answer, dict) else None
    records = (record for record in _list(data) if isinstance(record, dict))
    return {found: record for record in records if (found := id_text(record.get("id")))}


def _merge(data: Any, record: Mapping[str, Any]) -> Any:
    kept = {NOTIFICATION: data[NOTIFICATION]} if NOTIFICATION in data else {}
    return {**data, **record, **kept}


def _fields(paths: frozenset[Path]) -> frozenset[str]:
    """Return the fields to ask for, never none: v8 is said to insist on `fields` (unconfirmed)."""
    return frozenset(path[0] for path in paths if path[0] != NOTIFICATION) or frozenset({"id"})


# --- our own changes ------------------------------------------------------------------------

# Times of records are in whole seconds, and another of Zoho's servers may stamp the notification.
CLOCKS_DIFFER: Final = timedelta(seconds=5)


def _user(answer: Any) -> str | None:
    users = _list(answer.get("users") if isinstance(answer, dict) else None)
    return id_text(users[0].get("id")) if users and isinstance(users[0], dict) else None


def _is_out_of_scope(answer: Any) -> bool:
    return isinstance(answer, dict) and answer.get("code") == "OAUTH_SCOPE_MISMATCH"


def is_change_of(data: Any, user_id: str, written: frozenset[str]) -> bool:
    """Return whether a user made the change that a notification is about.

    written: the fields that write-backs set. The record names only who changed it last. If that was
    after the notification, somebody else may have made the change before. Then it counts as the
    user's only if it is of such fields alone: whoever set them, a write-back has set them again.
    """
    record = data if isinstance(data, dict) else {}
    by, told = record.get("Modified_By"), record.get(NOTIFICATION)
    if not isinstance(by, dict) or id_text(by.get("id")) != user_id or not isinstance(told, dict):
        return False
    changed_at, notified_at = (
        read_time(record.get("Modified_Time")),
        read_time(told.get("server_time")),
    )
    if not isinstance(changed_at, datetime) or not isinstance(notified_at, datetime):
        return False
    if changed_at <= notified_at + CLOCKS_DIFFER:
        return True
    changed = _changed_by_id(told.get("affected_fields")).values()
    names = {str(name) for of_record in changed for name in _list(of_record)}
    return bool(names) and names <= written


# --- what never arrived ---------------------------------------------------------------------

SEARCH_PAGE: Final = 200
PAGE_NUMBER: Final = "page "  # begins a cursor that is no token
OPERATIONS: Final = {"created": "insert", "updated": "update"}
RECONCILE: Final = "reconcile"  # in the place of a channel's id


def _search(search: RecordSearch) -> CrmRequest:
    """Ask for what was changed since a time; what was created since was changed, too."""
    since = search.since.replace(microsecond=0)  # Zoho reads no milliseconds
    number = (search.cursor or "").removeprefix(PAGE_NUMBER)
    name = "page_token" if number == search.cursor else "page"
    paged = {name: number} if number else {}
    return CrmRequest(
        method="GET",
        path=f"/crm/v8/{search.crm_object}",
        params={
            "fields": "id,Created_Time,Modified_Time",
            "sort_by": "id",
            "sort_order": "asc",
            "per_page": str(SEARCH_PAGE),
            **paged,
        },
        headers={"If-Modified-Since": since.isoformat()},
    )


def _page(answer: Any, _: RecordSearch) -> RecordPage:
    """Read a page; Zoho answers 304 without a body if nothing was changed."""
    records = tuple(
        ChangedRecord(
            id=record_id,
            created_at=instant(record.get("Created_Time")),
            changed_at=instant(record.get("Modified_Time")),
            data=record,
        )
        for record_id, record in _records(answer).items()
    )
    info = answer.get("info") if isinstance(answer, dict) else None
    known = info if isinstance(info, dict) else {}
    has_more = known.get("more_records") is True
    if not has_more:
        return RecordPage(records=records, cursor=None)
    # Without a token there are page numbers. Zoho refuses those beyond 2,000 records.
    token = id_text(known.get("next_page_token"))
    number = int(known.get("page") or 1) + 1
    return RecordPage(records=records, cursor=token or f"{PAGE_NUMBER}{number}")


def _reconciled(event_type: str, module: str, record: ChangedRecord, account: str) -> Item:
    """Return what a record's notification would have become.

    A change names its time as server_time, so that a change by our own user is known as one.
    """
    word = event_type.rpartition(".")[2]
    at = record.created_at if word == "created" else record.changed_at
    at_ms = None if at is None else int(at.timestamp() * 1000)
    of_change = () if word == "created" else (str(at_ms),)
    notification = {
        "module": module,
        "operation": OPERATIONS[word],
        "ids": [record.id],
        "channel_id": RECONCILE,
        "server_time": at_ms,
        "affected_fields": [],
    }
    return Item(
        type=event_type,
        data={NOTIFICATION: notification},
        source_event_id="-".join((RECONCILE, module, word, record.id, *of_change)),
        subject=record.id,
        time=at,
        hydrate=module,
        account=account,
        is_reconciled=True,
    )


# --- notification channels ------------------------------------------------------------------

WATCH: Final = "/crm/v8/actions/watch"
CHANNEL_EVENTS: Final = {"created": "create", "updated": "edit", "deleted": "delete"}


def _watch(watched: Watched) -> Mapping[str, Any]:
    # Zoho refuses milliseconds in times.
    expires_at = watched.expires_at.isoformat(timespec="seconds")
    return {
        "watch": [
            {
                "channel_id": int(watched.channel_id),
                "events": list(watched.events),
                "channel_expiry": expires_at,
                "token": watched.token,
                "notify_url": watched.url,
            }
        ]
    }


def _make_channel(watched: Watched) -> CrmRequest:
    return CrmRequest(method="POST", path=WATCH, json=_watch(watched))


def _renew_channel(watched: Watched) -> CrmRequest:
    return CrmRequest(method="PUT", path=WATCH, json=_watch(watched))


def _watch_refusal(answer: Any) -> str | None:
    """Return why Zoho made no channel, in its words; it may have answered 202 all the same."""
    entries = _list(answer.get("watch") if isinstance(answer, dict) else None) or [answer]
    refused = (one for one in entries if isinstance(one, dict) and one.get("status") == "error")
    for one in refused:
        details = one.get("details")
        name = details.get("api_name") if isinstance(details, dict) else None
        said = f"{one.get('code')}: {one.get('message')}"
        return f"{said} ({name})." if name else f"{said}."
    known = isinstance(answer, dict) and _list(answer.get("watch"))
    return None if known else "its answer names no channel."


def _watch_expiry(answer: Any) -> datetime | None:
    """Return the earliest time at which one of the events ends; None: Zoho does not say."""
    ends = [
        at
        for entry in _list(answer.get("watch"))
        if isinstance(entry, dict) and isinstance(entry.get("details"), dict)
        for event in _list(entry["details"].get("events"))
        if isinstance(event, dict) and (at := instant(event.get("channel_expiry")))
    ]
    return min(ends, default=None)


KIND = Kind(
    name="zoho",
    title="Zoho CRM",
    auth=Token(body=("token",)),
    guide="docs/connect-zoho.md",
    parse=parse,
    count=count,
    hydration=Hydration(
        batch=100,  # unconfirmed, as is a limit of 50 fields, which routes rarely reach
        rate=50,
        login=RefreshLogin(
            accounts_url="ACCOUNTS_URL",
            path="/oauth/v2/token",
            client_id="CLIENT_ID",
            client_secret="CLIENT_SECRET",
            refresh_token="REFRESH_TOKEN",
            scheme="Zoho-oauthtoken",
            too_often="Access Denied",
        ),
        api_url="API_URL",
        request=_request,
        records=_records,
        merge=_merge,
        fields=_fields,
        # No `alone`: no public source says that Zoho answers a merged id with another record.
        own_user=OwnUser(
            request=CrmRequest(method="GET", path="/crm/v8/users", params={"type": "CurrentUser"}),
            read=_user,
            is_out_of_scope=_is_out_of_scope,
            scope="ZohoCRM.users.READ",
            fields=frozenset({"Modified_By", "Modified_Time"}),
            is_change=is_change_of,
        ),
    ),
    # If-Modified-Since and page_token:
    # https://www.zoho.com/crm/developer/docs/api/v8/get-records.html
    reconcile=Reconcile(
        objects=_MODULES,
        search=_search,
        page=_page,
        item=_reconciled,
    ),
    # https://www.zoho.com/crm/developer/docs/api/v7/notifications/enable.html
    # https://www.zoho.com/crm/developer/docs/api/v2.1/notifications/update-details.html
    channels=Channels(
        objects=_MODULES,
        happened=CHANNEL_EVENTS,
        make=_make_channel,
        renew=_renew_channel,
        refusal=_watch_refusal,
        expiry=_watch_expiry,
        # Zoho's v7 page allows a week; a public project got a day at most. Who asks for more than
        # is allowed gets an hour.
        lifetime_s=23 * 3600,
        renew_s=6 * 3600,
        longest_token=50,
        scope="ZohoCRM.notifications.ALL",
    ),
    write_back=WRITE_BACK,
    variables=(
        Variable(
            suffix="ACCOUNTS_URL",  # no default: each data centre has its own
            holds="address",
            help="the accounts address of your data centre, such as https://accounts.zoho.in",
        ),
        Variable(
            suffix="CLIENT_ID",
            holds="id",
            sample="1000.000000000000000000000000000000",
            help="the id of the OAuth client that reads the records of notifications",
        ),
        Variable(
            suffix="CLIENT_SECRET",
            holds="secret",
            sample="0" * 42,
            help="the secret of that OAuth client",
        ),
        Variable(
            suffix="REFRESH_TOKEN",
            sample=f"1000.{'0' * 32}.{'0' * 32}",
            help="a refresh token of that OAuth client",
        ),
        Variable(
            suffix="API_URL",  # no default: it is api_domain of the answer with the token
            holds="address",
            help="the address of its API, if it is not the one that Zoho gives with each token",
        ),
        Variable(
            suffix="APP_URL",  # no default: each data centre has its own
            holds="address",
            help="the address of its pages, for links to records, such as https://crm.zoho.in",
        ),
    ),
    default_type="workflow.triggered",
    ids=IDS,
    names=Expression.of("Full_Name || [First_Name, Last_Name]"),
    record_page=record_page,
    emails=Expression.of("Email"),
)
