"""What a CRM's record was called for: two merged records, one call, decided in one step."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import LONGEST_S
from support.storing import a_delivery, accept, an_event, claim, put, status, to_sending

from schemas.delivery import Status
from schemas.records import HistoryCheck, Move, RecordCheck
from store import Store, connect
from store.base import P


def check(*, merged: bool = True, key: str = "a record", **more: Any) -> HistoryCheck:
    """Return what a call must be permitted by. It is of an event that happened just now."""
    record = RecordCheck(key=key, is_merged=merged, since=datetime.now(UTC), window_s=3600)
    made = {"phone": "p", "person": None, "rings_at": datetime.now(UTC), "record": record, **more}
    return HistoryCheck(**made)


def start(store: Store, delivery: str, lease: int, guard: HistoryCheck) -> str:
    [answer] = store.move([to_sending(delivery, lease, guard=guard)])
    return answer


def end(store: Store, delivery: str, lease: int, to: Status) -> None:
    wait_s = 60.0 if to is Status.RETRYING else None
    [answer] = store.move(
        [Move(id=delivery, to=to, lease=lease, attempt=(1, {"number": 1}), wait_s=wait_s)]
    )
    assert answer == "ok"


def test_many_clients_at_once_are_permitted_one_call(store: Store, redis_url: str) -> None:
    ids = [f"d{one}" for one in range(40)]
    put(store, *ids)
    leases = claim(store)

    def begin(at: int) -> str:
        with connect(redis_url, timeout_s=LONGEST_S) as client:
            return start(Store(client), ids[at], leases[ids[at]], check())

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(begin, range(40)))

    [first] = [ids[at] for at, answer in enumerate(answers) if answer == "ok"]
    assert Counter(answers) == {"ok": 1, f"behind {first}": 39}


@pytest.mark.parametrize(
    ("first", "second", "is_permitted"),
    [(True, True, False), (False, True, False), (True, False, False), (False, False, True)],
)
def test_one_merged_id_of_two_is_enough(
    store: Store, first: bool, second: bool, is_permitted: bool
) -> None:
    put(store, "one", "two")
    leases = claim(store)
    waited = check(merged=second)  # its event is older than the first call
    assert start(store, "one", leases["one"], check(merged=first)) == "ok"
    answer = start(store, "two", leases["two"], waited)
    assert answer == ("ok" if is_permitted else "behind one")


def test_an_event_without_a_merge_that_is_newer_than_the_call_is_permitted(store: Store) -> None:
    put(store, "one", "two")
    leases = claim(store)
    assert start(store, "one", leases["one"], check()) == "ok"
    newer = check(merged=False)
    assert newer.record is not None
    record = replace(newer.record, since=datetime.now(UTC) + timedelta(seconds=1))
    assert start(store, "two", leases["two"], replace(newer, record=record)) == "ok"


def test_another_record_and_another_route_are_permitted(store: Store) -> None:
    put(store, "one", "two")
    accept(store, (an_event(), [a_delivery("three", route="call too")]))
    leases = claim(store)
    for one, key in (("one", "a record"), ("two", "another"), ("three", "a record")):
        assert start(store, one, leases[one], check(key=key)) == "ok"


@pytest.mark.parametrize(
    ("to", "is_permitted"),
    [
        (Status.DELIVERED, False),
        (Status.UNKNOWN, False),
        (Status.FAILED, True),
        (Status.RETRYING, True),
    ],
)
def test_a_call_that_surely_was_not_accepted_stands_for_no_other(
    store: Store, to: Status, is_permitted: bool
) -> None:
    put(store, "one", "two")
    leases = claim(store)
    assert start(store, "one", leases["one"], check()) == "ok"
    end(store, "one", leases["one"], to)
    answer = start(store, "two", leases["two"], check())
    assert answer == ("ok" if is_permitted else "no duplicate one")


def test_an_unknown_call_that_a_person_resolves_as_failed_stands_for_no_other(
    store: Store,
) -> None:
    put(store, "one", "two")
    leases = claim(store)
    assert start(store, "one", leases["one"], check()) == "ok"
    end(store, "one", leases["one"], Status.UNKNOWN)
    assert store.move([Move(id="one", to=Status.FAILED)]) == ["ok"]
    assert start(store, "two", leases["two"], check()) == "ok"


def test_a_delivery_does_not_stop_its_own_retry(store: Store) -> None:
    put(store, "one")
    lease = claim(store)["one"]
    assert start(store, "one", lease, check()) == "ok"
    [answer] = store.move(
        [
            Move(
                id="one",
                to=Status.RETRYING,
                lease=lease,
                attempt=(1, {"number": 1}),
                keeps_number=True,
                wait_s=0,
            )
        ]
    )
    assert answer == "ok"
    lease = claim(store)["one"]
    assert start(store, "one", lease, check()) == "ok"


@pytest.mark.parametrize("broken", ["", "soon", "1 2", "1 2 3 call back"])
def test_a_history_that_can_not_be_read_forbids_the_call(store: Store, broken: str) -> None:
    put(store, "one")
    store.redis.hset(f"{P}record_calls:a record", "two:1", broken)
    lease = claim(store)["one"]
    assert start(store, "one", lease, check()).startswith("no duplicate two")
    assert status(store, "one") == "queued"


def test_a_suppressed_record_that_was_merged_forbids_the_call(store: Store) -> None:
    put(store, "one", "two")
    store.redis.hset(f"{P}suppressed", "older", "{}")
    leases = claim(store)
    answer = start(store, "one", leases["one"], check(older_persons=("oldest", "older")))
    assert answer == "no suppressed"
    assert start(store, "two", leases["two"], check(older_persons=("oldest",))) == "ok"


def test_the_claim_is_kept_until_its_window_ends_also_of_a_planned_call(store: Store) -> None:
    put(store, "one", "two")
    leases = claim(store)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    start(store, "one", leases["one"], check())
    start(store, "two", leases["two"], check(key="later", rings_at=tomorrow))
    assert 3500 < store.redis.ttl(f"{P}record_calls:a record") <= 3600
    assert 86_400 + 3500 < store.redis.ttl(f"{P}record_calls:later") <= 86_400 + 3600
