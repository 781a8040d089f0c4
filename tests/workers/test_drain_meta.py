"""Leads of Meta's lead forms, which a drain fetches from the Graph API."""

import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from support import AGENT, Web, make_due, move_back, route
from support.draining import MakeSettings, OpenWeb, RunDrain, counts, found

from schemas.settings import Settings
from simulator import Simulator
from store import Store

SECRET, TOKEN = "an-app-secret", "a-page-token"
GRAPH = "/v26.0/"
PLAIN, PREFIXED, WITHOUT = "3100200300400501", "3100200300400502", "3100200300400503"
GONE = "3100200300400999"
DAY_S = 86_400
TO_NUMBER = '"[lead.phone_number, lead.work_phone_number]"'
ROUTES = route(
    source="meta",
    event="lead.created",
    request={"to_number": TO_NUMBER, "agent_id": f'{{ value = "{AGENT}" }}'},
)


@pytest.fixture
def settings(make_settings: MakeSettings, simulator: Simulator) -> Settings:
    variables = {
        "VERIFY_TOKEN": "a-verify-token",
        "ACCESS_TOKEN": TOKEN,
        "API_URL": simulator.url,
        "API_VERSION": "v26.0",
    }
    return make_settings(ROUTES, secrets={"meta": (SECRET,)}, variables={"meta": variables})


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings) -> Web:
    return open_web(settings)


def send(web: Web, *leads: str) -> list[str]:
    """Post a notification of leads as Meta does, and return the ids of the deliveries."""
    now_s = int(time.time())
    changes = [
        {"field": "leadgen", "value": {"leadgen_id": one, "created_time": now_s}} for one in leads
    ]
    entry = {"id": "700100200300401", "time": now_s, "changes": changes}
    body = json.dumps({"object": "page", "entry": [entry]}).encode()
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={digest}", "Content-Type": "application/json"}
    answer = web.client.post("/webhooks/meta", data=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return [one["id"] for event in answer.json["events"] for one in event["deliveries"]]


def answers(**given: str) -> dict[str, Any]:
    return {"field_data": [{"name": name, "values": [value]} for name, value in given.items()]}


def called(simulator: Simulator) -> set[str]:
    return {call.to_number for call in simulator.state.calls}


def test_leads_are_fetched_in_one_read_and_their_numbers_called(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    send(web, PLAIN, PREFIXED, WITHOUT)

    run_drain(settings)

    [read] = simulator.state.requests_to(GRAPH)
    assert (read.method, read.path) == ("GET", GRAPH)
    assert read.query == f"ids={PLAIN}%2C{PREFIXED}%2C{WITHOUT}&fields=field_data%2Cid"
    assert counts(store) == {"delivered": 2, "skipped": 1}
    assert called(simulator) == {"+919876543216", "+919876543217"}


def test_a_lead_that_is_not_there_does_not_cost_the_others(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    first, gone, second = send(web, PLAIN, GONE, PREFIXED)

    run_drain(settings)

    assert [found(store, one).status for one in (first, second)] == ["delivered", "delivered"]
    kept = found(store, gone)
    assert (kept.status, kept.message) == (
        "queued",
        "Meta Lead Ads answered 400 when asked for the record.",
    )


def test_leads_wait_without_end_for_a_token_that_is_accepted(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.expired_meta_tokens.add(TOKEN)
    [delivery] = send(web, PLAIN)
    for _ in range(2):
        run_drain(settings)
        kept = found(store, delivery)
        assert (kept.status, kept.message) == (
            "queued",
            "Meta Lead Ads answered 400 when asked for the record. It does not accept the login.",
        )
        move_back(store, delivery, "waiting_since_ms", 2 * DAY_S)
        make_due(store, delivery)
    simulator.state.expired_meta_tokens.clear()

    run_drain(settings)

    assert found(store, delivery).status == "delivered"
    assert called(simulator) == {"+919876543216"}


def test_a_graph_that_is_asked_too_often_is_asked_again_and_its_login_is_not_blamed(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    body = json.dumps({"error": {"message": "(#4) limit reached", "code": 4}})
    simulator.state.behave(path=GRAPH, status=403, body=body.encode(), times=1)
    [delivery] = send(web, PLAIN)
    run_drain(settings)
    assert found(store, delivery).message == "Meta Lead Ads answered 403 when asked for the record."
    make_due(store, delivery)

    run_drain(settings)

    assert found(store, delivery).status == "delivered"


@pytest.mark.parametrize(
    "lead",
    [
        {"phone_number": "<test lead: dummy data for phone_number>"},
        {"phone_number": "p:<test lead: dummy data for phone_number>"},
        # A test lead of the API may have an answer of its author's.
        {"full_name": "<test lead: dummy data for full_name>", "phone_number": "+919876543210"},
    ],
)
def test_a_lead_of_the_testing_tool_calls_nobody(
    lead: dict[str, str],
    settings: Settings,
    web: Web,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    simulator.state.put_record("meta", "leads", "1", answers(**lead))
    [delivery] = send(web, "1")

    run_drain(settings)

    kept = found(store, delivery)
    assert (kept.status, kept.reason) == ("skipped", "no_number")
    assert called(simulator) == set()


def test_metas_sample_is_neither_fetched_nor_called(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    assert send(web, "444444444444") == []

    run_drain(settings)

    assert simulator.state.requests_to(GRAPH) == []
    assert counts(store) == {}


@pytest.mark.parametrize(("token", "status"), [("a-verify-token", 200), ("another", 401)])
def test_metas_question_is_answered_with_its_challenge(web: Web, token: str, status: int) -> None:
    query = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": token}

    answer = web.client.get("/webhooks/meta", query_string=query)

    assert answer.status_code == status
    assert (answer.text == "1158201444") is (status == 200)
