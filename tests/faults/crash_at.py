"""Runs one drain in a process of its own, which kills itself at the step that it is given.

`python crash_at.py "the claim"`, with the environment of a worker; `nowhere` lets it live.
"""

import os
import re
import signal
import subprocess
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
# (step, text of routes.toml): start a drain that dies at the step; of CrashAt, wait until it did.
StartDrain = Callable[[str, str], "subprocess.Popen[bytes]"]
CrashAt = Callable[[str, str], None]


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


CREATION = re.compile(r"/calls(/batch/create)?$", re.IGNORECASE)  # of a CRM's record of a call


def creates_call(args: tuple[Any, ...], answer: object) -> bool:
    """Say when HttpClient.request() is called to have a CRM create the record of a call."""
    _, method, url, *_ = args
    return method == "POST" and CREATION.search(url) is not None


def awaits_creation(args: tuple[Any, ...], answer: object) -> bool:
    """Say when a connection is about to read what a CRM answers to such a request."""
    asked = args[0]._response_options
    return creates_call((None, asked.request_method, asked.request_url), answer)


def keeps_id(args: tuple[Any, ...], answer: object) -> bool:
    """Say when Store.keep_crm_calls() is called with the CRM's id."""
    _, ids = args
    return any(ids.values())


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


# Those of a write-back alone; it has others that a call has, too.
WRITE_BACK_STEPS: dict[str, Callable[[], None]] = {
    "the claim of a write-back": lambda: crash_after(
        Store, "claim_write_backs", lambda args, answer: answer
    ),
    "it is noted that the CRM may have the call": lambda: crash_after(Store, "begin_crm_calls"),
    "the CRM has the call": lambda: crash_before(http._Marking, "getresponse", awaits_creation),
    "the CRM's answer": lambda: crash_after(http.HttpClient, "request", creates_call),
    "the CRM's id is about to be kept": lambda: crash_before(Store, "keep_crm_calls", keeps_id),
    "the CRM's id is kept": lambda: crash_after(Store, "keep_crm_calls", keeps_id),
}


if __name__ == "__main__":
    (STEPS | WRITE_BACK_STEPS)[sys.argv[1]]()
    jobs.drain()
