"""WhatsApp: whose number and name a message has, and what else its event keeps."""

import json
from typing import Any

from support import each
from support.samples import items

from schemas.crm.whatsapp import KIND, count
from schemas.event import Item

BUSINESS = {"display_phone_number": "15550100100", "phone_number_id": "8001"}


def notified(*messages: Any, account: Any = "7", **value: Any) -> list[Item]:
    told = {"metadata": BUSINESS, "messages": list(messages), **value}
    entry = {"id": account, "changes": [{"field": "messages", "value": told}]}
    body = {"object": "whatsapp_business_account", "entry": [entry]}
    found = items(KIND, body)
    assert count(body) >= len(found)
    return found


def said(number: Any, **more: Any) -> dict[str, Any]:
    message = {"from": number, "id": "wamid.1", "timestamp": "1767250800", "type": "text"}
    return {**message, "text": {"body": "Hello"}, **more}


def answered(answers: Any, **reply: Any) -> dict[str, Any]:
    reply = {"name": "flow", "body": "Sent", "response_json": json.dumps(answers), **reply}
    interactive = {"type": "nfm_reply", "nfm_reply": reply}
    return said("919876500001", type="interactive", interactive=interactive)


def contact(number: str, name: Any, **more: Any) -> dict[str, Any]:
    return {"wa_id": number, "profile": {"name": name}, **more}


def test_a_flow_has_flat_answers_and_its_text_only_once() -> None:
    [item] = notified(answered({"city": "Pune", "terms": True}))

    assert item.type == "form.submitted"
    assert item.data["answers"] == {"city": "Pune", "terms": True}
    assert item.data["interactive"]["nfm_reply"] == {"name": "flow", "body": "Sent"}


@each(
    ("name", "event_type"),
    [
        ("flow", "form.submitted"),
        (None, "form.submitted"),
        ("address_message", "message.received"),
        (["flow"], "message.received"),
    ],
)
def test_a_reply_is_a_flow_by_its_name(name: Any, event_type: str) -> None:
    [item] = notified(answered({"values": {"city": "Pune"}}, name=name))

    assert item.type == event_type
    assert item.data["answers"] == {"values": {"city": "Pune"}}


@each(
    ("sender", "phone"),
    [
        ("919876500001", "+919876500001"),
        (16505550123, "+16505550123"),
        ("IN.8001002003", None),
        ("09876500001", None),
        (None, None),
        ([], None),
    ],
)
def test_a_sender_has_a_number_with_its_plus_or_none(sender: Any, phone: str | None) -> None:
    [item] = notified(said(sender))

    assert item.data["phone"] == phone
    assert KIND.phones
    assert KIND.phones.search(item.data) == phone


def test_the_number_of_the_business_is_not_kept() -> None:
    for item in notified(said("919876500001"), statuses=[{"id": "wamid.2", "status": "read"}]):
        assert BUSINESS["display_phone_number"] not in json.dumps(item.data)
        assert item.data["phone_number_id"] == "8001"


def test_a_message_has_the_contact_of_its_own_sender_alone() -> None:
    asha = contact("919876500001", "Asha", user_id="IN.1")
    ravi = {"user_id": "IN.2", "profile": {"name": "Ravi", "username": "@ravi"}}

    found = notified(
        said("919876500001"),
        said(None, from_user_id="IN.2"),
        said("919876500003"),
        contacts=[asha, "junk", ravi],
    )

    assert [item.data["contact"].get("name") for item in found] == ["Asha", "Ravi", None]
    assert [item.subject for item in found] == ["IN.1", "IN.2", None]


def test_the_only_contact_of_the_only_message_is_its_sender() -> None:
    asha = contact("5215500000001", "Asha")

    assert [one.data["contact"] for one in notified(said("525500000001"), contacts=[asha])] == [
        {"name": "Asha"}
    ]
    two = notified(said("525500000001"), said("525500000002"), contacts=[asha])
    assert [one.data["contact"] for one in two] == [{}, {}]


def test_what_each_message_keeps_of_the_rest_is_short() -> None:
    long = contact("919876500001", "x" * 10_000, more="y" * 10_000)

    [item] = notified(said("919876500001"), contacts=[long], account="7" * 10_000)

    assert item.data["contact"] == {}
    assert item.data["account_id"] is None


@each("word", ["sent", "delivered", "read", "failed", "played"])
def test_a_status_takes_no_route_and_has_no_number(word: str) -> None:
    status = {"id": "wamid.1", "status": word, "recipient_id": "919876500001"}

    [item] = notified(statuses=[status], contacts=[contact("919876500001", "Asha")])

    assert (item.type, item.source_event_id, item.is_test) == (
        f"status.{word}",
        f"{word}-wamid.1",
        True,
    )
    assert KIND.phones
    assert KIND.phones.search(item.data) is None
