"""Requests that come at the same time, so that they go to Redis together."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from schemas.event import Event
from schemas.records import NewDelivery
from store import Store
from support import LONGEST_S, until
from support.storing import a_delivery, an_event

Request = Sequence[tuple[Event, Sequence[NewDelivery]]]


class Gate:
    """Holds the first call until it is opened, so that all who come then wait behind it."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.calls = 0

    def pass_once(self) -> None:
        self.calls += 1
        if self.calls == 1:
            assert self.is_open.wait(LONGEST_S)


@contextlib.contextmanager
def behind(gate: Gate, group: Any, *works: Callable[[], Any]) -> Iterator[list[Future[Any]]]:
    """Let each work begin in a thread, in order: the first is held, the others wait behind it.

    They go on at the end of the context, and all have ended behind it.
    """
    with ThreadPoolExecutor(len(works)) as pool:
        try:
            futures = [pool.submit(works[0])]
            until(lambda: gate.calls, what="the first call")
            for count, work in enumerate(works[1:], 1):
                futures.append(pool.submit(work))
                until(lambda count=count: len(group._queue) == count, what="its place in the row")
            yield futures
        finally:
            gate.is_open.set()


def of_one(event: Event, *deliveries: str, **more: Any) -> Request:
    return [(event, [a_delivery(one, **more) for one in deliveries])]


def together(store: Store, *requests: Request, routes: Sequence[str] = ()) -> list[Any]:
    """Store all these requests while a first one is on its way. Returns answers or errors."""
    gate, run_kept = Gate(), store._run_kept

    def held(*args: Any) -> Any:
        gate.pass_once()
        return run_kept(*args)

    def accepting(request: Request, digest: str = "digest") -> Callable[[], Any]:
        return lambda: store.accept(request, routes=digest)

    store.check_room()  # not in each thread
    digests = routes or ["digest"] * len(requests)
    works = [accepting(of_one(an_event())), *map(accepting, requests, digests)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_run_kept", held)
        with behind(gate, store._storing, *works) as futures:
            pass
    return [future.exception() or future.result() for future in futures[1:]]
