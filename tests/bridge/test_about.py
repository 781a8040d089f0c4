"""The API about what runs here, and the pages of its list of campaigns."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from support import API_TOKEN, SECRETS, WEBSITE, Web, each, route

from bridge import VERSION
from bridge.dashboard import campaigns
from schemas.errors import StoreUnavailable
from schemas.settings import Settings
from store import Store

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]

ROUTES = (
    WEBSITE
    + '[[source]]\nname = "zoho-2"\nkind = "zoho"\ntimezone = "Asia/Kolkata"\n\n'
    + route(
        "full",
        match="\"kind == 'lead'\"",
        when='"age > `18`"',
        consent='"agreed"',
        fetch='["Phone", "City"]',
        campaign='{ name = "Leads", period = "month" }',
        delay='"2m"',
        max_age='"6h"',
        hours='{ days = "mon-sat", from = "10:00", to = "19:00", timezone = "Asia/Kolkata" }',
        again_after='"24h"',
        max_per_day="500",
        countries='["IN", "AE"]',
        flood='{ over = 5, within = "1m" }',
        on_unknown='"call_again"',
    )
    + route("plain", source="zoho-2", countries='"any"')
)


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(
        ROUTES,
        public_url="https://bridge.example",
        secrets={"website": (SECRETS["website"],)},
        variables={},
    )


def test_the_routes_are_shown_with_all_that_they_check_and_send(web: Web) -> None:
    full, plain = web.get("/api/routes").json["items"]
    request, metadata = full.pop("request"), full.pop("metadata")
    assert full == {
        "name": "full",
        "source": "website",
        "event": full["event"],
        "to": "call",
        "match": "kind == 'lead'",
        "when": "age > `18`",
        "consent": "agreed",
        "fetch": ["Phone", "City"],
        "campaign": {"name": "Leads", "period": "month", "key": None},
        "delay_s": 120,
        "max_age_s": 6 * 3600,
        "on_unknown": "call_again",
        "hours": full["hours"],
        "timezone": "Asia/Kolkata",
        "again_after_s": 86_400,
        "max_per_day": 500,
        "countries": ["AE", "IN"],
        "flood": {"over": 5, "within_s": 60},
    }
    assert "10:00-19:00" in full["hours"]
    assert isinstance(request["to_number"], str)
    assert all(isinstance(one, str | dict) for one in (*request.values(), *metadata.values()))
    unset = ("match", "when", "consent", "campaign", "max_age_s", "hours", "timezone", "flood")
    assert {name: plain[name] for name in unset} == dict.fromkeys(unset)
    assert (plain["countries"], plain["on_unknown"], plain["fetch"]) == (None, "hold", [])


def test_a_constant_is_told_from_an_expression_and_a_number_in_one_is_masked(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    request = {
        "to_number": '{ value = "+919876543210" }',
        "agent_id": '{ value = "6803fa77" }',
        "language": '"lang"',
    }
    web = open_web(make_settings(WEBSITE + route(request=request)))
    [found] = web.get("/api/routes").json["items"]
    assert found["request"]["agent_id"] == {"value": "6803fa77"}
    assert found["request"]["language"] == "lang"
    assert found["request"]["to_number"] == {"value": "+91••••••3210"}
    assert found["countries"] == ["IN"]  # DEFAULT_REGION


def test_the_sources_are_shown_without_their_secrets(web: Web) -> None:
    answer = web.get("/api/sources")
    found = {one["name"]: one for one in answer.json["items"]}
    assert list(found) == sorted(found)
    assert found["zoho-2"] == {
        "name": "zoho-2",
        "kind": "zoho",
        "title": found["zoho-2"]["title"],
        "webhook_url": "https://bridge.example/webhooks/zoho-2",
        "secret_variable": "ZOHO_2_WEBHOOK_SECRET",
        "has_secret": False,
        "default_type": found["zoho-2"]["default_type"],
        "opt_out": found["zoho-2"]["opt_out"],
        "timezone": "Asia/Kolkata",
    }
    assert found["website"]["has_secret"] is True
    assert SECRETS["website"] not in answer.text


def test_the_version_is_told_without_redis(
    web: Web, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(Store, "_run", away)
    monkeypatch.setattr(Store, "_reached", away)
    assert web.get("/api/version").json == {"version": VERSION, "routes": settings.routes.digest}
    assert web.get("/api/routes").status_code == web.get("/api/sources").status_code == 200


@each("path", ["routes", "sources", "version", "campaigns"])
def test_they_need_the_token(web: Web, path: str) -> None:
    assert web.client.get(f"/api/{path}").status_code == 401


# --- pages of campaigns -------------------------------------------------------------------------


def keep(store: Store, count: int) -> list[str]:
    """Keep campaigns, and return their batch ids, the newest first."""
    for number in range(count):
        store.keep_campaign(f"v2/Leads {number}", f"batch-{number}", {"name": f"Leads {number}"})
        # So that no two are of one microsecond.
        store.redis.zadd("bridge:campaigns", {f"v2/Leads {number}": 1_700_000_000_000_000 + number})
    return [f"batch-{number}" for number in reversed(range(count))]


@each("limit", [1, 7, 24, 25, 26, 200])
def test_pages_have_each_campaign_once_newest_first(web: Web, store: Store, limit: int) -> None:
    made = keep(store, 25)
    found, cursor, pages = [], "", 0
    while cursor is not None:
        page = web.get(f"/api/campaigns?limit={limit}&cursor={cursor}").json
        assert len(page["items"]) <= limit
        found += [one["batch_id"] for one in page["items"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert found == made
    assert pages == -(-25 // limit)  # and no empty one at the end


def test_a_page_has_fifty_campaigns_unless_a_limit_is_given(web: Web, store: Store) -> None:
    keep(store, 60)
    page = web.get("/api/campaigns").json
    assert len(page["items"]) == 50
    keep(store, 61)  # a newer one does not move the next page
    rest = web.get(f"/api/campaigns?cursor={page['next_cursor']}").json
    assert [one["batch_id"] for one in rest["items"]] == [f"batch-{n}" for n in range(9, -1, -1)]
    assert rest["next_cursor"] is None


def test_the_page_of_campaigns_leads_to_the_older_ones(web: Web, store: Store) -> None:
    made = keep(store, campaigns.ROWS + 3)
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    page = web.client.get("/campaigns").text
    assert [one for one in made if f">{one}<" in page] == made[: campaigns.ROWS]
    [older] = re.findall(r'rel="next" href="([^"]+)"', page)
    page = web.client.get(older).text
    assert [one for one in made if f">{one}<" in page] == made[campaigns.ROWS :]
    assert 'rel="next"' not in page
    assert 'href="/campaigns">Newest' in page
    assert web.client.get("/campaigns?cursor=x").status_code == 400


@each("query", ["limit=0", "limit=201", "limit=x", "cursor=x", "page=2", "reveal=true"])
def test_a_page_that_makes_no_sense_is_refused(web: Web, query: str) -> None:
    answer = web.get(f"/api/campaigns?{query}")
    assert (answer.status_code, answer.json["error"]) == (400, "bad_query")
