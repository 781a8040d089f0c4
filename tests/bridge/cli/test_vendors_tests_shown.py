"""A vendor's test calls nobody, and what shows it says that: no route is to be changed for it."""

from collections.abc import Callable

import pytest
import requests
from support import API_TOKEN, Web, route
from support.commandline import Cli, Serve

from bridge.cli import connect as connecting
from schemas.settings import Settings

TOML = '[[source]]\nname = "google-ads"\n' + route(source="google-ads", event="lead.*")
SECRET = "a-key-of-these-tests"
LEAD = {
    "lead_id": "test-lead-1",
    "google_key": SECRET,
    "user_column_data": [{"column_id": "PHONE_NUMBER", "string_value": "+919876500001"}],
}


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(TOML, secrets={"google-ads": (SECRET,)})


def test_the_api_and_the_page_say_that_it_is_a_test(web: Web) -> None:
    posted = [{**LEAD, "is_test": True}, {**LEAD, "lead_id": "lead-2"}]
    answers = [web.client.post("/webhooks/google-ads", json=one).json for one in posted]
    a_test, a_lead = (one["events"][0]["id"] for one in answers)
    assert web.get(f"/api/events/{a_test}").json["is_test"] is True
    assert web.get(f"/api/events/{a_lead}").json["is_test"] is False
    listed = web.get("/api/events").json["items"]
    assert {one["id"]: one["is_test"] for one in listed} == {a_test: True, a_lead: False}
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    page = web.client.get(f"/events/{a_test}").text
    assert "None: its source says that it is a test, or about no lead. It calls nobody." in page
    assert "Change the routes" not in page


def test_connect_says_that_it_is_a_test(
    cli: Cli, serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = serve(settings)
    sent = {**LEAD, "is_test": True}
    monkeypatch.setattr(connecting, "sleep", lambda _: post(url, sent))
    env = {"API_TOKEN": API_TOKEN, "ROUTES_TOML": TOML, "GOOGLE_ADS_WEBHOOK_SECRET": SECRET}
    result = cli("connect", "google-ads", "--url", url, env=env)
    assert "It arrived: lead.test is unrouted." in result.stdout
    says = "Nobody is called: for Google Ads lead forms it is a test, or about no lead."
    assert says in result.stdout


def post(url: str, body: object) -> None:
    assert requests.post(f"{url}/webhooks/google-ads", json=body, timeout=30).status_code == 200
