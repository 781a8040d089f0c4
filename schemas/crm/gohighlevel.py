"""GoHighLevel (HighLevel): webhooks of an app, and of workflows that post the same shape.

A request carries one event, flat: its word, the record's id and the record's fields.
Contact events have the phone number and whether the contact is on do-not-disturb (DND); an
opportunity has only `contactId`, and this version fetches nothing.

An app's webhooks are signed (X-GHL-Signature, Ed25519, by one key for all apps). This version does
not check that. It accepts a token in the URL, or in a header that a workflow sets.

https://marketplace.gohighlevel.com/docs/webhook/WebhookIntegrationGuide
https://github.com/GoHighLevel/highlevel-api-docs/tree/main/docs/webhook%20events
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Final

from marshmallow import EXCLUDE, Schema, ValidationError, validate

from schemas.crm.fields import RecordId, Word, sentence
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression
from schemas.source import Incoming, Kind, Source, Token, item_by_paths

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
OPT_OUT: Final = Expression.of(
    '!contains(`[null, false, "", "false"]`, dnd)'
    ' || !contains(`[null, "", "inactive"]`, dndSettings.Call.status)'
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
    # The record's own id, also for an opportunity: events of two opportunities of one contact
    # differ by it. Routes find the contact in `contactId`.
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
    return replace(item, type=event_type, time=time)


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


KIND = Kind(
    name="gohighlevel",
    title="GoHighLevel",
    auth=Token(),
    guide="docs/connect-gohighlevel.md",
    parse=parse,
    count=lambda content: 1,
    default_type=UNKNOWN_TYPE,
    ids=frozenset((name,) for name in IDS),
    opt_out=OPT_OUT,
    phones=Expression.of("phone"),
    names=Expression.of("name || [firstName, lastName]"),
    emails=Expression.of("email"),
    # "We do not retry webhooks that return 5xx": six retries, ten minutes apart, after a 429 only.
    full_status=429,
)
