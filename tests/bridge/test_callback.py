"""What CallKaro tells of calls: taken in by the web process, matched with deliveries in Redis."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from support import (
    CALL_BACK,
    LONGEST_S,
    Bridge,
    Web,
    each,
    free_port,
    keys_of,
    lead,
)
from support.ringing import at_rest

from config.settings import MAX_BODY_BYTES
from schemas.delivery import Status
from schemas.expression import Expression
from schemas.records import Move
from schemas.settings import Settings
from simulator import Simulator
from simulator.outcomes import call_ended
from store import Store

OpenWeb = Callable[[Settings], Web]
MakeSettings = Callable[..., Settings]
RunDrain = Callable[..., Any]

TOKEN, NEXT_TOKEN = "a-callback-token", "the/next one"
CALL = "/call/outbound"
# Deliberately lifelike: none of it may be in a log.
NAME, NUMBER = "Zebedaiah", "9812345678"


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(CALL_BACK, callkaro_webhook_tokens=(TOKEN, NEXT_TOKEN))


def told(
    call_sid: str | None = None, delivery: str | None = None, **more: object
) -> dict[str, object]:
    """Return what CallKaro posts of a call that we know only so much of."""
    data: dict[str, object] = {"hangup_reason": "CLIENT_INITIATED", "try_count": 0, **more}
    if call_sid:
        data["callSid"] = call_sid
    if delivery:
        data["call_metadata"] = {"bridge_delivery_id": delivery}
    return {"event": "call_ended", "data": data}


def tell(web: Web, body: object, token: str = TOKEN) -> Any:
    """Post what CallKaro posts."""
    headers = {"Content-Type": "application/json"}
    return web.client.post(f"/callbacks/callkaro/{token}", data=json.dumps(body), headers=headers)


def became(web: Web, body: object) -> str:
    """Post what CallKaro posts and what is surely answered 200; return what became of it."""
    answer = tell(web, body)
    assert answer.status_code == 200, answer.text
    assert answer.json.keys() == {"status"}
    word: str = answer.json["status"]
    return word


def shown(web: Web, delivery: str) -> Any:
    return web.get(f"/api/deliveries/{delivery}").json


def called(web: Web, settings: Settings, run_drain: RunDrain, phone: str = "+919876543210") -> str:
    """Return a delivery whose call CallKaro has accepted."""
    [delivery] = web.send("website", lead(phone))
    run_drain(settings)
    assert shown(web, delivery)["status"] == "delivered"
    return delivery


# --- with its delivery --------------------------------------------------------------------------


def test_an_outcome_is_kept_with_its_delivery_though_no_worker_runs(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    delivery = called(web, settings, run_drain)
    [call] = simulator.state.calls

    assert became(web, call_ended(call)) == "stored"

    found = shown(web, delivery)
    [outcome] = found["outcomes"]
    assert found["status"] == "delivered"
    assert (outcome["call_sid"], outcome["try_count"]) == (call.call_sid, 0)
    assert (outcome["result"], outcome["final"]) == ("connected", True)
    assert (outcome["duration_s"], outcome["post_call"]) == (42, {"interested": "yes"})
    assert outcome["ended_at"].endswith("Z")


def test_workers_at_rest_are_told_of_an_outcome_but_of_no_wrong_token(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    called(web, settings, run_drain)
    [call] = simulator.state.calls

    with at_rest(settings.redis_url) as is_rung:
        tell(web, call_ended(call), "a-wrong-token")
        assert not is_rung()
        assert became(web, call_ended(call)) == "stored"
        assert is_rung()


def test_an_outcome_that_is_sent_twice_is_kept_once(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    delivery = called(web, settings, run_drain)
    [call] = simulator.state.calls

    assert became(web, call_ended(call)) == "stored"
    before = shown(web, delivery)
    assert became(web, call_ended(call, {"call_duration": 9})) == "duplicate"
    assert shown(web, delivery) == before


def test_redials_are_a_list_and_the_last_is_final(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    delivery = called(web, settings, run_drain)
    [call] = simulator.state.calls
    for number, more in ((1, True), (0, True), (2, False)):
        away = {"try_count": number, "next_call_scheduled": more, "hangup_reason": "USER_REJECTED"}
        assert became(web, call_ended(call, away)) == "stored"

    outcomes = shown(web, delivery)["outcomes"]
    assert [(one["try_count"], one["final"], one["result"]) for one in outcomes] == [
        (0, False, "not_reached"),
        (1, False, "not_reached"),
        (2, True, "not_reached"),
    ]


def test_the_call_sid_finds_the_delivery_where_the_metadata_does_not(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    delivery = called(web, settings, run_drain)
    [call] = simulator.state.calls

    assert became(web, call_ended(call, {"call_metadata": None})) == "stored"
    assert became(web, call_ended(call, {"call_metadata": "?", "try_count": 1})) == "stored"
    assert len(shown(web, delivery)["outcomes"]) == 2


def test_our_id_counts_before_the_call_sid(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    mine, other = called(web, settings, run_drain), called(web, settings, run_drain)
    other_sid = shown(web, other)["call_sid"]

    assert became(web, told(other_sid, mine)) == "stored"

    assert len(shown(web, mine)["outcomes"]) == 1
    assert shown(web, other)["outcomes"] == []


# --- proof of acceptance ------------------------------------------------------------------------


def test_an_outcome_that_comes_before_our_own_settle_proves_acceptance(
    web: Web, store: Store
) -> None:
    [delivery] = web.send("website", lead())
    [claim] = store.claim(1, lease_s=60).claims
    lease = claim.delivery.lease
    attempt = (lease, {"number": lease, "at": "2026-01-01T00:00:00Z"})
    begun = Move(id=delivery, to=Status.SENDING, lease=lease, attempt=attempt)
    assert store.move([begun]) == ["ok"]

    assert became(web, told("sid-1", delivery)) == "stored"

    found = shown(web, delivery)
    assert (found["status"], found["call_sid"]) == ("delivered", "sid-1")
    late = Move(id=delivery, to=Status.UNKNOWN, lease=lease, attempt=attempt)
    assert store.move([late]) != ["ok"]
    own = Move(
        id=delivery, to=Status.DELIVERED, lease=lease, attempt=attempt, fields={"call_sid": "sid-1"}
    )
    assert store.move([own]) == ["ok"]
    found = shown(web, delivery)
    assert (found["status"], found["call_sid"], len(found["outcomes"])) == ("delivered", "sid-1", 1)


def test_an_outcome_cancels_a_retry(
    web: Web, store: Store, settings: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(503, path=CALL, times=1)
    [delivery] = web.send("website", lead())
    run_drain(settings)
    assert shown(web, delivery)["status"] == "retrying"

    assert became(web, told("sid-1", delivery)) == "stored"

    found = shown(web, delivery)
    assert (found["status"], found["reason"], found["next_attempt_at"]) == ("delivered", None, None)
    assert web.get("/api/status").json["waiting"] == 0
    run_drain(settings)
    assert simulator.state.calls == []


@pytest.mark.parametrize("how", ["queued", "held", "unknown", "failed", "cancelled"])
def test_an_outcome_proves_acceptance_in_every_status(
    web: Web,
    store: Store,
    settings: Settings,
    simulator: Simulator,
    run_drain: RunDrain,
    how: str,
) -> None:
    answers: dict[str, dict[str, Any]] = {"unknown": {"cut": "after"}, "failed": {"status": 400}}
    if how in answers:
        simulator.state.behave(path=CALL, times=1, **answers[how])
    if how == "held":
        store.pause("all", reason="person", message="")
    [delivery] = web.send("website", lead())
    if how == "cancelled":
        store.move([Move(id=delivery, to=Status.CANCELLED)])
    elif how != "queued":
        run_drain(settings)
    assert shown(web, delivery)["status"] == how
    calls = len(simulator.state.calls)

    assert became(web, told("sid-1", delivery)) == "stored"

    assert shown(web, delivery)["status"] == "delivered"
    store.resume("all")
    run_drain(settings)
    assert len(simulator.state.calls) == calls
    assert shown(web, delivery)["status"] == "delivered"


@pytest.mark.parametrize("reason", ["DELETED_SCH_CALL_ALL", "DELETED_SCH_CALL_ONE"])
def test_a_call_that_callkaro_dropped_is_cancelled(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain, reason: str
) -> None:
    delivery = called(web, settings, run_drain)
    [call] = simulator.state.calls

    assert became(web, call_ended(call, {"hangup_reason": reason})) == "stored"

    found = shown(web, delivery)
    assert (found["status"], found["reason"]) == ("cancelled", "by_callkaro")
    assert found["outcomes"][0]["result"] == "cancelled"


def test_an_outcome_of_the_first_call_does_not_settle_the_second(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    delivery = called(web, settings, run_drain)
    [call] = simulator.state.calls
    bearer = {"Authorization": "Bearer an-api-token-of-the-tests"}
    path = f"/api/deliveries/{delivery}/retry"
    assert web.client.post(path, json={"call_again": True}, headers=bearer).status_code == 200

    assert became(web, call_ended(call)) == "stored"
    assert shown(web, delivery)["status"] == "queued"
    run_drain(settings)

    assert len(simulator.state.calls) == 2
    assert shown(web, delivery)["call_sid"] == simulator.state.calls[1].call_sid


# --- of a call that is not known (yet) ----------------------------------------------------------


def test_an_outcome_of_an_unknown_call_waits_for_its_delivery(
    web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    accepted = json.dumps({"status": "done", "message": "Call queued", "call_sid": "sid-1"})
    simulator.state.behave(path=CALL, body=accepted, times=1)

    assert became(web, told("sid-1")) == "kept"
    assert became(web, told("sid-1")) == "duplicate"
    assert became(web, told("sid-1", try_count=1)) == "kept"
    [delivery] = web.send("website", lead())
    assert shown(web, delivery)["outcomes"] == []
    run_drain(settings)

    found = shown(web, delivery)
    assert (found["status"], found["call_sid"]) == ("delivered", "sid-1")
    assert [one["try_count"] for one in found["outcomes"]] == [0, 1]
    assert became(web, told("sid-1")) == "duplicate"


def test_a_call_that_is_not_ours_is_kept_apart_and_not_for_ever(web: Web, store: Store) -> None:
    kept = keys_of(store)

    assert became(web, told("sid-of-another")) == "kept"

    [key] = keys_of(store) - kept
    assert 29 * 86400 < store.redis.ttl(key) <= 30 * 86400


def test_what_is_kept_of_one_call_is_bounded(
    web: Web, settings: Settings, run_drain: RunDrain
) -> None:
    delivery = called(web, settings, run_drain)

    words = {became(web, told("sid-1", delivery, try_count=number)) for number in range(51)}

    assert words == {"stored", "full"}
    assert len(shown(web, delivery)["outcomes"]) == 50


# --- what is no outcome -------------------------------------------------------------------------


@each(
    "body",
    [
        {"event": "call_started", "data": {"callSid": "sid-1"}},
        {"event": "call_ended"},
        {"event": "call_ended", "data": {}},
        {"event": "call_ended", "data": {"callSid": None, "call_metadata": {"a": "b"}}},
        {},
        [],
        [{"event": "call_ended", "data": {"callSid": "sid-1"}}],
        "call_ended",
        7,
        None,
    ],
)
def test_what_tells_of_no_call_is_ignored(web: Web, store: Store, body: object) -> None:
    kept = keys_of(store)

    assert became(web, body) == "ignored"
    assert keys_of(store) == kept


@each("raw", [b"", b"  ", b"{", b"a=b", b"\xff", b"[" * 100 + b"]" * 100])
def test_what_is_no_json_is_400(web: Web, store: Store, raw: bytes) -> None:
    kept = keys_of(store)
    for kind in ("application/json", "text/html", ""):
        headers = {"Content-Type": kind} if kind else {}
        answer = web.client.post(f"/callbacks/callkaro/{TOKEN}", data=raw, headers=headers)
        assert (answer.status_code, answer.json["error"]) == (400, "bad_payload")
    assert keys_of(store) == kept


def test_json_by_any_other_name_is_read(web: Web) -> None:
    raw = json.dumps(told("sid-1"))
    for kind in ("application/x-www-form-urlencoded", "text/html", "nonsense"):
        answer = web.client.post(
            f"/callbacks/callkaro/{TOKEN}", data=raw, headers={"Content-Type": kind}
        )
        assert answer.status_code == 200


def test_a_body_over_the_limit_is_413(web: Web) -> None:
    answer = web.client.post(f"/callbacks/callkaro/{TOKEN}", data=b" " * (MAX_BODY_BYTES + 1))

    assert (answer.status_code, answer.json["error"]) == (413, "too_large")


# --- the token ----------------------------------------------------------------------------------


def test_only_the_token_opens_the_door(web: Web, store: Store) -> None:
    kept = keys_of(store)
    for token in ("wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "%20", f"{TOKEN}/x", "%FF", "é"):
        answer = tell(web, told("sid-1"), token)
        assert (answer.status_code, answer.json["error"]) == (404, "not_found")
        assert TOKEN not in answer.text
    assert web.client.post("/callbacks/callkaro/", json=told("sid-1")).status_code == 404
    assert keys_of(store) == kept
    # Two, while one is replaced; with the slash of a person who pasted the address.
    for token in (TOKEN, "the/next%20one", "the%2Fnext%20one", f"{TOKEN}/", f"{TOKEN}//"):
        assert tell(web, told("sid-1"), token).status_code == 200


@pytest.mark.parametrize("tokens", [(), ("",), (" ",)])
def test_without_a_token_there_is_no_door(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, tokens: tuple[str, ...]
) -> None:
    web = open_web(make_settings(callkaro_webhook_tokens=tokens))
    kept = keys_of(store)

    for token in ("x", "%20", "None", "()"):
        assert tell(web, told("sid-1"), token).status_code == 404
    assert keys_of(store) == kept


def test_a_wrong_token_is_refused_before_the_body_is_looked_at(web: Web) -> None:
    assert web.client.post("/callbacks/callkaro/wrong", data=b"{").status_code == 404


@pytest.mark.parametrize("half", [rb"\ud83d", rb"\uDE00 ", rb"\ud83d\u0041"])
def test_half_an_emoji_in_an_outcome_costs_nothing_of_it(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    half: bytes,
) -> None:
    stop = Expression.of("contains(disposition_reason, 'never again')")
    settings = make_settings(CALL_BACK, callkaro_webhook_tokens=(TOKEN,), suppress_when=stop)
    web = open_web(settings)
    delivery = called(web, settings, run_drain)
    [call] = simulator.state.calls
    said = {"transcription": "User: hello HALF", "disposition_reason": "HALF never again"}
    raw = json.dumps(call_ended(call, {**said, "post_call": {"HALF": "HALF"}})).encode()

    answer = web.client.post(f"/callbacks/callkaro/{TOKEN}", data=raw.replace(b"HALF", half))

    assert (answer.status_code, answer.json) == (200, {"status": "stored"})
    [outcome] = shown(web, delivery)["outcomes"]
    assert "hello \ufffd" in outcome["transcription"]
    assert all("\ufffd" in text for text in (*outcome["post_call"], *outcome["post_call"].values()))
    assert store.suppression(store.phone_key("+919876543210"))


def test_a_call_that_ended_for_good_is_not_deleted_when_it_suppresses_its_number(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    redialled = CALL_BACK.replace(
        "[route.request]", "[route.request]\nnumber_of_retries = {value = 2}"
    )
    stop = Expression.of("disposition_reason == 'stop'")
    settings = make_settings(redialled, callkaro_webhook_tokens=(TOKEN,), suppress_when=stop)
    web = open_web(settings)
    delivery = called(web, settings, run_drain)
    [call] = simulator.state.calls

    assert became(web, call_ended(call, {"disposition_reason": "stop"})) == "stored"

    run_drain(settings)
    one = shown(web, delivery)
    assert store.suppression(store.phone_key("+919876543210"))
    assert (one["status"], one["outcome"]["is_final"]) == ("delivered", True)
    assert simulator.state.deleted == set()


def test_no_log_line_carries_the_token_or_what_was_said(
    capsys: pytest.CaptureFixture[str],
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(CALL_BACK, callkaro_webhook_tokens=(TOKEN,), log_level="DEBUG")
    web = open_web(settings)
    delivery = called(web, settings, run_drain, f"+91{NUMBER}")
    [call] = simulator.state.calls
    said = {
        "transcription": f"I am {NAME}, {NUMBER}",
        "post_call": {"name": NAME},
        "disposition_reason": NAME,
    }
    answers = [
        tell(web, call_ended(call, said)),
        tell(web, told(f"sid-{NAME}", NUMBER, **said)),
        tell(web, {"event": NAME, "data": {NAME: NUMBER}}),
        tell(web, told("sid-1"), f"{TOKEN}-{NAME}"),
        web.client.post(f"/callbacks/callkaro/{TOKEN}", data=f'{{"{NAME}": '),
        web.client.get(f"/callbacks/callkaro/{TOKEN}"),
    ]
    store.redis.hset(f"bridge:delivery:{delivery}", "outcomes", NAME)  # so that the next one breaks
    answers.append(tell(web, call_ended(call, {**said, "try_count": 1})))

    assert [one.status_code for one in answers] == [200, 200, 200, 404, 400, 405, 503]
    logged = "".join(capsys.readouterr())
    for word in ("received", "ignored", "rejected", "unstored"):
        assert f'"event": "outcome.{word}"' in logged
    line = next(json.loads(one) for one in logged.splitlines() if "outcome.received" in one)
    assert {name: line[name] for name in ("became", "delivery", "result", "final")} == {
        "became": "stored",
        "delivery": delivery,
        "result": "connected",
        "final": True,
    }
    for secret in (TOKEN, NAME, NUMBER, NUMBER[:5]):
        assert secret not in logged, secret
        assert all(secret not in answer.text for answer in answers), secret


@pytest.mark.slow
def test_the_access_log_does_not_show_the_token(
    start_bridge: Callable[..., Bridge], simulator: Simulator
) -> None:
    bridge = start_bridge(
        own_web=True,
        web_processes=1,
        CALLKARO_WEBHOOK_TOKEN=TOKEN,
        GUNICORN_CMD_ARGS="--access-logfile -",
    )
    [delivery] = bridge.send("website", lead())
    bridge.await_status(delivery, "delivered")

    answered = simulator.end_call(
        f"{bridge.url}/callbacks/callkaro/{TOKEN}", delivery_id=delivery, try_count=0
    )
    wrong = bridge.session.post(
        f"{bridge.url}/callbacks/callkaro/{TOKEN}x", json={}, timeout=LONGEST_S
    )

    assert (answered, wrong.status_code) == (200, 404)
    assert len(bridge.get(f"/api/deliveries/{delivery}")["outcomes"]) == 1
    bridge.stop()
    log = bridge.log("web")
    answers = [json.loads(line) for line in log.splitlines() if "request.answered" in line]
    posted = [
        one["status_code"] for one in answers if one["rule"] == "/callbacks/callkaro/<path:token>"
    ]
    assert sorted(posted) == [200, 404]
    assert "outcome.received" in log
    assert TOKEN not in log


# --- when Redis is away -------------------------------------------------------------------------


def test_without_redis_callkaro_is_asked_to_come_again(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    away = f"redis://127.0.0.1:{free_port()}/0"
    web = open_web(make_settings(redis_url=away, callkaro_webhook_tokens=(TOKEN,)))

    answer = tell(web, told("sid-1"))

    assert (answer.status_code, answer.json["error"]) == (503, "store_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert tell(web, told("sid-1"), "wrong").status_code == 404


def test_a_full_redis_takes_outcomes_all_the_same(
    web: Web, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    delivery = called(web, settings, run_drain)
    store.redis.config_set("maxmemory", store.persistence().used_bytes or 0)

    answer = tell(web, call_ended(simulator.state.calls[0]))

    store.redis.config_set("maxmemory", 0)
    assert (answer.status_code, answer.json) == (200, {"status": "stored"})
    assert len(shown(web, delivery)["outcomes"]) == 1


# --- the token in a header ----------------------------------------------------------------------


@each(
    ("headers", "is_ours"),
    [
        ({"Authorization": f"Bearer {TOKEN}"}, True),
        ({"Authorization": f"bearer  {NEXT_TOKEN} "}, True),
        ({"X-Webhook-Token": TOKEN}, True),
        ({"X-Webhook-Token": NEXT_TOKEN}, True),
        ({"X-Webhook-Token": "wrong", "Authorization": f"Bearer {TOKEN}"}, True),
        ({}, False),
        ({"X-Webhook-Token": ""}, False),
        ({"X-Webhook-Token": TOKEN[:-1]}, False),
        ({"Authorization": TOKEN}, False),
        ({"Authorization": f"Basic {TOKEN}"}, False),
        ({"Authorization": "Bearer "}, False),
        ({"Authorization": f"Bearer {TOKEN},{NEXT_TOKEN}"}, False),
    ],
)
def test_a_token_in_a_header_is_answered_as_one_in_the_path(
    open_web: OpenWeb, settings: Settings, headers: dict[str, str], is_ours: bool
) -> None:
    web = open_web(settings)
    token = TOKEN if is_ours else "wrong"
    for body in (told("c-header"), {"event": "other"}, "no object", []):
        tell(web, body, token)  # the same again is a duplicate, also by header
        by_path = tell(web, body, token)
        by_header = web.client.post("/callbacks/callkaro", json=body, headers=headers)
        assert (by_header.status_code, by_header.json) == (by_path.status_code, by_path.json)
        assert by_header.status_code == (404 if not is_ours else by_path.status_code)
        with_slash = web.client.post("/callbacks/callkaro/", json=body, headers=headers)
        assert (with_slash.status_code, with_slash.json) == (by_path.status_code, by_path.json)
    broken = web.client.post("/callbacks/callkaro", data=b"{", headers=headers)
    assert broken.status_code == (400 if is_ours else 404)


def test_a_bridge_without_a_token_takes_none_in_a_header(
    open_web: OpenWeb, make_settings: MakeSettings
) -> None:
    web = open_web(make_settings(CALL_BACK, callkaro_webhook_tokens=()))
    for headers in ({}, {"X-Webhook-Token": ""}, {"Authorization": "Bearer x"}):
        answer = web.client.post("/callbacks/callkaro", json=told("c"), headers=headers)
        assert answer.status_code == 404
