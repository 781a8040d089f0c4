"""HubSpot: app subscriptions, and the workflow action "Send a webhook".

A subscription request carries up to 100 notifications. They are thin: an object's id and
sometimes the property that changed; so records are fetched. Order is not guaranteed, the same
notification may come twice, `eventId` is not unique, and only `attemptNumber` differs between
resends. A workflow posts one body, which has the shape of the CRM's object API or one that its
author chose.

https://developers.hubspot.com/docs/api-reference/webhooks-webhooks-v3/guide
https://developers.hubspot.com/docs/api/webhooks/validating-requests
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from marshmallow import EXCLUDE, Schema, ValidationError

from schemas.crm.fields import RecordId, Word, instant, plain_reader, sentence
from schemas.crm.hubspot_writing import OBJECTS, WRITE_BACK
from schemas.crm_api import (
    BearerLogin,
    ChangedRecord,
    CrmRequest,
    Hydration,
    ReadAlone,
    Reconcile,
    RecordPage,
    RecordSearch,
    Variable,
)
from schemas.event import Item
from schemas.expression import Expression, Path
from schemas.fields import EpochMillis
from schemas.source import (
    SIGNATURES,
    Incoming,
    Kind,
    Part,
    Signature,
    SignatureChoice,
    Signatures,
    Source,
    id_text,
    item_by_paths,
)

# --- how a request proves itself ------------------------------------------------------------

# HubSpot decodes these in the URL before it signs it, and nothing else (%20 and %26 stay).
URL_DECODING: Final = (
    ("%3A", ":"),
    ("%2F", "/"),
    ("%3F", "?"),
    ("%40", "@"),
    ("%21", "!"),
    ("%24", "$"),
    ("%27", "'"),
    ("%28", "("),
    ("%29", ")"),
    ("%2A", "*"),
    ("%2C", ","),
    ("%3B", ";"),
)
V3: Final = Signature(
    header="X-HubSpot-Signature-v3",
    parts=(Part.METHOD, Part.URL, Part.BODY, Part.TIMESTAMP),
    encoding="base64",
    timestamp_header="X-HubSpot-Request-Timestamp",
    timestamp_unit="ms",
    tolerance_s=300,
    url_decoding=URL_DECODING,
)
# v2 and v1 share a header, and have no time: a replayed request is a duplicate. Both are plain
# hashes, so a stranger who saw one signed request can append to its body and sign that. JSON does
# not survive what must stand between (0x80 and zeros), so bodies are read as JSON alone.
V2: Final = Signature(
    header="X-HubSpot-Signature",
    parts=(Part.SECRET, Part.METHOD, Part.URL, Part.BODY),
    keyed=False,
    only_with=("X-HubSpot-Signature-Version", "v2"),
    url_decoding=URL_DECODING,
)
V1: Final = Signature(
    header="X-HubSpot-Signature",
    parts=(Part.SECRET, Part.BODY),
    keyed=False,
    only_with=("X-HubSpot-Signature-Version", "v1"),
)

# HubSpot signs what a workflow sends with v2.
CHOICES: Final = {
    "any": SignatureChoice(auth=Signatures(schemes=(V3, V2, V1))),
    "v3": SignatureChoice(auth=Signatures(schemes=(V3,)), misses="workflow.triggered"),
}

# --- words ----------------------------------------------------------------------------------

# HubSpot's word -> ours. A word that is not here keeps HubSpot's spelling.
HAPPENED: Final = {
    "creation": "created",
    "propertyChange": "updated",
    "deletion": "deleted",
    "merge": "merged",
    "restore": "restored",
    "associationChange": "association_changed",
    "privacyDeletion": "privacy_deleted",
}
# `object.*` subscriptions name the object by its type id; custom objects (2-…) stay `object`.
OBJECT_TYPES: Final = {
    "0-1": "contact",
    "0-2": "company",
    "0-3": "deal",
    "0-5": "ticket",
    "0-48": "call",
    "0-136": "lead",
}
# Our object -> its name in the CRM API's paths.
API_OBJECTS: Final = {
    "contact": "contacts",
    "company": "companies",
    "deal": "deals",
    "ticket": "tickets",
    "product": "products",
    "line_item": "line_items",
    "lead": "leads",
    "call": "calls",
}
GONE: Final = frozenset({"deleted", "privacy_deleted"})  # there is no record to fetch any more
UNKNOWN_TYPE: Final = "unknown"  # the type of an item that names none

IDS: Final = frozenset(
    {
        *((name,) for name in ("eventId", "subscriptionId", "portalId", "appId", "occurredAt")),
        *((name,) for name in ("objectId", "newObjectId", "primaryObjectId", "mergedObjectIds")),
        *((name,) for name in ("fromObjectId", "toObjectId", "sourceId", "hs_object_id")),
        *((name,) for name in ("vid", "canonical-vid", "merged-vids", "portal-id")),
        *(("properties", name) for name in ("hs_object_id", "associatedcompanyid")),
        *(("properties", name) for name in ("hubspot_owner_id", "createdate", "lastmodifieddate")),
    }
)

_OBJECT_TYPE_ID: Final = re.compile(r"[0-9]+-[0-9]+")
_RECORD_ID: Final = re.compile(r"[0-9]{1,30}")


@lru_cache(maxsize=1024)
def translate(word: str, object_type_id: str | None) -> tuple[str, str | None]:
    """Return our event type, and the object to fetch; None: there is nothing to fetch.

    object_type_id matters for `object.*` only. Cached: an account subscribes to a few words, and
    every notification carries one.
    """
    subject_type, dot, happened = word.partition(".")
    happened = HAPPENED.get(happened, happened)
    api_object = API_OBJECTS.get(subject_type)
    if subject_type == "object" and object_type_id and _OBJECT_TYPE_ID.fullmatch(object_type_id):
        subject_type = OBJECT_TYPES.get(object_type_id, subject_type)
        api_object = API_OBJECTS.get(subject_type, object_type_id)
    return subject_type + dot + happened, None if happened in GONE else api_object


# --- notifications --------------------------------------------------------------------------


class NotificationSchema(Schema):
    """The fields of a notification that we need. It must be fast: it reads each one of a batch."""

    class Meta:
        """HubSpot adds keys without notice."""

        unknown = EXCLUDE

    portal_id = RecordId(required=True, data_key="portalId")
    subscription_id = RecordId(required=True, data_key="subscriptionId")
    event_id = RecordId(required=True, data_key="eventId")
    object_id = RecordId(data_key="objectId", allow_none=True)
    time = EpochMillis(
        required=True,
        data_key="occurredAt",
        error_messages={"required": "is missing", "null": "is null"},
    )
    # HubSpot sends subscriptionType; the sample in its guide has eventType.
    subscription_type = Word(data_key="subscriptionType", allow_none=True)
    event_type = Word(data_key="eventType", allow_none=True)


_NOTIFICATIONS: Final = NotificationSchema(many=True)
_read_plain: Final = plain_reader(_NOTIFICATIONS)
_NO_MESSAGES: Final[Mapping[Any, Any]] = {}


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read a list of notifications, a bare one, or the body of a workflow.

    They stay in HubSpot's order, which has no meaning: one new contact causes many events, with
    its creation somewhere among them. Each one is routed and fetched by itself.
    """
    if isinstance(content, list):
        return _notifications(content)
    if not isinstance(content, dict):
        return [Item(type=UNKNOWN_TYPE, data=content, problem="The body is not a JSON object.")]
    if "subscriptionType" in content or "eventType" in content:
        return _notifications([content])
    return [_workflow_item(content, request, source)]


def _notifications(originals: list[Any]) -> list[Item]:
    plain = [found for one in originals if (found := _read_plain(one)) is not None]
    if len(plain) == len(originals):
        return [_item(known, one, None) for known, one in zip(plain, originals, strict=True)]
    try:
        loaded, messages = _NOTIFICATIONS.load(originals), _NO_MESSAGES
    except ValidationError as error:
        # One load for the whole list: errors are by index, and the other items stay good.
        loaded, messages = error.valid_data, error.messages_dict
    return [
        _item(known, original, messages.get(index))
        for index, (known, original) in enumerate(zip(loaded, originals, strict=True))
    ]


def _item(known: Mapping[str, Any], original: Any, messages: Any) -> Item:
    word = known.get("subscription_type") or known.get("event_type")
    if messages or not word:
        messages = messages or {"subscriptionType": ["is missing"]}
        problem = sentence("notification", messages)
        return Item(type=_type(word, original)[0], data=original, problem=problem)
    event_type, api_object = _type(word, original)
    subject = known.get("object_id") or _other_subject(original)
    if subject is None:
        problem = sentence("notification", {"objectId": ["is missing"]})
        return Item(type=event_type, data=original, problem=problem)
    return Item(
        type=event_type,
        data=original,
        # eventId alone is not unique, so every stable key is part of the id. Not attemptNumber: it
        # counts the resends. Not appId: some senders leave it out.
        source_event_id=(
            f"{known['portal_id']}-{known['subscription_id']}-{known['event_id']}"
            f"-{subject}-{original['occurredAt']}"
        ),
        subject=subject,
        time=known["time"],
        hydrate=api_object,
        account=known["portal_id"],
    )


def _type(word: str | None, original: Any) -> tuple[str, str | None]:
    if not word:
        return UNKNOWN_TYPE, None
    if not word.startswith("object."):
        # A cache must not keep words of any length. HubSpot's own have up to 30 characters.
        return (translate if len(word) < 100 else translate.__wrapped__)(word, None)
    type_id = original.get("objectTypeId")
    is_short = len(word) + len(str(type_id)) < 100
    return (translate if is_short else translate.__wrapped__)(
        word, type_id if isinstance(type_id, str) else None
    )


def _other_subject(original: Mapping[str, Any]) -> str | None:
    """Return the subject of a notification without objectId: a merge or an association has ids."""
    names = ("newObjectId", "primaryObjectId", "fromObjectId")
    return next((found for name in names if (found := id_text(original.get(name)))), None)


# --- workflows ------------------------------------------------------------------------------


def _workflow_item(body: dict[str, Any], request: Incoming, source: Source) -> Item:
    """Read what "Send a webhook" posts: an object of the CRM's API, or the author's own body.

    The contact API's older shape has each property as an object with its value and its history.
    """
    properties = body.get("properties")
    if isinstance(properties, dict):
        properties = flat(properties)
        body = {**body, "properties": properties}
    else:
        properties = {}
    ids = [body.get(name) for name in ("vid", "objectId", "hs_object_id")]
    ids.append(properties.get("hs_object_id"))
    subject = next((found for value in ids if (found := id_text(value))), None)
    return replace(
        item_by_paths(body, request, source, subject=subject), subject_type=_subject_type(body)
    )


def _subject_type(body: Mapping[str, Any]) -> str | None:
    """Return the object type of a workflow's body, if it says so; only contacts have a `vid`."""
    named = OBJECT_TYPES.get(str(body.get("objectTypeId") or ""))
    if named is None and str(body.get("objectType") or "").lower() in API_OBJECTS:
        named = str(body["objectType"]).lower()
    return named or ("contact" if "vid" in body else None)


def flat(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return properties with each {"value": x, …} as x."""
    return {
        name: found["value"] if isinstance(found, dict) and "value" in found else found
        for name, found in properties.items()
    }


# --- links ----------------------------------------------------------------------------------

# Of two ids of one type, the first one of the list.
_TYPE_IDS: Final = {word: one for one, word in reversed(OBJECT_TYPES.items())}
_PORTAL: Final = re.compile(r"[0-9]{1,20}")


def record_page(subject_type: str, data: Any) -> str | None:
    """Return where HubSpot shows records of a type; None: the type or the portal is not known."""
    given = data if isinstance(data, dict) else {}
    portal = id_text(given.get("portalId") or given.get("portal-id"))
    type_id = _TYPE_IDS.get(subject_type)
    if type_id is None or portal is None or not _PORTAL.fullmatch(portal):
        return None
    return f"contacts/{portal}/record/{type_id}/"


# --- hydration ------------------------------------------------------------------------------

# The object APIs are the same for all objects: contacts, or a type id such as 0-136 (leads) or
# 2-… (custom objects). The date is a version; each one works for 18 months at least. /crm/v3/ is
# unsupported from September 2027.
# https://developers.hubspot.com/docs/api-reference/2026-03/crm/using-object-apis
# https://developers.hubspot.com/docs/api-reference/2026-03/overview (both read on 2026-11-29)


def _request(api_object: str, ids: Sequence[str], wanted: Sequence[str]) -> CrmRequest:
    return CrmRequest(
        method="POST",
        path=f"{OBJECTS}/{api_object}/batch/read",
        json={"properties": sorted(wanted), "inputs": [{"id": id_} for id_ in ids]},
    )


def _records(answer: Any) -> dict[str, dict[str, Any]]:
    """Return the records of a 200 or a 207 (some ids not found) by id.

    A merged id is answered with the record that it became, under that record's own id. The answer
    does not say which of the ids became it, so it is not used for them: see _record().
    https://community.hubspot.com/t5/APIs-Integrations/Question-about-using-batch-read-API/m-p/1101616
    """
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list):
        return {}
    records = (record for record in results if isinstance(record, dict))
    return {found: record for record in records if (found := id_text(record.get("id")))}


def _request_alone(api_object: str, record_id: str, wanted: Sequence[str]) -> CrmRequest | None:
    if not _RECORD_ID.fullmatch(record_id):
        return None
    return CrmRequest(
        method="GET",
        path=f"{OBJECTS}/{api_object}/{record_id}",
        params={"properties": ",".join(sorted(wanted))},
    )


def _record(answer: Any) -> tuple[str, dict[str, Any]] | None:
    """Return the record of an id, with the id that it has now: another one after a merge.

    "Fetching any records using the original IDs will return the new merged record with the new ID":
    https://developers.hubspot.com/changelog/updated-merge-functionality
    """
    found = id_text(answer.get("id")) if isinstance(answer, dict) else None
    return None if found is None else (found, answer)


def _merge(data: Any, record: Mapping[str, Any]) -> Any:
    properties = record.get("properties")
    return {**data, "properties": flat(properties) if isinstance(properties, dict) else {}}


def _fields(paths: frozenset[Path]) -> frozenset[str]:
    return frozenset(path[1] for path in paths if path[0] == "properties" and len(path) > 1)


# --- what is not a lead -----------------------------------------------------------------------

# Objects that our own write-back can create. A contact that the account's app creates is a lead.
WRITTEN_BACK: Final = ("call", "note")


def is_import(data: Any) -> bool:
    """Return whether a bulk import made the change."""
    return isinstance(data, dict) and data.get("changeSource") == "IMPORT"


def is_own_change(event_type: str, data: Any) -> bool:
    """Return whether the app that received the notification made the change itself.

    sourceId names the app if an integration or the API made the change. Notifications that others
    published have the bare id, as a person's change has "userId:<id>"; "appId:<id>" is accepted,
    too.
    """
    subject_type, _, happened = event_type.partition(".")
    if happened != "updated" and subject_type not in WRITTEN_BACK:
        return False
    if not isinstance(data, dict) or data.get("changeSource") not in ("INTEGRATION", "API"):
        return False
    app_id = id_text(data.get("appId"))
    return app_id is not None and id_text(data.get("sourceId")) in (app_id, f"appId:{app_id}")


# --- what never arrived ---------------------------------------------------------------------

# https://developers.hubspot.com/docs/api-reference/2026-03/crm/search-the-crm (read on 2026-11-29)
SEARCH_PAGE: Final = 200
# Objects that can be searched; the others have no webhooks, or are written by us alone.
SEARCHED: Final = ("contact", "company", "deal", "ticket", "lead")
MADE_BY: Final = "hs_object_source"  # it has the words of a notification's changeSource
RECORD_ID: Final = "hs_object_id"
MERGED_FROM: Final = "hs_merged_object_ids"  # of the records that were merged into it
_SUBSCRIBED: Final = {"created": "creation", "updated": "propertyChange"}


def _times(crm_object: str) -> tuple[str, str]:
    """Return the properties with the times of the creation and of the latest change."""
    if crm_object == API_OBJECTS["contact"]:
        return "createdate", "lastmodifieddate"
    created = "hs_createdate" if crm_object == API_OBJECTS["lead"] else "createdate"
    return created, "hs_lastmodifieddate"


def _search(search: RecordSearch) -> CrmRequest:
    """Ask for what has a time since then, by id; the cursor is the last id of the page before.

    HubSpot's own `after` counts places: a record that is changed meanwhile would move, and another
    one would be skipped. Besides, it ends at 10,000 records. Ids stay, and no two are equal.
    """
    created, changed = _times(search.crm_object)
    name = changed if search.with_changed else created  # what was created was changed, too
    filters = [{"propertyName": name, "operator": "GTE", "value": str(_epoch_ms(search.since))}]
    if search.cursor:
        filters.append({"propertyName": RECORD_ID, "operator": "GT", "value": search.cursor})
    return CrmRequest(
        method="POST",
        path=f"{OBJECTS}/{search.crm_object}/search",
        json={
            "filterGroups": [{"filters": filters}],
            "sorts": [{"propertyName": RECORD_ID, "direction": "ASCENDING"}],
            "properties": [created, changed, MADE_BY, MERGED_FROM],
            "limit": SEARCH_PAGE,
        },
    )


def _page(answer: Any, _: RecordSearch) -> RecordPage:
    records = tuple(_changed_record(*pair) for pair in _records(answer).items())
    paging = answer.get("paging") if isinstance(answer, dict) else None
    has_more = isinstance(paging, dict) and bool(paging.get("next"))
    return RecordPage(records=records, cursor=records[-1].id if has_more and records else None)


def _changed_record(record_id: str, record: Mapping[str, Any]) -> ChangedRecord:
    """Return a record that a search found.

    A merge may make a record with another id, and the earliest time of its parts. They were
    created, it was not: nobody is called again because of it.
    """
    is_merged = bool(_property(record, MERGED_FROM))
    return ChangedRecord(
        id=record_id,
        created_at=None if is_merged else instant(record.get("createdAt")),
        changed_at=instant(record.get("updatedAt")),
        data=record,
    )


def _property(record: Mapping[str, Any], name: str) -> Any:
    properties = record.get("properties")
    return properties.get(name) if isinstance(properties, dict) else None


def _reconciled(event_type: str, crm_object: str, record: ChangedRecord, account: str) -> Item:
    """Return what a record's notification would have become."""
    word = event_type.rpartition(".")[2]
    at = record.created_at if word == "created" else record.changed_at
    subject_type = event_type.partition(".")[0]
    stable = (account, subject_type, word, record.id)
    of_change = () if word == "created" or at is None else (str(_epoch_ms(at)),)
    return Item(
        type=event_type,
        data={
            "portalId": account,
            "objectId": record.id,
            "subscriptionType": f"{subject_type}.{_SUBSCRIBED[word]}",
            "changeSource": _property(record.data, MADE_BY),
        },
        source_event_id="-".join(("reconcile", *stable, *of_change)),
        subject=record.id,
        time=at,
        hydrate=crm_object,
        account=account,
        is_reconciled=True,
    )


def _account(answer: Any) -> str | None:
    return id_text(answer.get("portalId")) if isinstance(answer, dict) else None


def _epoch_ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


KIND = Kind(
    name="hubspot",
    title="HubSpot",
    auth=CHOICES["any"].auth,
    is_json_only=True,
    signatures=CHOICES,
    guide="docs/connect-hubspot.md",
    parse=parse,
    secret_help="the app's client secret, which signs its webhooks",
    secret_is_chosen=False,
    hydration=Hydration(
        batch=100,
        rate=90,
        # https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines
        rate_headers=(
            "X-HubSpot-RateLimit-Remaining",
            "X-HubSpot-RateLimit-Interval-Milliseconds",
        ),
        login=BearerLogin(token="ACCESS_TOKEN"),
        api_url="API_URL",
        request=_request,
        records=_records,
        merge=_merge,
        fields=_fields,
        alone=ReadAlone(request=_request_alone, record=_record),
    ),
    reconcile=Reconcile(
        objects={word: API_OBJECTS[word] for word in SEARCHED},
        search=_search,
        page=_page,
        item=_reconciled,
        rate=40,  # an account may search five times a second
        # https://developers.hubspot.com/docs/api-reference/2026-03/account/account-information/guide
        account=(
            CrmRequest(method="GET", path="/account-info/{API_VERSION}/details"),
            _account,
        ),
    ),
    write_back=WRITE_BACK,
    variables=(
        Variable(
            suffix="ACCESS_TOKEN",
            sample="pat-na1-00000000-0000-0000-0000-000000000000",
            help="a token of the app that may read contacts",
        ),
        Variable(suffix="API_URL", holds="address", default="https://api.hubapi.com"),
        Variable(
            suffix="API_VERSION",
            holds="version",
            default="2026-03",
            pattern=r"20[0-9]{2}-(0[1-9]|1[0-2])",
            sample="2026-03",
            help="the date of its API, year and month; HubSpot supports each for 18 months",
        ),
        Variable(
            suffix="APP_URL",
            holds="address",
            default="https://app.hubspot.com",
            help="the address of its pages, for links to records",
        ),
        Variable(
            suffix=SIGNATURES,
            holds="choice",
            default="any",
            choices=tuple(CHOICES),
            sample="v3",
            help="which of its signatures are accepted: any, or v3 if you use app subscriptions "
            "alone (workflows are signed with v2)",
        ),
    ),
    default_type="workflow.triggered",
    ids=IDS,
    is_import=is_import,
    is_own_change=is_own_change,
    phones=Expression.of("[properties.phone, properties.mobilephone]"),
    names=Expression.of("[properties.firstname, properties.lastname]"),
    record_page=record_page,
    emails=Expression.of("properties.email"),
    event_id=Expression.of("eventId"),
    erased_by=frozenset({"contact.privacy_deleted"}),
    # Two letters, according to public integrations; HubSpot's documentation does not say.
    region=Expression.of("properties.hs_country_region_code"),
    # https://developers.hubspot.com/docs/api/webhooks
    retries="24 hours",
)
