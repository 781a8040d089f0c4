"""The page of a release says how many phones ring, and from when on."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support import ALL_ROUTES, API_TOKEN, WEBSITE, Web, each, lead, route

from bridge.dashboard.ringing import Ringing, first_ring, ringing_words
from rules.mapping import campaigns_of_now
from schemas.event import Event
from schemas.hours import parse_window
from schemas.records import Claim
from schemas.settings import Settings
from store import Store

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
INDIA = ZoneInfo("Asia/Kolkata")
SATURDAY = datetime(2026, 11, 28, tzinfo=INDIA)
HOURS = {"calling_hours": parse_window("09:30-19:00")}
NUMBER = "+919876543210"


def at(clock: str, day: datetime = SATURDAY) -> datetime:
    hour, minute = map(int, clock.split(":"))
    return day.replace(hour=hour, minute=minute)


def held(settings: Settings, open_web: OpenWeb, store: Store, body: dict[str, Any]) -> Claim:
    """Return a delivery of this body as it waits."""
    [delivery_id] = open_web(settings).send("website", body)
    delivery = store.delivery(delivery_id)
    assert delivery is not None
    seen = store.event(delivery.event_id)
    assert seen is not None
    return Claim(delivery=delivery, event=seen.event)


@each(
    ("more", "phone", "now", "rings"),
    [
        # (the route's keys, the number, the time now, the first ring)
        ({}, NUMBER, "12:00", at("12:00")),
        ({}, NUMBER, "08:00", at("09:30")),
        ({}, NUMBER, "19:00", at("09:30", SATURDAY + timedelta(days=1))),
        (
            {"hours": '{ days = "mon-sat", from = "10:00", to = "18:00" }'},
            NUMBER,
            "18:30",
            at("10:00", SATURDAY + timedelta(days=2)),
        ),
        # In Dubai it is 90 minutes earlier, and the hours are those of the callee.
        ({"countries": '"any"'}, "+971501234567", "10:00", at("11:00")),
        ({"countries": '"any"'}, "+442071838750", "12:00", at("15:00")),
        # Nobody is called.
        ({}, "12", "12:00", None),
        ({}, "", "12:00", None),
        ({}, "+442071838750", "12:00", None),
    ],
)
def test_the_first_ring_is_within_the_hours_of_the_callee(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    more: dict[str, str],
    phone: str,
    now: str,
    rings: datetime | None,
) -> None:
    settings = make_settings(WEBSITE + route(**more), **HOURS)
    claim = held(settings, open_web, store, lead(phone=phone, now=now, more=str(more)))
    found = first_ring([claim], settings, at(now).astimezone(UTC))
    assert found == rings
    assert first_ring([claim, claim], settings, at(now)) == rings
    assert first_ring([], settings, at(now)) is None


def test_the_earliest_of_many_counts(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    settings = make_settings(WEBSITE + route(countries='"any"'), **HOURS)
    numbers = ("+442071838750", "12", NUMBER, "+971501234567")
    claims = [held(settings, open_web, store, lead(phone=one)) for one in numbers]
    assert first_ring(claims, settings, at("08:00")) == at("09:30")
    assert first_ring(claims[:2], settings, at("08:00")) == at("15:00")


def test_a_record_that_is_not_fetched_yet_counts_by_the_usual_hours(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    settings = make_settings(ALL_ROUTES, **HOURS)
    claim = held(settings, open_web, store, lead(phone=NUMBER))
    assert claim.event
    thin: Event = replace(claim.event, data={"objectId": 7}, hydrate="contacts")
    known = replace(claim.event, data={"objectId": 7}, hydrate=None)
    for event, rings in ((thin, at("09:30")), (known, None)):
        assert first_ring([replace(claim, event=event)], settings, at("06:00")) == rings
    assert first_ring([replace(claim, event=None)], settings, at("06:00")) is None


@each(
    ("ringing", "count", "overrides", "words"),
    [
        ({"first_at": at("09:30")}, 32, {}, "32 phones will ring, from 09:30 on."),
        ({"first_at": at("09:30")}, 1, {}, "1 phone will ring, from 09:30 on."),
        (
            {"first_at": at("09:30"), "is_whole": False},
            1200,
            {},
            "1,200 phones will ring, the newest from 09:30 on.",
        ),
        (
            {"first_at": at("10:00") + timedelta(days=2)},
            5,
            {},
            "5 phones will ring, from 30 Nov, 10:00 on.",
        ),
        ({"first_at": at("08:00")}, 5, {}, "5 phones will ring, the first at once."),
        (
            {"is_paused": True},
            5,
            {},
            "5 phones will ring, but not before you resume what is paused.",
        ),
        (
            {},
            5,
            {},
            "5 phones will ring, but no time in the coming weeks is within the calling hours.",
        ),
        (
            {"first_at": at("08:00")},
            5,
            {"allow_numbers": frozenset({NUMBER})},
            "Only phones in ALLOW_NUMBERS will ring, the first at once.",
        ),
        (
            {"first_at": at("08:00")},
            5,
            {"dry_run": True},
            "No phone will ring: DRY_RUN is on, and these deliveries will be skipped.",
        ),
    ],
)
def test_the_sentence_of_a_release(
    make_settings: MakeSettings,
    ringing: dict[str, Any],
    count: int,
    overrides: dict[str, Any],
    words: str,
) -> None:
    settings = make_settings(WEBSITE + route(), **overrides)
    assert ringing_words(Ringing(**ringing), count, settings, at("08:00")) == words


def test_the_page_of_a_release_has_the_sentence(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    flooded = route("call visitors", event="visited", flood='{ over = 1, within = "5m" }')
    web = open_web(make_settings(WEBSITE + route() + flooded))
    for one in range(4):
        web.send("website", lead(event_type="visited", phone=f"+9198765002{one:02}"))
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302

    def sentence(query: str = "reason=bulk") -> str:
        text = web.client.get(f"/deliveries/many?do=release&{query}").text
        assert text.count("Times are in") == 1
        [found] = re.findall(r'<p class="flash warn"><strong>([^<]+)</strong>', text)
        return str(found)

    assert sentence() == "3 phones will ring, the first at once."
    for scope in ("all", "callkaro", "route:call visitors", "source:website"):
        store.pause(scope, reason="person", message="")
        assert sentence() == "3 phones will ring, but not before you resume what is paused."
        store.resume(scope)
    store.pause("route:call back", reason="person", message="")
    assert sentence("source=website") == "3 phones will ring, the first at once."
    # Nothing matches, so there is nothing to warn of.
    nobody = web.client.get("/deliveries/many?do=release&route=call+back").text
    assert "will ring" not in nobody


@pytest.mark.parametrize("campaign", ['{ name = "Leads", period = "day" }', '{ key = "campaign" }'])
def test_the_sentence_of_a_release_knows_the_pause_of_a_campaign(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, campaign: str
) -> None:
    visits = route(
        "call visitors",
        event="visited",
        campaign=campaign,
        flood='{ over = 1, within = "5m" }',
    )
    settings = make_settings(WEBSITE + visits)
    web = open_web(settings)
    for one in range(3):
        web.send("website", lead(event_type="visited", phone=f"+9198765002{one:02}"))
    key = campaigns_of_now(settings, datetime.now(UTC)).get("call visitors", "key/7")
    store.keep_campaign(key, "b-1", {"name": "Leads"})
    if key == "key/7":  # the records of both have been read
        for held in store.redis.zrange("bridge:bulk", 0, -1):
            store.redis.hset(f"bridge:delivery:{held}", "campaign_key", key)
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    later = "but not before you resume what is paused"

    assert later not in web.client.get("/deliveries/many?do=release&reason=bulk").text
    store.pause("campaign:b-1", reason="person", message="")
    assert later in web.client.get("/deliveries/many?do=release&reason=bulk").text


def test_a_filter_that_matches_nothing_rings_nobody(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    web = open_web(make_settings(WEBSITE + route()))
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    answer = web.client.get("/deliveries/many?do=release&status=held")
    assert "disabled>Release" in answer.text
