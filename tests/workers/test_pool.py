"""The drain's threads: their results, and a system that gives none."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from support import LONGEST_S, until

from workers import pool as pools
from workers.pool import GATHERED, RUNNING_FOR_ONE, Pool


def test_a_task_that_gets_no_thread_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a drain would wait for its result until it is told to stop."""
    with Pool(1) as pool:
        with monkeypatch.context() as full:

            def refuse(_: threading.Thread) -> None:
                raise RuntimeError("can't start new thread")

            full.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError):
                pool.submit(lambda: 1, lambda _: None, lambda _: None)
        assert (pool.running, pool.free) == (0, 1)


def test_a_pool_starts_no_more_threads_than_it_needs_and_ends_them_all() -> None:
    seen: list[str] = []
    with Pool(3) as pool:
        for _ in range(2):
            pool.submit(threading.current_thread, lambda thread: seen.append(thread.name), fail)
            assert pool.running == 1
            pool.take_in(LONGEST_S)
        both = threading.Barrier(2)
        for _ in range(2):
            pool.submit(lambda: both.wait(LONGEST_S), lambda _: seen.append("both"), fail)
        while pool.running:
            pool.take_in(LONGEST_S)
        assert pool.free == 3
        threads = list(pool._started)

    assert len(threads) == 2
    assert seen == ["send-0", "send-0", "both", "both"]
    assert not any(thread.is_alive() for thread in threads)


def test_what_a_task_raises_comes_to_the_coordinating_thread_and_costs_no_other() -> None:
    def broken() -> None:
        raise ValueError

    def ends() -> None:
        raise SystemExit

    seen: list[object] = []
    with Pool(1) as pool:
        pool.submit(broken, seen.append, lambda error: seen.append(type(error)))
        pool.submit(ends, seen.append, seen.append)  # nobody is told, as the lease runs out
        pool.submit(lambda: 1, lambda _: broken(), seen.append)  # its own error is logged
        pool.submit(lambda: 2, seen.append, seen.append)
        while pool.running:
            pool.take_in(LONGEST_S)

    assert seen == [ValueError, 2]


def fail(given: object) -> None:
    raise AssertionError(given)


def test_a_wait_that_is_over_before_it_begins_ends() -> None:
    def take_in() -> None:
        for _ in range(50_000):
            Pool(1).take_in(1e-9)

    taking = threading.Thread(target=take_in, daemon=True)
    taking.start()
    taking.join(LONGEST_S)
    assert not taking.is_alive()


FOR_EVER_S = 1e6  # longer than any task runs
Busy = Callable[..., AbstractContextManager[Pool]]


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Busy:
    """Return what starts a pool in which `running` tasks run until the end of its block."""

    @contextmanager
    def start(running: int, *, more: int, gather_s: float = FOR_EVER_S) -> Iterator[Pool]:
        monkeypatch.setattr(pools, "GATHER_S", gather_s)
        runs_on = threading.Event()
        with Pool(running + more) as pool:
            try:
                for _ in range(running):
                    pool.submit(lambda: runs_on.wait(LONGEST_S), lambda _: None, fail)
                yield pool
                assert pool.running == running  # none was waited for until it gave up
            finally:
                runs_on.set()

    return start


def end(pool: Pool, seen: list[object], *, tasks: int) -> None:
    """Let tasks end that nobody has taken in yet."""
    for _ in range(tasks):
        pool.submit(lambda: "ended", seen.append, fail)
    until(lambda: pool._ended.qsize() == tasks)


def test_the_first_result_waits_for_others_of_many_tasks(busy: Busy) -> None:
    first_is_in = threading.Event()
    seen: list[object] = []

    def first(got: object) -> None:
        seen.append(got)
        first_is_in.set()

    with busy(2 * RUNNING_FOR_ONE, more=2) as pool:
        pool.submit(lambda: first_is_in.wait(LONGEST_S), seen.append, fail)
        pool.submit(lambda: "first", first, fail)
        pool.take_in(FOR_EVER_S)

    assert seen == ["first", True]


def test_enough_results_wait_for_no_other(busy: Busy) -> None:
    seen: list[object] = []
    with busy((GATHERED + 2) * RUNNING_FOR_ONE, more=GATHERED) as pool:
        for _ in range(GATHERED):
            pool.submit(lambda: "ended", seen.append, fail)
        pool.take_in(FOR_EVER_S)
        assert seen == ["ended"] * GATHERED


@pytest.mark.parametrize("running", [0, 1, 2 * RUNNING_FOR_ONE - 1])
def test_a_result_waits_for_no_other_while_few_tasks_run(busy: Busy, running: int) -> None:
    seen: list[object] = []
    with busy(running, more=1) as pool:
        end(pool, seen, tasks=1)
        pool.take_in(FOR_EVER_S)
        assert seen == ["ended"]


def test_a_result_waits_for_others_no_longer_than_it_may(busy: Busy) -> None:
    seen: list[object] = []
    with busy(2 * RUNNING_FOR_ONE, more=1, gather_s=0.001) as pool:
        end(pool, seen, tasks=1)
        pool.take_in(FOR_EVER_S)
        assert seen == ["ended"]


def test_whoever_has_no_time_waits_for_no_other(busy: Busy) -> None:
    seen: list[object] = []
    with busy(2 * RUNNING_FOR_ONE, more=1) as pool:
        end(pool, seen, tasks=1)
        pool.take_in(0)
        assert seen == ["ended"]


def test_all_results_that_are_there_are_taken_in(busy: Busy) -> None:
    seen: list[object] = []
    with busy(0, more=2 * GATHERED) as pool:
        end(pool, seen, tasks=2 * GATHERED)
        pool.take_in(FOR_EVER_S)
        assert len(seen) == 2 * GATHERED
