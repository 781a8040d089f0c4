"""Pauses, the breaker, and turns: what must not go out for now, and what goes first."""

from typing import Any

import pytest
from support import WEBSITE, Web, lead, make_due, move_back, route
from support.storing import a_delivery, accept, an_event, claim, put, status, to_sending

from schemas.delivery import CALLKARO, Reason, Status
from schemas.records import Move
from schemas.settings import Settings
from simulator import Simulator
from store import Store
from store.base import P

CALLS = "/call/outbound"
BREAKER = f"{P}breaker"
HOUR_MS = 3_600_000


def fail(store: Store, delivery_id: str, *, callkaro_ok: bool = False) -> None:
    """Have a claimed delivery's attempt end, well or not."""
    lease = store.delivery(delivery_id).lease
    assert store.move([to_sending(delivery_id, lease)]) == ["ok"]
    attempt = (1, {"number": 1})
    ended: dict[str, Any] = {"to": Status.RETRYING, "reason": Reason.BUSY, "wait_s": 900}
    if callkaro_ok:
        ended = {"to": Status.DELIVERED}
    move = Move(id=delivery_id, lease=lease, attempt=attempt, callkaro_ok=callkaro_ok, **ended)
    assert store.move([move]) == ["ok"]


def open_breaker(store: Store) -> int:
    """Open the breaker; return in how many ms CallKaro was to be probed.

    That is put off by an hour, so that it is not probed before a test lets it.
    """
    ids = [f"f{number}" for number in range(20)]
    put(store, *ids)
    claim(store)
    for one in ids:
        assert not store.redis.hexists(BREAKER, "open_ms")
        fail(store, one)
    open_ms, probe_ms = map(int, store.redis.hmget(BREAKER, "open_ms", "probe_ms"))
    store.redis.hincrby(BREAKER, "probe_ms", HOUR_MS)
    return probe_ms - open_ms


def let_probe(store: Store) -> None:
    """Let the time come at which CallKaro is probed."""
    store.redis.hset(BREAKER, "probe_ms", 1)


# --- pauses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["all", "callkaro", "source:website", "route:call back"])
def test_what_is_paused_is_held_and_goes_on_when_that_is_resumed(store: Store, scope: str) -> None:
    store.pause(scope, reason="person", message="Wait.")
    put(store, "d1")

    assert claim(store) == {}

    held = store.delivery("d1")
    assert (held.status, held.reason) == ("held", "paused")
    assert held.next_attempt_at is not None
    assert scope in held.message
    assert store.resume(scope) == 1
    assert claim(store).keys() == {"d1"}
    assert status(store, "d1") == "queued"
    assert [one.status for one in store.delivery("d1").timeline] == ["queued", "held", "queued"]


@pytest.mark.parametrize("scope", ["source:hubspot", "route:another"])
def test_a_pause_of_something_else_holds_nothing(store: Store, scope: str) -> None:
    store.pause(scope, reason="person", message="Wait.")
    put(store, "d1")

    assert claim(store).keys() == {"d1"}


def test_a_pause_stops_what_is_claimed_and_not_begun(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    store.pause("all", reason="person", message="Wait.")

    assert store.move([to_sending("d1", lease)]) == ["paused 0"]
    assert status(store, "d1") == "queued"


def test_two_pauses_hold_until_both_are_resumed(store: Store) -> None:
    for scope in ("all", "route:call back"):
        store.pause(scope, reason="person", message="Wait.")
    put(store, "d1")
    claim(store)

    store.resume("all")

    assert claim(store) == {}
    assert status(store, "d1") == "held"
    assert store.resume("route:call back") == 1
    assert claim(store).keys() == {"d1"}


def test_a_pause_keeps_its_first_reason_and_only_one_can_be_ended(store: Store) -> None:
    assert store.pause("all", reason="person", message="First.")
    assert not store.pause("all", reason="person", message="Second.")

    [pause] = store.pauses()

    assert (pause.scope, pause.reason, pause.message, pause.until) == (
        "all",
        "person",
        "First.",
        None,
    )
    assert store.resume("all") == 0
    assert store.resume("all") is None


def test_resuming_goes_through_all_that_is_held(store: Store) -> None:
    ids = [f"d{number}" for number in range(2500)]
    for start in range(0, 2500, 500):
        put(store, *ids[start : start + 500])
    store.pause("all", reason="person", message="Wait.")
    while store.counts()["queued"]:
        claim(store, 500)

    assert store.resume("all") == 2500
    assert len(claim(store, 3000)) == 2500


def test_a_paused_delivery_looks_again_by_itself(store: Store) -> None:
    store.pause("all", reason="person", message="Wait.")
    put(store, "d1")
    claim(store)
    store.redis.delete(f"{P}pauses")  # ended, and whoever did it died before it let go

    make_due(store, "d1")

    assert claim(store).keys() == {"d1"}


def test_time_held_for_lawful_hours_still_counts_when_a_pause_follows(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    hold = Move(id="d1", to=Status.HELD, lease=lease, reason=Reason.OUTSIDE_HOURS, wait_s=3600)
    store.move([hold])
    began = int(store.redis.hget(f"{P}delivery:d1", "held_since_ms"))
    store.redis.hset(f"{P}delivery:d1", "held_since_ms", began - 3_600_000)
    store.pause("all", reason="person", message="Wait.")
    make_due(store, "d1")

    claim(store)
    store.resume("all")
    claim(store)

    assert 3_600_000 <= store.delivery("d1").held_ms < 3_660_000


@pytest.mark.parametrize("code", [401, 402, 403])
def test_an_account_that_is_refused_pauses_callkaro_and_burns_no_lead(
    make_settings, open_web, store: Store, simulator: Simulator, run_drain, code: int
) -> None:
    settings: Settings = make_settings(WEBSITE + route(), worker_threads=1)
    web: Web = open_web(settings)
    simulator.state.behave(code, path=CALLS, times=1)
    ids = [web.send("website", lead())[0] for _ in range(5)]

    run_drain(settings)

    assert len(simulator.state.requests_to(CALLS)) == 1, "the others must not be tried"
    found = [store.delivery(one) for one in ids]
    [tried] = [one for one in found if one.attempts]
    assert (tried.status, tried.reason, tried.spent) == ("retrying", "account", 0)
    assert {one.reason for one in found if not one.attempts} == {"paused"}
    [pause] = store.pauses()
    assert (pause.scope, pause.reason) == (CALLKARO, "account")

    store.resume(CALLKARO)
    make_due(store, tried.id)
    run_drain(settings)

    assert [status(store, one) for one in ids] == ["delivered"] * 5
    assert len(simulator.state.calls) == 5


# --- the breaker --------------------------------------------------------------------------------


def test_twenty_failures_in_a_row_stop_everything_but_a_probe(store: Store) -> None:
    assert open_breaker(store) == 5000
    put(store, "d1", "d2")

    assert claim(store) == {}
    assert status(store, "d1") == "queued", "it ends by itself, so nothing is held"
    assert 0 < store.next_due_s() - HOUR_MS / 1000 <= 5
    let_probe(store)
    assert len(claim(store)) == 1
    assert claim(store) == {}, "one probes, the others wait for what it finds"


def test_a_success_between_counts_anew(store: Store) -> None:
    ids = [f"d{number}" for number in range(40)]
    put(store, *ids)
    claim(store)
    for number, one in enumerate(ids):
        fail(store, one, callkaro_ok=number % 20 == 19)

    assert not store.redis.hexists(BREAKER, "open_ms")


def test_a_probe_that_is_answered_closes_it(store: Store) -> None:
    open_breaker(store)
    put(store, "d1", "d2", "d3")
    let_probe(store)
    [probe] = claim(store)

    fail(store, probe, callkaro_ok=True)

    assert store.pauses() == []
    assert len(claim(store)) == 2


WAITS_S = (5, 10, 20, 40, 60)


def redis_ms(store: Store) -> int:
    seconds, micros = store.redis.time()
    return int(seconds * 1000 + micros // 1000)


def test_a_probe_that_fails_puts_the_next_one_off_longer(store: Store) -> None:
    open_breaker(store)
    put(store, *(f"d{number}" for number in range(9)))
    waits = []
    for _ in range(8):
        let_probe(store)
        [probe] = claim(store)
        before_ms = redis_ms(store)
        fail(store, probe)
        probe_ms = int(store.redis.hget(BREAKER, "probe_ms"))
        # Counted from some time between the two.
        [wait_s] = [s for s in WAITS_S if before_ms <= probe_ms - s * 1000 <= redis_ms(store)]
        waits.append(wait_s)

    assert waits == [10, 20, 40, 60, 60, 60, 60, 60]


def test_answers_that_were_on_the_wire_do_not_put_the_probe_off(store: Store) -> None:
    ids = [f"d{number}" for number in range(30)]
    put(store, *ids)
    leases = claim(store)
    assert set(store.move([to_sending(one, leases[one]) for one in ids])) == {"ok"}
    for one in ids:
        move = Move(
            id=one,
            to=Status.UNKNOWN,
            lease=leases[one],
            reason=Reason.NO_ANSWER,
            callkaro_ok=False,
            attempt=(1, {"number": 1}),
        )
        assert store.move([move]) == ["ok"]

    put(store, "later")
    assert store.next_due_s() <= 5
    open_ms, probe_ms = map(int, store.redis.hmget(BREAKER, "open_ms", "probe_ms"))
    assert probe_ms - open_ms == 5000


def test_what_was_claimed_before_it_opened_is_not_begun(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    open_breaker(store)

    [answer] = store.move([to_sending("d1", lease)])

    word, wait_ms = answer.split()
    assert word == "paused"
    assert 0 < int(wait_ms) - HOUR_MS <= 5000


def test_a_probe_that_comes_to_send_nothing_leaves_it_to_the_next(store: Store) -> None:
    open_breaker(store)
    put(store, "d1", "d2")
    let_probe(store)
    [(first, lease)] = claim(store).items()

    store.move([Move(id=first, to=Status.SKIPPED, lease=lease, reason=Reason.NO_NUMBER)])

    assert len(claim(store)) == 1


def test_a_person_closes_it(store: Store) -> None:
    open_breaker(store)
    put(store, "d1")
    [pause] = store.pauses()
    assert (pause.scope, pause.reason) == (CALLKARO, "breaker")
    assert pause.until is not None

    assert store.resume(CALLKARO) == 0

    assert store.pauses() == []
    assert claim(store).keys() == {"d1"}


def test_campaigns_are_not_asked_for_while_it_is_open_but_by_the_probe(store: Store) -> None:
    assert store.may_ask_callkaro("campaign:a").is_granted
    open_breaker(store)

    refused = store.may_ask_callkaro("campaign:a")
    assert not refused.is_granted
    assert refused.wait_s > 0

    put(store, "d1")
    let_probe(store)
    claim(store)
    assert not store.may_ask_callkaro("campaign:b", on_behalf_of=["d2", "d3"]).is_granted
    assert store.may_ask_callkaro("campaign:a", on_behalf_of=["d0", "d1"]).is_granted
    assert not store.may_ask_callkaro("campaign:b", on_behalf_of=["d1"]).is_granted
    store.note_callkaro_result("campaign:a", well=True)
    assert store.pauses() == []


@pytest.mark.parametrize("scope", ["all", "callkaro"])
def test_campaigns_are_not_asked_for_while_callkaro_is_paused(store: Store, scope: str) -> None:
    store.pause(scope, reason="person", message="Wait.")

    assert not store.may_ask_callkaro("campaign:a").is_granted
    assert store.may_ask_callkaro("cancel:d1", despite_pause=True).is_granted


def test_campaigns_count_under_the_rate_cap(redis_url: str, store: Store) -> None:
    store.max_rate = 0.01  # one in 105 s
    put(store, "d1")
    lease = claim(store)["d1"]

    assert store.may_ask_callkaro("campaign:a").is_granted

    assert store.move([to_sending("d1", lease)])[0].startswith("wait ")
    refused = store.may_ask_callkaro("campaign:b", patience_s=5)
    assert not refused.is_granted
    assert 5 < refused.wait_s < 106
    granted = store.may_ask_callkaro("campaign:b", patience_s=110)
    assert granted.is_granted
    assert 5 < granted.wait_s < 106
    later = store.may_ask_callkaro("campaign:c", patience_s=110)
    assert granted.wait_s + 50 < later.wait_s < 211, "the turn was kept for the one before"


# --- turns --------------------------------------------------------------------------------------


def a_backlog_of_retries(store: Store, number: int) -> set[str]:
    ids = [f"r{one}" for one in range(number)]
    put(store, *ids)
    for one, lease in claim(store, number).items():
        store.move([to_sending(one, lease)])
        move = Move(id=one, to=Status.RETRYING, lease=lease, wait_s=0, attempt=(1, {"number": 1}))
        store.move([move])
    make_due(store, *ids)
    return set(ids)


def test_fresh_work_does_not_wait_behind_a_backlog_of_retries(store: Store) -> None:
    retries = a_backlog_of_retries(store, 50)
    put(store, "fresh1", "fresh2")

    claimed = list(claim(store, 10))

    assert {"fresh1", "fresh2"} < set(claimed)
    assert len(retries & set(claimed)) == 8


def test_retries_do_not_wait_behind_a_flood_of_fresh_work(store: Store) -> None:
    retries = a_backlog_of_retries(store, 2)
    accept(store, *((an_event(), [a_delivery(f"n{number}")]) for number in range(50)))

    claimed = list(claim(store, 10))

    assert retries < set(claimed)
    assert claimed[0] in retries, "the older one goes first"
    assert claimed[1].startswith("n"), "and then in turn"


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_a_claim_takes_no_more_than_its_limit_of_both(store: Store, limit: int) -> None:
    a_backlog_of_retries(store, 4)
    put(store, "n1", "n2", "n3")

    assert len(claim(store, limit)) == min(limit, 7)


# --- what a review found --------------------------------------------------------------------------


def test_a_person_who_retries_what_waits_for_hours_does_not_make_it_too_old(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    hold = Move(id="d1", to=Status.HELD, lease=lease, reason=Reason.OUTSIDE_HOURS, wait_s=3600)
    store.move([hold])
    move_back(store, "d1", "held_since_ms", 7200)

    retry = Move(id="d1", to=Status.QUEUED, from_statuses=frozenset({Status.HELD}), wait_s=0)
    assert store.move([retry]) == ["ok"]

    assert 7_200_000 <= store.delivery("d1").held_ms < 7_260_000
    assert claim(store).keys() == {"d1"}
    assert 7_200_000 <= store.delivery("d1").held_ms < 7_260_000, "counted once"


def test_paused_time_is_counted_apart(store: Store) -> None:
    store.pause("all", reason="person", message="Wait.")
    put(store, "d1")
    claim(store)
    move_back(store, "d1", "held_since_ms", 90_000)
    make_due(store, "d1")
    claim(store)  # it looks again, and is held on
    store.resume("all")

    claim(store)

    kept = store.delivery("d1")
    assert 90_000_000 <= kept.paused_ms < 90_060_000
    assert kept.held_ms == 0


def test_a_probe_is_found_behind_a_backlog_that_is_paused(store: Store) -> None:
    put(store, *(f"p{number}" for number in range(120)))
    store.pause("route:another", reason="person", message="Wait.")
    for number in range(120):
        store.redis.hset(f"{P}delivery:p{number}", "route", "another")
    open_breaker_at_once(store)
    put(store, "d1")
    let_probe(store)

    assert claim(store, 200).keys() == {"d1"}
    assert store.counts()["held"] == 120


def open_breaker_at_once(store: Store) -> None:
    """Open the breaker without having anything tried."""
    store.redis.hset(BREAKER, mapping={"failures": 20, "open_ms": 1, "probe_ms": 1, "probe": ""})


def test_what_is_to_be_called_off_goes_first_and_waits_for_no_breaker(store: Store) -> None:
    put(store, "old")
    fail(store, next(iter(claim(store))), callkaro_ok=True)
    put(store, *(f"d{number}" for number in range(30)))
    ask = Move(
        id="old",
        to=Status.DELIVERED,
        from_statuses=frozenset({Status.DELIVERED}),
        fields={"cancel_ms": 1},
        wait_s=0,
    )
    assert store.move([ask]) == ["ok"]
    assert next(iter(claim(store, 3))) == "old"
    assert store.move([ask]) == ["ok"]
    store.redis.hset(BREAKER, mapping={"failures": 20, "open_ms": 1, "probe_ms": 9e15, "probe": ""})

    assert store.next_due_s() <= 0
    assert claim(store, 3).keys() == {"old"}


def test_a_claim_says_how_much_it_looked_at(store: Store) -> None:
    store.pause("all", reason="person", message="Wait.")
    put(store, "d1", "d2")

    found = store.claim(10, lease_s=60)

    assert (found.claims, found.looked_at) == ((), 2)
    assert store.claim(10, lease_s=60).looked_at == 0


def test_the_pauses_own_words_stand_on_what_it_holds(store: Store) -> None:
    store.pause("callkaro", reason="account", message="CallKaro does not accept the API key (403).")
    put(store, "d1")
    claim(store)

    assert store.delivery("d1").message == (
        "Paused (callkaro): CallKaro does not accept the API key (403)."
    )
