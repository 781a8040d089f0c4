"""The verdict: what the answer to an attempt means. One pure table.

    what happened                                        call       campaign
    ------------------------------------------------------------------------
    never sent: refused, DNS, TLS, connect time-out      AGAIN      AGAIN
    2xx that CallKaro documents, with an id              ACCEPTED   ACCEPTED
    2xx whose body says "status": "error"                REFUSED    REFUSED
    429, 503                                             AGAIN      AGAIN
    500 whose body is CallKaro's own "status": "error"   AGAIN      AGAIN
    401, 402, 403                                        PAUSE      PAUSE
    any other 4xx                                        REFUSED    REFUSED
    anything else: read time-out, reset, other 5xx,      UNKNOWN    AGAIN
      a redirect, an answer that can't be read

An empty campaign calls nobody, so its creation is simply repeated.
"""

import re
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Literal

import orjson

from schemas.callkaro import (
    CallAccepted,
    CampaignAccepted,
    Refused,
    Unreadable,
    read_call_answer,
    read_campaign_answer,
    read_deletion_answer,
)
from schemas.delivery import Reason


class Meaning(Enum):
    """What to do next."""

    ACCEPTED = auto()
    REFUSED = auto()
    AGAIN = auto()  # surely not accepted
    PAUSE = auto()  # surely not accepted; the account is at fault, so the attempt does not count
    UNKNOWN = auto()  # may have been accepted


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the answer to an attempt means."""

    meaning: Meaning
    message: str  # for people
    id: str | None = None  # CallKaro's id of what it accepted
    why: Literal["unreachable", "busy"] | None = None  # the reason word, if surely not accepted
    refusal: Reason | None = None  # the reason word of a refusal, if it has one of its own
    is_about_person: bool = False  # it refused this person or number, so the route is not at fault
    callkaro_text: str = ""  # the end of message, if that is CallKaro's own text
    # The bridge failed to read the answer. A call then waits for a person, also with on_unknown.
    is_our_error: bool = False

    @property
    def public(self) -> str:
        """Return the message without CallKaro's own text, which may be about a person."""
        if not self.callkaro_text:
            return self.message
        return self.message.removesuffix(self.callkaro_text).rstrip(": ")


# The words of CallKaro's dialler: the reason of a delivery, and a sentence for people.
DIALLER_WORDS = {
    "DND_NUMBER": (Reason.DND_NUMBER, "The number is on the do-not-disturb list."),
    "VERIFICATION_REQUIRED": (
        Reason.NOT_VERIFIED,
        "Your business is not verified at CallKaro, so it calls only numbers proved by a code.",
    ),
}
# CallKaro does not document how it refuses a number, so these are guesses. "Missing required field:
# to_number" is a mistake of the route.
_NUMBER = r"\b(?:number|to_number|phone|phone_number)\b"
BAD_NUMBER = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?:invalid|bad|wrong|malformed|unsupported|blocked)\b.{{0,15}}{_NUMBER}",
        rf"{_NUMBER}.{{0,15}}\b(?:invalid|malformed|unsupported|blocked|dnd)\b",
        rf"{_NUMBER}.{{0,15}}\bnot (?:a )?(?:valid|supported|allowed|reachable)\b",
    )
)
NOT_ACCEPTED = frozenset({429, 503})
ACCOUNT = {
    401: "CallKaro does not accept the API key",
    402: "CallKaro says that the account must be paid",
    403: "CallKaro does not accept the API key",  # as CallKaro documents it
}


def verdict(
    to: Literal["call", "campaign"], *, sent: bool, status_code: int | None, body: bytes
) -> Verdict:
    """Return what the answer to an attempt means.

    sent: the first byte of the request left. status_code None: no answer came.
    """
    if not sent:
        return Verdict(
            meaning=Meaning.AGAIN, why="unreachable", message="CallKaro could not be reached."
        )
    if status_code is None:
        return _doubtful(to, "The request was sent and no answer came")
    if status_code in ACCOUNT:
        return Verdict(meaning=Meaning.PAUSE, message=f"{ACCOUNT[status_code]} ({status_code}).")
    if status_code in NOT_ACCEPTED:
        return Verdict(
            meaning=Meaning.AGAIN, why="busy", message=f"CallKaro is busy ({status_code})."
        )
    answer = _read(to, body)
    if 200 <= status_code < 300:
        return _of_success(to, answer)
    text = answer.message if isinstance(answer, Refused) else ""
    if status_code == 500 and isinstance(answer, Refused):
        # An assumption, as CallKaro does not document it: after an error body of CallKaro's own,
        # nothing was queued. The 500 of a gateway has another body and proves nothing.
        return Verdict(
            meaning=Meaning.AGAIN,
            why="busy",
            message=f"CallKaro failed (500): {text}",
            callkaro_text=text,
        )
    if 400 <= status_code < 500:
        return _refused(f"CallKaro refused it ({status_code})", text or "it gave no reason")
    return _doubtful(
        to, f"CallKaro answered {status_code}, which does not show whether it accepted the request"
    )


def verdict_of_crash(to: Literal["call", "campaign"]) -> Verdict:
    """Return what the answer means if reading it raised an error in the bridge."""
    found = _doubtful(to, "An error in the bridge stopped the reading of the answer")
    return replace(found, is_our_error=True)


def verdict_of_deletion(*, sent: bool, status_code: int | None, body: bytes) -> Verdict:
    """Return what a request to delete a scheduled call means.

    A second deletion does no harm, so it is repeated in doubt, as a campaign's creation is.
    """
    if sent and status_code is not None and 200 <= status_code < 300:
        answer = read_deletion_answer(_decoded(body))
        if answer is None:
            return Verdict(meaning=Meaning.ACCEPTED, message="CallKaro deleted the scheduled call.")
        if isinstance(answer, Refused):
            return Verdict(
                meaning=Meaning.REFUSED, message=f"CallKaro refused it: {answer.message}"
            )
        return Verdict(meaning=Meaning.AGAIN, message="CallKaro's answer can't be read.")
    found = verdict("campaign", sent=sent, status_code=status_code, body=body)
    if found.meaning is Meaning.AGAIN and found.why is None:
        return replace(found, message="CallKaro did not say whether it deleted the call.")
    return found


def _of_success(
    to: Literal["call", "campaign"], answer: CallAccepted | CampaignAccepted | Refused | Unreadable
) -> Verdict:
    match answer:
        case CallAccepted(call_sid=found) | CampaignAccepted(batch_id=found):
            return Verdict(meaning=Meaning.ACCEPTED, message="CallKaro accepted it.", id=found)
        case Refused(message=text):
            return _refused("CallKaro refused it", text)
        case Unreadable(why=why):
            return _doubtful(to, why.removesuffix("."))


def _refused(what: str, text: str) -> Verdict:
    """Return the verdict of a refusal; text: CallKaro's own."""
    for word, (reason, sentence) in DIALLER_WORDS.items():
        if word in text.upper():
            return Verdict(
                meaning=Meaning.REFUSED,
                message=f"{sentence} {what}: {text}",
                callkaro_text=text,
                refusal=reason,
                is_about_person=True,
            )
    return Verdict(
        meaning=Meaning.REFUSED,
        message=f"{what}: {text}",
        callkaro_text=text,
        is_about_person=any(found.search(text) for found in BAD_NUMBER),
    )


def _doubtful(to: Literal["call", "campaign"], what: str) -> Verdict:
    if to == "campaign":
        return Verdict(meaning=Meaning.AGAIN, message=f"{what}. The bridge tries again.")
    return Verdict(meaning=Meaning.UNKNOWN, message=f"{what}. A phone may ring.")


def _read(
    to: Literal["call", "campaign"], body: bytes
) -> CallAccepted | CampaignAccepted | Refused | Unreadable:
    decoded = _decoded(body)
    if decoded is None:
        return Unreadable(why="The answer is not JSON.")
    return read_call_answer(decoded) if to == "call" else read_campaign_answer(decoded)


def _decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
