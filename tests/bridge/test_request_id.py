"""The id of a request: from a webhook's answer to the log lines of its attempts."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from support import CALL_BACK, Web, as_bytes, lead, signed

from schemas.settings import Settings
from simulator import Simulator
from store import Store

MakeSettings = Callable[..., Settings]
RunDrain = Callable[..., Any]
OpenWeb = Callable[[Settings], Web]
GIVEN = "0f6c-Heroku_id-1"


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(CALL_BACK)


def post(web: Web, request_id: str, body: object, **signing: Any) -> Any:
    raw = as_bytes(body)
    headers = signed("website", raw, "http://localhost/webhooks/website", **signing)
    headers["X-Request-Id"] = request_id
    return web.client.post("/webhooks/website", data=raw, headers=headers)


def lines(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def test_one_grep_follows_a_webhook_to_its_attempts(
    capsys: pytest.CaptureFixture[str], open_web: OpenWeb, settings: Settings, run_drain: RunDrain
) -> None:
    web = open_web(settings)  # here, for logs go to what stdout is now
    answer = post(web, GIVEN, lead())
    run_drain(settings)

    assert answer.headers["X-Request-Id"] == GIVEN
    followed = [one for one in lines(capsys.readouterr().out) if one.get("request_id") == GIVEN]
    assert [one["event"] for one in followed] == ["webhook.accepted", "delivery.attempted"]
    assert followed[0]["duration_ms"] >= 0
    [event] = answer.json["events"]
    assert followed[1]["delivery"] == event["deliveries"][0]["id"]


def test_a_retry_has_the_id_of_the_webhook_too(
    capsys: pytest.CaptureFixture[str],
    open_web: OpenWeb,
    settings: Settings,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    web = open_web(settings)  # here, for logs go to what stdout is now
    simulator.state.behave(503, path="/call/outbound", times=1)
    post(web, GIVEN, lead())
    run_drain(settings, jitter=0)

    told = [one for one in lines(capsys.readouterr().out) if one["event"] == "delivery.attempted"]
    assert [(one["attempt"], one["request_id"]) for one in told] == [(1, GIVEN), (2, GIVEN)]


@pytest.mark.parametrize(
    "given",
    [
        "",
        "short",
        "x" * 65,
        "a b c d e f g",
        "919876543210",
        "98765-43210",
        "tel919876543210",
        "+919876543210",
        "né-à-paris",
    ],
)
def test_what_is_no_id_is_replaced(web: Web, given: str) -> None:
    answered = web.client.get("/healthz", headers={"X-Request-Id": given})
    again = web.client.get("/healthz", headers={"X-Request-Id": given})

    found = answered.headers["X-Request-Id"]
    assert len(found) == 32
    assert found != again.headers["X-Request-Id"]


def test_errors_and_refusals_are_answered_with_the_id(
    capsys: pytest.CaptureFixture[str], open_web: OpenWeb, settings: Settings
) -> None:
    web = open_web(settings)  # here, for logs go to what stdout is now
    forged = post(web, GIVEN, lead(), secret="a-wrong-one")
    unread = post(web, GIVEN, b"{")
    nowhere = web.client.get("/nowhere", headers={"X-Request-Id": GIVEN})
    unwelcome = web.client.get("/api/status", headers={"X-Request-Id": GIVEN})

    answers = (forged, unread, nowhere, unwelcome)
    assert [one.status_code for one in answers] == [401, 400, 404, 401]
    assert {one.headers["X-Request-Id"] for one in answers} == {GIVEN}
    rejected = [one for one in lines(capsys.readouterr().out) if one["event"] == "webhook.rejected"]
    assert [one["request_id"] for one in rejected] == [GIVEN, GIVEN]


def test_the_id_of_one_request_is_not_that_of_the_next(
    capsys: pytest.CaptureFixture[str], open_web: OpenWeb, settings: Settings
) -> None:
    web = open_web(settings)  # here, for logs go to what stdout is now
    post(web, GIVEN, lead())
    web.post("website", lead())

    first, second = (one["request_id"] for one in lines(capsys.readouterr().out))
    assert (first == GIVEN, second == GIVEN) == (True, False)


def test_an_event_of_an_older_release_has_none_and_is_delivered(
    capsys: pytest.CaptureFixture[str],
    open_web: OpenWeb,
    settings: Settings,
    store: Store,
    run_drain: RunDrain,
) -> None:
    web = open_web(settings)  # here, for logs go to what stdout is now
    [event] = post(web, GIVEN, lead()).json["events"]
    key = f"bridge:event:{event['id']}"
    kept = json.loads(str(store.redis.hget(key, "record")))
    del kept["request_id"]
    store.redis.hset(key, "record", json.dumps(kept))
    capsys.readouterr()

    run_drain(settings)

    [told] = [one for one in lines(capsys.readouterr().out) if one["event"] == "delivery.attempted"]
    assert (told["status"], "request_id" in told) == ("delivered", False)
