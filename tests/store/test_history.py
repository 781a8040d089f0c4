"""What a number was called for: again_after, the caps, and how two events give one call."""

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support import AGENT, API_TOKEN, WEBSITE, Web, lead, make_due, route, until
from support.storing import claim, to_sending

from schemas.delivery import Delivery
from schemas.records import HistoryCheck
from schemas.settings import Settings
from simulator import Simulator
from store import Store
from store.base import P

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
RunDrain = Callable[..., Any]

CALL = "/call/outbound"
ONE, OTHER = "+919876543210", "+919812345678"
AGAIN = WEBSITE + route(again_after='"24h"')


def of(store: Store, delivery: str) -> Delivery:
    found = store.delivery(delivery)
    assert found is not None
    return found


def ended(store: Store, *ids: str) -> Counter[tuple[str, str | None]]:
    found = [of(store, one) for one in ids]
    return Counter((str(one.status), one.reason) for one in found)


def order(web: Web, path: str, body: object = None) -> Any:
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    answer = web.client.post(path, json=body or {}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json


def put_back(store: Store, number: str, seconds: int) -> None:
    """Let what a number was called for be so much longer ago."""
    key = f"{P}number:{store.phone_key(number)}"
    for call, value in store.redis.hgetall(key).items():
        at_ms, keep_ms, rest = value.split(" ", 2)
        back = seconds * 1000
        store.redis.hset(key, call, f"{int(at_ms) - back} {int(keep_ms) - back} {rest}")


@pytest.fixture
def within_a_day() -> None:
    """Let the day not end in the midst of the test where calls are counted by day, in India."""
    until(lambda: f"{datetime.now(ZoneInfo('Asia/Kolkata')):%H:%M}" != "23:59", what="the new day")


def test_eight_workers_make_twenty_calls_of_two_hundred_events_for_twenty_numbers(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(AGAIN)
    web = open_web(settings)
    numbers = [f"+9198765432{place:02}" for place in range(20)]
    ids = [
        one for place in range(200) for one in web.send("website", lead(phone=numbers[place % 20]))
    ]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: run_drain(settings), range(8)))

    assert ended(store, *ids) == {("delivered", None): 20, ("skipped", "called_recently"): 180}
    assert sorted(call.to_number for call in simulator.state.calls) == numbers


@pytest.mark.parametrize(
    ("ago_s", "status"), [(3600, "skipped"), (86_100, "skipped"), (86_410, "delivered")]
)
def test_a_number_is_called_again_once_its_time_is_over(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    run_drain: RunDrain,
    ago_s: int,
    status: str,
) -> None:
    settings = make_settings(AGAIN)
    web = open_web(settings)
    web.send("website", lead(phone=ONE))
    run_drain(settings)
    put_back(store, ONE, ago_s)

    [second] = web.send("website", lead(phone=ONE))
    run_drain(settings)

    assert of(store, second).status == status


def test_only_the_routes_own_calls_count_for_again_after(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: RunDrain
) -> None:
    both = WEBSITE + route(again_after='"1h"') + route("call too", again_after='"1h"')
    settings = make_settings(both)
    web = open_web(settings)

    ids = web.send("website", lead(phone=ONE))
    run_drain(settings)

    assert ended(store, *ids) == {("delivered", None): 2}


@pytest.mark.parametrize(
    ("answer", "first", "second"),
    [
        ({"status": 400}, ("failed", "refused"), ("delivered", None)),
        ({"status": 429}, ("retrying", "busy"), ("delivered", None)),
        ({"status": 502}, ("unknown", "no_answer"), ("skipped", "called_recently")),
        ({"cut": "after"}, ("unknown", "no_answer"), ("skipped", "called_recently")),
    ],
    ids=str,
)
def test_a_number_is_free_again_only_where_its_call_surely_was_not_accepted(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    answer: dict[str, Any],
    first: tuple[str, str | None],
    second: tuple[str, str | None],
) -> None:
    settings = make_settings(AGAIN)
    web = open_web(settings)
    simulator.state.behave(path=CALL, times=1, **answer)
    [one] = web.send("website", lead(phone=ONE))
    run_drain(settings)
    assert ended(store, one) == {first: 1}

    [two] = web.send("website", lead(phone=ONE))
    run_drain(settings)

    assert ended(store, two) == {second: 1}


def test_who_lost_its_number_while_it_was_retrying_does_not_ring(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(AGAIN)
    web = open_web(settings)
    simulator.state.behave(path=CALL, times=1, status=429)
    [one] = web.send("website", lead(phone=ONE))
    run_drain(settings)
    [two] = web.send("website", lead(phone=ONE))
    run_drain(settings)

    make_due(store, one)
    run_drain(settings)

    assert ended(store, one, two) == {("skipped", "called_recently"): 1, ("delivered", None): 1}
    assert len(simulator.state.calls_to(ONE)) == 1


def test_a_retry_of_its_own_is_no_second_call(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    """on_unknown = "call_again": it keeps its number, and that does not stop itself."""
    settings = make_settings(WEBSITE + route(again_after='"24h"', on_unknown='"call_again"'))
    web = open_web(settings)
    simulator.state.behave(path=CALL, times=1, status=502)
    [one] = web.send("website", lead(phone=ONE))
    run_drain(settings)
    [two] = web.send("website", lead(phone=ONE))
    run_drain(settings)
    assert ended(store, two) == {("skipped", "called_recently"): 1}

    make_due(store, one)
    run_drain(settings)

    assert ended(store, one) == {("delivered", None): 1}


def test_an_outcome_that_proves_acceptance_takes_the_number_back(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(AGAIN, callkaro_webhook_tokens=("a-token",))
    web = open_web(settings)
    # CallKaro's own 500: taken as its word that nothing was queued, and then it rang all the same.
    simulator.state.behave(path=CALL, times=1, status=500)
    [one] = web.send("website", lead(phone=ONE))
    run_drain(settings)
    assert of(store, one).status == "retrying"
    told = {"callSid": "c1", "call_metadata": {"bridge_delivery_id": one}, "try_count": 0}
    web.client.post("/callbacks/callkaro/a-token", json={"event": "call_ended", "data": told})
    assert of(store, one).status == "delivered"

    [two] = web.send("website", lead(phone=ONE))
    run_drain(settings)

    assert ended(store, two) == {("skipped", "called_recently"): 1}


def test_a_person_who_says_call_again_overrides_what_guards_the_number(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(AGAIN, max_per_number=1)
    web = open_web(settings)
    web.send("website", lead(phone=ONE))
    run_drain(settings)
    [two] = web.send("website", lead(phone=ONE))
    run_drain(settings)

    order(web, f"/api/deliveries/{two}/retry")
    run_drain(settings)
    assert ended(store, two) == {("skipped", "called_recently"): 1}, "it was only to be tried"
    answer = order(web, f"/api/deliveries/{two}/retry", {"call_again": True})
    run_drain(settings)

    assert answer["call_again"] is True
    assert ended(store, two) == {("delivered", None): 1}
    assert of(store, two).call_again, "it stays on record"
    assert len(simulator.state.calls_to(ONE)) == 2


@pytest.mark.usefixtures("within_a_day")
def test_a_number_has_its_cap_over_all_routes(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: RunDrain
) -> None:
    routes = WEBSITE + "".join(route(f"call {place}") for place in range(4))
    settings = make_settings(routes, max_per_number=3)
    web = open_web(settings)

    ids = web.send("website", lead(phone=ONE)) + web.send("website", lead(phone=OTHER))
    run_drain(settings)

    assert ended(store, *ids) == {("delivered", None): 6, ("skipped", "day_cap"): 2}
    [message] = {of(store, one).message for one in ids if of(store, one).reason == "day_cap"}
    assert (
        message == "The number was called 3 times that day, the maximum (MAX_PER_NUMBER_PER_DAY)."
    )


@pytest.mark.usefixtures("within_a_day")
def test_a_route_has_its_cap_by_day(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(WEBSITE + route(max_per_day="2") + route("free"))
    web = open_web(settings)
    simulator.state.behave(path=CALL, times=2, status=400, to_number="+919876543200")
    refused = web.send("website", lead(phone="+919876543200"))  # spends nothing of the cap
    run_drain(settings)

    ids = [
        one
        for place in range(1, 5)
        for one in web.send("website", lead(phone=f"+91987654320{place}"))
    ]
    run_drain(settings)

    assert ended(store, *refused) == {("failed", "refused"): 2}
    capped = [one for one in ids if of(store, one).route == "call back"]
    assert ended(store, *capped) == {("delivered", None): 2, ("skipped", "day_cap"): 2}
    rest = [one for one in ids if one not in capped]
    assert ended(store, *rest) == {("delivered", None): 4}
    # Money: not even a person's "call again" goes past it.
    [one, _] = [one for one in capped if of(store, one).reason == "day_cap"]
    order(web, f"/api/deliveries/{one}/retry", {"call_again": True})
    run_drain(settings)
    assert (
        of(store, one).message == "The route has made 2 calls that day, its maximum (max_per_day)."
    )


def test_a_planned_call_counts_when_it_rings(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: RunDrain
) -> None:
    fields = {"to_number": '"phone"', "agent_id": f'{{ value = "{AGENT}" }}', "schedule_at": '"at"'}
    settings = make_settings(WEBSITE + route(again_after='"2h"', max_per_day="2", request=fields))
    web = open_web(settings)
    india = datetime.now(UTC).astimezone(ZoneInfo("Asia/Kolkata")) + timedelta(days=2)
    noon = india.replace(hour=12, minute=0, second=0, microsecond=0, tzinfo=None)

    def at(**later: int) -> str:
        [made] = web.send("website", lead(at=(noon + timedelta(**later)).isoformat()))
        run_drain(settings)
        return str(of(store, made).reason or of(store, made).status)

    assert at() == "delivered"
    assert at(hours=1) == "called_recently"
    assert at(hours=-1) == "called_recently", "an hour before the one that is planned"
    assert at(hours=3) == "delivered"
    assert at(hours=6) == "day_cap", "the third of that day"
    assert at(days=1) == "delivered"


def test_a_call_that_callkaro_dropped_before_its_time_frees_its_number(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: RunDrain
) -> None:
    fields = {"to_number": '"phone"', "agent_id": f'{{ value = "{AGENT}" }}', "schedule_at": '"at"'}
    settings = make_settings(WEBSITE + route(again_after='"9d"', request=fields))
    web = open_web(settings)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT12:00:00")
    [one] = web.send("website", lead(at=tomorrow))
    run_drain(settings)
    order(web, f"/api/deliveries/{one}/cancel")
    run_drain(settings)
    assert of(store, one).status == "cancelled"

    [two] = web.send("website", lead(at=tomorrow))
    run_drain(settings)

    assert of(store, two).status == "delivered"


def test_history_that_can_not_be_read_forbids(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(AGAIN)
    web = open_web(settings)
    store.redis.hset(f"{P}number:{store.phone_key(ONE)}", "d:1", "yesterday")

    [one] = web.send("website", lead(phone=ONE))
    run_drain(settings)

    assert ended(store, one) == {("skipped", "called_recently"): 1}
    assert not simulator.state.calls


def test_a_dry_run_judges_the_history_and_takes_no_number(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(AGAIN)
    dry = make_settings(AGAIN, dry_run=True)
    web = open_web(settings)
    first = [web.send("website", lead(phone=ONE))[0] for _ in range(2)]
    run_drain(dry)
    assert ended(store, *first) == {("skipped", "dry_run"): 2}
    web.send("website", lead(phone=ONE))
    run_drain(settings)

    [last] = web.send("website", lead(phone=ONE))
    run_drain(dry)

    assert ended(store, last) == {("skipped", "called_recently"): 1}
    assert len(simulator.state.calls) == 1


def test_what_is_kept_of_a_number_has_an_end(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: RunDrain
) -> None:
    settings = make_settings(WEBSITE + route(again_after='"90d"', max_per_day="5"))
    open_web(settings).send("website", lead(phone=ONE))
    run_drain(settings)

    ttl_s = {
        key.split(":")[1]: store.redis.ttl(key)
        for pattern in (f"{P}number:*", f"{P}calls:*")
        for key in store.redis.scan_iter(pattern)
    }
    day = 86_400
    assert 89 * day < ttl_s["number"] <= 90 * day
    assert 3 * day < ttl_s["calls"] <= 6 * day


@pytest.mark.usefixtures("within_a_day")
def test_what_calls_again_by_itself_keeps_to_the_cap_of_its_number(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    routes = WEBSITE + route(on_unknown='"call_again"')
    settings = make_settings(routes, max_per_number=1)
    simulator.state.behave(path=CALL, times=1, status=502)
    [one] = open_web(settings).send("website", lead(phone=ONE))
    run_drain(settings)
    assert of(store, one).status == "retrying"

    make_due(store, one)
    run_drain(settings)

    assert ended(store, one) == {("skipped", "day_cap"): 1}
    assert len(simulator.state.requests_to(CALL)) == 1


def test_a_call_that_callkaro_did_not_dial_leaves_the_number_free(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(AGAIN, callkaro_webhook_tokens=("a-token",))
    web = open_web(settings)
    [one] = web.send("website", lead(phone=ONE))
    run_drain(settings)
    data = {"callSid": of(store, one).call_sid, "hangup_reason": "OUTSIDE_TRIGGER_WINDOW"}
    told = {"event": "call_ended", "data": data}
    assert web.client.post("/callbacks/callkaro/a-token", json=told).status_code == 200

    [two] = web.send("website", lead(phone=ONE))
    run_drain(settings)

    assert ended(store, two) == {("delivered", None): 1}


def test_a_call_that_callkaro_did_not_dial_leaves_the_number_free_though_its_answer_came_later(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(AGAIN, callkaro_webhook_tokens=("a-token",))
    web = open_web(settings)
    simulator.state.behave(path=CALL, times=1, latency_ms=2000)
    [one] = web.send("website", lead(phone=ONE))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_drain, settings)
        until(lambda: simulator.state.calls, what="the call")
        [call] = simulator.state.calls
        metadata = {"bridge_delivery_id": one}
        data = {"callSid": call.call_sid, "hangup_reason": "OUTSIDE_TRIGGER_WINDOW"}
        told = {"event": "call_ended", "data": {**data, "call_metadata": metadata}}
        assert web.client.post("/callbacks/callkaro/a-token", json=told).status_code == 200
        assert of(store, one).status == "delivered"
        assert of(store, one).attempts[-1].get("status_code") is None
        running.result()
    assert of(store, one).attempts[-1]["status_code"] == 200

    [two] = web.send("website", lead(phone=ONE))
    run_drain(settings)

    assert ended(store, two) == {("delivered", None): 1}


def test_what_a_number_was_called_for_long_ago_is_not_remembered_anew(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(AGAIN)
    web = open_web(settings)
    simulator.state.behave(path=CALL, times=1, status=502)
    [one] = web.send("website", lead(phone=ONE))
    run_drain(settings)
    rings = json.loads(store.redis.hget(f"{P}delivery:{one}", "number_claim"))
    past = {**rings, "keep_until_ms": 1, "at_ms": 1}
    store.redis.hset(f"{P}delivery:{one}", "number_claim", json.dumps(past))
    store.redis.delete(f"{P}number:{store.phone_key(ONE)}")  # its time was over

    order(web, f"/api/deliveries/{one}/resolve", {"as": "delivered"})

    assert not store.redis.exists(f"{P}number:{store.phone_key(ONE)}")


@pytest.mark.parametrize(("closes_in_s", "answer"), [(-1, "paused 0"), (60, "ok"), (None, "ok")])
def test_hours_that_end_while_a_call_waits_its_turn_are_asked_in_the_step_that_sends_it(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    closes_in_s: int | None,
    answer: str,
) -> None:
    [one] = open_web(make_settings(AGAIN)).send("website", lead(phone=ONE))
    lease, now = claim(store)[one], datetime.now(UTC)
    closes_at = now + timedelta(seconds=closes_in_s) if closes_in_s else None
    guard = HistoryCheck(phone=store.phone_key(ONE), person=None, rings_at=now, closes_at=closes_at)

    assert store.move([to_sending(one, lease, guard=guard)]) == [answer]
