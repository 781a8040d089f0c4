"""Cal.com: bookings, signed.

The number is in the booker's `responses`, or in `attendees`. `organizer`, `team.members` and
`location` may have numbers of the host, and of a location only the one that its booker gave
(`value` is "phone") is the booker's. The signature has no time.

https://cal.com/docs/developing/guides/automation/webhooks
https://github.com/calcom/cal.com/blob/main/docs/developing/guides/automation/webhooks.mdx
"""

from collections.abc import Mapping
from typing import Any, Final

from schemas.crm.forms import each_object, mapping, objects
from schemas.event import Item, derive_id
from schemas.event_time import read_time
from schemas.expression import Expression
from schemas.source import Incoming, Kind, Signature, Signatures, Source, id_text

# Hex HMAC-SHA256 over the body. Without a secret, Cal.com sends "no-secret-provided".
SIGNATURE: Final = Signature(header="X-Cal-Signature-256")
UNKNOWN_TYPE: Final = "unknown"
# Cal.com's word -> ours. A word that is not here keeps Cal.com's spelling.
BOOKINGS: Final = {
    "BOOKING_CREATED": "booking.created",
    "BOOKING_RESCHEDULED": "booking.rescheduled",
    "BOOKING_CANCELLED": "booking.canceled",
    "BOOKING_REQUESTED": "booking.requested",
    "BOOKING_REJECTED": "booking.rejected",
    "BOOKING_PAYMENT_INITIATED": "booking.payment_initiated",
    "BOOKING_PAID": "booking.paid",
    "MEETING_STARTED": "booking.started",
    "MEETING_ENDED": "booking.ended",
}
TYPES: Final = {
    **BOOKINGS,
    "BOOKING_NO_SHOW_UPDATED": "booking.no_show_updated",
    "FORM_SUBMITTED": "form.submitted",
    "FORM_SUBMITTED_NO_EVENT": "form.submitted_without_booking",
    "INSTANT_MEETING": "meeting.requested",
    "OOO_CREATED": "absence.created",  # of a host
    "RECORDING_READY": "recording.created",
    "PING": "webhook.test",
}
PING: Final = "PING"  # Cal.com's button "Ping test", with a made-up person


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read the one event of a request."""
    return each_object(content, UNKNOWN_TYPE, lambda body: _item(body, source))


def _item(body: Mapping[str, Any], source: Source) -> Item:
    word = body.get("triggerEvent")
    if not isinstance(word, str) or not word:
        # A payload template of its author's own may leave it out.
        return Item(type=UNKNOWN_TYPE, data=body, problem="The body has no triggerEvent.")
    # Bodies of meetings that start or end have been seen without `payload`, their fields beside it.
    payload = mapping(body.get("payload", body))
    booking = id_text(payload.get("uid")) or id_text(payload.get("bookingUid"))
    return Item(
        type=TYPES.get(word, word),
        data={**body, "payload": payload},
        source_event_id=_id(word, booking, payload),
        subject=booking,
        subject_type="booking" if booking else None,
        time=read_time(body.get("createdAt"), source.timezone),
        is_test=word == PING,
    )


def _id(word: str, booking: str | None, payload: Mapping[str, Any]) -> str | None:
    """Return what is the same in a resend; None: the event may happen again to its booking.

    The seats of one booking have one uid, and each has a person of its own.
    """
    if booking is None or word not in BOOKINGS:
        return None
    emails = [str(one.get("email")) for one in objects(payload.get("attendees"))]
    return f"{word} {booking} {derive_id(str(payload.get('startTime')), *emails)}"


KIND = Kind(
    name="calcom",
    title="Cal.com",
    auth=Signatures(schemes=(SIGNATURE,)),
    parse=parse,
    default_type=UNKNOWN_TYPE,
    secret_help="the secret that you write into the webhook in Cal.com",
    secret_is_chosen=True,
    ids=frozenset(
        {("createdAt",)}
        | {("payload", name) for name in ("uid", "bookingId", "startTime", "endTime")}
    ),
    phones=Expression.of(
        "[payload.responses.attendeePhoneNumber.value, payload.responses.phone.value,"
        " [payload.responses.location.value][?value == 'phone'] | [0].optionValue,"
        " payload.responses.smsReminderNumber.value, payload.attendees[0].phoneNumber]"
    ),
    names=Expression.of("payload.attendees[0].name"),
    emails=Expression.of("payload.attendees[0].email"),
)
