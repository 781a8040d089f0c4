"""Every time on the dashboard is in CALLKARO_TIMEZONE, and every page names that zone."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support import API_TOKEN, WEBSITE, Web, lead, route

from schemas.settings import Settings
from store import Store
from store.suppression import Suppressions

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
RunDrain = Callable[..., Any]

ONE, OTHER = "+919876543210", "+919812345678"
ROUTES = WEBSITE + route(
    "call back",
    consent="\"agreed == 'yes'\"",
    campaign='{ name = "Website", period = "month" }',
)
TIME = re.compile(r'<time datetime="([^"]+)" title="([^"]+)">([^<]+)</time>')
CLOCK = "%d %b %Y, %H:%M:%S"


@pytest.fixture(params=["Asia/Kolkata", "America/New_York"])
def zone(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def settings(make_settings: MakeSettings, zone: str) -> Settings:
    return make_settings(ROUTES, callkaro_timezone=zone)


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings, store: Store, run_drain: RunDrain) -> Web:
    """A bridge with a call, a delivery that waits, a suppression and a pause."""
    web = open_web(settings)
    web.send("website", lead(phone=ONE, agreed="yes"))
    run_drain(settings)
    web.send("website", lead(phone=OTHER, agreed="yes"))
    Suppressions(store=store).suppress("+919900112233")
    store.pause("route:call back", reason="person", message="holiday")
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    return web


def page(web: Web, path: str) -> str:
    answer = web.client.get(path)
    assert answer.status_code == 200, answer.text
    text: str = answer.text
    return text


def paths(web: Web) -> list[str]:
    [delivery] = web.get("/api/deliveries?status=delivered").json["items"]
    lists = ["/", "/deliveries", "/events", "/campaigns", "/suppressions", "/routes"]
    return [*lists, f"/deliveries/{delivery['id']}", f"/events/{delivery['event_id']}"]


def test_each_page_names_the_zone_and_each_time_is_in_it(web: Web, zone: str) -> None:
    for path in paths(web):
        text = page(web, path)
        assert text.count(f"Times are in {zone}.") == 1, path
        times = TIME.findall(text)
        assert len(times) == text.count("<time"), path
        assert times, path
        for at, title, words in times:
            local = datetime.fromisoformat(at).astimezone(ZoneInfo(zone))
            assert zone in title, path
            assert format(local, CLOCK) in (words, title.partition(" (")[0]), path


def test_a_tooltip_of_a_chart_names_the_zone(web: Web, zone: str) -> None:
    titles = re.findall(r"<title>(\d\d:\d\d [^<]+)</title>", page(web, "/"))
    [counted] = [title for title in titles if title.endswith(f" {zone}: 1 delivered")]
    at = datetime.strptime(counted[:5], "%H:%M").time()  # noqa: DTZ007  (a time of day)
    now = datetime.now(ZoneInfo(zone))
    minutes = (now.hour * 60 + now.minute - at.hour * 60 - at.minute) % (24 * 60)
    assert minutes <= 31


def test_a_proof_of_consent_has_its_time_in_the_zone(web: Web, zone: str) -> None:
    [delivery] = web.get("/api/deliveries?status=delivered").json["items"]
    at = web.get(f"/api/deliveries/{delivery['id']}").json["consent"]["at"]
    local = datetime.fromisoformat(at).astimezone(ZoneInfo(zone))
    for query in ("", "?reveal=1"):
        text = page(web, f"/deliveries/{delivery['id']}{query}")
        assert f"{format(local, CLOCK)} {zone}" in text
        assert at not in text


@pytest.mark.parametrize("path", ["/deliveries", "/events"])
def test_the_times_of_a_filter_are_in_the_zone(web: Web, zone: str, path: str) -> None:
    assert f'id="zone">Times are in {zone}.</span>' in page(web, path)
    now = datetime.now(ZoneInfo(zone)).replace(tzinfo=None, second=0, microsecond=0)
    hour = timedelta(hours=1)
    for since, rows in ((now - hour, 2), (now + hour, 0)):
        assert page(web, f"{path}?since={since.isoformat()}").count('<tr id="row-') == rows
    counted = page(web, f"{path}/many?do=retry&since={now.isoformat()}")
    assert f"since: {now.isoformat()} ({zone})" in counted
