"""The overview: what needs a person, and warnings that lead to what they are about."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from support import API_TOKEN, WEBSITE, Web, each, lead, route
from support.storing import a_delivery, accept, an_event

from bridge.dashboard.warnings import with_links
from config.settings import warnings_of
from schemas.delivery import Status
from schemas.records import Move, Persistence
from schemas.settings import Settings
from store import Store

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
FLOODED = route("call visitors", event="visited", flood='{ over = 1, within = "5m" }')


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(WEBSITE + route() + FLOODED)


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings) -> Web:
    web = open_web(settings)
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    return web


def overview(web: Web) -> str:
    return unescape(web.client.get("/").text)


def warnings(web: Web) -> dict[str, str]:
    """Return the warnings that lead somewhere, with their addresses."""
    found = re.findall(r'<p class="flash warn"><a href="([^"]+)">([^<]+)</a>', overview(web))
    return {words: address for address, words in found}


def tiles(web: Web) -> list[tuple[str, str, str]]:
    """Return class, address and count of the tiles of what needs a person."""
    [part] = re.findall(r'<ul class="counts needed".*?</ul>', overview(web), re.DOTALL)
    return re.findall(r'<a class="(\w+)" href="([^"]+)"><strong>([\d,]+)</strong>', part)


def settled(store: Store, delivery_id: str, to: Status) -> None:
    accept(store, (an_event(f"e-{delivery_id}"), [a_delivery(delivery_id)]))
    move = Move(id=delivery_id, to=to, from_statuses=frozenset({Status.QUEUED}))
    assert store.move([move]) == ["ok"]


def test_what_needs_a_person_stands_out(web: Web, store: Store) -> None:
    unknown, failed = "/deliveries?status=unknown", "/deliveries?status=failed"
    bulk = "/deliveries?status=held&reason=bulk"
    assert tiles(web) == [
        ("nothing", unknown, "0"),
        ("nothing", failed, "0"),
        ("nothing", bulk, "0"),
    ]
    settled(store, "d1", Status.UNKNOWN)
    settled(store, "d2", Status.UNKNOWN)
    settled(store, "d3", Status.FAILED)
    for one in range(4):
        web.send("website", lead(event_type="visited", n=one))
    assert tiles(web) == [("doubt", unknown, "2"), ("bad", failed, "1"), ("waits", bulk, "3")]
    for _, address, count in tiles(web):
        assert web.client.get(address).text.count('<tr id="row-') == int(count)


def test_a_warning_leads_to_what_it_is_about(web: Web, store: Store) -> None:
    settled(store, "d1", Status.UNKNOWN)
    for one in range(3):
        web.send("website", lead(event_type="visited", n=one))
    found = warnings(web)
    [unknown] = [address for words, address in found.items() if words.startswith("1 unknown")]
    [bulk] = [address for words, address in found.items() if words.startswith("2 held as bulk")]
    for address, rows in ((unknown, 1), (bulk, 2)):
        assert web.client.get(address).text.count('<tr id="row-') == rows


@each(
    ("warning", "address"),
    [
        (
            "12 unknown: a phone may have rung; find out and resolve each",
            "/deliveries?status=unknown",
        ),
        ("CallKaro did not take the latest request: It answered 503.", "/#callkaro"),
        ("background tasks fail and are tried again (erase: 1)", "/#now"),
        ("3 put aside: their records in Redis can't be read", "/#now"),
        ("CALLING_HOURS is always: phones may ring at night", "/routes"),
        ("there is no [[route]]: every event will be kept as unrouted", "/routes"),
        ("API_TOKEN has fewer than 16 characters: a short token can be guessed", None),
        *(
            (one, "/#redis")
            for one in Persistence(
                append_only=False,
                fsync="everysec",
                policy="allkeys-lru",
                used_bytes=1,
                used_ratio=None,
                acks=1,
            ).warnings()
        ),
    ],
)
def test_each_kind_of_warning_has_its_page(web: Web, warning: str, address: str | None) -> None:
    with web.client.application.test_request_context("/"):
        assert with_links([warning]) == [(warning, address)]


def test_a_source_without_a_secret_leads_to_the_sources(
    web: Web, make_settings: MakeSettings
) -> None:
    without = make_settings(WEBSITE + route(), secrets={})
    [warning] = [one for one in warnings_of(without) if one.startswith("source ")]
    with web.client.application.test_request_context("/"):
        assert with_links([warning]) == [(warning, "/routes#sources")]


def test_a_warning_of_a_banner_is_not_repeated(
    open_web: OpenWeb, make_settings: MakeSettings, store: Store
) -> None:
    store.pause("all", reason="person", message="holiday")
    settings = make_settings(WEBSITE + route(), dry_run=True, allow_numbers=frozenset())
    web = open_web(settings)
    web.client.post("/sign-in", data={"token": API_TOKEN})
    text = overview(web)
    for words in ("DRY_RUN is on", "ALLOW_NUMBERS is set", "</strong> is running"):
        assert text.count(words) == 1, words
    assert "paused: all" not in text
    assert "no worker is running" not in text
