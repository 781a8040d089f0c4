"""The drain's threads: they run tasks, and the coordinating thread takes in the results."""

import itertools
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from config import log

logger = log.get(__name__)

# Results that come one by one would each cost a trip to Redis, with some 30 commands that are the
# script's own. So the first ones wait for others. At an API of 100 ms, a call then takes a fifth
# fewer commands, and 1 to 2 % fewer calls are made a second (docs/decisions/0027-lean-worker.md).
GATHER_S = 0.002
GATHERED = 6
# While few tasks run, nothing gathers in that time, and each trip would come later for nothing: a
# result is waited for only where eight times as many tasks run.
RUNNING_FOR_ONE = 8


@dataclass(frozen=True, slots=True)
class _Task:
    """What a thread runs, and then the coordinating thread, with its result or its error."""

    run: Callable[[], Any]
    then: Callable[[Any], None]
    otherwise: Callable[[Exception], None]


@dataclass(frozen=True, slots=True)
class _Ended:
    """A task that a thread has run. error: what it raised; None: it returned `result`."""

    task: _Task
    result: Any
    error: BaseException | None


class Pool:
    """Runs tasks in threads. Only the coordinating thread calls its methods.

    Two queues and nothing else: a future for each task takes twice as long.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.running = 0  # tasks whose result was not taken in yet
        self._started: list[threading.Thread] = []
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()  # None ends a thread
        # No SimpleQueue: the first get() of one can wait for ever, if its time-out is over before
        # it begins to wait (CPython 3.12, on a busy machine).
        self._ended: queue.Queue[_Ended] = queue.Queue()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait until every thread has ended."""
        for _ in self._started:
            self._tasks.put(None)
        for thread in self._started:
            thread.join()

    @property
    def free(self) -> int:
        """Return how many threads have nothing to do."""
        return self.threads - self.running

    def submit(
        self,
        task: Callable[[], Any],
        then: Callable[[Any], None],
        otherwise: Callable[[Exception], None],
    ) -> None:
        """Run `task` in a thread, and then `then` with its result in the coordinating thread.

        otherwise: runs there, too, if `task` raised an error. Raises RuntimeError where the system
        gives no thread; then `task` does not run.
        """
        if self.running >= len(self._started) < self.threads:
            thread = threading.Thread(target=self._work, name=f"send-{len(self._started)}")
            thread.start()  # raises where the system gives no thread
            self._started.append(thread)
        self.running += 1
        self._tasks.put(_Task(task, then, otherwise))

    def take_in(self, timeout_s: float) -> None:
        """Take in the results that are there; wait at most timeout_s for the first.

        What is left of that time, but at most GATHER_S, it waits for others, until there are
        GATHERED, or one for RUNNING_FOR_ONE tasks that run.
        """
        over_at = time.monotonic() + timeout_s
        try:
            self._finish(self._ended.get(timeout=timeout_s))
            over_at = min(over_at, time.monotonic() + GATHER_S)
            enough = min(GATHERED, self.running // RUNNING_FOR_ONE)
            for taken in itertools.count(1):
                left_s = max(over_at - time.monotonic(), 0.0) if taken < enough else 0.0
                self._finish(self._ended.get(timeout=left_s))
        except queue.Empty:
            return

    def _work(self) -> None:
        while task := self._tasks.get():
            try:
                ended = _Ended(task, task.run(), None)
            except BaseException as error:
                ended = _Ended(task, None, error)
            self._ended.put(ended)
            del task, ended  # a thread that waits keeps nobody's data

    def _finish(self, ended: _Ended) -> None:
        self.running -= 1
        try:
            if ended.error is None:
                ended.task.then(ended.result)
            elif isinstance(ended.error, Exception):
                ended.task.otherwise(ended.error)
        except Exception as error:
            # The lease of that delivery runs out, and the sweep takes over.
            logger.error("drain.crashed", exc_info=error)
