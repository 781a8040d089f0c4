"""Pipedrive: general webhooks, version 2 and version 1.

A request carries one event: what happened to which record (`meta`), the record (`data`; in
version 1 `current`) and its earlier values (`previous`). A person has phone numbers; a deal, a
lead, an activity and a note have only `person_id`, so their person is fetched. Requests have HTTP
Basic, and nothing is signed. An event about a user is about a colleague: it calls nobody.

https://pipedrive.readme.io/docs/guide-for-webhooks-v2
https://developers.pipedrive.com/docs/api/v1/Persons (v2: GET /api/v2/persons)
(both read on 2026-11-29, in public copies)
https://pipedrive.readme.io/docs/webhooks-v2-migration-guide (read in part)
Version 1 is known from bodies that others published; its guide was not read.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from marshmallow import EXCLUDE, Schema, ValidationError, validate

from schemas.crm.call_notes import is_keyed
from schemas.crm.fields import RecordId, Word, sentence
from schemas.crm.pipedrive_writing import OF_PERSON, PERSON, WRITE_BACK
from schemas.crm_api import BearerLogin, CrmRequest, Hydration, OwnUser, Variable
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression, Path
from schemas.source import Basic, Incoming, Kind, Source, id_text

# --- words ------------------------------------------------------------------------------------

# Pipedrive's word -> ours, of version 2 and of version 1. Others keep Pipedrive's spelling.
HAPPENED: Final = {
    "create": "created",
    "change": "updated",
    "delete": "deleted",
    "added": "created",
    "updated": "updated",
    "deleted": "deleted",
    "merged": "merged",
}
GONE: Final = frozenset({"deleted", "merged"})
# Records about colleagues and about settings.
INTERNAL: Final = frozenset({"user", "pipeline", "stage", "activityType"})
UNKNOWN_TYPE: Final = "unknown"  # the type of a body that names none

IDS: Final = frozenset(
    {
        *(
            ("meta", name)
            for name in (
                *("id", "entity_id", "company_id", "correlation_id", "user_id", "webhook_id"),
                *("webhook_owner_id", "permitted_user_ids", "merged_to_id", "merged_from_id"),
                *("timestamp", "timestamp_milli", "timestamp_micro", "prepublish_timestamp"),
            )
        ),
        *(
            (place, name)
            for place in ("data", "current", "previous", PERSON)
            for name in (
                *("id", "person_id", "org_id", "organization_id", "deal_id", "lead_id"),
                *("owner_id", "user_id", "creator_user_id", "creator_id", "pipeline_id"),
                *("stage_id", "label_ids", "picture_id"),
            )
        ),
    }
)

# --- events -----------------------------------------------------------------------------------

_SHORT: Final = validate.Length(min=1, max=100, error="must have 1 to 100 characters")
# An id becomes part of a comma-separated list in a URL.
_PERSON_ID: Final = re.compile(r"[0-9]{1,20}")


class MetaV2Schema(Schema):
    """The fields of version 2's `meta` that we need."""

    class Meta:
        """Pipedrive adds keys without notice."""

        unknown = EXCLUDE

    # "ID of the event triggering the webhook": the same in each attempt.
    id = RecordId(required=True)
    action = Word(required=True, validate=_SHORT)
    entity = Word(required=True, validate=_SHORT)
    entity_id = RecordId(required=True)


class MetaV1Schema(Schema):
    """The fields of version 1's `meta` that we need. `id` is the record's."""

    class Meta:
        """Pipedrive adds keys without notice."""

        unknown = EXCLUDE

    id = RecordId(required=True)
    action = Word(required=True, validate=_SHORT)
    entity = Word(required=True, validate=_SHORT, data_key="object")
    company_id = RecordId(required=True)
    timestamp = RecordId(required=True)


_V2: Final = MetaV2Schema()
_V1: Final = MetaV1Schema()


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read the one event of a request."""
    return [_item(content)]


def _item(body: Any) -> Item:
    meta = body.get("meta") if isinstance(body, dict) else None
    if not isinstance(meta, dict):
        problem = "The body is not an event of Pipedrive: it has no object `meta`."
        return Item(type=UNKNOWN_TYPE, data=body, problem=problem)
    match _version(meta):
        case "2":
            return _read(_V2, meta, body, record=body.get("data"))
        case "1":
            return _read(_V1, meta, body, record=body.get("current"))
    problem = "The event can't be read: meta.version is neither 1 nor 2."
    return Item(type=UNKNOWN_TYPE, data=body, problem=problem)


def _version(meta: Mapping[str, Any]) -> str:
    """Return the version of an event: version 2 has `version`, version 1 has `v`."""
    return str(meta.get("version", meta.get("v"))).partition(".")[0]


def _read(schema: Schema, meta: Mapping[str, Any], body: Mapping[str, Any], record: Any) -> Item:
    try:
        known = schema.load(meta)
    except ValidationError as error:
        problem = sentence("event", error.messages_dict)
        return Item(type=UNKNOWN_TYPE, data=body, problem=problem)
    entity, happened = known["entity"], HAPPENED.get(known["action"], known["action"])
    person = None if happened in GONE else _person_of(entity, record)
    return Item(
        type=f"{entity}.{happened}",
        data=body,
        source_event_id=known["id"] if schema is _V2 else _composed_id(known, meta),
        subject=person or (known["entity_id"] if schema is _V2 else known["id"]),
        subject_type=PERSON if person else None,
        time=_time(meta, record),
        hydrate="persons" if person else None,
        is_test=entity in INTERNAL,
    )


def _composed_id(known: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    """Return an id of an event of version 1, which has none.

    `retry` counts the attempts, and another webhook for the same event has another `webhook_id`:
    both are left out.
    """
    finest = ("timestamp_micro", "timestamp_milli", "timestamp")
    at = next(found for name in finest if (found := id_text(meta.get(name))))
    return "-".join((known["company_id"], known["entity"], known["action"], known["id"], at))


def _person_of(entity: str, record: Any) -> str | None:
    """Return the id of the person whom a record names; None: it names none.

    Version 1 of the API writes a person as {"value": id, …}; its webhooks have the id alone.
    """
    if entity not in OF_PERSON or not isinstance(record, dict):
        return None
    named = record.get("person_id")
    found = id_text(named.get("value") if isinstance(named, dict) else named)
    return found if found and _PERSON_ID.fullmatch(found) else None


def _time(meta: Mapping[str, Any], record: Any) -> datetime | date | None:
    """Return when it happened; None: the body does not say. Times without a zone are UTC."""
    changed = record.get("update_time") if isinstance(record, dict) else None
    return read_time(meta.get("timestamp")) or read_time(changed)


# --- links ------------------------------------------------------------------------------------

PAGES: Final = {PERSON: "person/", "deal": "deal/", "organization": "organization/"}


def record_page(subject_type: str, data: Any) -> str | None:
    """Return where Pipedrive shows records of a type; None: it is not known."""
    return PAGES.get(subject_type)


# --- hydration --------------------------------------------------------------------------------


def _request(api_object: str, ids: Sequence[str], wanted: Sequence[str]) -> CrmRequest:
    """Ask for persons by ids: what does not exist is left out of the answer.

    A question for one person, /persons/{id}, costs a tenth; but its 404 may be a wrong address.
    """
    return CrmRequest(method="GET", path=f"/api/v2/{api_object}", params={"ids": ",".join(ids)})


def _records(answer: Any) -> dict[str, dict[str, Any]]:
    """Return the persons by id, without those that were deleted; also of an answer with one."""
    data = answer.get("data") if isinstance(answer, dict) else None
    persons = (one for one in (data if isinstance(data, list) else [data]) if isinstance(one, dict))
    return {
        found: one
        for one in persons
        if (found := id_text(one.get("id"))) and one.get("is_deleted") is not True
    }


def _merge(data: Any, record: Mapping[str, Any]) -> Any:
    return {**data, PERSON: dict(record)}


def _fields(paths: frozenset[Path]) -> frozenset[str]:
    return frozenset()  # the API sends all


# --- our own changes --------------------------------------------------------------------------


def is_own_change(event_type: str, data: Any) -> bool:
    """Return whether an event is about an activity that a write-back made."""
    if not event_type.startswith("activity.") or not isinstance(data, dict):
        return False
    records = (data.get(place) for place in ("data", "current", "previous"))
    return any(is_keyed(str(one.get("subject"))) for one in records if isinstance(one, dict))


def _user(answer: Any) -> str | None:
    is_read = isinstance(answer, dict) and answer.get("success") is True
    user = answer.get("data") if is_read else None
    return id_text(user.get("id")) if isinstance(user, dict) else None


def is_change_of(data: Any, user_id: str, _: frozenset[str]) -> bool:
    """Return whether the API changed a record with a login of this user, and no person did."""
    meta = data.get("meta") if isinstance(data, dict) else None
    if not isinstance(meta, dict) or meta.get("change_source") == "app":
        return False
    return id_text(meta.get("user_id")) == user_id


# --- what a person has ------------------------------------------------------------------------

# The person who was fetched, or whom an event of version 2 is about; that of version 1 has its
# numbers and addresses under other names.
_PERSON: Final = "person || (meta.entity == 'person' && data)"
_PERSON_V1: Final = "meta.object == 'person' && current"

KIND = Kind(
    name="pipedrive",
    title="Pipedrive",
    auth=Basic(),
    parse=parse,
    count=lambda content: 1,
    secret_help="the user and the password that you type into its webhook's form, as user:password",
    hydration=Hydration(
        batch=100,
        # 20 requests in 2 s on the smallest plan; unconfirmed.
        rate=80,
        # https://pipedrive.readme.io/docs/core-api-concepts-authentication
        login=BearerLogin(token="API_TOKEN", header="x-api-token", prefix=""),
        api_url="API_URL",
        request=_request,
        records=_records,
        merge=_merge,
        fields=_fields,
        # https://developers.pipedrive.com/docs/api/v1/Users#getCurrentUser (there is no v2 of it)
        own_user=OwnUser(
            request=CrmRequest(method="GET", path="/v1/users/me"),
            read=_user,
            is_out_of_scope=lambda answer: False,
            scope="",  # an API token has none
            fields=frozenset(),
            is_change=is_change_of,
        ),
    ),
    write_back=WRITE_BACK,
    is_own_change=is_own_change,
    variables=(
        Variable(
            suffix="API_TOKEN",
            sample="0" * 40,
            help="the API token of a user who may see the persons of deals and leads, and change "
            "them if routes write back",
        ),
        Variable(suffix="API_URL", holds="address", default="https://api.pipedrive.com"),
        Variable(
            suffix="APP_URL",  # no default: each company has its own
            holds="address",
            help="the address of its pages, for links to records, such as "
            "https://company.pipedrive.com",
        ),
    ),
    default_type=UNKNOWN_TYPE,
    ids=IDS,
    phones=Expression.of(f"[({_PERSON}).phones[].value, ({_PERSON_V1}).phone[].value][]"),
    names=Expression.of(f"({_PERSON}).name || ({_PERSON_V1}).name"),
    emails=Expression.of(
        f"[({_PERSON}).emails[].value, ({_PERSON_V1}).email[].value][] | [?@] | [0]"
    ),
    record_page=record_page,
    # Ten first attempts that fail ban a webhook for 30 minutes, and events are lost meanwhile.
    retries="3 more, after 3, 30 and 150 s",
)
