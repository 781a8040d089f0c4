"""Runs one drain in a process of its own, which kills itself at the step that it is given.

`python crash_at.py "the claim"`, with the environment of a worker; `nowhere` lets it live.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from schemas.delivery import Status
from schemas.records import Move
from store import Store
from workers import http, jobs
from workers.callkaro import CallKaro
from workers.crm import CrmClient

When = Callable[[tuple[Any, ...], Any], object]


def crash(*_: object) -> None:
    """End this process as kill -9 does: nothing is closed, nothing is said."""
    os.kill(os.getpid(), signal.SIGKILL)


def crash_before(owner: type, name: str, when: When = lambda args, answer: True) -> None:
    """Have this process die as soon as the method is called, if `when` holds."""
    method = getattr(owner, name)

    @wraps(method)
    def dies(*args: Any, **kwargs: Any) -> Any:
        if when(args, None):
            crash()
        return method(*args, **kwargs)

    setattr(owner, name, dies)


def crash_after(owner: type, name: str, when: When = lambda args, answer: True) -> None:
    """Have this process die once the method has returned, if `when` holds."""
    method = getattr(owner, name)

    @wraps(method)
    def dies(*args: Any, **kwargs: Any) -> Any:
        answer = method(*args, **kwargs)
        if when(args, answer):
            crash()
        return answer

    setattr(owner, name, dies)


def moves_to(status: Status) -> When:
    """Say when Store.move() is called with a move to this status."""

    def holds(args: tuple[Any, ...], answer: object) -> bool:
        moves: Sequence[Move] = args[1]
        return any(move.to is status for move in moves)

    return holds


STEPS: dict[str, Callable[[], None]] = {
    "nowhere": lambda: None,
    "the claim": lambda: crash_after(Store, "claim", lambda args, answer: answer.claims),
    "hydration": lambda: crash_after(CrmClient, "fetch"),
    "the campaign's creation": lambda: crash_before(Store, "keep_campaign"),
    "the campaign was kept": lambda: crash_after(Store, "keep_campaign"),
    "`sending` is recorded": lambda: crash_after(Store, "move", moves_to(Status.SENDING)),
    "the first byte": lambda: crash_after(http._Marking, "endheaders"),
    "the answer": lambda: crash_after(CallKaro, "post"),
    "the result is about to be recorded": lambda: crash_before(
        Store, "move", moves_to(Status.DELIVERED)
    ),
    "the result is recorded": lambda: crash_after(Store, "move", moves_to(Status.DELIVERED)),
}


if __name__ == "__main__":
    STEPS[sys.argv[1]]()
    jobs.drain()
