"""Leads of JustDial, IndiaMART, LeadSquared and Elementor at the web process, as their vendors
send them and wait for an answer."""

from typing import Any

import pytest
from support import AGENT, Web
from support.draining import MakeSettings, OpenWeb
from support.samples import PAYLOADS

from store import Store

SECRET = "a-secret-of-these-tests"
SOURCES = ("justdial", "indiamart", "leadsquared", "elementor")
LEAD = {"leadid": "JD1", "name": "Sample", "mobile": "9876500001", "dncmobile": "0"}


def route(source: str) -> str:
    return f"""
[[route]]
name = "call {source}"
source = "{source}"
event = "lead.created"
to = "call"
[route.request]
to_number = "mobile"
agent_id = {{ value = "{AGENT}" }}
"""


@pytest.fixture
def web(make_settings: MakeSettings, open_web: OpenWeb) -> Web:
    routes = "".join(map(route, SOURCES))
    return open_web(make_settings(routes, secrets={name: (SECRET,) for name in SOURCES}))


def stored(store: Store) -> int:
    return sum(store.counts().values())


def test_a_lead_of_a_query_is_stored_once_and_without_the_token(web: Web, store: Store) -> None:
    for _ in range(2):
        got = web.client.get("/webhooks/justdial", query_string={**LEAD, "token": SECRET})
        assert (got.status_code, got.mimetype, got.text) == (200, "text/plain", "RECEIVED")
    form = web.client.post(f"/webhooks/justdial?token={SECRET}", data=LEAD)
    assert form.text == "RECEIVED"
    assert stored(store) == 1
    [event] = web.get("/api/events").json["items"]
    assert SECRET not in web.get(f"/api/events/{event['id']}").text


@pytest.mark.parametrize("token", [{}, {"token": "another"}, {"token": ""}])
def test_a_query_without_the_token_is_refused(web: Web, store: Store, token: Any) -> None:
    assert web.client.get("/webhooks/justdial", query_string={**LEAD, **token}).status_code == 401
    assert stored(store) == 0


@pytest.mark.parametrize(
    ("source", "sample", "answer"),
    [
        ("indiamart", "push_enquiry.body.json", '{"CODE":200,"STATUS":"SUCCESS"}'),
        ("leadsquared", "lead_create.body.json", '{"Status":"Success","StatusReason":""}'),
        ("elementor", "advanced_data.body.form", None),
    ],
)
def test_the_vendor_gets_the_200_that_it_waits_for(
    web: Web, source: str, sample: str, answer: str | None
) -> None:
    form = "application/x-www-form-urlencoded"
    got = web.client.post(
        f"/webhooks/{source}?token={SECRET}",
        data=(PAYLOADS / source / sample).read_bytes(),
        content_type=form if sample.endswith(".form") else "application/json",
    )
    assert (got.status_code, got.mimetype) == (200, "application/json")
    assert answer is None or got.text == answer


def test_leadsquared_gets_200_for_what_it_proved_and_401_for_the_rest(web: Web) -> None:
    broken = {"data": b"{", "content_type": "application/json"}
    assert web.client.post(f"/webhooks/leadsquared?token={SECRET}", **broken).status_code == 200
    assert web.client.post("/webhooks/leadsquared", **broken).status_code == 401
    assert web.client.head("/webhooks/leadsquared").status_code == 200
