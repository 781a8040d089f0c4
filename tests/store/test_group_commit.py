"""Requests that come at the same time are stored in one step, and each keeps its own answer."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support import LONGEST_S, until
from support.grouping import Gate, Request, behind, of_one, together
from support.storing import a_delivery, an_event, claim

from schemas.errors import StoreUnavailable, TooLarge
from schemas.records import Accepted, Flood
from store import Store, connect, intake
from store.base import P
from store.group import GroupCommit

# --- of the store ---------------------------------------------------------------------------------


def scripts_run(store: Store) -> int:
    return int(store.redis.info("commandstats")["cmdstat_evalsha"]["calls"])


def test_what_comes_during_a_call_goes_with_the_next_one(store: Store) -> None:
    store.accept(of_one(an_event("warm")), routes="digest")
    before = scripts_run(store)
    requests = [of_one(an_event(f"e{n}"), f"a{n}", f"b{n}") for n in range(10)]

    answers = together(store, *requests)

    assert scripts_run(store) - before <= 3  # two, and perhaps a look at the room
    assert [answer.event_id for _, [answer] in answers] == [f"e{n}" for n in range(10)]
    for n, (_, [answer]) in enumerate(answers):
        assert [one.id for one in answer.deliveries] == [f"a{n}", f"b{n}"]
        assert not answer.duplicate
    assert [must_wake for must_wake, _ in answers] == [True] + [False] * 9
    assert store.due_count() == 20


def test_a_request_of_many_events_gets_its_answers_in_order(store: Store) -> None:
    many = [of_one(an_event(f"e{n}"), f"d{n}")[0] for n in range(5)]
    [(_, first), (_, rest)] = together(store, many[:2], many[2:])
    assert [one.event_id for one in first] == ["e0", "e1"]
    assert [one.event_id for one in rest] == ["e2", "e3", "e4"]


def test_an_event_that_comes_twice_at_once_is_stored_once(store: Store) -> None:
    event = an_event("one")
    [(_, [first]), (_, [second])] = together(store, of_one(event, "a"), of_one(event, "b"))
    assert (first.duplicate, second.duplicate) == (False, True)
    assert second.event_id == "one"
    assert [one.id for one in second.deliveries] == ["a"]
    assert set(claim(store)) == {"a"}


def test_each_source_that_proved_itself_ends_its_own_row_of_refusals(store: Store) -> None:
    for source in ("website", "hubspot", "zoho"):
        store.redis.hset(f"{P}alerts:refused", source, 3)
    together(
        store,
        of_one(an_event(source="website")),
        of_one(an_event(source="hubspot")),
        of_one(an_event(source="zoho", is_reconciled=True)),
    )
    assert store.redis.hkeys(f"{P}alerts:refused") == ["zoho"]


def test_a_flood_is_counted_over_all_requests(store: Store) -> None:
    flood = Flood(over=2, within_s=60)
    answers = together(store, *(of_one(an_event(), f"d{n}", flood=flood) for n in range(4)))
    found = [answer.deliveries[0].status for _, [answer] in answers]
    assert found == ["queued", "queued", "held", "held"]


# --- limits ---------------------------------------------------------------------------------------


def groups_of(store: Store, *requests: Request, **more: Any) -> list[int]:
    """Return how many of these requests went together, call by call."""
    groups: list[int] = []
    store_together = store._storing._execute

    def noting(group: Sequence[Any]) -> Any:
        groups.append(len(group))
        return store_together(group)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store._storing, "_execute", noting)
        for request, (_, answers) in zip(requests, together(store, *requests, **more), strict=True):
            assert len(answers) == len(request)
    return groups[1:]


def test_a_step_has_a_limit_of_requests(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MOST_REQUESTS", 4)
    assert groups_of(store, *(of_one(an_event()) for _ in range(10))) == [4, 4, 2]


def test_a_step_has_a_limit_of_events_that_one_request_may_pass(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MOST_EVENTS", 4)
    requests = [[of_one(an_event())[0] for _ in range(count)] for count in (1, 3, 1, 9, 2, 2)]
    assert groups_of(store, *requests) == [2, 1, 1, 2]


def test_a_step_has_a_limit_of_bytes_and_nobody_is_overtaken(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MOST_BYTES", 2000)
    large, small = {"note": "x" * 1200}, {"note": "x"}
    sizes = (small, large, large, small, large)
    assert groups_of(store, *(of_one(an_event(data=one)) for one in sizes)) == [2, 2, 1]


def test_what_is_too_large_is_refused_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MOST_BYTES", 2000)
    with pytest.raises(TooLarge):
        store.accept(of_one(an_event(data={"note": "x" * 2000})), routes="digest")
    assert not store._storing._queue


def test_requests_that_other_routes_matched_are_not_stored_together(store: Store) -> None:
    digests = ["old", "old", "new"]
    assert groups_of(store, *(of_one(an_event()) for _ in digests), routes=digests) == [2, 1]


# --- faults ---------------------------------------------------------------------------------------

# What is broken, and whether the event is stored all the same, so that it is a duplicate then.
BROKEN = {
    f"{P}event:bad": False,
    f"{P}listed:other": False,
    f"{P}deliveries:route:other": True,
    f"{P}deliveries:source:other": True,
}


@pytest.mark.parametrize(("key", "is_stored"), BROKEN.items(), ids=BROKEN)
def test_an_event_that_breaks_the_script_costs_itself_alone(
    store: Store, key: str, is_stored: bool
) -> None:
    store.redis.set(key, "of another kind")
    bad = an_event("bad", source="other")
    of_bad = of_one(bad, "b", route="other", listed_s=60)

    answers = together(store, of_bad, of_one(an_event("one"), "a"), of_one(an_event("two"), "c"))

    refused, (must_wake, [one]), (_, [two]) = answers
    assert isinstance(refused, StoreUnavailable)
    assert must_wake  # the one that failed enqueues no drain
    assert (one.duplicate, two.duplicate) == (False, False)
    assert store.due_count() == 2 + is_stored

    store.redis.delete(key)
    _, [again] = store.accept(of_bad, routes="digest")
    assert again.duplicate == is_stored
    assert set(claim(store)) == {"a", "b", "c"}


def test_an_event_that_fails_in_the_middle_of_a_request_is_not_lost_when_it_is_sent_again(
    store: Store,
) -> None:
    store.redis.set(f"{P}listed:other", "of another kind")
    request = [
        *of_one(an_event("e1"), "d1"),
        *of_one(an_event("e2"), "d2", route="other", listed_s=60),
        *of_one(an_event("e3"), "d3"),
    ]
    with pytest.raises(StoreUnavailable):
        store.accept(request, routes="digest")
    assert store.due_count() == 2
    store.redis.delete(f"{P}listed:other")
    _, answers = store.accept(request, routes="digest")
    assert [one.duplicate for one in answers] == [True, False, True]
    assert set(claim(store)) == {"d1", "d2", "d3"}


@pytest.mark.parametrize("broken", ["listed:other", "delivery:d3"])
def test_an_event_that_fails_and_is_sent_again_counts_once(store: Store, broken: str) -> None:
    event = an_event("e2")
    more: dict[str, Any] = {"listed_s": 60, "bulk": "too many"}
    [(_, deliveries)] = of_one(event, "d2", **more)
    request = [
        *of_one(an_event("e1"), "d1"),
        (event, [*deliveries, a_delivery("d3", route="other", **more)]),
    ]
    for _ in range(2):
        store.redis.set(f"{P}{broken}", "of another kind")
        with pytest.raises(StoreUnavailable):
            store.accept(request, routes="digest")
        assert counts_of(store) == (1, {"queued call back": "1"}, {}, 0)
    store.redis.delete(f"{P}{broken}")
    store.accept(request, routes="digest")
    statuses = {"queued call back": "1", "held call back": "1", "held other": "1"}
    reached = {"to held call back": "1", "to held other": "1"}
    assert counts_of(store) == (3, statuses, reached, 1)


def counts_of(store: Store) -> tuple[int, dict[str, str], dict[str, str], int]:
    """Return how many the figures count, those by status, by status reached, and of a list."""
    days = store.redis.keys(f"{P}figures:[0-9]*")
    cells = [cell for day in days for cell in store.redis.hvals(day)]
    counts = store.redis.hgetall(f"{P}status_counts")
    counts = {field: count for field, count in counts.items() if count != "0"}
    reached = store.redis.hgetall(f"{P}metrics")
    listed = store.redis.zcard(f"{P}listed:call back")
    return sum(int(cell.split(",")[0]) for cell in cells), counts, reached, listed


def test_the_last_event_of_a_request_adds_to_no_index_if_it_fails(store: Store) -> None:
    store.redis.set(f"{P}listed:other", "of another kind")
    request = [
        *of_one(an_event("e1"), "d1"),
        *of_one(an_event("e2"), "d2", route="other", listed_s=60),
    ]
    with pytest.raises(StoreUnavailable):
        store.accept(request, routes="digest")
    for index in ("events", "deliveries", "deliveries:source:website"):
        assert store.redis.zcard(f"{P}{index}") == 1, index
    assert not store.redis.exists(f"{P}deliveries:route:other")


def test_a_full_redis_refuses_each_and_stores_none(store: Store) -> None:
    store.accept(of_one(an_event()), routes="digest")
    store.check_room()
    store.redis.config_set("maxmemory", 1)
    answers = together(store, of_one(an_event(), "a"), of_one(an_event(), "b"))
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 2
    assert "OOM" in str(answers[0])
    store.redis.config_set("maxmemory", 0)
    assert store.due_count() == 0


def test_who_waits_behind_a_time_out_waits_for_no_other(store: Store, redis_url: str) -> None:
    with connect(redis_url, timeout_s=0.2) as client:
        impatient = Store(client)
        impatient.accept(of_one(an_event()), routes="digest")
        before = scripts_run(store)
        store.redis.execute_command("CLIENT", "PAUSE", str(int(LONGEST_S * 1000)), "WRITE")
        try:
            answers = together(impatient, of_one(an_event(), "a"), of_one(an_event(), "b"))
        finally:
            store.redis.execute_command("CLIENT", "UNPAUSE")
    assert [str(answer) for answer in answers] == ["Redis did not answer a moment ago"] * 2
    assert answers[0] is not answers[1]
    assert scripts_run(store) - before <= 1  # at the most the one that timed out
    assert store.due_count() == 0


# --- the threads ----------------------------------------------------------------------------------


class Calls:
    """What a group's calls had, and which thread made them. Each answer is its request's double."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.gate, self.error = Gate(), error
        self.made: list[tuple[int, ...]] = []
        self.threads: list[int] = []
        self.group = GroupCommit[int, int](self.execute, fits=lambda waiting: min(len(waiting), 3))

    def execute(self, requests: Sequence[int]) -> list[int]:
        self.made.append(tuple(requests))
        self.threads.append(threading.get_ident())
        self.gate.pass_once()
        if self.error and len(self.made) == 2:
            raise self.error
        return [2 * one for one in requests]

    def run(self, number: int) -> Callable[[], int]:
        return lambda: self.group.run(number)

    @property
    def is_idle(self) -> bool:
        return not self.group._queue and not self.group._is_led


def test_a_request_without_company_is_made_by_its_own_thread() -> None:
    calls = Calls()
    calls.gate.is_open.set()
    assert [calls.group.run(one) for one in (1, 2)] == [2, 4]
    assert calls.made == [(1,), (2,)]
    assert set(calls.threads) == {threading.get_ident()}


def test_a_thread_makes_one_call_and_hands_on_to_the_one_that_waited_longest() -> None:
    calls = Calls()
    with behind(calls.gate, calls.group, *map(calls.run, range(8))) as futures:
        pass
    assert [future.result() for future in futures] == [2 * one for one in range(8)]
    assert calls.made == [(0,), (1, 2, 3), (4, 5, 6), (7,)]
    assert len(set(calls.threads)) == 4
    assert calls.is_idle


@pytest.mark.parametrize("error", [SystemExit(1), MemoryError(), TypeError("a fault of ours")])
def test_a_thread_that_ends_in_a_call_leaves_nobody_waiting(error: BaseException) -> None:
    calls = Calls(error)
    with behind(calls.gate, calls.group, *map(calls.run, range(6))) as futures:
        pass
    assert futures[0].result() == 0
    assert futures[1].exception() is error
    assert [type(future.exception()) for future in futures[2:4]] == [StoreUnavailable] * 2
    assert [future.result() for future in futures[4:]] == [8, 10]
    assert calls.is_idle


def test_what_redis_refuses_reaches_each_with_an_error_of_its_own() -> None:
    calls = Calls(StoreUnavailable("Redis is away"))
    with behind(calls.gate, calls.group, *map(calls.run, range(4))) as futures:
        pass
    errors = [future.exception() for future in futures[1:]]
    assert [str(error) for error in errors] == ["Redis is away"] * 3
    assert len(set(map(id, errors))) == 3


class Interrupted(Exception):
    """What a signal raises in the main thread."""


def test_a_thread_that_is_interrupted_while_it_waits_stops_nobody() -> None:
    calls = Calls()

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    def interrupt_in_the_row() -> None:
        until(lambda: len(calls.group._queue) == 1, what="the main thread's place in the row")
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with behind(calls.gate, calls.group, calls.run(1)) as [first]:
            thread = threading.Thread(target=interrupt_in_the_row)
            thread.start()
            with pytest.raises(Interrupted):
                calls.group.run(2)
            thread.join()
            assert not calls.group._queue
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert first.result() == 2
    assert calls.group.run(3) == 6
    assert calls.made == [(1,), (3,)]


class InterruptedRow(deque[Any]):
    """A row in which the second taking of a group is interrupted behind its first request."""

    taken = 0

    def popleft(self) -> Any:
        self.taken += 1
        if self.taken == 3:
            raise Interrupted
        return super().popleft()


def test_a_thread_that_is_interrupted_while_it_takes_a_group_leaves_nobody_waiting() -> None:
    calls = Calls()
    calls.group._queue = InterruptedRow()
    with behind(calls.gate, calls.group, *map(calls.run, range(6))) as futures:
        pass
    assert futures[0].result() == 0
    assert type(futures[1].exception()) is Interrupted
    assert [type(future.exception()) for future in futures[2:4]] == [StoreUnavailable] * 2
    assert [future.result() for future in futures[4:]] == [8, 10]
    assert calls.is_idle


def test_a_forked_process_waits_for_no_thread_of_its_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = Calls()
    with behind(calls.gate, calls.group, calls.run(1), calls.run(2)):
        child = GroupCommit[int, int](calls.execute, fits=len)
        vars(child).update(vars(calls.group))  # as a fork copies it
        monkeypatch.setattr(os, "getpid", lambda: -1)
        assert child.run(3) == 6
        monkeypatch.undo()


def test_nothing_hangs_and_nothing_is_mixed_up_under_load() -> None:
    group = GroupCommit[int, int](lambda requests: [2 * one for one in requests], fits=len)

    def work(number: int) -> bool:
        return all(group.run(one) == 2 * one for one in range(number, 16_000, 16))

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(16)))
    assert not group._queue
    assert not group._is_led


def answers_of(found: Sequence[Any]) -> list[Accepted]:
    return [answer for _, answers in found for answer in answers]


def test_every_event_of_many_threads_is_stored_once(store: Store) -> None:
    """Each event is sent by two threads at once, all at the same time."""
    start = threading.Barrier(16)

    def work(number: int) -> list[Any]:
        start.wait(LONGEST_S)
        numbers = range(number // 2, 160, 8)
        return [
            store.accept(of_one(an_event(f"e{n}"), f"d{n}-{number % 2}"), routes="digest")
            for n in numbers
        ]

    with ThreadPoolExecutor(16) as pool:
        found = answers_of([answer for answers in pool.map(work, range(16)) for answer in answers])
    assert len(found) == 320
    assert sum(answer.duplicate for answer in found) == 160
    by_event: dict[str, set[str]] = {}
    for answer in found:
        by_event.setdefault(answer.event_id, set()).update(one.id for one in answer.deliveries)
    assert {len(ids) for ids in by_event.values()} == {1}
    assert store.due_count() == 160
