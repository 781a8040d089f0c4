"""The daily summary: at its hour, once, with yesterday's figures."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support import CALL_BACK, each
from support.draining import MakeSettings
from support.storing import put

from config.settings import load_settings
from rules.figures import day_number
from schemas.alert import SUMMARY, Alert
from schemas.errors import SettingsError
from schemas.figures import NAMES
from schemas.settings import Settings
from store import Store
from workers.journal import Journal
from workers.summary import DailySummary
from workers.ticker import Ticker

INDIA = ZoneInfo("Asia/Kolkata")
DAY = date(2026, 1, 31)


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(
        CALL_BACK,
        alert_webhook_url="https://alerts.example/x",
        alert_webhook_secrets=("whsec_a",),
        alert_summary_at=time(8, 0),
    )


def at(text: str) -> datetime:
    """Return a time of 31 January in India, or of another day that the text begins with."""
    text = text if "T" in text else f"{DAY}T{text}"
    return datetime.fromisoformat(text).replace(tzinfo=INDIA).astimezone(UTC)


def summaries(store: Store) -> list[dict[str, Any]]:
    kept = [json.loads(one) for one in store.redis.hvals("bridge:alerts:out")]
    return [one for one in kept if one["type"] == SUMMARY]


def days(store: Store) -> list[str]:
    return sorted(one["facts"]["day"] for one in summaries(store))


def count(store: Store, day: date, hour: str, **sums: int) -> None:
    """Let the calls of an hour count as these figures."""
    text = ",".join(str(sums.get(name, 0)) for name in NAMES)
    store.redis.hset(f"bridge:figures:{day_number(day)}", f"{hour}\twebsite\tcall back\t\t\t", text)


# --- when -----------------------------------------------------------------------------------------


def test_it_comes_at_its_hour_and_once_a_day(store: Store, settings: Settings) -> None:
    summary = DailySummary(settings, store)
    for clock in ("00:00", "07:59:59"):
        summary.look(at(clock))
    assert days(store) == []
    for clock in ("08:00", "08:00:05", "23:59:59"):
        summary.look(at(clock))
    assert days(store) == ["2026-01-30"]
    for clock in ("2026-02-01T00:00", "2026-02-01T07:59", "2026-02-01T08:01", "2026-02-01T08:02"):
        summary.look(at(clock))
    assert days(store) == ["2026-01-30", "2026-01-31"]


def test_it_comes_once_however_many_workers_run_and_restart(
    store: Store, settings: Settings
) -> None:
    def look(_: int) -> None:
        DailySummary(settings, store).look(at("08:00:01"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(look, range(24)))
    assert days(store) == ["2026-01-30"]
    store.redis.delete("bridge:alerts:out", "bridge:due:alert")  # it was sent
    look(0)
    DailySummary(settings, store).look(at("15:00"))
    assert days(store) == []


def test_a_worker_that_starts_later_sends_it_then(store: Store, settings: Settings) -> None:
    DailySummary(settings, store).look(at("17:45"))
    assert days(store) == ["2026-01-30"]


def test_a_worker_whose_clock_is_behind_sends_no_older_one(
    store: Store, settings: Settings
) -> None:
    DailySummary(settings, store).look(at("08:00"))
    DailySummary(settings, store).look(at("2026-01-30T09:00"))
    assert days(store) == ["2026-01-30"]


@each(
    ("zone", "clock", "now", "day"),
    [
        ("Asia/Kolkata", time(8), "2026-01-31T02:29:59Z", None),
        ("Asia/Kolkata", time(8), "2026-01-31T02:30:00Z", "2026-01-30"),
        ("Asia/Kolkata", time(0), "2026-01-30T18:30:00Z", "2026-01-30"),
        ("UTC", time(8), "2026-01-31T08:00:00Z", "2026-01-30"),
        ("America/New_York", time(23, 59), "2026-01-31T04:58:00Z", None),
        ("America/New_York", time(23, 59), "2026-01-31T04:59:00Z", "2026-01-29"),
        ("Europe/Berlin", time(2, 30), "2026-03-29T00:59:59Z", None),  # the hour from 2 is left out
        ("Europe/Berlin", time(2, 30), "2026-03-29T01:00:00Z", "2026-03-28"),
        ("Pacific/Kiritimati", time(8), "2026-01-30T18:00:00Z", "2026-01-30"),
    ],
)
def test_its_hour_is_one_of_the_zone(
    store: Store, settings: Settings, zone: str, clock: time, now: str, day: str | None
) -> None:
    store.redis.delete("bridge:alerts:out", "bridge:due:alert", "bridge:alerts:summary")
    chosen = replace(settings, callkaro_timezone=zone, alert_summary_at=clock)
    DailySummary(chosen, store).look(datetime.fromisoformat(now))
    assert days(store) == ([] if day is None else [day])


def test_an_hour_that_comes_twice_brings_one(store: Store, settings: Settings) -> None:
    chosen = replace(settings, callkaro_timezone="Europe/Berlin", alert_summary_at=time(2, 30))
    for now in ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"):
        DailySummary(chosen, store).look(datetime.fromisoformat(now))
    assert days(store) == ["2026-10-24"]


@each("more", [{"alert_summary_at": None}, {"alert_webhook_url": None}])
def test_it_comes_only_where_it_is_switched_on(
    store: Store, settings: Settings, more: dict[str, Any]
) -> None:
    DailySummary(replace(settings, **more), store).look(at("09:00"))
    assert days(store) == []


def test_the_ticker_looks_for_it(store: Store, settings: Settings) -> None:
    local = datetime.now(UTC).astimezone(INDIA)
    Ticker(replace(settings, alert_summary_at=time(0, 0)), Journal()).tick()
    assert days(store) == [f"{local.date() - timedelta(days=1)}"]
    assert store.is_alert_due()


# --- what -----------------------------------------------------------------------------------------


def test_it_has_yesterdays_figures_and_what_waits(store: Store, settings: Settings) -> None:
    yesterday = DAY - timedelta(days=1)
    count(store, yesterday - timedelta(days=1), "23", events=50, accepted=50)
    count(store, yesterday, "00", events=2, accepted=1, skipped=1)
    count(store, yesterday, "23", events=4, accepted=3, dialled=3, ended=2, connected=2, talked_s=9)
    count(store, DAY, "00", events=70)
    put(store, "held")
    store.redis.zadd("bridge:bulk", {"held": 1})
    DailySummary(settings, store).look(at("08:00"))

    [message] = summaries(store)
    found = message["facts"]["funnel"]
    assert {name: value for name, value in found.items() if value} == {
        "events": 6,
        "accepted": 4,
        "skipped": 1,
        "dialled": 3,
        "ended": 2,
        "connected": 2,
        "talked_s": 9,
    }
    assert message["facts"]["day"] == "2026-01-30"
    assert message["facts"]["waiting"] == {"queued": 1, "held": 0, "bulk": 1, "unknown": 0}


def test_a_call_of_today_is_in_tomorrows_summary(store: Store, settings: Settings) -> None:
    put(store, "called")
    tomorrow = datetime.now(INDIA) + timedelta(days=1)
    eight = tomorrow.replace(hour=8, minute=0).astimezone(UTC)
    DailySummary(settings, store).look(eight)
    [message] = summaries(store)
    assert message["facts"]["funnel"]["events"] == 1


def test_a_person_reads_it_and_gets_what_is_known() -> None:
    facts: dict[str, Any] = {
        "day": "2026-01-30",
        "funnel": {"accepted": 1298, "events": 1310, "connected": 610, "converted": 22},
        "waiting": {"queued": 4, "held": 12, "bulk": 10, "unknown": 1},
    }
    alert = Alert(id="msg_1", type=SUMMARY, at=at("08:00"), facts=facts)
    body = alert.as_body("https://bridge.example")
    assert (body["type"], body["data"]["url"]) == (SUMMARY, "https://bridge.example/")
    assert body["data"]["funnel"] == facts["funnel"]
    assert body["data"]["message"] == (
        "On 30 Jan 2026: 1,310 deliveries made, 1,298 accepted by CallKaro, 610 connected, "
        "22 converted. Now: 4 waiting, 12 held, 10 of these as bulk, 1 unknown."
    )


def test_it_is_claimed_and_sent_as_other_messages_are(store: Store, settings: Settings) -> None:
    DailySummary(settings, store).look(at("08:00"))
    claimed = store.claim_alert(lease_s=60)
    assert claimed
    assert claimed.message.startswith("On 30 Jan 2026: 0 deliveries made, ")
    assert claimed.full_type == SUMMARY
    assert not claimed.is_over


# --- settings -------------------------------------------------------------------------------------


def problems(**variables: str) -> str:
    with pytest.MonkeyPatch.context() as env:
        for name, value in variables.items():
            env.setenv(name, value)
        with pytest.raises(SettingsError) as stopped:
            load_settings(needs=frozenset())
    return str(stopped.value)


@each("raw", ["8", "24:00", "08:60", "8am", "08:00:00", "-1:00", "\u0660\u0668:00"])
def test_a_wrong_hour_stops_the_start(raw: str) -> None:
    says = "ALERT_SUMMARY_AT: must be a time of the day, such as 08:00"
    assert says in problems(ALERT_SUMMARY_AT=raw)


@each(("raw", "clock"), [("08:00", time(8)), ("8:05", time(8, 5)), ("23:59", time(23, 59))])
def test_the_hour_is_read(raw: str, clock: time) -> None:
    with pytest.MonkeyPatch.context() as env:
        env.setenv("ALERT_SUMMARY_AT", raw)
        env.setenv("ALERT_WEBHOOK_URL", "https://hooks.slack.example/x")
        env.setenv("ALERT_FORMAT", "slack")  # so no secret is needed
        settings = load_settings(needs=frozenset())
    assert (settings.alert_summary_at, settings.alert_format) == (clock, "slack")


@each(
    ("variables", "says"),
    [
        ({"ALERT_SUMMARY_AT": "08:00"}, "ALERT_WEBHOOK_URL: is not set, and ALERT_SUMMARY_AT is"),
        ({"ALERT_FORMAT": "teams"}, "ALERT_FORMAT: must be one of standard, slack"),
        (
            {"ALERT_FORMAT": "standard", "ALERT_WEBHOOK_URL": "https://a.example"},
            "ALERT_WEBHOOK_SECRET: is not set, and ALERT_WEBHOOK_URL is",
        ),
    ],
)
def test_settings_that_do_not_go_together_stop_the_start(
    variables: dict[str, str], says: str
) -> None:
    assert says in problems(**variables)
