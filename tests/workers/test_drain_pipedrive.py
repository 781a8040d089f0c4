"""The person of a Pipedrive deal, from the webhook through a drain to the call."""

import base64
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, Web, make_due
from support.draining import CALLS, MakeSettings, OpenWeb, RunDrain, counts, found
from support.pipedrive import PROOF, SECRET, Send, deal, put_person, sample, sender

from schemas.settings import Settings
from simulator import Simulator
from store import Store

PERSONS = "/api/v2/persons"


@pytest.fixture
def settings(make_settings: MakeSettings, simulator: Simulator) -> Settings:
    """The routes are those of the example, without their limit of age: samples are from 2026."""
    routes = (ROOT / "examples/pipedrive/routes.toml").read_text("utf-8")
    return make_settings(
        routes.replace('max_age  = "6h"', ""),
        worker_threads=64,
        secrets={"pipedrive": (SECRET,)},
        variables={"pipedrive": {"API_TOKEN": "a-token", "API_URL": simulator.url}},
    )


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings) -> Web:
    return open_web(settings)


@pytest.fixture
def send(web: Web) -> Send:
    return sender(web)


def test_a_deals_person_is_fetched_and_its_primary_number_called(
    settings: Settings, send: Send, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    put_person(simulator, "501", "+919876543211", "+919876543210")

    send(sample("v2_deal_created"))
    run_drain(settings)

    [read] = simulator.state.requests_to(PERSONS)
    assert (read.method, read.query) == ("GET", "ids=501")
    [call] = simulator.state.calls
    assert call.to_number == "+919876543210"
    [request] = simulator.state.requests_to(CALLS)
    assert request.body["metadata"]["name"] == "Sample Lead"
    assert request.body["metadata"]["about"] == "Sample deal"
    assert counts(store) == {"delivered": 1}


def test_another_attempt_and_the_persons_own_event_call_nobody_again(
    settings: Settings, send: Send, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    put_person(simulator, "501", "+911234500001")

    attempts = ("v2_deal_created", "v2_deal_created_fourth_attempt")
    for name in (*attempts, "v2_lead_created", "v2_person_created"):
        send(sample(name))
    run_drain(settings)

    [call] = simulator.state.calls
    assert call.to_number == "+911234500001"
    # The fourth attempt is the first one again.
    assert counts(store) == {"delivered": 1, "skipped": 2}


def test_many_deals_are_one_question_and_each_has_its_own_person(
    settings: Settings, send: Send, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    for number in range(20):
        put_person(simulator, str(700 + number), f"+91987654{number:04}")
        send(deal(number, person_id=700 + number, title=f"deal {number}"))
    run_drain(settings)

    assert len(simulator.state.requests_to(PERSONS)) == 1
    called = {
        request.body["to_number"]: request.body["metadata"]["about"]
        for request in simulator.state.requests_to(CALLS)
    }
    assert called == {f"+91987654{number:04}": f"deal {number}" for number in range(20)}


@pytest.mark.parametrize("more", [{"is_deleted": True}, None], ids=["deleted", "not there"])
def test_a_person_who_is_not_there_is_asked_for_again(
    more: dict[str, Any] | None,
    settings: Settings,
    send: Send,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    if more:
        put_person(simulator, "501", "+919876543210", **more)
    [delivery] = send(sample("v2_deal_created"))
    run_drain(settings)
    assert found(store, delivery).message == "The CRM does not have the record yet."

    put_person(simulator, "501", "+919876543210")
    make_due(store, delivery)
    run_drain(settings)

    assert found(store, delivery).status == "delivered"


@pytest.mark.parametrize(
    "name", ["v2_user_changed", "v2_deal_deleted", "v2_person_deleted", "v1_user_updated"]
)
def test_a_colleague_and_a_deletion_call_nobody(
    name: str, make_settings: MakeSettings, open_web: OpenWeb, tmp_path: Path
) -> None:
    routes = """
        [[route]]
        name = "call for everything"
        source = "pipedrive"
        event = "*"
        to = "call"
        campaign = { name = "all" }
        [route.request]
        to_number = "data.phone || current.phone || previous.phones[].value"
        agent_id = { value = "6803fa770b666a64ab1694c1e" }
    """
    settings = make_settings(routes, secrets={"pipedrive": (SECRET,)})
    answer = open_web(settings).client.post("/webhooks/pipedrive", json=sample(name), headers=PROOF)
    assert [event["deliveries"] for event in answer.json["events"]] == [[]]


@pytest.mark.parametrize("secret", ["pipedrive:another", "another:a-password-of-the-tests", ":"])
def test_another_user_or_password_is_refused(web: Web, secret: str) -> None:
    proof = base64.b64encode(secret.encode()).decode()
    answer = web.client.post(
        "/webhooks/pipedrive",
        json=sample("v2_deal_created"),
        headers={"Authorization": f"Basic {proof}"},
    )
    assert answer.status_code == 401
