"""Salesforce: outbound messages of flows and workflow rules, in SOAP.

A message has up to 100 notifications, each with the fields of one record that its author chose. A
field that is empty is left out. A message does not say whether its record is new: what triggers it,
a person wrote in Salesforce.

No message is signed. A token in the endpoint's URL proves the sender; SALESFORCE_ORGANIZATION_ID is
checked beside it. Only a SOAP Ack counts as received; after any other answer, Salesforce sends the
message again for 24 hours, at growing intervals of up to two hours.

https://developer.salesforce.com/docs/platform/api/guide/sforce-api-om-outboundmessaging-wsdl.html
https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_om_outboundmessaging_notifications.htm
https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_om_outboundmessaging_understanding.htm
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from schemas.crm.fields import RecordId, sentence
from schemas.crm_api import Variable
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression
from schemas.source import (
    AccountCheck,
    Incoming,
    Kind,
    Reply,
    Source,
    Token,
    count_items,
    item_by_paths,
)

# Salesforce's object -> our word. Another one keeps Salesforce's spelling, in small letters.
OBJECTS: Final = {"Opportunity": "deal"}
# The phone of a user is a colleague's.
COLLEAGUES: Final = frozenset({"user"})
UNKNOWN_TYPE: Final = "unknown"  # the type of a notification that can't be read
SESSION: Final = "SessionId"
NOTIFICATION: Final = "notification"  # where an event's data has what is not of the record
ID_FIELDS: Final = (
    *("Id", "OwnerId", "AccountId", "ContactId", "CreatedById", "LastModifiedById"),
    *("CreatedDate", "LastModifiedDate", "SystemModstamp", "RecordTypeId", "CampaignId"),
    *("ConvertedAccountId", "ConvertedContactId", "ConvertedOpportunityId", "MasterRecordId"),
)
# The first 15 characters of an id say everything; the last three of the longer form are a checksum:
# https://help.salesforce.com/s/articleView?id=000385585&type=1 (from an excerpt)
ID_LENGTH: Final = 15

ACK: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
    "<soapenv:Body>"
    '<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound">'
    "<Ack>true</Ack>"
    "</notificationsResponse>"
    "</soapenv:Body>"
    "</soapenv:Envelope>\n"
)

# "true" or "false" in XML. What is neither counts as true: a wrong guess would call the person.
OPT_OUT: Final = Expression.of(
    '!contains(`[null, "", "false", "0"]`, DoNotCall)'
    ' || !contains(`[null, "", "false", "0"]`, PersonDoNotCall)'
)
# Not AssistantPhone, which is another person's, and not Fax.
PHONES: Final = Expression.of(
    "[Phone, MobilePhone, HomePhone, OtherPhone,"
    " PersonMobilePhone, PersonHomePhone, PersonOtherPhone]"
)


class NotificationSchema(Schema):
    """The parts of a notification that we need."""

    class Meta:
        """Whatever else there is counts as nothing."""

        unknown = EXCLUDE

    Id = RecordId(required=True)
    sObject = fields.Dict(
        required=True,
        error_messages={
            "required": "is missing",
            "null": "is null",
            "invalid": "has no fields",
        },
    )


class RecordSchema(Schema):
    """The field of a record that we need: Salesforce always sends it."""

    class Meta:
        """The author of the message chose the others."""

        unknown = EXCLUDE

    Id = RecordId(required=True)


_NOTIFICATION: Final = NotificationSchema()
_RECORD: Final = RecordSchema()


def count(content: Any) -> int:
    """Return how many items a body has at most."""
    message = _message(content)
    return count_items(content) or 1 if message is None else len(_notifications(message))


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read each notification of a message; one without notifications has no items."""
    message = _message(content)
    if message is None:
        problem = "The body is not an outbound message in SOAP."
        return [Item(type=UNKNOWN_TYPE, data=_without_session(content), problem=problem)]
    return [_item(one, message, request, source) for one in _notifications(message)]


def _without_session(value: Any) -> Any:
    """Return a body without SessionId: its holder may read and change records."""
    if isinstance(value, list):
        return [_without_session(one) for one in value]
    if isinstance(value, dict):
        return {name: _without_session(of) for name, of in value.items() if name != SESSION}
    return value


def is_of(content: Any, organization_id: str) -> bool:
    """Say whether a message comes from an organization; one without notifications does."""
    message = _message(content)
    if message is None:
        return False
    given = message.get("OrganizationId")
    if given is None and not _notifications(message):
        return True
    return isinstance(given, str) and given.strip()[:ID_LENGTH] == organization_id[:ID_LENGTH]


def _message(content: Any) -> Mapping[str, Any] | None:
    """Return the message in a SOAP envelope; None: there is none."""
    found = content
    for name in ("Envelope", "Body"):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict) or "notifications" not in found:
        return None
    message = found["notifications"]
    if message in ("", None):
        return {}
    return message if isinstance(message, dict) else None


def _notifications(message: Mapping[str, Any]) -> list[Any]:
    found = message.get("Notification", [])
    return found if isinstance(found, list) else [found]


def _item(notification: Any, message: Mapping[str, Any], request: Incoming, source: Source) -> Item:
    try:
        known = _NOTIFICATION.load(notification)
        record = known["sObject"]
        subject = _RECORD.load(record)["Id"]
    except ValidationError as error:
        problem = sentence("notification", error.messages)
        return Item(type=UNKNOWN_TYPE, data=notification, problem=problem)
    subject_type = _object(record)
    # Not SESSION and the URLs.
    about = {
        "Id": known["Id"],
        **{key: message[key] for key in ("OrganizationId", "ActionId") if message.get(key)},
    }
    fields_set = {
        name: value
        for name, value in record.items()
        if value is not None and not name.startswith("@")
    }
    data = {**fields_set, NOTIFICATION: about}
    item = item_by_paths(data, request, replace(source, event=None, id=None), subject=subject)
    happened = "deleted" if record.get("IsDeleted") == "true" else "triggered"
    return replace(
        item,
        type=f"{subject_type}.{happened}",
        source_event_id=known["Id"],
        time=item.time if source.time else read_time(record.get("LastModifiedDate")),
        is_test=subject_type in COLLEAGUES,
    )


def _object(record: Mapping[str, Any]) -> str:
    """Return what a record is, in our word, out of its type: "sf:Lead" is a lead."""
    given = record.get("@type")
    name = given.rpartition(":")[2].strip() if isinstance(given, str) else ""
    return OBJECTS.get(name, name.lower()) or "record"


KIND = Kind(
    name="salesforce",
    title="Salesforce",
    auth=Token(),
    is_xml_only=True,
    account_check=AccountCheck(variable="ORGANIZATION_ID", is_of=is_of),
    parse=parse,
    count=count,
    variables=(
        Variable(
            suffix="ORGANIZATION_ID",
            holds="id",
            sample="00D00000000000SAAA",
            help="the id of your organization, so that messages of another one are refused; "
            "several with commas",
        ),
    ),
    default_type=UNKNOWN_TYPE,
    ids=frozenset(
        {
            *((name,) for name in ID_FIELDS),
            *((NOTIFICATION, name) for name in ("Id", "OrganizationId", "ActionId")),
        }
    ),
    opt_out=OPT_OUT,
    phones=PHONES,
    names=Expression.of("Name || [FirstName, LastName]"),
    emails=Expression.of("Email || PersonEmail"),
    region=Expression.of("CountryCode || MailingCountryCode || PersonMailingCountryCode"),
    reply=Reply(status=200, body=ACK, media_type="text/xml"),
    retries="24 hours",
)
