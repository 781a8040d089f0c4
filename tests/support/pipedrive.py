"""Pipedrive's webhooks and persons, as tests send and put them."""

import base64
import json
from collections.abc import Callable
from typing import Any

from simulator import Simulator
from support import ROOT, Web

SECRET = "pipedrive:a-password-of-the-tests"
PROOF = {"Authorization": f"Basic {base64.b64encode(SECRET.encode()).decode()}"}
Send = Callable[[Any], list[str]]


def sample(name: str) -> Any:
    return json.loads((ROOT / f"tests/payloads/pipedrive/{name}.body.json").read_text("utf-8"))


def deal(number: int, **more: Any) -> Any:
    """Return a new deal, each with an event of its own."""
    body = sample("v2_deal_created")
    body["meta"] |= {"id": f"event-{number}", "entity_id": str(number)}
    body["data"] |= {"id": number, **more}
    return body


def put_person(simulator: Simulator, person_id: str, *numbers: str, **more: Any) -> None:
    """Put a person whose last number is the primary one."""
    phones = [
        {"label": "work", "value": number, "primary": number == numbers[-1]} for number in numbers
    ]
    person = {"name": "Sample Lead", "phones": phones, **more}
    simulator.state.put_record("pipedrive", "persons", person_id, person)


def sender(web: Web) -> Send:
    """Return how a webhook is posted that is surely taken in; it returns its deliveries' ids."""

    def send(body: Any) -> list[str]:
        answer = web.client.post("/webhooks/pipedrive", json=body, headers=PROOF)
        assert answer.status_code == 202, answer.text
        return [one["id"] for event in answer.json["events"] for one in event["deliveries"]]

    return send
