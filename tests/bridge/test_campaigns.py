"""Campaigns at the API and on the dashboard: what is shown, found, refused and done."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from support import AGENT, API_TOKEN, WEBSITE, Web, each, lead, route
from support.draining import RunDrain

from schemas.access import NamedToken, Role
from schemas.settings import Settings
from simulator import Simulator
from store import Store

BEARER = {"Authorization": f"Bearer {API_TOKEN}"}
VIEWER = NamedToken(name="asha", role=Role.VIEWER, token="asha-looks-at-everything")
ROUTES = (
    WEBSITE
    + route(campaign='{ name = "Leads & <more>" }', match="\"kind != 'other'\"")
    + route("others", campaign='{ name = "Others", period = "day" }', match="\"kind == 'other'\"")
)
COMMANDS = ("/campaigns/pause", "/campaigns/resume", "do=cancel")


@pytest.fixture
def settings(make_settings: Callable[..., Settings], store: Store) -> Settings:
    store.note_indexed(0, is_first=True, is_last=True)
    return make_settings(ROUTES, named_tokens=(VIEWER,))


@pytest.fixture
def batch_id(settings: Settings, web: Web, simulator: Simulator, run_drain: RunDrain) -> str:
    """A campaign with two accepted calls and one that waits; another route's call waits, too."""
    web.send("website", [lead(), lead()])
    run_drain(settings)
    web.send("website", [lead(), lead(kind="other")])
    [campaign] = simulator.state.campaigns
    return str(campaign.batch_id)


def sign_in(web: Web, token: str = API_TOKEN) -> None:
    assert web.client.post("/sign-in", data={"token": token}).status_code == 302


def page(web: Web, path: str) -> str:
    answer = web.client.get(path)
    assert answer.status_code == 200, answer.text
    text: str = answer.text
    return text


def post(web: Web, path: str, **fields: str) -> Any:
    [csrf, *_] = re.findall(r'name="csrf" value="([^"]+)"', page(web, "/campaigns"))
    return web.client.post(path, data={"csrf": csrf, **fields}, follow_redirects=True)


def total(web: Web, campaign: str, **more: str) -> Any:
    return web.client.get(
        "/api/deliveries", query_string={"campaign": campaign, **more}, headers=BEARER
    ).json["total"]


# --- the API --------------------------------------------------------------------------------------


def test_a_campaign_is_shown_with_what_became_of_its_calls(web: Web, batch_id: str) -> None:
    one = web.get(f"/api/campaigns/{batch_id}").json
    assert [one] == web.get("/api/campaigns").json["items"]
    assert one["counts"] == {"queued": 1, "delivered": 2}
    assert (one["total"], one["forgotten"], one["outcomes"]) == (3, 0, {"none": 2})
    assert one["progress"] == pytest.approx(2 / 3)
    assert (one["routes"], one["paused"]) == (["call back"], None)
    assert (one["key"], one["agent_id"]) == (f"v1/{AGENT}/Leads & <more>", AGENT)
    assert one["link"].endswith(f"/dashboard/batch-calls/{batch_id}")
    assert one["created_at"] < one["first_call_at"].replace("Z", "+00:00")
    assert one["first_call_at"] <= one["last_call_at"]


def test_an_unknown_campaign_is_not_there(web: Web, batch_id: str) -> None:
    for method, path in (("GET", "/api/campaigns/odd"), ("PUT", "/api/pauses/campaign:odd")):
        answer = web.client.open(path, method=method, headers=BEARER)
        assert (answer.status_code, answer.json["error"]) == (404, "not_found")
        assert "There is no campaign with this batch_id" in answer.json["message"]
        assert "odd" not in answer.json["message"]
    answer = web.client.delete(f"/api/pauses/campaign:{batch_id}", headers=BEARER)
    assert answer.status_code == 404


def test_the_key_of_a_campaign_is_no_campaign(web: Web, store: Store, batch_id: str) -> None:
    cancelled = web.client.post(
        "/api/deliveries/cancel", json={"campaign": batch_id}, headers=BEARER
    )
    assert cancelled.json["cancelled"] == 1
    key = web.get(f"/api/campaigns/{batch_id}").json["key"]
    assert store.is_campaign(key), "the index of the key has the call that was cancelled"
    for method, path in (("GET", "/api/campaigns/"), ("PUT", "/api/pauses/campaign:")):
        answer = web.client.open(f"{path}{key}", method=method, headers=BEARER)
        assert answer.status_code == 404, "a pause under this name would stop nothing"
    assert store.pauses() == []


def test_a_name_finds_what_waits_before_the_campaign_is_created(web: Web, batch_id: str) -> None:
    assert (total(web, "Leads & <more>"), total(web, batch_id)) == (3, 3)
    assert (total(web, "Others"), total(web, "Others", status="queued,held")) == (1, 1)
    assert total(web, "Others", status="delivered") == 0
    assert total(web, "Nobody's") == 0
    assert total(web, " Others\t") == 1, "a name that a person pasted"
    assert total(web, "Others", source="website") is None
    assert total(web, "  ") == 4, "a blank filter is none, as everywhere in lists"
    table = web.client.get(
        "/api/deliveries.csv", query_string={"campaign": "Others"}, headers=BEARER
    )
    assert len(table.text.strip().splitlines()) == 2


@each(
    ("path", "word", "count"),
    [
        ("/api/deliveries/cancel", "cancelled", 1),
        ("/api/deliveries/release", "released", 0),
        ("/api/deliveries/retry", "retried", 0),
    ],
)
def test_commands_on_many_take_a_campaign(
    web: Web, batch_id: str, path: str, word: str, count: int
) -> None:
    body = {"campaign": "Others", "dry_run": True}
    assert web.client.post(path, json=body, headers=BEARER).json[word] == count
    empty = web.client.post(path, json={"campaign": " "}, headers=BEARER)
    assert (empty.status_code, empty.json["message"]) == (400, "This filter is empty: campaign.")


def test_a_pause_is_kept_with_who_made_it(web: Web, batch_id: str) -> None:
    scope = f"campaign:{batch_id}"
    made = web.client.put(f"/api/pauses/{scope}", json={"message": "not now"}, headers=BEARER)
    assert (made.status_code, made.json["scope"], made.json["actor"]) == (200, scope, "admin")
    assert web.get(f"/api/campaigns/{batch_id}").json["paused"] == made.json
    acts = web.get("/api/audit?action=pause").json["items"]
    assert [one["target"] for one in acts] == [scope]


def test_a_number_in_the_name_of_a_campaign_is_masked(
    web: Web, store: Store, batch_id: str
) -> None:
    name = "2026-11-28, call +91 98765 43210"
    store.keep_campaign(f"v2/{name}", "b-7", {"name": name})
    sign_in(web, VIEWER.token)
    paths = ("/campaigns", "/campaigns/b-7", "/reports?period=today", "/deliveries")
    shown = [page(web, path) for path in paths]
    shown.append(web.get("/api/campaigns/b-7").text)
    for text in shown:
        assert "2026-11-28" in text, "a period is no number"
        assert not re.search(r"98765\s?43210", text)


# --- the dashboard --------------------------------------------------------------------------------


def test_the_page_of_a_campaign_leads_to_its_lists(web: Web, batch_id: str) -> None:
    sign_in(web)
    assert f'href="/campaigns/{batch_id}"' in page(web, "/campaigns")
    text = page(web, f"/campaigns/{batch_id}")
    assert "Leads &amp; &lt;more&gt;" in text
    assert "3 calls, 67 % settled" in text
    for query in ("status=queued", "status=delivered", "outcome=none"):
        [address] = re.findall(rf'href="([^"]*campaign={batch_id}&amp;{query})"', text)
        assert 'class="row"' in page(web, address.replace("&amp;", "&"))
    assert all(command in text for command in COMMANDS[:1] + COMMANDS[2:])
    assert text.count("batch-calls") == 1
    part = page(web, f"/campaigns/{batch_id}/part")  # refreshes itself
    assert "3 calls, 67 % settled" in part
    assert "<html" not in part


def test_it_is_paused_and_resumed_on_its_page(web: Web, store: Store, batch_id: str) -> None:
    sign_in(web)
    paused = post(web, "/campaigns/pause", batch_id=batch_id).text
    assert [one.scope for one in store.pauses()] == [f"campaign:{batch_id}"]
    assert '<span class="status waits">paused</span>' in paused
    assert "<strong>A campaign</strong> is paused" in paused
    assert '<span class="status waits">paused</span>' in page(web, "/campaigns")
    resumed = post(web, "/campaigns/resume", batch_id=batch_id).text
    assert store.pauses() == []
    assert 'status waits">paused' not in resumed
    assert (
        "Nothing is paused under this name."
        in post(web, "/campaigns/resume", batch_id=batch_id).text
    )


def test_a_cancel_says_how_many_before_it_happens(web: Web, batch_id: str) -> None:
    sign_in(web)
    text = page(web, f"/deliveries/many?do=cancel&campaign={batch_id}")
    assert "<strong>1</strong> would be cancelled" in text
    assert total(web, batch_id, status="cancelled") == 0
    done = post(web, "/deliveries/many", do="cancel", campaign=batch_id)
    assert "Deliveries cancelled: 1." in done.text
    assert total(web, batch_id, status="cancelled") == 1
    assert total(web, "Others", status="queued") == 1


def test_a_viewer_sees_no_command(web: Web, batch_id: str) -> None:
    sign_in(web, VIEWER.token)
    text = page(web, f"/campaigns/{batch_id}")
    assert not [command for command in COMMANDS if command in text]


def test_there_is_no_page_of_an_unknown_campaign(web: Web, batch_id: str) -> None:
    sign_in(web)
    for path in ("/campaigns/odd", "/campaigns/odd/part"):
        assert web.client.get(path).status_code == 404
    assert post(web, "/campaigns/pause", batch_id="odd").status_code == 404


def test_a_kept_view_holds_a_campaign(web: Web, batch_id: str) -> None:
    sign_in(web)
    post(web, "/deliveries/views", name="Mine", campaign="Others")
    assert 'href="/deliveries?campaign=Others"' in page(web, "/deliveries")


def test_reports_lead_to_the_campaign_and_to_its_lists(web: Web, batch_id: str) -> None:
    sign_in(web)
    text = page(web, "/reports?period=today")
    assert f'href="/campaigns/{batch_id}"' in text
    [address] = set(
        re.findall(rf'href="(/deliveries\?campaign={batch_id}[^"]*delivered[^"]*)"', text)
    )
    assert page(web, address.replace("&amp;", "&")).count('class="row"') == 2


def test_the_list_offers_the_campaigns_that_there_are(web: Web, batch_id: str) -> None:
    sign_in(web)
    offered = page(web, "/deliveries").partition('name="campaign"')[2].partition("</select>")[0]
    options = re.findall(r'<option value="([^"]*)"[^>]*>([^<]*)', offered)
    name = "Leads &amp; &lt;more&gt;"
    assert options == [("", "any"), (name, name), ("Others", "Others, every day")]
    assert "<option selected>theirs</option>" in page(web, "/deliveries?campaign=theirs")
