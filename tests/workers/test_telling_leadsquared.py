"""LeadSquared is told of calls by its API: one activity a call, on the right lead."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support import ROOT, route
from support.draining import MakeSettings, OpenWeb, RunDrain, found
from support.telling import due_now
from support.telling import ends_at_a_known_time as ends

from rules.crm_check import CrmFindings
from schemas.crm.leadsquared_writing import is_own_change
from schemas.delivery import Delivery
from schemas.outcome import Result
from schemas.records import Filters
from schemas.settings import Settings
from simulator import Simulator
from store import Store
from workers.crm import CrmClient
from workers.crm_check import look
from workers.http import HttpClient

ACTIVITIES, LEADS = "/v2/ProspectActivity.svc", "/v2/LeadManagement.svc"
CREATE, UPDATE = f"{ACTIVITIES}/Create", f"{ACTIVITIES}/CustomActivity/Update"
FIND, SET = f"{ACTIVITIES}/Retrieve", f"{LEADS}/Lead.Update"
TOKEN, ROUTE = "a-token-of-the-tests", "call leadsquared leads"
TOO_OFTEN = {
    "Status": "Error",
    "ExceptionType": "MXAPIRateLimitExceededException",
    "ExceptionMessage": "API calls exceeded the limit of 25 in 5 second(s)",
}
CallAll = Callable[..., list[Delivery]]


@pytest.fixture
def settings(make_settings: MakeSettings, simulator: Simulator, store: Store) -> Settings:
    """The routes are those of the example, without their limit of age: the sample is from 2026."""
    routes = (ROOT / "examples/leadsquared/routes.toml").read_text("utf-8")
    store.note_write_back_routes({ROUTE: ["outcome"]})
    keys = {"ACCESS_KEY": "an-access-key", "SECRET_KEY": "a-secret-key"}
    return make_settings(
        routes.replace('max_age     = "6h"', ""),
        secrets={"leadsquared": (TOKEN,)},
        variables={
            "leadsquared": {**keys, "API_URL": simulator.url, "ACTIVITY_EVENT": "201"},
        },
    )


@pytest.fixture
def call_all(
    settings: Settings, open_web: OpenWeb, simulator: Simulator, store: Store, run_drain: RunDrain
) -> CallAll:
    """Call LeadSquared's leads, and return their accepted calls, in the same order."""
    client = open_web(settings).client
    sample = ROOT / "tests/payloads/leadsquared/lead_create.body.json"
    lead = json.loads(sample.read_text("utf-8"))

    def call(*leads: str) -> list[Delivery]:
        before = {one.call_sid for one in simulator.state.calls}
        for n, one in enumerate(leads):
            simulator.state.put_record("leadsquared", "leads", one, {"ProspectStage": "Prospect"})
            body = {**lead, "ProspectID": one, "Phone": f"+9198765{n:05}"}
            answer = client.post(
                "/webhooks/leadsquared", json=body, headers={"X-Webhook-Token": TOKEN}
            )
            assert answer.status_code == 200, answer.text
        run_drain(settings)
        new = [one for one in simulator.state.calls if one.call_sid not in before]
        accepted = [found(store, str(one.delivery_id)) for one in new]
        return sorted(accepted, key=lambda one: leads.index(str(one.subject)))

    return call


@pytest.fixture
def called(call_all: CallAll) -> Delivery:
    """The accepted call of one lead."""
    (call,) = call_all("lead-1")
    return call


def activities(simulator: Simulator) -> list[dict[str, Any]]:
    return list(simulator.state.find_records("leadsquared", "activities").values())


def stage(simulator: Simulator, lead: str = "lead-1") -> Any:
    return (simulator.state.find_record("leadsquared", "leads", lead) or {}).get("ProspectStage")


def asked(simulator: Simulator, path: str) -> int:
    return len(simulator.state.requests_to(path))


def test_a_redial_updates_the_one_activity_of_the_lead(
    called: Delivery, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    ends(store, called, 0, result=Result.NOT_REACHED, is_final=False, duration_s=0)
    run_drain(settings)
    (activity,) = activities(simulator)
    assert activity["RelatedProspectId"] == "lead-1"
    assert activity["ActivityEvent"] == 201
    assert activity["ActivityDateTime"] == "2026-11-28 10:00:30"
    assert activity["ActivityNote"].startswith("Call by CallKaro: not reached (bridge-")
    ends(store, called, 1, recording_url="https://calls.example/1.mp3")
    run_drain(settings)
    (activity,) = activities(simulator)
    assert activity["ActivityNote"].startswith("Call by CallKaro: connected (bridge-")
    assert activity["ActivityNote"].endswith("\nRecording: https://calls.example/1.mp3")
    assert store.write_back_counts()["delivered"] == 2
    assert (asked(simulator, CREATE), asked(simulator, UPDATE), asked(simulator, FIND)) == (1, 1, 0)


def test_the_fields_of_the_lead_are_set(
    called: Delivery, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.put_record("leadsquared", "leads", "lead-1", {"mx_Last_Call": None})
    ends(store, called)
    run_drain(settings)
    assert simulator.state.find_record("leadsquared", "leads", "lead-1") == {
        "mx_Last_Call": "connected"
    }
    (request,) = simulator.state.requests_to(SET)
    assert request.query == "leadId=lead-1"
    assert not [name for name in request.headers if "lsq" in name], "no key is remembered"


def test_after_a_cut_the_activity_that_arrived_is_found_and_not_posted_again(
    call_all: CallAll, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    first, second = call_all("lead-1", "lead-2")
    ends(store, first)
    run_drain(settings)
    simulator.state.behave(path=CREATE, cut="after", times=1)
    one = ends(store, second)
    run_drain(settings)
    assert found(store, one.id).status == "retrying"
    due_now(store, one)
    run_drain(settings)
    assert found(store, one.id).status == "delivered"
    assert [one["RelatedProspectId"] for one in activities(simulator)] == ["lead-1", "lead-2"]
    assert (asked(simulator, FIND), asked(simulator, UPDATE)) == (1, 1)


@pytest.mark.parametrize(
    "answer", [{"Status": "Error"}, {"RecordCount": 1}, {"ProspectActivities": {}}, [], TOO_OFTEN]
)
def test_an_answer_that_does_not_say_it_is_no_sign_that_the_activity_is_missing(
    answer: Any,
    called: Delivery,
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    simulator.state.behave(path=CREATE, cut="after", times=1)
    simulator.state.behave(200, path=FIND, body=json.dumps(answer), times=1)
    one = ends(store, called)
    for status in ("retrying", "retrying", "delivered"):
        run_drain(settings)
        assert found(store, one.id).status == status
        if status != "delivered":
            due_now(store, one)
    assert len(activities(simulator)) == 1


@pytest.mark.parametrize(
    ("code", "body"),
    [(429, TOO_OFTEN), (500, None), (503, None), (500, TOO_OFTEN), (200, TOO_OFTEN)],
)
def test_what_may_pass_is_tried_again(
    code: int,
    body: Any,
    called: Delivery,
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    text = None if body is None else json.dumps(body)
    simulator.state.behave(code, path=CREATE, body=text, times=1)
    one = ends(store, called)
    run_drain(settings)
    assert found(store, one.id).status == "retrying"
    due_now(store, one)
    run_drain(settings)
    assert found(store, one.id).status == "delivered"
    assert len(activities(simulator)) == 1


def test_a_retry_after_holds_for_every_request(
    called: Delivery, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(429, path=CREATE, retry_after="20", times=1)
    ends(store, called)
    run_drain(settings)
    assert asked(simulator, SET) == 0
    assert store.may_ask_crm("leadsquared", rate=10, patience_s=15) is None


def test_an_exception_is_a_refusal_although_its_status_is_500(
    called: Delivery, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.set_field("leadsquared", "leads", "mx_Last_Call", "missing")
    one = ends(store, called)
    run_drain(settings)
    now = found(store, one.id)
    assert (now.status, now.reason) == ("failed", "refused")
    assert now.message == "LeadSquared refused it: Unknown attribute: mx_Last_Call"
    assert len(activities(simulator)) == 1, "the call itself was written"
    before = len(simulator.state.requests)
    run_drain(settings)
    assert len(simulator.state.requests) == before, "a refusal is not repeated"


def test_a_lead_that_is_gone_is_a_refusal_also_when_its_activity_is_looked_for(
    called: Delivery, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(path=CREATE, cut="before", times=1)
    one = ends(store, called)
    run_drain(settings)
    simulator.state.drop_record("leadsquared", "leads", "lead-1")
    due_now(store, one)
    run_drain(settings)
    assert found(store, one.id).message == "LeadSquared refused it: Lead does not exist"
    assert activities(simulator) == []


def test_keys_that_leadsquared_refuses_pause_it(
    called: Delivery, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(401, path=CREATE, times=1)
    one = ends(store, called)
    run_drain(settings)
    (pause,) = store.pauses()
    assert (pause.scope, pause.reason) == ("crm:leadsquared", "credentials")
    assert "LEADSQUARED_SECRET_KEY" in pause.message
    assert found(store, one.id).status in ("queued", "held", "retrying")


def test_without_a_type_of_activity_nothing_is_sent_and_the_variable_is_named(
    called: Delivery, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    known = {**settings.variables["leadsquared"]}
    del known["ACTIVITY_EVENT"]
    ends(store, called)
    run_drain(replace(settings, variables={"leadsquared": known}))
    (pause,) = store.pauses()
    assert "LEADSQUARED_ACTIVITY_EVENT is not set" in pause.message
    assert activities(simulator) == []


def test_check_names_a_field_that_the_lead_does_not_have(
    settings: Settings, store: Store, simulator: Simulator
) -> None:
    client = CrmClient(HttpClient(timeout_s=5), store, settings)
    (problem,) = look(settings, client).problems
    assert problem == f"route {ROUTE!r}: LeadSquared's lead records have no field 'mx_Last_Call'"
    simulator.state.put_record("leadsquared", "leads", "lead-1", {"mx_Last_Call": None})
    assert look(settings, client) == CrmFindings()


@pytest.mark.parametrize(
    ("code", "tells", "reason"),
    [
        ("201", True, "own_change"),
        (201, True, "own_change"),
        ("200", True, None),
        ("201", False, None),
    ],
)
def test_an_activity_of_the_type_of_calls_calls_nobody_also_without_its_note(
    code: Any,
    tells: bool,
    reason: str | None,
    settings: Settings,
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    run_drain: RunDrain,
) -> None:
    request = {"to_number": '"Current.Phone"', "agent_id": '{ value = "a" }'}
    routes = route("call visits", source="leadsquared", event="activity.*", request=request)
    routes += '[route.write_back]\non = ["outcome"]\n' if tells else ""
    known = make_settings(routes, secrets=settings.secrets, variables=settings.variables)
    sample = ROOT / "tests/payloads/leadsquared/activity.body.json"
    body = {**json.loads(sample.read_text("utf-8")), "ActivityEvent": code}
    body["Current"] |= {"Phone": "+919876543210"}
    client = open_web(known).client
    client.post("/webhooks/leadsquared", json=body, headers={"X-Webhook-Token": TOKEN})
    run_drain(known)
    (one,) = store.deliveries(Filters(), before=None, limit=9).items
    assert (one.status, one.reason) == ("skipped" if reason else "delivered", reason)


def test_check_knows_that_an_activity_has_its_lead(
    settings: Settings, make_settings: MakeSettings, store: Store, simulator: Simulator
) -> None:
    simulator.state.put_record("leadsquared", "leads", "lead-1", {"mx_Last_Call": None})
    told = '[route.write_back]\non = ["outcome"]\n[route.write_back.fields]\n'
    routes = route("call visits", source="leadsquared", event="activity.created") + told
    known = make_settings(
        routes + 'mx_Last_Call = "outcome.result"\n',
        secrets=settings.secrets,
        variables=settings.variables,
    )
    assert look(known, CrmClient(HttpClient(timeout_s=5), store, known)) == CrmFindings()


def test_the_webhook_for_our_own_activity_calls_nobody(
    called: Delivery, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    ends(store, called, recording_url="https://calls.example/1.mp3")
    run_drain(settings)
    (activity,) = activities(simulator)
    sample = ROOT / "tests/payloads/leadsquared/activity.body.json"
    body = json.loads(sample.read_text("utf-8"))
    assert is_own_change("activity.created", body) is False
    for own in ({"ActivityNote": activity["ActivityNote"]}, {"Data": [activity]}):
        assert is_own_change("activity.created", {**body, **own}) is True
        assert is_own_change("lead.created", {**body, **own}) is False
