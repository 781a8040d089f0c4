"""What is Calendly's own: a signature with its time, reschedulings, and whose number it is."""

from datetime import timedelta
from typing import Any

import pytest
from support.samples import NOW, PAYLOADS, content_of, incoming, items

from schemas.crm.calendly import KIND
from schemas.errors import BadSignature
from schemas.event import is_guarded_type
from schemas.signatures import sign, verify

SAMPLES = PAYLOADS / "calendly"


def read(name: str) -> Any:
    [item] = items(KIND, content_of(SAMPLES / f"{name}.body.json"))
    return item


def numbers(item: Any) -> list[Any]:
    assert KIND.phones
    return [one for one in KIND.phones.search(item.data) if one]


def test_a_signature_is_refused_once_it_is_old_and_with_another_time() -> None:
    request = incoming(b"{}")
    headers = sign(KIND.auth, "a-key", request, now=NOW)
    signed = incoming(b"{}", headers=headers)
    verify(KIND.auth, ["a-key"], signed, now=NOW + timedelta(minutes=4))
    for minutes in (-6, 6):
        with pytest.raises(BadSignature) as refused:
            verify(KIND.auth, ["a-key"], signed, now=NOW + timedelta(minutes=minutes))
        assert refused.value.why == "stale"
    later = int((NOW + timedelta(minutes=6)).timestamp())
    moved = f"t={later},{headers['Calendly-Webhook-Signature'].partition(',')[2]}"
    forged = incoming(b"{}", headers={"Calendly-Webhook-Signature": moved})
    with pytest.raises(BadSignature):
        verify(KIND.auth, ["a-key"], forged, now=NOW + timedelta(minutes=6))


def test_the_halves_of_a_rescheduling_are_neither_a_booking_nor_a_cancellation() -> None:
    old, new = read("rescheduled_old_invitee"), read("rescheduled_new_invitee")
    assert (old.type, new.type) == ("booking.replaced", "booking.rescheduled")
    assert read("invitee_canceled").type == "booking.canceled"


def test_the_number_of_a_call_that_the_invitee_makes_is_the_hosts() -> None:
    assert numbers(read("invitee_calls_the_host")) == []
    assert numbers(read("invitee_created")) == ["+91 12345 00028"]
    assert numbers(read("invitee_created_with_text_reminder"))[0] == "+911234500029"


def test_answers_are_found_by_their_questions() -> None:
    assert read("invitee_created").data["answers"]["Which plan?"] == "Home solar"
    assert read("routing_form").data["answers"] == {"Phone": "+91 12345 00030"}


def test_a_booking_its_end_and_a_no_show_are_events_of_one_invitee() -> None:
    found = [read(name) for name in ("invitee_created", "invitee_canceled", "no_show")]
    assert {item.subject for item in found} == {"INVITEE00000001"}
    assert len({item.source_event_id for item in found}) == 3


def test_a_no_show_that_is_taken_back_calls_by_no_glob() -> None:
    assert is_guarded_type(read("no_show_taken_back").type)


@pytest.mark.parametrize("value", [None, 1, [], {}, "x", True])
def test_a_payload_of_any_shape_is_no_exception(value: Any) -> None:
    names = ("uri", "invitee", "old_invitee", "rescheduled", "questions_and_answers", "created_at")
    for word in ("invitee.created", "invitee.canceled", "invitee_no_show.created", "other"):
        [item] = items(KIND, {"event": word, "payload": dict.fromkeys(names, value)})
        assert item.problem is None
