"""Close: webhook subscriptions, which post events of Close's event log.

A request carries one event: `event.object_type`, `event.action` and the object in `event.data`.
Only a contact has phone numbers. A lead is a company with contacts, and its event has their ids
alone; an opportunity or an activity has `contact_id` or `lead_id`. So the contact or the lead is
fetched, and stands beside `event`. An event about colleagues or numbers of one's own calls nobody.
An event names the user who made the change, and the API key if one was used.

https://developer.close.com/api/overview/api-key-authentication (read on 2026-11-29)
https://developer.close.com/api/resources/webhooks
https://developer.close.com/api/resources/events
https://developer.close.com/api/resources/events/list-of-event-types
https://developer.close.com/api/resources/users/get-me
(read in part on 2026-11-29)
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from marshmallow import EXCLUDE, Schema, ValidationError, validate

from schemas.crm.close_writing import CONTACT, LEAD, OBJECT_ID, WRITE_BACK
from schemas.crm.fields import RecordId, Word, sentence
from schemas.crm_api import BasicLogin, CrmRequest, Hydration, OwnUser, Variable
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression, Path
from schemas.source import Incoming, Kind, Part, Signature, Signatures, Source, id_text

# Hex HMAC-SHA256 over the time and the body; the key is hex, too. How old a request may be is our
# own choice: Close does not say.
SIGNATURE: Final = Signature(
    header="close-sig-hash",
    parts=(Part.TIMESTAMP, Part.BODY),
    secret_encoding="hex",
    timestamp_header="close-sig-timestamp",
)

GONE: Final = frozenset({"deleted", "merged"})
# Objects about colleagues and about one's own phone numbers and mailboxes. `group` is in a body
# that others published; the other words are unconfirmed.
INTERNAL: Final = frozenset(
    {"user", "group", "membership", "phone_number", "connected_account", "send_as"}
)
UNKNOWN_TYPE: Final = "unknown"  # the type of a body that names none

IDS: Final = frozenset(
    {
        ("subscription_id",),
        *(
            ("event", name)
            for name in (
                *("id", "object_id", "lead_id", "organization_id", "user_id", "request_id"),
                "api_key_id",
            )
        ),
        *(("event", "data", name) for name in ("id", "lead_id", "contact_id", "contact_ids")),
        (CONTACT, "id"),
        (LEAD, "id"),
    }
)

# --- events -----------------------------------------------------------------------------------

_SHORT: Final = validate.Length(min=1, max=100, error="must have 1 to 100 characters")
# An id becomes part of a URL.
_URL_PART: Final = validate.Regexp(OBJECT_ID, error="must have only letters, digits and _")


class EventSchema(Schema):
    """The fields of an event that we need."""

    class Meta:
        """Close adds keys without notice."""

        unknown = EXCLUDE

    id = RecordId(required=True)
    object_type = Word(required=True, validate=_SHORT)  # "lead", "activity.call"
    action = Word(required=True, validate=_SHORT)  # "created", "updated", "deleted", "merged"
    object_id = RecordId(required=True, validate=_URL_PART)


_EVENT: Final = EventSchema()


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read the one event of a request."""
    return [_item(content)]


def _item(body: Any) -> Item:
    event: Any = body.get("event") if isinstance(body, dict) else None
    try:
        known = _EVENT.load(event)
    except ValidationError as error:
        return Item(type=UNKNOWN_TYPE, data=body, problem=sentence("event", error.messages))
    is_gone = known["action"] in GONE
    person = None if is_gone else _person_of(known, event)
    subject_type, subject = person or (known["object_type"], known["object_id"])
    is_whole = subject == known["object_id"] and _has_phones(subject_type, event.get("data"))
    return Item(
        type=f"{known['object_type']}.{known['action']}",
        data=body,
        source_event_id=known["id"],
        subject=subject,
        subject_type=subject_type,
        time=read_time(event.get("date_created")),  # without a zone; of the record's times: UTC
        hydrate=subject_type if person and not is_whole else None,
        is_test=known["object_type"] in INTERNAL,
    )


def _person_of(known: Mapping[str, Any], event: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the contact whom an event is about, else its lead: type and id; None: neither."""
    if known["object_type"] in INTERNAL:
        return None
    if known["object_type"] in (CONTACT, LEAD):
        named = [(known["object_type"], known["object_id"])]
    else:
        data = event.get("data")
        contact_id = data.get("contact_id") if isinstance(data, dict) else None
        named = [(CONTACT, id_text(contact_id)), (LEAD, id_text(event.get("lead_id")))]
    return next(((kind, one) for kind, one in named if one and OBJECT_ID.fullmatch(one)), None)


def _has_phones(object_type: str, data: Any) -> bool:
    """Say whether an object of an event has its phone numbers, if it has any.

    By the documentation a lead's event has `contact_ids`; bodies that others published have
    `contacts`.
    """
    if not isinstance(data, dict):
        return False
    return object_type == CONTACT or isinstance(data.get("contacts"), list)


# --- links ------------------------------------------------------------------------------------


def record_page(subject_type: str, data: Any) -> str | None:
    """Return where Close shows leads; a contact has no page of its own."""
    return "lead/" if subject_type == LEAD else None


# --- hydration --------------------------------------------------------------------------------


def _request(api_object: str, ids: Sequence[str], wanted: Sequence[str]) -> CrmRequest:
    """Ask for one record: no question for several ids was found in Close's documentation."""
    return CrmRequest(method="GET", path=f"/api/v1/{api_object}/{ids[0]}/")


def _records(answer: Any) -> dict[str, dict[str, Any]]:
    found = id_text(answer.get("id")) if isinstance(answer, dict) else None
    return {found: answer} if found else {}


def _merge(data: Any, record: Mapping[str, Any]) -> Any:
    """Add a lead or a contact to the event; only a lead has `contacts`."""
    return {**data, LEAD if "contacts" in record else CONTACT: dict(record)}


def _fields(paths: frozenset[Path]) -> frozenset[str]:
    return frozenset()  # the API sends all


# --- our own changes --------------------------------------------------------------------------


def is_change_of(data: Any, user: str, _: frozenset[str]) -> bool:
    """Say whether a user made the change of an event by an API key.

    What the same person changes in Close's own pages is no answer to a call.
    """
    event = data.get("event") if isinstance(data, dict) else None
    if not isinstance(event, dict):
        return False
    return id_text(event.get("user_id")) == user and bool(event.get("api_key_id"))


def _user(answer: Any) -> str | None:
    return id_text(answer.get("id")) if isinstance(answer, dict) else None


# Of an event about a contact, and about a lead.
_CONTACT: Final = "event.object_type == 'contact' && event.data || contact"
_LEAD: Final = "event.object_type == 'lead' && event.data.contacts || lead.contacts"

KIND = Kind(
    name="close",
    title="Close",
    auth=Signatures(schemes=(SIGNATURE,)),
    parse=parse,
    count=lambda content: 1,
    secret_help="the signature_key of its webhook subscription, 64 hex digits",
    secret_is_chosen=False,
    hydration=Hydration(
        batch=1,
        login=BasicLogin(user="API_KEY"),
        api_url="API_URL",
        request=_request,
        records=_records,
        merge=_merge,
        fields=_fields,
        none_statuses=(204, 404),
        own_user=OwnUser(
            request=CrmRequest(method="GET", path="/api/v1/me/", params={"_fields": "id"}),
            read=_user,
            is_out_of_scope=lambda answer: False,  # an API key has no scopes
            scope="",
            fields=frozenset(),
            is_change=is_change_of,
            # A call, a change of a status.
            answers=("activity.", "status_change."),
        ),
    ),
    write_back=WRITE_BACK,
    variables=(
        Variable(
            suffix="API_KEY",
            sample="api_0000000000000000000000.0000000000000000000000",
            help="an API key of a user who may see leads and contacts, and change them if a route "
            "has a [route.write_back]",
        ),
        Variable(suffix="API_URL", holds="address", default="https://api.close.com"),
        Variable(
            suffix="APP_URL",
            holds="address",
            default="https://app.close.com",
            help="the address of its pages, for links to records",
        ),
    ),
    default_type=UNKNOWN_TYPE,
    ids=IDS,
    # Not the number of a call's or an SMS's event: it may be one's own.
    phones=Expression.of(f"[({_CONTACT}).phones[].phone, ({_LEAD})[].phones[].phone][]"),
    names=Expression.of(f"({_CONTACT}).name || ({_LEAD})[0].name"),
    emails=Expression.of(
        f"[({_CONTACT}).emails[].email, ({_LEAD})[].emails[].email][] | [?@] | [0]"
    ),
    record_page=record_page,
    retries="72 hours, at most 20 minutes apart",
)
