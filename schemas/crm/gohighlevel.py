"""GoHighLevel (HighLevel): webhooks of an app, and of workflows that post the same shape.

A request carries one event, flat: its word, the record's id and the record's fields.
Contact events have the phone number and whether the contact is on do-not-disturb (DND); an
opportunity has only `contactId`, so its contact is fetched.

A token in the URL, or in a header that a workflow sets, proves the sender. An app's webhooks are
signed, too, by one key for the apps of everybody: X-GHL-Signature (Ed25519), and X-WH-Signature
(RSA) for as long as it is still sent; its end was announced for 2026-07-01, and later for
2026-09-01. A workflow's are not.

https://marketplace.gohighlevel.com/docs/webhook/WebhookIntegrationGuide
https://github.com/GoHighLevel/highlevel-api-docs/tree/main/docs/webhook%20events
https://github.com/GoHighLevel/highlevel-api-docs/blob/main/apps/contacts.json (Get Contact)

How it is told of calls: schemas/crm/gohighlevel_writing.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Final

from marshmallow import EXCLUDE, Schema, ValidationError, validate

from schemas.crm.fields import RecordId, Word, sentence
from schemas.crm.gohighlevel_writing import HEADERS, RECORD_ID, WRITE_BACK, is_own_change
from schemas.crm_api import BearerLogin, CrmRequest, Hydration, Variable
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression, Path
from schemas.source import (
    Incoming,
    Kind,
    PublicKeySignature,
    Source,
    Token,
    id_text,
    item_by_paths,
)

# --- signatures -------------------------------------------------------------------------------

# Both are public: the Ed25519 key of the guide, and the RSA key of docs/oauth/WebhookAuthentication
# in the repository above.
PUBLIC_KEYS: Final = ",".join(
    (
        "MCowBQYDK2VwAyEAi2HR1srL4o18O8BRa7gVJY7G7bupbN3H9AwJrHCDiOg=",
        "MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEAokvo/r9tVgcfZ5DysOSCFrm602qYV0MaAiNnX9O8KxMb"
        "iyRKWeL9JpCpVpt4XHIcBOK4u3cLSqJGOLaPuXw6dO0t6Q/ZVdAV5Phz+ZtzPL16iCGeK9po6D6JHBpbi989mmzM"
        "ryUnQJezlYJ3DVfBcsedpinheNnyYeFXolrJvcsjDtfAeRx5ByHQmTnSdFUzuAnC9/GepgLT9SM4nCpvuxmZMxrJ"
        "t5Rw+VUaQ9B8JSvbMPpez4peKaJPZHBbU3OdeCVx5klVXXZQGNHOs8gF3kvoV5rTnXV0IknLBXlcKKAQLZcY/Q9r"
        "G6Ifi9c+5vqlvHPCUJFT5XUGG5RKgOKUJ062fRtN+rLYZUV+BjafxQauvC8wSWeYja63VSUruvmNj8xkx2zE/Juc"
        "+yjLjTXpIocmaiFeAO6fUtNjDeFVkhf5LNb59vECyrHD2SQIrhgXpO4Q3dVNA5rw576PwTzNh/AMfHKIjE4xQA1S"
        "ZuYJmNnmVZLIZBlQAF9Ntd03rfadZ+yDiOXCCs9FkHibELhCHULgCsnuDJHcrGNd5/Ddm5hxGQ0ASitgHeMZ0kcI"
        "OwKDOzOU53lDza6/Y09T7sYJPQe7z0cvj7aE4B+Ax1ZoZGPzpJlZtGXCsu9aTEGEnKzmsFqwcSsnw3JB31IGKAyk"
        "T1hhTiaCeIY/OwwwNUY2yvcCAwEAAQ==",
    )
)
# A made-up Ed25519 key, for a stand-in.
SAMPLE_KEY: Final = "MCowBQYDK2VwAyEAYppIaL5eFLtLBVmNHLPGIcW+rYK1RRAp8jrMY4ks0QE="
# The guide's own code takes "N/A" for no signature.
BESIDE: Final = (
    PublicKeySignature(header="X-GHL-Signature", algorithm="ed25519", absent="N/A"),
    PublicKeySignature(header="X-WH-Signature", algorithm="rsa-sha256", absent="N/A"),
)

# --- words ------------------------------------------------------------------------------------

OBJECTS: Final = {
    "Appointment": "appointment",
    "Association": "association",
    "Contact": "contact",
    "Invoice": "invoice",
    "Location": "location",
    "Note": "note",
    "Opportunity": "opportunity",
    "Order": "order",
    "Price": "price",
    "Product": "product",
    "Record": "record",
    "Relation": "relation",
    "Task": "task",
    "User": "user",
}
HAPPENED: Final = {"Create": "created", "Update": "updated", "Delete": "deleted"}
# HighLevel's word -> ours. A word that is not here keeps HighLevel's spelling.
TYPES: Final = {
    **{
        subject_type + word: f"{ours}.{happened}"
        for subject_type, ours in OBJECTS.items()
        for word, happened in HAPPENED.items()
    },
    "ContactDndUpdate": "contact.dnd_updated",
    "ContactTagUpdate": "contact.tag_updated",
    "OpportunityAssignedToUpdate": "opportunity.assigned_to_updated",
    "OpportunityMonetaryValueUpdate": "opportunity.monetary_value_updated",
    "OpportunityStageUpdate": "opportunity.stage_updated",
    "OpportunityStatusUpdate": "opportunity.status_updated",
    "TaskComplete": "task.completed",
}
IDS: Final = ("id", "contactId", "locationId", "companyId", "webhookId", "timestamp", "dateAdded")
UNKNOWN_TYPE: Final = "unknown"  # the type of a body that names none

# --- do-not-disturb ---------------------------------------------------------------------------

# `dnd` is for every channel, and is left out where it is false; `dndSettings` has one entry a
# channel, "active", "inactive" or "permanent" (the API's own list). A value that is not off
# counts as on: a workflow's template may write "true" or "yes", and a wrong guess would call the
# person. `contains` searches our own list, so a value of any type is no error.
# https://marketplace.gohighlevel.com/docs/2021-04-15/webhook/ContactDndUpdate
# The contact of an opportunity has the same fields under `contact`.
OPT_OUT: Final = Expression.of(
    '!contains(`[null, false, "", "false"]`, dnd)'
    ' || !contains(`[null, "", "inactive"]`, dndSettings.Call.status)'
    ' || !contains(`[null, false, "", "false"]`, contact.dnd)'
    ' || !contains(`[null, "", "inactive"]`, contact.dndSettings.Call.status)'
)

# --- a contact --------------------------------------------------------------------------------

# `additionalPhones` is in no schema of HighLevel's. Issue 289 of its repository shows the like of
# it, additionalEmails, as a list of objects; texts are read, too.
PHONES: Final = Expression.of(
    "[phone, additionalPhones[].phone, additionalPhones[?type(@) == 'string'],"
    " contact.phone, contact.additionalPhones[].phone,"
    " contact.additionalPhones[?type(@) == 'string']]"
)
# An opportunity's own `name` is the deal's.
NAMES: Final = Expression.of(
    "contact.name || contact.[firstName, lastName]"
    " || (!pipelineId && (name || [firstName, lastName]))"
)

# --- events -----------------------------------------------------------------------------------

# It differs between webhooks and stays the same in a retry: "Store webhook IDs to prevent duplicate
# processing", and a retry sends "the same payload". The samples of single events do not have it,
# and neither do workflows.
WEBHOOK_ID: Final = Expression.of("webhookId")


class EventSchema(Schema):
    """The fields of an event that we need."""

    class Meta:
        """HighLevel adds keys without notice."""

        unknown = EXCLUDE

    type = Word(required=True, validate=validate.Length(min=1, error="is empty"))
    # The record's own id.
    id = RecordId(required=True)


_EVENT: Final = EventSchema()


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read the one event of a request.

    The guide's curl line has the record under `data`; the samples of contact and opportunity
    events are flat, and so are bodies that people have published. One with its record under
    `data` has no id, and is not read: its do-not-disturb would be missed.
    """
    if not isinstance(content, dict):
        return [Item(type=UNKNOWN_TYPE, data=content, problem="The body is not a JSON object.")]
    return [_item(content, request, source)]


def _item(body: Mapping[str, Any], request: Incoming, source: Source) -> Item:
    try:
        known = _EVENT.load(body)
    except ValidationError as error:
        word = body["type"] if "type" not in error.messages_dict else None
        event_type = TYPES.get(word, word) if word else UNKNOWN_TYPE
        return Item(type=event_type, data=body, problem=sentence("event", error.messages_dict))
    event_type = TYPES.get(known["type"], known["type"])
    paths = replace(source, event=None, id=source.id or WEBHOOK_ID)
    item = item_by_paths(body, request, paths, subject=known["id"])
    time = item.time if source.time else _time(event_type, body, source.timezone)
    item = replace(item, type=event_type, time=time)
    contact = _contact_of(event_type, body)
    if contact is None:
        return item
    is_gone = event_type.endswith(".deleted")
    return replace(
        item, subject=contact, subject_type="contact", hydrate=None if is_gone else "contacts"
    )


def _contact_of(event_type: str, body: Mapping[str, Any]) -> str | None:
    """Return the id of an opportunity's contact; None: it is no opportunity, or names no contact.

    The id becomes a part of a URL.
    """
    if not event_type.startswith("opportunity."):
        return None
    contact = id_text(body.get("contactId"))
    return contact if contact and RECORD_ID.fullmatch(contact) else None


def _time(event_type: str, body: Mapping[str, Any], zone: str | None) -> datetime | date | None:
    """Return when it happened; None if the body does not say.

    `timestamp` is when the webhook was made: within a second of the change in published bodies,
    and unchanged in a retry. `dateAdded` is when the record was created, so it is the event's
    time only for a creation; an update would look years late.
    """
    made = read_time(body.get("timestamp"), zone)
    if made or not event_type.endswith(".created"):
        return made
    return read_time(body.get("dateAdded"), zone)


# --- the contact of an opportunity --------------------------------------------------------------


def _request(api_object: str, ids: Sequence[str], wanted: Sequence[str]) -> CrmRequest:
    """Ask for one contact; HighLevel answers all of its fields."""
    return CrmRequest(method="GET", path=f"/{api_object}/{ids[0]}", headers=HEADERS)


def _records(answer: Any) -> dict[str, dict[str, Any]]:
    contact = answer.get("contact") if isinstance(answer, dict) else None
    if not isinstance(contact, dict):
        return {}
    key = id_text(contact.get("id"))
    return {key: contact} if key else {}


def _merge(data: Any, record: Mapping[str, Any]) -> Any:
    return {**data, "contact": dict(record)}


def _fields(paths: frozenset[Path]) -> frozenset[str]:
    return frozenset()  # HighLevel takes no list of fields


HYDRATION: Final = Hydration(
    batch=1,  # no endpoint was found that reads contacts by several ids
    login=BearerLogin(token="ACCESS_TOKEN"),
    api_url="API_URL",
    request=_request,
    records=_records,
    merge=_merge,
    fields=_fields,
    # "Burst: 100 API requests per 10 seconds", for each private integration and sub-account:
    # https://marketplace.gohighlevel.com/docs/other/rate-limits/
    rate=100,
    rate_headers=("X-RateLimit-Remaining", "X-RateLimit-Interval-Milliseconds"),
    none_statuses=(404,),  # not documented; to one id it can mean nothing else
)

KIND = Kind(
    name="gohighlevel",
    title="GoHighLevel",
    auth=Token(beside=BESIDE),
    guide="docs/connect-gohighlevel.md",
    parse=parse,
    hydration=HYDRATION,
    write_back=WRITE_BACK,
    is_own_change=is_own_change,
    variables=(
        Variable(
            suffix="ACCESS_TOKEN",
            sample="pit-00000000-0000-4000-8000-000000000000",
            help="the token of a private integration with the scope contacts.readonly; it fetches "
            "the contacts of opportunities. With contacts.write, it writes back",
        ),
        Variable(
            suffix="API_URL",
            holds="address",
            default="https://services.leadconnectorhq.com",
        ),
        Variable(
            suffix="LOCATION_ID",
            holds="id",
            pattern=RECORD_ID.pattern,
            sample="ve9EPM428h8vShlRW1KT",
            help="the id of the sub-account, with which `check` asks for its custom fields",
        ),
        Variable(
            suffix="PUBLIC_KEYS",
            holds="public_keys",
            default=PUBLIC_KEYS,
            sample=SAMPLE_KEY,
            help="the public keys of its signatures, in base64 or PEM, with commas between them, "
            "if it has others by now",
        ),
    ),
    count=lambda content: 1,
    default_type=UNKNOWN_TYPE,
    ids=frozenset((name,) for name in IDS),
    opt_out=OPT_OUT,
    phones=PHONES,
    names=NAMES,
    emails=Expression.of("email || contact.email"),
    # "We do not retry webhooks that return 5xx": six retries, ten minutes apart, after a 429 only.
    full_status=429,
    retries="6 times, 10 minutes apart, after a 429 alone",
)
