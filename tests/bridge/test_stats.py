"""GET /api/stats: what it answers, and what it refuses."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from support import AGENT, API_TOKEN, CALL_BACK, Web, each, lead

from rules.figures import WEEKDAYS
from schemas.figures import NAMES, By
from schemas.settings import Settings
from simulator import Simulator
from store import Store

MakeSettings = Callable[..., Settings]
RunDrain = Callable[..., Any]
ZONE = ZoneInfo("Asia/Kolkata")
TOKEN = "a-callback-token"


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(CALL_BACK, callkaro_webhook_tokens=(TOKEN,))


def stats(web: Web, query: str) -> dict[str, Any]:
    answer = web.get(f"/api/stats?{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


def end(web: Web, delivery_id: str, **data: Any) -> None:
    """Have CallKaro report how a call ended."""
    data = {"callSid": f"CA-{delivery_id}", "try_count": 0, **data}
    data["call_metadata"] = {"bridge_delivery_id": delivery_id}
    body = {"event": "call_ended", "data": data}
    assert web.client.post(f"/callbacks/callkaro/{TOKEN}", json=body).status_code == 200


@pytest.fixture
def called(web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain) -> list[str]:
    """Four leads: two connected, one of them converted; one in voicemail; one waits."""
    ids = [one for number in range(4) for one in web.send("website", lead(f"+91987654321{number}"))]
    run_drain(settings)
    ended = {"hangup_reason": "CLIENT_INITIATED", "versionId": "v1"}
    end(web, ids[0], **ended, call_duration=100, conversion_status=True)
    end(web, ids[1], **ended, call_duration=20)
    end(web, ids[2], hangup_reason="VOICEMAIL_DETECTED", call_duration=5)
    return ids


SUMS = {
    **dict.fromkeys(NAMES, 0),
    **{"events": 4, "accepted": 4, "dialled": 3, "ended": 3, "connected": 2, "voicemail": 1},
    **{"converted": 1, "talked_s": 125, "answer_rate": 2 / 3, "conversion_rate": 0.5},
}


@each(
    ("by", "keys"),
    [
        ("route", {"call back": 4}),
        ("source", {"website": 4}),
        ("campaign", {"none": 4}),
        ("agent", {AGENT: 4}),
        ("version", {"none": 2, "v1": 2}),
    ],
)
def test_figures_by_a_name(web: Web, called: list[str], by: str, keys: dict[str, int]) -> None:
    found = stats(web, f"by={by}")
    assert {one["key"]: one["events"] for one in found["items"]} == keys
    assert found["total"] == SUMS
    if len(keys) == 1:
        assert found["items"] == [{"key": next(iter(keys)), **SUMS}]


def test_figures_by_time_are_in_the_time_of_the_setting(
    web: Web, store: Store, settings: Settings
) -> None:
    web.send("website", lead())
    [delivery] = web.get("/api/deliveries").json["items"]
    at = datetime.fromisoformat(delivery["created_at"]).astimezone(ZONE)
    weekday = WEEKDAYS[at.weekday()]
    for by, key in {
        "day": f"{at:%Y-%m-%d}",
        "hour": f"{at:%H}",
        "weekday": weekday,
        "weekday_hour": f"{weekday} {at:%H}",
    }.items():
        assert [one["key"] for one in stats(web, f"by={by}")["items"]] == [key]


def test_without_figures_there_are_no_items_and_no_rates(web: Web) -> None:
    for by in By:
        found = stats(web, f"by={by}")
        assert found["items"] == []
        nothing = {**dict.fromkeys(NAMES, 0), "answer_rate": None, "conversion_rate": None}
        assert found["total"] == nothing


@each(
    ("query", "events"),
    [
        ("route=call%20back", 4),
        ("source=website", 4),
        ("campaign=none-such", 0),
        ("route=", 4),
        ("since={hour}", 4),
        ("until={hour}", 0),
        ("since={later}", 0),
        ("until={later}", 4),
        ("since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z", 0),
        ("since=0001-01-01T00:00:00Z", 4),
        ("until=9999-12-31T23:59:59Z", 4),
        ("since=9999-12-31T23:59:59Z", 0),
        ("until=0001-01-01T00:00:00Z", 0),
    ],
)
def test_figures_are_narrowed(web: Web, called: list[str], query: str, events: int) -> None:
    hour = datetime.now(UTC).astimezone(ZONE).replace(minute=0, second=0, microsecond=0)
    if datetime.now(UTC).astimezone(ZONE) - hour < timedelta(minutes=1):
        hour -= timedelta(hours=1)  # the calls may be of the hour before
    later = hour + timedelta(hours=2)
    query = query.format(hour=quote(hour.isoformat()), later=quote(later.isoformat()))
    assert stats(web, f"by=day&{query}")["total"]["events"] == events


@each(
    ("query", "part"),
    [
        ("", "by must be one of: route, source"),
        ("by=", "by must be one of"),
        ("by=minute", "by must be one of"),
        ("by=weekdays", "weekday"),
        ("by=day&route=call%20back&source=website", "at most one of"),
        ("by=day&source=website&campaign=b", "at most one of"),
        ("by=day&campaign=b&route=call%20back", "at most one of"),
        ("by=day&since=yesterday", "since must be a time"),
        ("by=day&until=12", "until must be a time"),
        ("by=day&status=failed", "Unknown filter: status"),
        ("by=day&route=call%20bakc", "There is no route with this name"),
        ("by=day&source=webiste", "There is no source with this name"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(web: Web, query: str, part: str) -> None:
    answer = web.get(f"/api/stats?{query}")
    assert (answer.status_code, answer.json["error"]) == (400, "bad_query"), answer.text
    assert part in answer.json["message"]


def test_it_needs_the_token(web: Web) -> None:
    assert API_TOKEN
    assert web.client.get("/api/stats?by=day").status_code == 401


def test_no_person_is_in_it(web: Web, called: list[str]) -> None:
    for by in By:
        text = web.get(f"/api/stats?by={by}").text
        assert "98765" not in text


def test_outcomes_are_counted_by_route_and_result(web: Web, called: list[str]) -> None:
    end(web, called[0], hangup_reason="USER_REJECTED")  # the same dial: the first one counts
    end(web, called[3], try_count=0, hangup_reason="USER_REJECTED", next_call_scheduled=True)
    end(web, called[3], try_count=1, hangup_reason="USER_UNAVAILABLE")
    text = web.get("/metrics").text
    for result, count in {
        **{"connected": 2, "voicemail": 1, "not_reached": 2, "wrong_number": 0, "failed": 0},
        **{"not_dialled": 0, "cancelled": 0, "unrecognised": 0},
    }.items():
        labels = f'{{result="{result}",route="call back"}}'
        assert f"callkaro_bridge_outcomes_total{labels} {count}.0" in text, result


def test_a_campaign_is_given_by_its_batch_id_its_name_or_as_none(
    open_web: Callable[[Settings], Web], make_settings: MakeSettings, run_drain: RunDrain
) -> None:
    named = 'campaign = { name = "Leads", period = "month" }'
    settings = make_settings(CALL_BACK.replace("[route.request]", f"{named}\n\n[route.request]", 1))
    web = open_web(settings)
    web.send("website", lead("+919876543210"))
    run_drain(settings)
    [campaign] = web.get("/api/campaigns").json["items"]
    for query, events in (
        (f"campaign={quote(campaign['batch_id'])}", 1),
        (f"campaign={quote(campaign['name'])}", 1),
        ("campaign=Leads", 1),
        ("campaign=Lead", 0),
        ("campaign=none", 0),
    ):
        assert stats(web, f"by=day&{query}")["total"]["events"] == events, query


def test_calls_without_a_campaign_are_those_of_none(web: Web, called: list[str]) -> None:
    assert stats(web, "by=day&campaign=none")["total"] == SUMS
