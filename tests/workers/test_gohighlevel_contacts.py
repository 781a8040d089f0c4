"""HighLevel from webhook to call: its signature beside the token, an opportunity's contact."""

import base64
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support import Web, route
from support.draining import CALLS, MakeSettings, OpenWeb, RunDrain, counts

from schemas.settings import Settings
from simulator import Simulator
from store import Store

KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
PATH = "/webhooks/gohighlevel?token=a-long-token"
TO_NUMBER = '"[contact.phone, contact.additionalPhones[].phone, phone]"'
ROUTES = route(
    source="gohighlevel",
    event="*.created",
    request={"to_number": TO_NUMBER, "agent_id": '{ value = "a" }'},
)
OPPORTUNITY = {
    "type": "OpportunityCreate",
    "locationId": "loc-1",
    "id": "opportunity-1",
    "contactId": "contact-1",
    "pipelineId": "pipeline-1",
    "name": "Sample deal",
}


@pytest.fixture
def of_highlevel(make_settings: MakeSettings, simulator: Simulator) -> Settings:
    made = make_settings(ROUTES)
    variables = {
        "ACCESS_TOKEN": "pit-made-up",
        "API_URL": simulator.url,
        "PUBLIC_KEYS": base64.b64encode(PUBLIC).decode(),
    }
    return replace(
        made,
        secrets={**made.secrets, "gohighlevel": ("a-long-token",)},
        variables={**made.variables, "gohighlevel": variables},
    )


@pytest.fixture
def highlevel(open_web: OpenWeb, of_highlevel: Settings) -> Web:
    return open_web(of_highlevel)


def test_a_forged_signature_beside_the_right_token_is_refused_and_rings_nobody(
    highlevel: Web, store: Store
) -> None:
    body = json.dumps({"type": "ContactCreate", "id": "c-1", "phone": "+919876543210"}).encode()
    good = base64.b64encode(KEY.sign(body)).decode()
    other = base64.b64encode(Ed25519PrivateKey.generate().sign(body)).decode()

    def post(signature: str, raw: bytes = body) -> int:
        headers = {"Content-Type": "application/json", "X-GHL-Signature": signature}
        status: int = highlevel.client.post(PATH, data=raw, headers=headers).status_code
        return status

    assert post(other) == 401
    assert post(good, body.replace(b"543210", b"543211")) == 401
    assert counts(store) == {}
    assert post(good) == 202
    assert counts(store) == {"queued": 1}


@pytest.mark.parametrize(
    ("contact", "status", "numbers"),
    [
        ({"phone": "+919876543210"}, "delivered", ["+919876543210"]),
        (
            {"phone": "", "additionalPhones": [{"phone": "+919876543211"}]},
            "delivered",
            ["+919876543211"],
        ),
        ({"phone": "+919876543212", "dnd": True}, "skipped", []),
        ({"firstName": "Asha"}, "skipped", []),
    ],
)
def test_an_opportunity_calls_its_contact(
    highlevel: Web,
    of_highlevel: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    contact: dict[str, object],
    status: str,
    numbers: list[str],
) -> None:
    simulator.state.put_record("gohighlevel", "contacts", "contact-1", contact)
    assert highlevel.client.post(PATH, json=OPPORTUNITY).status_code == 202

    run_drain(of_highlevel)

    assert counts(store) == {status: 1}
    [read] = simulator.state.requests_to("/contacts/")
    assert (read.path, read.query, read.status) == ("/contacts/contact-1", "", 200)
    called = [request.body["to_number"] for request in simulator.state.requests_to(CALLS)]
    assert called == numbers
