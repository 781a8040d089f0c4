"""WhatsApp (Meta's Cloud API): a completed Flow, and each other message of a person.

A change of the field `messages` has many messages, or many statuses of messages that the business
sent. Its `metadata` is the business's own number, and `contacts` has the senders' names. Each item
has one message alone, with its sender as `contact`, the sender's number as `phone`, and the answers
of a Flow as `answers`.

https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/create-webhook-endpoint
https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages
https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages/status
https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages/system
https://developers.facebook.com/documentation/business-messaging/whatsapp/flows/guides/flowswebhooks
A person with a username may have no `from` and no `wa_id`, but an id for this business, which is
`from_user_id` and `user_id` (for `from_user_id`: public code):
https://docs.360dialog.com/docs/resources/phone-numbers/usernames-and-bsuid
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from marshmallow import EXCLUDE, Schema, ValidationError, validate

from schemas.crm.fields import RecordId, Word, sentence
from schemas.crm.forms import mapping, objects, unpacked
from schemas.crm.meta_webhooks import (
    CHALLENGE,
    SECRET_HELP,
    SIGNATURE,
    VERIFY_TOKEN,
    Subscription,
    count_changes,
    list_of,
    object_id,
    parse_changes,
)
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression
from schemas.source import Incoming, Kind, Reply, Signatures, Source, id_text

SUBMITTED: Final = "form.submitted"
RECEIVED: Final = "message.received"
TEST: Final = "message.test"
UNKNOWN: Final = "message.unknown"
# WhatsApp's types of messages that ask for nothing -> ours. All others are received.
TYPES: Final = {
    "edit": "message.updated",
    "reaction": "message.reaction",
    # A person opened the chat and wrote nothing: https://docs.gupshup.io/docs/welcome
    "request_welcome": "message.welcome",
    "revoke": "message.deleted",
    "system": "message.system",  # a person has another number now
}
# The names of a Flow's reply: some bodies in public code have none. That of an address is
# address_message.
FLOW: Final = (None, "flow")
REPLY: Final = "nfm_reply"
# The account of the "Test" button in the app's webhooks; from bodies that public projects recorded.
SAMPLE_ACCOUNT: Final = "0"
SENDER: Final = ("from", "from_user_id")
RESPONSE: Final = "response_json"
LONGEST_OF_CONTACT: Final = 200
_NUMBER: Final = re.compile(r"[1-9][0-9]{6,14}")


class MessageSchema(Schema):
    """The fields of a message that we need."""

    class Meta:
        """WhatsApp adds keys, and each type of message has its own."""

        unknown = EXCLUDE

    id = RecordId(required=True)
    type = Word(required=True)


class StatusSchema(Schema):
    """The fields of a status that we need."""

    class Meta:
        """WhatsApp adds keys."""

        unknown = EXCLUDE

    id = RecordId(required=True)
    # It becomes part of the event's type.
    status = Word(
        required=True, validate=validate.Regexp(r"[a-z_]{1,40}\Z", error="must be a short word")
    )


_MESSAGE: Final = MessageSchema()
_STATUS: Final = StatusSchema()


def count(content: Any) -> int:
    """Return how many items a body has at most."""
    return count_changes(content, _count)


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read each message and status of a notification."""
    return parse_changes(content, ACCOUNT)


def _count(change: Any) -> int:
    value = mapping(mapping(change).get("value"))
    return max(1, len(list_of(value.get("messages"))) + len(list_of(value.get("statuses"))))


def _items(entry: Mapping[str, Any], change: Mapping[str, Any]) -> Iterator[Item]:
    value = mapping(change.get("value"))
    about = {
        ACCOUNT.id_name: object_id(entry.get("id")),
        "phone_number_id": object_id(mapping(value.get("metadata")).get("phone_number_id")),
    }
    messages, statuses = list_of(value.get("messages")), list_of(value.get("statuses"))
    contacts = objects(value.get("contacts"))
    senders = _senders(contacts)
    # A number and its wa_id may differ. Of one message and one contact, it is the sender anyway.
    only = contacts[0] if len(contacts) == len(messages) == 1 else {}
    for message in messages:
        ids = (id_text(mapping(message).get(key)) for key in SENDER)
        contact = next((senders[one] for one in ids if one in senders), only)
        yield _message(message, contact, about)
    for status in statuses:
        yield _status(status, about)
    if messages or statuses:
        return
    if "errors" in value:
        yield Item(type=f"{ACCOUNT.prefix}.errors", data={**about, **change})
    else:
        problem = "The change has no message and no status."
        yield Item(type=UNKNOWN, data=change, problem=problem)


def _message(message: Any, contact: dict[str, Any], about: Mapping[str, Any]) -> Item:
    try:
        known = _MESSAGE.load(message)
    except ValidationError as error:
        problem = sentence("message", error.messages)
        return Item(type=UNKNOWN, data=message, problem=problem)
    interactive = mapping(message.get("interactive"))
    reply = mapping(interactive.get(REPLY))
    answers = unpacked(reply.get(RESPONSE))
    is_flow = interactive.get("type") == REPLY and reply.get("name") in FLOW
    event_type = SUBMITTED if is_flow else TYPES.get(known["type"], RECEIVED)
    if is_flow and not isinstance(answers, dict):
        problem = f"The Flow's {RESPONSE} is missing or is not a JSON object."
        return Item(type=event_type, data=message, problem=problem)
    is_test = about[ACCOUNT.id_name] == SAMPLE_ACCOUNT
    return Item(
        type=TEST if is_test else event_type,
        data={
            **about,
            **_without_text(message, reply),
            "contact": _known(contact),
            "phone": _phone(message.get("from")),
            "answers": mapping(answers),
        },
        source_event_id=known["id"],
        subject=id_text(message.get("from_user_id")) or id_text(contact.get("user_id")),
        subject_type="contact",
        time=read_time(message.get("timestamp")),
        is_test=is_test,
    )


def _status(status: Any, about: Mapping[str, Any]) -> Item:
    """Return the item of a status: of what the business sent itself, so it never calls."""
    try:
        known = _STATUS.load(status)
    except ValidationError as error:
        problem = sentence("status", error.messages)
        return Item(type="status.unknown", data=status, problem=problem)
    word = known["status"]
    return Item(
        type=f"status.{word}",
        data={**about, **status},
        source_event_id=f"{word}-{known['id']}",  # all statuses of a message have its id
        time=read_time(status.get("timestamp")),
        is_test=True,
    )


def _senders(contacts: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the contacts by their numbers and by their ids for this business."""
    keys = ("wa_id", "user_id")
    found = ((id_text(one.get(key)), one) for one in contacts for key in keys)
    return {key: one for key, one in found if key}


def _known(contact: Mapping[str, Any]) -> dict[str, str]:
    """Return what routes may read of a contact. Each message keeps it, so a long text is none."""
    profile = mapping(contact.get("profile"))
    texts = {
        "name": id_text(profile.get("name")),
        "username": id_text(profile.get("username")),
        "user_id": id_text(contact.get("user_id")),
    }
    return {key: text for key, text in texts.items() if text and len(text) <= LONGEST_OF_CONTACT}


def _phone(sender: Any) -> str | None:
    """Return a sender's number, which has its country code but no plus, in E.164."""
    number = id_text(sender)
    return f"+{number}" if number and _NUMBER.fullmatch(number) else None


def _without_text(message: dict[str, Any], reply: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message without the text of its answers, which `answers` has as values."""
    if RESPONSE not in reply:
        return message
    rest = {name: value for name, value in reply.items() if name != RESPONSE}
    return {**message, "interactive": {**message["interactive"], REPLY: rest}}


ACCOUNT: Final = Subscription(
    object="whatsapp_business_account",
    title="a WhatsApp Business account",
    id_name="account_id",
    prefix="account",
    unknown=UNKNOWN,
    field="messages",
    read=_items,
)

KIND = Kind(
    name="whatsapp",
    title="WhatsApp",
    auth=Signatures(schemes=(SIGNATURE,)),
    parse=parse,
    count=count,
    secret_help=SECRET_HELP,
    variables=(VERIFY_TOKEN,),
    default_type=UNKNOWN,
    ids=frozenset({("account_id",), ("phone_number_id",), ("timestamp",)}),
    phones=Expression.of("phone"),
    names=Expression.of("contact.name"),
    reply=Reply(status=200),
    challenge=CHALLENGE,
    # Of Meta's page, this was not seen: https://docs.360dialog.com/docs/messaging/webhook
    retries="7 days",
)
