"""Bodies that mislead, from webhook to call, by the routes that examples/ give.

Each one is of a kind that was recorded or published, with values of our own. What must not ring is
in a list of its own; what must ring says whose number.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import Web
from support.draining import MakeSettings, OpenWeb, RunDrain, found
from support.samples import incoming, source_of

from schemas.crm import kinds
from schemas.settings import Settings
from schemas.signatures import sign
from schemas.source import secret_of
from simulator import Simulator
from store import Store

EXAMPLES = Path(__file__).parents[2] / "examples"
SOURCES = ("close", "gohighlevel", "google-ads", "indiamart", "meta", "monday", "pipedrive")
SOURCES += ("salesforce", "shopify", "typeform", "whatsapp")
NUMBER = "+919876500001"
NOW = datetime.now(UTC) - timedelta(minutes=1)
BOM = b"\xef\xbb\xbf"


def variables(name: str, url: str) -> dict[str, str]:
    source = source_of(kinds()[name])
    given = source.simulated_variables(url)
    return {one.removeprefix(source.variable_prefix): value for one, value in given.items()}


def secret(name: str) -> str:
    return secret_of(kinds()[name].auth, "a-secret-of-these-tests")


@pytest.fixture
def settings(make_settings: MakeSettings, simulator: Simulator) -> Settings:
    routes = "\n".join((EXAMPLES / name / "routes.toml").read_text("utf-8") for name in SOURCES)
    return make_settings(
        routes,
        secrets={name: (secret(name),) for name in SOURCES},
        variables={name: variables(name, simulator.url) for name in SOURCES},
    )


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings) -> Web:
    return open_web(settings)


def send(web: Web, source: str, body: bytes, **more: str) -> Any:
    """Post a body with its source's credentials."""
    url, kind = f"/webhooks/{source}", kinds()[source]
    media_type = "text/xml" if kind.is_xml_only else "application/json"
    request = incoming(body, media_type, url=f"http://localhost{url}")
    if source == "google-ads":
        body = json.dumps({**json.loads(body), "google_key": secret(source)}).encode()
    headers = {} if source == "google-ads" else sign(kind.auth, secret(source), request, now=now())
    return web.client.post(url, data=body, headers={**headers, **more}, content_type=media_type)


def now() -> datetime:
    return datetime.now(UTC)


def text(at: datetime = NOW) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def deal(**keys: Any) -> dict[str, Any]:
    meta = {"action": "create", "entity": "deal", "id": "e-1", "entity_id": "5", "version": "2.0"}
    meta |= {"timestamp": text(), "company_id": "1", **keys.pop("meta", {})}
    return {"data": {"id": 5, "title": "Sample", "person_id": None, **keys}, "meta": meta}


def close(object_type: str, action: str, **keys: Any) -> dict[str, Any]:
    event = {"id": "ev_1", "object_type": object_type, "action": action, "object_id": "o_1"}
    return {"event": {**event, "date_created": text(), "data": {}, "previous_data": {}, **keys}}


def ads(*columns: dict[str, str], **keys: Any) -> dict[str, Any]:
    return {"lead_id": "L1", "form_id": 1, "user_column_data": list(columns), **keys}


def response(*answers: dict[str, Any], at: datetime = NOW) -> dict[str, Any]:
    of = {"form_id": "f", "token": "t-1", "submitted_at": text(at), "answers": list(answers)}
    return {"event_id": "e", "event_type": "form_response", "form_response": of}


def item(word: str, **keys: Any) -> dict[str, Any]:
    event = {"type": word, "triggerTime": text(), "triggerUuid": "u-1", "boardId": 1}
    return {"event": {**event, **keys}}


def chat(*messages: Any, **value: Any) -> dict[str, Any]:
    of = {"metadata": {"display_phone_number": "919876500009"}, "messages": messages, **value}
    entry = {"id": "1", "changes": [{"field": "messages", "value": of}]}
    return {"object": "whatsapp_business_account", "entry": [entry]}


def flow(**answers: Any) -> dict[str, Any]:
    reply = {"name": "flow", "body": "Sent", "response_json": json.dumps(answers)}
    of = {"type": "interactive", "interactive": {"type": "nfm_reply", "nfm_reply": reply}}
    return {"id": "wamid.1", "timestamp": str(int(NOW.timestamp())), **of}


PHONES = [{"phone": NUMBER, "type": "mobile"}]
CONTACT = {"type": "ContactCreate", "locationId": "l", "id": "c-1", "phone": NUMBER}
CALLED = {
    "an Indian mobile of a contact in Germany": ("gohighlevel", {**CONTACT, "country": "DE"}),
    "a hyphen behind the country code": (
        "indiamart",
        {
            "RESPONSE": {
                "UNIQUE_QUERY_ID": "1",
                "QUERY_TYPE": "W",
                "SENDER_MOBILE": "+91-9876500001",
            }
        },
    ),
    "a seller who has a number, too": (
        "indiamart",
        {
            "RESPONSE": {
                "UNIQUE_QUERY_ID": "2",
                "RECEIVER_MOBILE": "9876500009",
                "SENDER_MOBILE": "+91-9876500001",
            }
        },
    ),
    "columns without names": (
        "google-ads",
        ads(
            {"column_id": "SERVICE", "string_value": "Roofing"},
            {"column_id": "PHONE_NUMBER", "string_value": NUMBER},
        ),
    ),
    "a deal that an app made, with the person's id alone": (
        "pipedrive",
        deal(person_id=901, meta={"type": "application"}),
    ),
    "a person of the older version, whose id is in an object": (
        "pipedrive",
        deal(person_id={"value": 901, "name": "Sample"}),
    ),
    "a response of the future's clock": (
        "typeform",
        response({"type": "phone_number", "phone_number": NUMBER}, at=datetime(2099, 1, 1)),  # noqa: DTZ001
    ),
    "a Flow of a number without its plus, to a business with a number": (
        "whatsapp",
        chat({**flow(city="Pune"), "from": NUMBER.removeprefix("+")}),
    ),
}
NOT_CALLED = {
    "a record that is gone, with its former numbers": (
        "close",
        close("contact", "deleted", previous_data={"phones": PHONES}),
        "unrouted",
    ),
    "a group of colleagues": (
        "close",
        close("group", "created", data={"phones": PHONES}),
        "unrouted",
    ),
    "an opportunity that was won": (
        "close",
        close("opportunity", "updated", data={"contact_id": "cont_sample1"}),
        "unrouted",
    ),
    "do-not-disturb of a new contact": ("gohighlevel", {**CONTACT, "dnd": True}, "suppressed"),
    "do-not-disturb for calls alone": (
        "gohighlevel",
        {**CONTACT, "dndSettings": {"Call": {"status": "active"}}},
        "suppressed",
    ),
    "a contact that is gone, with its number": (
        "gohighlevel",
        {**CONTACT, "type": "ContactDelete"},
        "unrouted",
    ),
    "a tag of a contact": ("gohighlevel", {**CONTACT, "type": "ContactTagUpdate"}, "unrouted"),
    "test data with a number": (
        "google-ads",
        ads({"column_id": "PHONE_NUMBER", "string_value": NUMBER}, is_test=True),
        "unrouted",
    ),
    "a lead form that asks for no number": (
        "google-ads",
        ads({"column_id": "EMAIL", "string_value": "a@example.com"}),
        "no_number",
    ),
    "an item without columns": ("monday", item("create_pulse", columnValues={}), "no_number"),
    "an item that is gone": ("monday", item("delete_pulse", itemId=1), "unrouted"),
    "an empty list of phones": (
        "pipedrive",
        deal(phones=[], meta={"entity": "person"}),
        "no_number",
    ),
    "a deal without a person, whose owner has a name": (
        "pipedrive",
        deal(owner_name="Colleague", user_id={"id": 1, "phone": NUMBER}),
        "no_number",
    ),
    "a form without a question for the number": (
        "typeform",
        response({"type": "text", "text": NUMBER}),
        "no_number",
    ),
    "a Flow of somebody whose number is hidden": ("whatsapp", chat(flow(city="Pune")), "no_number"),
    "a message that is no Flow": (
        "whatsapp",
        chat({**flow(), "from": NUMBER.removeprefix("+"), "type": "text", "interactive": None}),
        "unrouted",
    ),
    "a status of what the business sent": (
        "whatsapp",
        chat(statuses=[{"id": "wamid.1", "status": "read", "recipient_id": NUMBER[1:]}]),
        "unrouted",
    ),
}


def outcome(store: Store, answer: Any) -> set[str]:
    """Return the statuses of an answer's events, or of their deliveries, with the reason."""
    seen = set()
    for event in answer.json["events"]:
        for one in event["deliveries"]:
            kept = found(store, one["id"])
            seen.add(str(kept.reason or kept.status))
        if not event["deliveries"]:
            seen.add(event["status"])
    return seen


def called(simulator: Simulator) -> list[str]:
    return [call.to_number for call in simulator.state.calls]


@pytest.mark.parametrize("name", CALLED)
def test_the_persons_number_is_called(
    name: str, web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    source, body = CALLED[name]
    simulator.state.put_record("pipedrive", "persons", "901", {"phones": [{"value": NUMBER}]})
    for _ in range(2):
        assert send(web, source, json.dumps(body).encode()).status_code < 300
        run_drain(settings)
    assert called(simulator) == [NUMBER]


@pytest.mark.parametrize("name", NOT_CALLED)
def test_nobody_is_called(
    name: str,
    web: Web,
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    source, body, expected = NOT_CALLED[name]
    answer = send(web, source, json.dumps(body).encode())
    assert answer.status_code < 300
    run_drain(settings)
    assert outcome(store, answer) == {expected}
    assert called(simulator) == []


@pytest.mark.parametrize("is_at_once", [True, False])
def test_an_item_whose_number_comes_with_it_and_as_a_change_rings_once(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain, is_at_once: bool
) -> None:
    phone = {"phone": "9876500001", "countryShortName": "IN"}
    created = item("create_pulse", pulseId=1, columnValues={"phone_1": phone})
    changed = item("update_column_value", pulseId=1, columnType="phone", value=phone)
    changed["event"] |= {"triggerUuid": "u-2", "columnId": "phone_1"}
    for body in (created, changed):
        assert send(web, "monday", json.dumps(body).encode()).status_code == 200
        if not is_at_once:
            run_drain(settings)
    run_drain(settings)
    assert called(simulator) == [NUMBER]


@pytest.mark.parametrize(
    ("number", "country", "numbers"),
    [
        ("9901109922", "US", []),  # Indian by its looks, in a shop's American checkout
        ("9901109922", "IN", ["+919901109922"]),
        ("+919901109922", "US", ["+919901109922"]),
    ],
)
def test_a_number_without_a_country_is_one_of_the_buyers_address(
    web: Web,
    settings: Settings,
    simulator: Simulator,
    run_drain: RunDrain,
    number: str,
    country: str,
    numbers: list[str],
) -> None:
    body = {
        "id": 7,
        "created_at": "2024-09-16T03:50:1500:00",  # no time at all, as it was published
        "updated_at": text(),
        "phone": number,
        "default_address": {"country_code": country, "phone": None},
    }
    topic = {"X-Shopify-Topic": "customers/create"}
    assert send(web, "shopify", json.dumps(body).encode(), **topic).status_code == 202
    run_drain(settings)
    assert called(simulator) == numbers


def test_leads_of_several_pages_need_no_form_and_a_broken_one_costs_no_other(
    web: Web, settings: Settings, simulator: Simulator, store: Store, run_drain: RunDrain
) -> None:
    asked = [("1", NUMBER), ("2", "p:+919876500002"), ("3", "+910123456789")]
    for lead, number in asked:
        answers = [{"name": "phone_number", "values": [number]}]
        simulator.state.put_record("meta", "leads", lead, {"field_data": answers})
    at = int(NOW.timestamp())
    changes = [
        {"field": "leadgen", "value": {"leadgen_id": lead, "page_id": 1, "created_time": at}}
        for lead, _ in asked
    ]
    entries = [
        {"id": "1", "time": at, "changes": [changes[0], {"field": "leadgen"}]},
        {"id": "2", "time": at, "changes": changes[1:]},
    ]
    body = json.dumps({"object": "page", "entry": entries}).encode()

    answer = send(web, "meta", body)
    run_drain(settings)

    assert outcome(store, answer) == {"delivered", "unreadable", "invalid_number"}
    assert sorted(called(simulator)) == [NUMBER, "+919876500002"]


def message(*notifications: str) -> bytes:
    return (
        BOM
        + (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
            '<notifications xmlns="http://soap.sforce.com/2005/09/outbound">'
            "<OrganizationId>00D00000000000SAAA</OrganizationId>"
            f"{''.join(notifications)}</notifications></soapenv:Body></soapenv:Envelope>"
        ).encode()
    )


def notification(number: int, fields: str = "") -> str:
    return (
        f"<Notification><Id>04l00000000000{number}AAA</Id>"
        '<sObject xsi:type="sf:Lead" xmlns:sf="urn:sobject.enterprise.soap.sforce.com"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<sf:Id>00Q00000000000{number}AAA</sf:Id>{fields}</sObject></Notification>"
    )


def test_a_message_with_a_mark_of_its_bytes_order_is_read_and_an_empty_one_acknowledged(
    web: Web, settings: Settings, simulator: Simulator, store: Store, run_drain: RunDrain
) -> None:
    phone = f"<sf:Phone>{NUMBER}</sf:Phone>"
    for body in (message(notification(1), notification(2, phone)), message()):
        answer = send(web, "salesforce", body)
        assert (answer.status_code, "<Ack>true</Ack>" in answer.text) == (200, True)
    run_drain(settings)
    assert called(simulator) == [NUMBER]
    assert {status: n for status, n in store.counts().items() if n} == {
        "delivered": 1,
        "skipped": 1,
    }
