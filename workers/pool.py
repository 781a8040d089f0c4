"""The drain's threads: they run tasks, and the coordinating thread takes in the results."""

import queue
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any

from config import log

logger = log.get(__name__)


class Pool:
    """Runs tasks in threads. Only the coordinating thread calls its methods."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.running = 0  # tasks whose result was not taken in yet
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="send")
        self._results: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait until every thread has ended."""
        self._executor.shutdown(wait=True)

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
        gives no thread; then `task` may still run, without `then`.
        """

        def finished(future: "Future[Any]") -> None:
            self._results.put(partial(self._finished, future, then, otherwise))

        future = self._executor.submit(task)  # raises where the system gives no thread
        self.running += 1
        future.add_done_callback(finished)

    def take_in(self, timeout_s: float) -> None:
        """Take in all results that are there; wait at most timeout_s for the first."""
        try:
            self._results.get(timeout=timeout_s)()
            while True:
                self._results.get_nowait()()
        except queue.Empty:
            return

    def _finished(
        self,
        future: "Future[Any]",
        then: Callable[[Any], None],
        otherwise: Callable[[Exception], None],
    ) -> None:
        self.running -= 1
        try:
            error = future.exception()
            if error is None:
                then(future.result())
            elif isinstance(error, Exception):
                otherwise(error)
        except Exception as error:
            # The lease of that delivery runs out, and the sweep takes over.
            logger.error("drain.crashed", exc_info=error)
