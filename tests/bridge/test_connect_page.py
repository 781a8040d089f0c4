"""The page Connect: what to enter at each vendor, and what arrived lately."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from support import API_TOKEN, CALL_BACK, SECRETS, Web, lead

from schemas.access import NamedToken, Role
from schemas.settings import Settings

VIEWER = NamedToken(name="asha", role=Role.VIEWER, token="asha-looks-at-everything")


@pytest.fixture
def web(open_web: Callable[[Settings], Web], make_settings: Callable[..., Settings]) -> Web:
    secrets = {name: (SECRETS[name],) for name in ("website", "hubspot")}
    return open_web(make_settings(CALL_BACK, secrets=secrets, named_tokens=(VIEWER,)))


def sign_in(web: Web, token: str = API_TOKEN) -> Web:
    assert web.client.post("/sign-in", data={"token": token}).status_code == 302
    return web


def card(web: Web, name: str) -> str:
    """Return the text of a source's card."""
    answer = web.client.get("/routes/connect")
    assert answer.status_code == 200
    found = re.search(rf'aria-label="Source {name}">(.*?)</section>', answer.text, re.DOTALL)
    assert found
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", found[1])).split())


def test_each_source_has_its_address_headers_guide_and_no_secret(web: Web) -> None:
    sign_in(web)
    website = card(web, "website")
    assert "http://localhost/webhooks/website " in website
    assert "Header X-Signature Guide examples/generic/README.md" in website
    assert "Last event none yet Refused in 24 h none" in website
    assert "X-HubSpot-Signature-v3 or X-HubSpot-Signature" in card(web, "hubspot")
    zoho = card(web, "zoho")
    assert "no secret Its address answers 404 until ZOHO_WEBHOOK_SECRET is set" in zoho
    assert "X-Webhook-Token , or ?token= after the address" in zoho
    assert "Guide docs/connect-zoho.md" in zoho
    assert "Last event" not in zoho
    shown = web.client.get("/routes/connect").text
    assert not any(secret in shown for secret in SECRETS.values())


def test_sources_in_use_are_first_and_say_what_they_lack(
    open_web: Callable[[Settings], Web], make_settings: Callable[..., Settings]
) -> None:
    secrets = {name: ("a-secret:of-these-tests",) for name in ("meta", "pipedrive")}
    variables = {"meta": {"ACCESS_TOKEN": "a-page-token"}, "pipedrive": {}}
    toml = '[[source]]\nname = "shop"\nkind = "shopify"\n'
    secrets["shop"] = ("a-secret-of-these-tests",)
    web = sign_in(open_web(make_settings(toml, secrets=secrets, variables=variables)))
    names = re.findall('aria-label="Source ([^"]+)"', web.client.get("/routes/connect").text)
    assert names[:4] == ["meta", "pipedrive", "shop", "calcom"]
    meta, pipedrive = card(web, "meta"), card(web, "pipedrive")
    assert "Also needed META_VERIFY_TOKEN Guide" in meta
    assert "Login user and password (HTTP Basic) Also needed PIPEDRIVE_API_TOKEN Guide" in pipedrive
    assert "Also needed" not in card(web, "shop")
    assert "the app's client secret, which signs its webhooks." in card(web, "hubspot")
    assert "as ?token=… http" in card(web, "jotform")


def test_the_last_event_and_what_was_refused_are_shown(web: Web) -> None:
    event_id = web.post("website", lead()).json["events"][0]["id"]
    assert web.client.post("/webhooks/website", json={}).status_code == 401
    sign_in(web)
    web.client.application.extensions["meter"].flush()
    text = card(web, "website")
    assert "Refused in 24 h 1 with 401, the last " in text
    assert "The signature or token is missing or wrong" in text
    assert f'href="/events/{event_id}"' in web.client.get("/routes/connect").text
    assert "Refused in 24 h none" in card(web, "hubspot")


def test_the_page_of_routes_leads_to_it_for_those_who_may(web: Web) -> None:
    link = 'href="/routes/connect"'
    assert link in sign_in(web).client.get("/routes").text


def test_a_viewer_sees_neither_link_nor_page(web: Web) -> None:
    sign_in(web, VIEWER.token)
    assert 'href="/routes/connect"' not in web.client.get("/routes").text
    assert web.client.get("/routes/connect").status_code == 403
