"""Calendly: bookings of invitees, signed with a time.

A rescheduling is two events, in any order: invitee.canceled of the old invitee with `rescheduled`
true, and invitee.created of the new one with `old_invitee`. The number is the one for text
reminders, an answer, or the location of a call that the host makes (`outbound_call`). That of an
`inbound_call` is the host's. Routes also get `answers`: the invitee's answers by their questions.

https://developer.calendly.com/docs/webhooks/overview (signature, retries)
https://developer.calendly.com/docs/api-guides/see-how-webhook-payloads-change-when-invitees-reschedule-events
"""

from collections.abc import Mapping
from typing import Any, Final

from schemas.crm.forms import by_question, each_object, objects
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression
from schemas.source import Incoming, Kind, Part, Signature, Signatures, Source, id_text

# Hex HMAC-SHA256 over "<t>.<body>": Calendly-Webhook-Signature: t=<epoch in s>,v1=<hex>.
SIGNATURE: Final = Signature(
    header="Calendly-Webhook-Signature",
    parts=(Part.TIMESTAMP, Part.BODY),
    separator=".",
    signature_key="v1",
    timestamp_key="t",
)
UNKNOWN_TYPE: Final = "unknown"
CREATED, CANCELED = "invitee.created", "invitee.canceled"
# Calendly's word -> ours. A word that is not here keeps Calendly's spelling.
TYPES: Final = {
    CREATED: "booking.created",
    CANCELED: "booking.canceled",
    "invitee_no_show.created": "no_show.created",
    "invitee_no_show.deleted": "no_show.deleted",
    "routing_form_submission.created": "form.submitted",
}
# The two halves of a rescheduling.
RESCHEDULED: Final = {CREATED: "booking.rescheduled", CANCELED: "booking.replaced"}


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read the one event of a request."""
    return each_object(content, UNKNOWN_TYPE, lambda body: _item(body, source))


def _item(body: Mapping[str, Any], source: Source) -> Item:
    word, payload = body.get("event"), body.get("payload")
    if not isinstance(word, str) or not word:
        return Item(type=UNKNOWN_TYPE, data=body, problem="The body has no event.")
    if not isinstance(payload, dict):
        return Item(type=TYPES.get(word, word), data=body, problem="The event has no payload.")
    moved = payload.get("rescheduled") is True if word == CANCELED else payload.get("old_invitee")
    types = RESCHEDULED if moved and word in RESCHEDULED else TYPES
    asked = objects(payload.get("questions_and_answers"))
    # A no-show's own uri is another one than its invitee's.
    uri, invitee = id_text(payload.get("uri")), payload.get("invitee") or payload.get("uri")
    return Item(
        type=types.get(word, word),
        data={
            **body,
            "answers": by_question((one.get("question"), one.get("answer")) for one in asked),
        },
        # Each of these happens once to its uri; an update has no id of its own.
        source_event_id=f"{word} {uri}" if uri and word in TYPES else None,
        subject=_last_part(invitee),
        subject_type="invitee" if word in TYPES and types[word] != "form.submitted" else None,
        time=read_time(body.get("created_at"), source.timezone)
        or read_time(payload.get("created_at"), source.timezone),
    )


def _last_part(uri: Any) -> str | None:
    """Return the id at the end of a resource's address."""
    return id_text(uri.rstrip("/").rpartition("/")[2]) if isinstance(uri, str) else None


KIND = Kind(
    name="calendly",
    title="Calendly",
    auth=Signatures(schemes=(SIGNATURE,)),
    parse=parse,
    default_type=UNKNOWN_TYPE,
    secret_help="the signing_key that you give when you create the webhook subscription",
    secret_is_chosen=True,
    ids=frozenset({("created_at",), ("payload", "created_at"), ("payload", "updated_at")}),
    phones=Expression.of(
        "[payload.text_reminder_number,"
        " [payload.scheduled_event.location][?type == 'outbound_call'] | [0].location]"
    ),
    names=Expression.of("payload.name || [payload.first_name, payload.last_name]"),
    emails=Expression.of("payload.email"),
    # "Exponential"; how long was not seen. 410 deletes the subscription at once.
    retries="yes, how long was not seen",
)
