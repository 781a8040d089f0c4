"""What is Cal.com's own: seats, its test, and whose number it is."""

from typing import Any

import pytest
from support.samples import PAYLOADS, content_of, items

from schemas.crm.calcom import KIND

SAMPLES = PAYLOADS / "calcom"
HOSTS = {"+911234599999", "+911234599998"}


def read(name: str, **payload: Any) -> Any:
    content = content_of(SAMPLES / f"{name}.body.json")
    [item] = items(KIND, {**content, "payload": {**content.get("payload", {}), **payload}})
    return item


def numbers(item: Any) -> list[Any]:
    assert KIND.phones
    return [one for one in KIND.phones.search(item.data) if one]


def test_the_number_is_the_bookers_and_never_a_hosts() -> None:
    assert numbers(read("booking_created")) == ["+911234500031"]
    assert numbers(read("booking_created_phone_as_location")) == ["+911234500032"]
    assert numbers(read("booking_created_host_phone")) == []
    for sample in SAMPLES.glob("*.body.json"):
        for item in items(KIND, content_of(sample)):
            assert not HOSTS & {*numbers(item)}


def test_the_seats_of_a_booking_are_events_of_their_own() -> None:
    seats = [
        read("booking_created", attendees=[{"email": f"{name}@mail.example"}])
        for name in ("meera", "ravi", "meera")
    ]
    first, second, again = (item.source_event_id for item in seats)
    assert first == again != second


def test_a_booking_that_is_moved_twice_is_two_events() -> None:
    moved = [read("booking_rescheduled", startTime=f"2026-01-0{day}T05:30:00Z") for day in (3, 4)]
    assert moved[0].source_event_id != moved[1].source_event_id


def test_what_may_happen_again_has_no_id() -> None:
    assert read("no_show_updated").source_event_id is None
    assert read("booking_created", uid=None).source_event_id is None


def test_a_ping_is_a_test() -> None:
    assert (read("ping").is_test, read("booking_created").is_test) == (True, False)


def test_fields_beside_the_event_are_read_where_there_is_no_payload() -> None:
    [item] = items(KIND, content_of(SAMPLES / "meeting_ended_without_payload.body.json"))
    assert (item.type, item.data["payload"]["uid"]) == ("booking.ended", "bOoKiNgUiD0000001")


@pytest.mark.parametrize("value", [None, 1, [], {}, "x", [None], [{"email": []}]])
def test_a_payload_of_any_shape_is_no_exception(value: Any) -> None:
    [item] = items(KIND, {"triggerEvent": "BOOKING_CREATED", "payload": value})
    assert item.problem is None
    read("booking_created", attendees=value, responses=value, startTime=value)
