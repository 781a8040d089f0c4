"""Group commit: what many threads ask for at the same time goes to Redis as one call.

A round trip, a script's start and an fsync cost as much for many requests as for one. So requests
that come while a call is under way wait, and then go together with the next one. There is no
thread, no timer and no sleep: a request that finds no call under way starts one at once.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from itertools import islice
from typing import Generic, TypeVar

from schemas.errors import StoreUnavailable

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class _Waiting(Generic[Request, Answer]):
    """A request of a thread that waits for its answer, or for its turn to lead."""

    __slots__ = ("answer", "error", "gate", "is_answered", "is_taken", "leads", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.gate = threading.Lock()  # held until there is an answer, or the thread leads
        self.gate.acquire()
        self.answer: Answer
        self.error: BaseException | None = None
        self.is_answered = False
        self.is_taken = False  # it is in a call
        self.leads = False


class GroupCommit(Generic[Request, Answer]):
    """Makes one call of the requests that threads have at the same time.

    execute: makes the call; returns an answer for each request, in order. What it raises is raised
    for each of them.
    fits: says how many of these requests may go together, in order; the first always goes.

    The first thread that comes leads: it makes the call for all that wait. When its own answer is
    there, it hands on to the thread that has waited longest. So nobody works for others without
    end, and nobody is overtaken.
    """

    def __init__(
        self,
        execute: Callable[[Sequence[Request]], Sequence[Answer]],
        *,
        fits: Callable[[Sequence[Request]], int],
    ) -> None:
        self._execute = execute
        self._fits = fits
        self._begin()

    def run(self, request: Request) -> Answer:
        """Return the answer to a request, alone or with others.

        Raises what the call raised. Raises StoreUnavailable if the thread that led was stopped, or
        failed by an error of its own: what was asked for may be done or not.
        """
        mine: _Waiting[Request, Answer] = _Waiting(request)
        try:
            self._join(mine)
            if not mine.leads:
                mine.gate.acquire()
            if mine.leads:
                self._lead()
        finally:
            self._leave(mine)
        return _answer_of(mine)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._mutex = threading.Lock()
        self._queue: deque[_Waiting[Request, Answer]] = deque()
        self._is_led = False

    def _join(self, mine: _Waiting[Request, Answer]) -> None:
        if self._pid != os.getpid():  # a fork has none of the threads that waited or led
            self._begin()
        with self._mutex:
            self._queue.append(mine)
            if not self._is_led:
                # In this order: a leader hands on, also if it is interrupted between the two.
                mine.leads = self._is_led = True

    def _lead(self) -> None:
        """Make one call for the thread's own request, which is the first, and for what waits."""
        group: list[_Waiting[Request, Answer]] = []
        try:
            self._take(group)
            answers = self._execute([one.request for one in group])
            for one, answer in zip(group, answers, strict=True):
                one.answer, one.is_answered = answer, True
        except BaseException as error:
            with self._mutex:  # it may have been interrupted while it took them
                self._queue = deque(one for one in self._queue if not one.is_taken)
            for one in group:
                one.error, one.is_answered = error, False
            raise
        finally:
            for one in group:
                if one.is_taken and not one.leads:
                    one.gate.release()

    def _take(self, group: list[_Waiting[Request, Answer]]) -> None:
        with self._mutex:
            count = max(1, self._fits([one.request for one in self._queue]))
            group.extend(islice(self._queue, count))
            for one in group:
                one.is_taken = True
            for _ in group:
                self._queue.popleft()

    def _leave(self, mine: _Waiting[Request, Answer]) -> None:
        """Hand on to the thread that has waited longest, however this one ends."""
        if mine.is_taken and not mine.leads:
            return
        with self._mutex:
            if not mine.is_taken:  # interrupted while it waited, or before
                with suppress(ValueError):
                    self._queue.remove(mine)
            if not mine.leads:
                return
            self._is_led = bool(self._queue)
            if self._queue:
                self._queue[0].leads = True
                self._queue[0].gate.release()


def _answer_of(mine: _Waiting[Request, Answer]) -> Answer:
    if mine.is_answered:
        return mine.answer
    if isinstance(mine.error, StoreUnavailable):
        # A copy: each thread adds its own traceback.
        raise copy(mine.error) from mine.error.__cause__
    # An error of the leader's own, such as the end of its process, is not for others.
    raise StoreUnavailable("the call that stored this with others failed") from mine.error
