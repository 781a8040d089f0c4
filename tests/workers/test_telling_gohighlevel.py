"""GoHighLevel is told of calls by its API: one note a call, on the contact, and its fields."""

from collections.abc import Callable
from typing import Any

import pytest
from support import route
from support.draining import MakeSettings, OpenWeb, RunDrain, found
from support.telling import due_now, ends

from schemas.delivery import Delivery
from schemas.outcome import Result
from schemas.records import Filters
from schemas.settings import Settings
from simulator import Simulator
from simulator.told import told
from store import Store
from workers.crm import CrmClient
from workers.crm_check import look
from workers.http import HttpClient

CONTACT, FIELD = "contact-1", "fieldsample00000001"
PATH = f"/contacts/{CONTACT}"
NOTES = f"{PATH}/notes"
WEBHOOK = "/webhooks/gohighlevel?token=a-long-token"
ROUTES = (
    route(
        "call contacts",
        source="gohighlevel",
        event="*.created",
        request={"to_number": '"contact.phone || phone"', "agent_id": '{ value = "a" }'},
    )
    + f"""[route.write_back]
on = ["outcome"]
[route.write_back.fields]
{FIELD} = "outcome.result"
city = "outcome.variables.city"
"""
)
LOGIN = {"ACCESS_TOKEN": "pit-made-up", "LOCATION_ID": "ve9EPM428h8vShlRW1KT"}
MakeHighLevel = Callable[..., Settings]
Send = Callable[..., list[Delivery]]


@pytest.fixture
def make_highlevel(
    make_settings: MakeSettings, simulator: Simulator, store: Store
) -> MakeHighLevel:
    """Make settings with routes of GoHighLevel alone."""

    def make(routes: str = ROUTES, **login: str) -> Settings:
        variables = {**LOGIN, "API_URL": simulator.url, **login}
        return make_settings(
            routes,
            variables={"gohighlevel": variables},
            secrets={"gohighlevel": ("a-long-token",)},
        )

    simulator.state.put_record("gohighlevel", "contacts", CONTACT, {"phone": "+919876500001"})
    store.note_write_back_routes({"call contacts": ["outcome"]})
    return make


@pytest.fixture
def highlevel(make_highlevel: MakeHighLevel) -> Settings:
    return make_highlevel()


@pytest.fixture
def send(highlevel: Settings, open_web: OpenWeb, store: Store, run_drain: RunDrain) -> Send:
    """Post an event of GoHighLevel, and return what became of it."""
    client = open_web(highlevel).client

    def post(event: str, id_: str = CONTACT, **more: Any) -> list[Delivery]:
        known = {one.id for one in store.deliveries(Filters(), before=None, limit=99).items}
        answer = client.post(WEBHOOK, json={"type": event, "id": id_, **more})
        assert answer.status_code == 202, answer.text
        run_drain(highlevel)
        items = store.deliveries(Filters(), before=None, limit=99).items
        return [found(store, one.id) for one in items if one.id not in known]

    return post


@pytest.fixture
def called(send: Send) -> Delivery:
    """The accepted call of a new contact."""
    (call,) = send("ContactCreate", phone="+919876500001")
    return call


def notes(simulator: Simulator) -> list[str]:
    return [
        str(one["body"]) for one in simulator.state.find_records("gohighlevel", "notes").values()
    ]


def fields(simulator: Simulator) -> dict[str, Any]:
    record = simulator.state.find_record("gohighlevel", "contacts", CONTACT) or {}
    return {one["id"]: one["value"] for one in record.get("customFields", [])}


def test_a_redial_changes_the_one_note_of_the_contact(
    called: Delivery, highlevel: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    ends(store, called, 0, result=Result.NOT_REACHED, is_final=False)
    run_drain(highlevel)
    (note,) = notes(simulator)
    assert note.startswith("Call by CallKaro: not reached\nNumber: +919876500001\n(bridge-")
    assert fields(simulator) == {FIELD: "not_reached"}
    ends(store, called, 1, duration_s=62, post_call={"city": "Pune"})
    run_drain(highlevel)
    (note,) = notes(simulator)
    assert note.startswith("Call by CallKaro: connected\nNumber: +919876500001\nTalked: 62 s\n")
    assert fields(simulator) == {FIELD: "connected"}
    assert store.write_back_counts()["delivered"] == 2
    assert [(one.what, one.object, one.record_id) for one in told(simulator.state)] == [
        ("call created", "contacts", CONTACT),
        ("record changed", "contacts", CONTACT),
        ("call changed", "contacts", CONTACT),
        ("record changed", "contacts", CONTACT),
    ]
    assert told(simulator.state)[-1].fields == {FIELD: "connected", "city": "Pune"}


def test_the_contact_of_an_opportunity_is_told(
    send: Send, highlevel: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    (call,) = send("OpportunityCreate", "opportunity-1", contactId=CONTACT, pipelineId="p-1")
    one = ends(store, call)
    run_drain(highlevel)
    assert found(store, one.id).status == "delivered"
    assert len(notes(simulator)) == 1
    assert fields(simulator) == {FIELD: "connected"}


def test_after_a_cut_the_note_that_arrived_is_found_and_not_created_again(
    called: Delivery, highlevel: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.put_record(
        "gohighlevel", "notes", "n-0", {"contactId": CONTACT, "body": "A person wrote this."}
    )
    simulator.state.behave(path=NOTES, cut="after", times=1)
    one = ends(store, called)
    run_drain(highlevel)
    assert found(store, one.id).status == "retrying"
    due_now(store, one)
    run_drain(highlevel)
    assert found(store, one.id).status == "delivered"
    assert len(notes(simulator)) == 2
    assert fields(simulator) == {FIELD: "connected"}


@pytest.mark.parametrize("body", ["<html>", "{}", "[]", '{"traceId": "x"}'])
def test_an_answer_that_can_not_be_read_creates_no_second_note(
    body: str,
    called: Delivery,
    highlevel: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    simulator.state.behave(path=NOTES, cut="after", times=1)
    one = ends(store, called)
    run_drain(highlevel)
    simulator.state.behave(path=NOTES, body=body, times=1)
    due_now(store, one)
    run_drain(highlevel)
    assert found(store, one.id).status == "retrying"
    due_now(store, one)
    run_drain(highlevel)
    assert found(store, one.id).status == "delivered"
    assert len(notes(simulator)) == 1


@pytest.mark.parametrize(("code", "looks"), [(429, 0), (500, 1)])
def test_what_may_pass_is_tried_again(
    code: int,
    looks: int,
    called: Delivery,
    highlevel: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    simulator.state.behave(code, path=NOTES, times=1)
    one = ends(store, called)
    run_drain(highlevel)
    assert found(store, one.id).status == "retrying"
    due_now(store, one)
    run_drain(highlevel)
    assert found(store, one.id).status == "delivered"
    assert len(notes(simulator)) == 1
    methods = [request.method for request in simulator.state.requests_to(NOTES)]
    assert methods == ["POST", *["GET"] * looks, "POST"]


def test_a_429_says_how_long_nobody_asks(
    called: Delivery, highlevel: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(429, path=NOTES, retry_after="60", times=1)
    one = ends(store, called)
    run_drain(highlevel)
    assert found(store, one.id).status == "retrying"
    assert store.may_ask_crm("gohighlevel", rate=100, patience_s=30) is None


def test_a_field_that_is_refused_has_the_crms_sentence_and_the_note_is_there(
    called: Delivery, highlevel: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.refuse_field("gohighlevel", "contacts", FIELD, "Custom field not found")
    one = ends(store, called)
    run_drain(highlevel)
    now = found(store, one.id)
    assert (now.status, now.reason) == ("failed", "refused")
    assert now.message == "GoHighLevel refused it: Custom field not found"
    assert (len(notes(simulator)), fields(simulator)) == (1, {})
    before = len(simulator.state.requests)
    run_drain(highlevel)
    assert len(simulator.state.requests) == before, "a refusal is not repeated"


def test_tags_are_refused_before_anything_replaces_them(
    called: Delivery,
    make_highlevel: MakeHighLevel,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    one = ends(store, called)
    run_drain(make_highlevel(ROUTES.replace(FIELD, "tags")))
    now = found(store, one.id)
    assert (now.status, now.reason) == ("failed", "refused")
    assert "would replace all tags" in (now.message or "")
    assert [request.method for request in simulator.state.requests_to(PATH)] == ["POST"]


def test_an_id_that_is_none_of_gohighlevels_is_put_into_no_path(
    send: Send, highlevel: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    (call,) = send("ContactCreate", "../locations/1", phone="+919876500001")
    one = ends(store, call)
    run_drain(highlevel)
    now = found(store, one.id)
    assert (now.status, now.reason) == ("failed", "refused")
    assert now.message == "GoHighLevel has no record with such an id."
    assert not simulator.state.requests_to("/contacts")


def test_a_deleted_contact_costs_nothing_but_its_own_write_back(
    called: Delivery, highlevel: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.drop_record("gohighlevel", "contacts", CONTACT)
    one = ends(store, called)
    run_drain(highlevel)
    assert found(store, one.id).message == "GoHighLevel refused it: Contact not found"
    assert store.pauses() == []


def test_a_token_that_may_not_write_pauses_the_crm(
    called: Delivery, highlevel: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.set_scopes("gohighlevel", ["contacts.readonly"])
    one = ends(store, called)
    run_drain(highlevel)
    assert found(store, one.id).status in ("queued", "held", "retrying")
    (pause,) = store.pauses()
    assert pause.scope == "crm:gohighlevel"
    assert "GOHIGHLEVEL_ACCESS_TOKEN" in pause.message
    simulator.state.set_scopes("gohighlevel", ["contacts.readonly", "contacts.write"])
    store.resume("crm:gohighlevel")
    due_now(store, one)
    run_drain(highlevel)
    assert found(store, one.id).status == "delivered"
    assert len(notes(simulator)) == 1


def test_our_own_note_and_change_ring_nobody(
    called: Delivery,
    send: Send,
    highlevel: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    ends(store, called)
    run_drain(highlevel)
    (note,) = notes(simulator)
    (made,) = send("NoteCreate", "n-1", contactId=CONTACT, body=note)
    assert (made.status, made.reason) == ("skipped", "own_change")
    assert send("ContactUpdate", phone="+919876500001") == []  # no route takes it
    assert len(simulator.state.calls) == 1


# --- check ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["contact.created", "opportunity.created"])
def test_check_names_a_custom_field_that_is_missing(
    event: str, make_highlevel: MakeHighLevel, store: Store, simulator: Simulator
) -> None:
    simulator.state.set_field("gohighlevel", "customFields", FIELD, "missing")
    settings = make_highlevel(ROUTES.replace("*.created", event))
    found = look(settings, CrmClient(HttpClient(timeout_s=5), store, settings))
    (problem,) = found.problems
    assert f"GoHighLevel's contact records have no field '{FIELD}'" in problem


@pytest.mark.parametrize(
    ("login", "scopes", "said"),
    [
        ({"LOCATION_ID": ""}, None, "GOHIGHLEVEL_LOCATION_ID is not set"),
        ({}, ["contacts.readonly"], "lacks the scope locations/customFields.readonly"),
        ({"LOCATION_ID": "another"}, None, "GoHighLevel answered 403"),
    ],
)
def test_check_says_why_the_fields_are_not_checked(
    login: dict[str, str],
    scopes: list[str] | None,
    said: str,
    make_highlevel: MakeHighLevel,
    store: Store,
    simulator: Simulator,
) -> None:
    if scopes:
        simulator.state.set_scopes("gohighlevel", scopes)
    settings = make_highlevel(ROUTES.replace("*.created", "contact.created"), **login)
    found = look(settings, CrmClient(HttpClient(timeout_s=5), store, settings))
    assert found.problems == []
    assert f"the fields of contact records are not checked: {said}" in found.warnings[-1].replace(
        "the access ", ""
    )
