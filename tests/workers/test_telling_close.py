"""Close is told of calls by its API: one activity a call, on the contact's lead, one a request."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from support import Web, route
from support.draining import MakeSettings, OpenWeb, RunDrain, counts, found
from support.telling import due_now
from support.telling import ends_at_a_known_time as ends

from schemas.delivery import Delivery
from schemas.outcome import Result
from schemas.records import Filters
from schemas.settings import Settings
from simulator import Simulator
from simulator.close import API_KEY_ID, USER, signature
from simulator.state import CloseWebhook
from store import Store
from workers.crm import CrmClient
from workers.crm_check import look
from workers.http import HttpClient

KEY = "00112233445566778899aabbccddeeff" * 2
API_KEY = "api_0000000000000000000000.0000000000000000000000"
RESULT, CITY = "custom.cf_result1", "custom.cf_city1"
REQUEST = {
    "to_number": '"(contact || event.data).phones[].phone"',
    "agent_id": '{ value = "an-agent" }',
}
ROUTES = (
    route("call close", source="close", event="*", request=REQUEST)
    + f"""[route.write_back]
on = ["accepted", "outcome"]
[route.write_back.fields]
"{RESULT}" = "outcome.result"
"{CITY}" = "outcome.variables.city"
"""
)
CALLS, ME = "/api/v1/activity/call/", "/api/v1/me/"
Call = Callable[..., Delivery]


@pytest.fixture
def settings(make_settings: MakeSettings, simulator: Simulator, store: Store) -> Settings:
    """Settings whose only route calls for whatever Close says, and tells it of accepted calls."""
    store.note_write_back_routes({"call close": ["accepted", "outcome"]})
    for number in ("1", "2"):
        contact = {"lead_id": "lead_1", "phones": [{"phone": f"+91987654321{number}"}]}
        simulator.state.put_record("close", "contact", f"cont_{number}", contact)
    simulator.state.put_record("close", "lead", "lead_1", {"name": "Sample Traders"})
    return make_settings(
        ROUTES,
        variables={"close": {"API_KEY": API_KEY, "API_URL": simulator.url}},
        secrets={"close": (KEY,)},
    )


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings) -> Web:
    return open_web(settings)


@pytest.fixture
def call(
    web: Web, settings: Settings, simulator: Simulator, store: Store, run_drain: RunDrain
) -> Call:
    """Let Close tell of a new contact, and return its accepted call."""

    def call(contact: str = "cont_1") -> Delivery:
        record = simulator.state.find_record("close", "contact", contact)
        sent = send(web, "contact.created", contact, {"id": contact, **(record or {})})
        run_drain(settings)
        return found(store, sent)

    return call


def send(web: Web, event_type: str, object_id: str, data: object, **more: Any) -> str:
    """Post an event as Close signs it, and return the id of its delivery."""
    object_type, _, action = event_type.rpartition(".")
    event = {"id": f"ev_{object_id}{more}", "object_type": object_type, "action": action}
    event |= {"object_id": object_id, "lead_id": "lead_1", "data": data, **more}
    body = json.dumps({"subscription_id": "whsub_1", "event": event}).encode()
    headers = {"Content-Type": "application/json", **signature(KEY, body)}
    answer = web.client.post("/webhooks/close", data=body, headers=headers)
    assert answer.status_code == 202, answer.text
    [[delivery]] = [one["deliveries"] for one in answer.json["events"]]
    return str(delivery["id"])


def calls(simulator: Simulator) -> list[dict[str, Any]]:
    return list(simulator.state.find_records("close", "calls").values())


def result_of(simulator: Simulator, contact: str = "cont_1") -> Any:
    return (simulator.state.find_record("close", "contact", contact) or {}).get(RESULT)


def asked(simulator: Simulator, method: str, path: str) -> int:
    return sum(one.method == method for one in simulator.state.requests_to(path))


def test_a_redial_updates_the_one_call_of_the_contacts_lead(
    call: Call, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    called = call()
    run_drain(settings)
    assert calls(simulator) == [], "a call that nobody made yet is none in Close"
    ends(store, called, 0, result=Result.NOT_REACHED, is_final=False, duration_s=0)
    run_drain(settings)
    [made] = calls(simulator)
    assert (made["status"], made["duration"]) == ("no-answer", 0)
    assert (made["lead_id"], made["contact_id"]) == ("lead_1", "cont_1")
    assert (made["phone"], made["direction"]) == ("+919876543211", "outbound")
    assert result_of(simulator) == "not_reached"
    ends(store, called, 1, recording_url="https://calls.example/1.mp3")
    run_drain(settings)
    [made] = calls(simulator)
    assert (made["status"], made["duration"]) == ("completed", 90)
    assert made["activity_at"] == "2026-11-28T09:59:00+00:00"
    assert made["recording_url"] == "https://calls.example/1.mp3"
    assert made["note"].startswith("Call by CallKaro: connected (bridge-")
    assert result_of(simulator) == "connected"
    assert (asked(simulator, "POST", CALLS), asked(simulator, "GET", CALLS)) == (1, 0)
    told = requests.get(f"{simulator.url}/simulator/told", timeout=10).json()["items"]
    assert [(one["what"], one["object"], one["record_id"]) for one in told] == [
        ("call created", "contact", "cont_1"),
        ("record changed", "contact", "cont_1"),
        ("call changed", "contact", "cont_1"),
        ("record changed", "contact", "cont_1"),
    ]


def test_a_lead_gets_its_call_without_a_contact(
    web: Web, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    data = {"id": "lead_1", "contacts": [], "phones": [{"phone": "+919876543219"}]}
    sent = send(web, "lead.created", "lead_1", data)
    run_drain(settings)
    ends(store, found(store, sent))
    run_drain(settings)
    [made] = calls(simulator)
    assert (made["lead_id"], made.get("contact_id")) == ("lead_1", None)
    assert (simulator.state.find_record("close", "lead", "lead_1") or {})[RESULT] == "connected"


def test_after_a_cut_the_call_that_arrived_is_found_and_not_created_again(
    call: Call, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    other = {"lead_id": "lead_1", "note": "Somebody else's"}
    for number in range(150):  # more than a page
        simulator.state.put_record("close", "calls", f"acti_{number}", other)
    called = call()
    simulator.state.behave(path=CALLS, cut="after", times=1)
    one = ends(store, called)
    run_drain(settings)
    assert found(store, one.id).status == "retrying"
    for number in range(150, 300):
        simulator.state.put_record("close", "calls", f"acti_{number}", other)
    due_now(store, one)
    run_drain(settings)
    assert found(store, one.id).status == "delivered"
    assert len(calls(simulator)) == 301
    assert (asked(simulator, "POST", CALLS), asked(simulator, "GET", CALLS)) == (1, 2)
    assert result_of(simulator) == "connected"


@pytest.mark.parametrize(
    ("code", "headers"),
    [(429, {"Retry-After": "1"}), (429, {"RateLimit": "limit=9, remaining=0, reset=1"}), (500, {})],
)
def test_what_may_pass_is_tried_again(
    code: int,
    headers: dict[str, str],
    call: Call,
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    called = call()
    simulator.state.behave(code, path=CALLS, times=1, headers=headers)
    one = ends(store, called)
    run_drain(settings)
    assert found(store, one.id).status == "retrying"
    is_slowed = store.may_ask_crm("close", rate=100_000, patience_s=0) is None
    assert is_slowed is (code == 429)
    store.redis.delete("bridge:crm_slow:close")
    due_now(store, one)
    run_drain(settings)
    assert found(store, one.id).status == "delivered"
    assert len(calls(simulator)) == 1


def test_a_field_that_close_refuses_has_its_sentence(
    call: Call, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    called = call()
    simulator.state.refuse_field("close", "contact", CITY, "Expected a number.")
    one = ends(store, called, post_call={"city": "Pune"})
    run_drain(settings)
    now = found(store, one.id)
    assert (now.status, now.reason) == ("failed", "refused")
    assert now.message == f"Close refused it: Expected a number. ({CITY})"
    assert len(calls(simulator)) == 1, "the call itself was written"
    before = len(simulator.state.requests)
    run_drain(settings)
    assert len(simulator.state.requests) == before, "a refusal is not repeated"


def test_a_key_that_close_refuses_pauses_the_crm(
    call: Call, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    called = call()
    simulator.state.behave(401, path=CALLS, times=1)
    one = ends(store, called)
    run_drain(settings)
    [pause] = store.pauses()
    assert (pause.scope, pause.reason) == ("crm:close", "credentials")
    assert "CLOSE_API_KEY" in pause.message
    store.resume("crm:close")
    due_now(store, one)
    run_drain(settings)
    assert found(store, one.id).status == "delivered"
    assert len(calls(simulator)) == 1


# --- no circles -----------------------------------------------------------------------------------


def test_what_we_wrote_comes_back_and_rings_nobody(
    call: Call,
    hook: str,
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    called = call()
    simulator.state.close_webhook = CloseWebhook(url=f"{hook}/close", signature_key=KEY)
    ends(store, called, 0, result=Result.NOT_REACHED, is_final=False)
    run_drain(settings)
    ends(store, called, 1)
    run_drain(settings)
    run_drain(settings)
    items = store.deliveries(Filters(), before=None, limit=9).items
    # A call created, a contact changed; a call changed, a contact changed.
    assert [(one.status, one.reason) for one in items] == [
        *[("skipped", "own_change")] * 4,
        ("delivered", None),
    ]
    assert len(simulator.state.calls) == 1


@pytest.mark.parametrize(
    "by",
    [
        {"user_id": "user_another", "api_key_id": API_KEY_ID},
        {"user_id": USER["id"], "api_key_id": None},
        {"user_id": None, "api_key_id": None},
    ],
)
def test_what_others_changed_rings(
    by: dict[str, Any], web: Web, settings: Settings, store: Store, run_drain: RunDrain
) -> None:
    data = {"id": "cont_1", "phones": [{"phone": "+919876543211"}]}
    sent = send(web, "contact.updated", "cont_1", data, **by)
    run_drain(settings)
    assert found(store, sent).status == "delivered"
    assert counts(store)["delivered"] == 1


def test_many_complete_updates_ask_once_for_our_user_also_while_close_is_away(
    web: Web, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(503, path=ME)
    data = {"id": "cont_1", "phones": [{"phone": "+919876543211"}]}
    for number in range(5):
        send(web, "contact.updated", "cont_1", data, user_id=f"user_{number}")
    run_drain(settings)
    assert counts(store)["queued"] == 5
    assert asked(simulator, "GET", ME) == 1


def test_another_key_is_asked_anew_whose_it_is(
    settings: Settings, store: Store, simulator: Simulator
) -> None:
    source = settings.routes.sources["close"]
    for key in ("api_1.a", "api_1.a", "api_2.b"):
        settings.variables["close"]["API_KEY"] = key  # type: ignore[index]
        client = CrmClient(HttpClient(timeout_s=5), store, settings)
        assert client.own_user(source) == USER["id"]
    assert asked(simulator, "GET", ME) == 2


# --- check ----------------------------------------------------------------------------------------


def test_check_names_the_field_that_close_does_not_have(
    make_settings: MakeSettings, settings: Settings, store: Store, simulator: Simulator
) -> None:
    contact = {"lead_id": "lead_1", RESULT: "", "custom.cf_cities1": []}
    simulator.state.put_record("close", "contact", "cont_1", contact)
    routes = ROUTES.replace('event = "*"', 'event = "contact.created"')
    assert routes != ROUTES
    checked = make_settings(routes, variables=settings.variables, secrets=settings.secrets)
    findings = look(checked, CrmClient(HttpClient(timeout_s=5), store, checked))
    [problem] = findings.problems
    assert problem.startswith(f"route 'call close': Close's contact records have no field '{CITY}'")
    assert findings.warnings == []


@pytest.mark.parametrize("event", ["opportunity.created", "status_change.lead.created"])
def test_check_says_that_the_fields_of_an_events_person_are_not_checked(
    event: str, make_settings: MakeSettings, settings: Settings, store: Store
) -> None:
    routes = ROUTES.replace('event = "*"', f'event = "{event}"')
    checked = make_settings(routes, variables=settings.variables, secrets=settings.secrets)
    findings = look(checked, CrmClient(HttpClient(timeout_s=5), store, checked))
    assert findings.problems == []
    [warning] = findings.warnings
    assert "The bridge can write to: contact, lead" in warning
