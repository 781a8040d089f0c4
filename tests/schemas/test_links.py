"""The links of a delivery: absolute URLs, or null."""

from dataclasses import replace
from typing import Any

from support import each
from support.makers import NOW, delivery, settings

from schemas.headline import headline
from schemas.links import Addresses, links_of, without_numbers
from schemas.outcome import INBOUND, Outcome
from schemas.responses import DeliveryBrief, revealed

HUBSPOT = Addresses(sources={"hubspot": "https://app.hubspot.com"})
KNOWN = {"source": "hubspot", "subject": "501", "record_page": "contacts/62515/record/0-1/"}


@each(
    ("more", "record"),
    [
        ({}, "https://app.hubspot.com/contacts/62515/record/0-1/501"),
        ({"subject": "a/b?c#d é"}, "https://app.hubspot.com/contacts/62515/record/0-1/a%2Fb%3Fc%23d%20%C3%A9"),
        ({"subject": None}, None),
        ({"record_page": None}, None),
        ({"source": "website"}, None),
    ],
)  # fmt: skip
def test_the_record_is_linked_where_its_page_is_known(
    more: dict[str, Any], record: str | None
) -> None:
    assert links_of(delivery(**{**KNOWN, **more}), HUBSPOT)["record"] == record


@each(
    ("batch_id", "campaign"),
    [
        ("6803fa", "https://callkaro.ai/dashboard/batch-calls/6803fa"),
        ("a b/../c", "https://callkaro.ai/dashboard/batch-calls/a%20b%2F..%2Fc"),
        (None, None),
    ],
)
def test_the_campaign_is_linked(batch_id: str | None, campaign: str | None) -> None:
    assert links_of(delivery(batch_id=batch_id), Addresses())["campaign"] == campaign


def test_the_call_is_linked_as_callkaro_says() -> None:
    outcome = Outcome(call_sid="c", delivery_id=None, call_link="https://callkaro.ai/c?call_id=1")
    one = delivery(headline=headline(outcome))
    assert links_of(one, Addresses())["call"] == "https://callkaro.ai/c?call_id=1"
    erased = replace(one, headline=headline(outcome, is_erased=True))
    assert links_of(erased, Addresses())["call"] is None
    assert links_of(delivery(call_sid="c"), Addresses())["call"] is None


def test_the_addresses_are_those_of_the_settings() -> None:
    given = settings(
        callkaro_app_url="https://callkaro.example",
        variables={"hubspot": {"APP_URL": "https://app.example"}, "zoho": {}},
    )
    assert Addresses.of(given) == Addresses(
        callkaro="https://callkaro.example", sources={"hubspot": "https://app.example"}
    )


@each("reveals", [False, True])
def test_rows_of_a_list_equal_its_dump(reveals: bool) -> None:
    outcome = Outcome(
        call_sid="c",
        delivery_id=None,
        recording_url="https://recordings.example/919876543210.mp3",
        call_link="https://callkaro.ai/c?call_id=1",
        disposition_reason="Call +919876543210 later",
        ended_at=NOW,
    )
    listed = [
        delivery(),
        delivery(**KNOWN, batch_id="6803fa", next_attempt_at=NOW),
        delivery(number="+919876543210", name="Asha", headline=headline(outcome)),
        delivery(to="write_back", of="d1", moment="delivered", reason="gave_up", message="No."),
    ]
    brief = DeliveryBrief(HUBSPOT)
    with revealed(reveals):
        rows = brief.rows(listed)
        assert rows == brief.dump(listed, many=True)
    assert [*rows[0]] == [*DeliveryBrief().fields]
    assert (rows[2]["outcome"]["recording_url"] is None) is not reveals
    assert (rows[2]["phone"] == "+919876543210") is reveals


def test_a_link_with_the_persons_number_is_hidden_in_each_place() -> None:
    number, other = "+919876543210", "https://recordings.example/918000000000.mp3"
    clean = Outcome(call_sid="c2", delivery_id=None, call_link="https://callkaro.ai/c")
    telling = Outcome(
        call_sid="c1", delivery_id=None, recording_url=f"https://callkaro.ai/{number}"
    )
    from_person = replace(clean, call_sid="c3", try_count=INBOUND, recording_url=other)
    one = delivery(number=number, headline=headline(clean), outcomes=(telling, clean, from_person))
    hidden = without_numbers(one)
    assert [shown.recording_url for shown in hidden.outcomes] == [None, None, None]
    assert [shown.call_link for shown in hidden.outcomes] == [None, *["https://callkaro.ai/c"] * 2]
    assert hidden.headline == one.headline
    safe = replace(one, outcomes=(clean, replace(clean, recording_url=other)))
    assert without_numbers(safe) == safe
    assert without_numbers(replace(safe, headline=headline(telling))).headline == headline(
        replace(telling, recording_url=None)
    )
