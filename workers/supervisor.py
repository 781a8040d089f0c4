"""The supervisor: keeps one stock RQ worker running, and ticks.

It forks the worker and starts it again when it dies. Its own loop is the tick, which RQ could not
promise. A second child sends alerts while there are any.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn
from uuid import uuid4

from redis.client import Pipeline

from config import log
from rules.backoff import doubled_s
from schemas.errors import StoreUnavailable
from schemas.settings import Settings
from store.queue import ALIVE_S, Worker, connect_queue, open_queue
from workers import alerts
from workers.die_with_parent import die_with_parent
from workers.journal import Journal
from workers.shutdown import ShutdownPipe
from workers.ticker import TICK_S, Ticker

logger = log.get(__name__)

STOPPING_TICK_S = 0.1  # between two looks for children that end
ALERT_SENDER_S = 90  # the longest that an alert sender may live; less than the lease of an alert
RESTART_LONGEST_S = 10.0
FORK_AGAIN_S = 1.0
STEADY_S = 60.0  # a worker that lived this long is restarted at once
# RQ blocks for this less 15 s, and does its own maintenance in between. Nothing depends on it: a
# lost RQ job costs a tick, and the supervisor reports that the worker runs. Longer, and what stands
# between us and Redis might close a connection that is idle.
WORKER_TTL_S = 255
MAINTENANCE_S = 240
REDIS_AWAY_S = 2.0  # the longest that RQ waits between two looks for Redis; its own default: 60 s
STOPS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Keeps one RQ worker running, and ticks."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.shutdown_pipe = ShutdownPipe()
        self.journal = Journal()
        self.worker_pid = 0  # 0: no worker is running
        self.worker_name = ""  # in RQ: of the latest one that was started
        self.alert_sender_pid = 0  # 0: no alert sender is running
        self.stopping = False
        self._deaths = 0  # of the worker, in a row
        self._start_after = 0.0  # monotonic
        self._started_at = 0.0  # monotonic
        self._woken, self._wake = os.pipe()  # a signal writes here, and so ends a nap

    def run(self) -> int:
        """Work until a signal asks to stop. Returns the exit code.

        Raises StoreUnfit before the worker is started.
        """
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake)
        for number in STOPS:
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        ticker = Ticker(self.settings, self.journal)
        logger.info("worker.started", threads=self.settings.worker_threads)
        while True:
            ticker.worker_name = self.worker_name if self.worker_pid else ""
            wait_s = STOPPING_TICK_S if self.stopping else ticker.tick()
            self._note_ended_children()
            if not self.worker_pid and self._may_start(ticker):
                self._start_worker()
            if self.worker_pid and ticker.take_forgotten_worker():
                # It registers only at its start, and would be missing on every page.
                logger.warning("worker.forgotten")
                self._stop_worker()
            if not self.alert_sender_pid and ticker.take_due_alerts():
                self._start_alert_sender()
            if self.stopping and not self.worker_pid:
                logger.info("worker.stopped")
                return 0
            # A dead worker is not left until the ticker, at rest, has something to do.
            self._nap(wait_s if self.worker_pid else min(wait_s, TICK_S), ticker)

    def _may_start(self, ticker: Ticker) -> bool:
        """Say whether the RQ worker may be started now.

        Without Redis it would only die, again and again. Before the stored names are moved, it
        would not find what is due.
        """
        if self.stopping or time.monotonic() < self._start_after:
            return False
        return ticker.may_deliver

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.stopping:
            return
        self.stopping = True
        self.shutdown_pipe.signal()
        if self.worker_pid:
            self._stop_worker()

    def _stop_worker(self) -> None:
        """Ask RQ for a warm shutdown: it waits for its work-horse."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.worker_pid, signal.SIGTERM)

    def _nap(self, seconds: float, ticker: Ticker) -> None:
        """Sleep that long, or until a signal; meanwhile read what the worker journals.

        At a ring, or when a drain works, the nap ends after a tick's time.
        """
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            heard = [self._woken, self.journal.read_end]
            bell = [ticker.bell.fileno()] if ticker.bell.is_open else []
            ready, _, _ = select.select([*heard, *bell], [], [], left_s)
            if self._woken in ready:
                os.read(self._woken, 1024)
                return
            if self.journal.read_end in ready:
                self.journal.take_in()
                ticker.stir()
            if set(bell) & set(ready):
                ticker.hear()
            if ready:
                until = min(until, time.monotonic() + TICK_S)

    def _note_ended_children(self) -> None:
        for pid, status in _ended_children():
            if pid == self.worker_pid:
                self.worker_pid = 0
                self._plan_restart(status)
            if pid == self.alert_sender_pid:
                self.alert_sender_pid = 0

    def _plan_restart(self, status: int) -> None:
        """Decide when to start the worker again: later each time it dies young."""
        if self.stopping:
            return
        lived_s = time.monotonic() - self._started_at
        self._deaths = 0 if lived_s > STEADY_S else self._deaths + 1
        wait_s = doubled_s(0.2, self._deaths, RESTART_LONGEST_S)
        self._start_after = time.monotonic() + wait_s
        logger.warning("worker.died", status=os.waitstatus_to_exitcode(status), restart_in_s=wait_s)

    # --- children ---------------------------------------------------------------------------------

    def _start_worker(self) -> None:
        self._started_at = time.monotonic()
        with _stops_held():
            if self.stopping:
                return
            self.worker_name = uuid4().hex
            try:
                self.worker_pid = self._fork(self._be_worker, "worker.crashed")
            except OSError as error:  # the system has no process left
                logger.error("worker.unstarted", error=str(error))
                self._start_after = self._started_at + FORK_AGAIN_S

    def _be_worker(self) -> None:
        self.shutdown_pipe.watch()
        self.journal.write_here()
        work(self.settings, self.worker_name)

    def _start_alert_sender(self) -> None:
        """Send alerts in a child of its own, which does not delay a stop of the supervisor."""
        with contextlib.suppress(OSError), _stops_held():  # after the next look it is tried again
            if not self.stopping:
                self.alert_sender_pid = self._fork(self._be_alert_sender, "alert.crashed")

    def _be_alert_sender(self) -> None:
        self.shutdown_pipe.close()
        self.journal.close()
        signal.alarm(ALERT_SENDER_S)
        try:
            alerts.send_due(self.settings)
        except StoreUnavailable:
            logger.warning("alert.unsent")  # the lease of its alert runs out

    def _fork(self, be: Callable[[], None], crashed: str) -> int:
        """Fork a child, while stops are held. Returns its pid; its crash is logged as `crashed`."""
        pid = os.fork()
        if not pid:
            self._live(be, crashed)
        return pid

    def _live(self, be: Callable[[], None], crashed: str) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (*STOPS, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
            die_with_parent()
            be()
            code = 0
        except BaseException as error:
            logger.error(crashed, exc_info=error)
        finally:
            os._exit(code)


class PatientWorker(Worker):
    """RQ's stock worker, except for two numbers and a public hook.

    A second SIGTERM changes nothing, and a worker that is not reported soon is gone.

    At a second SIGTERM, RQ kills its work-horse. Calls that are on the wire then become `unknown`.
    The work-horse knows that it must stop, and ends within STOP_S. To end it sooner, send SIGKILL.
    """

    max_connection_wait_time = REDIS_AWAY_S

    def heartbeat(self, timeout: int | None = None, pipeline: "Pipeline | None" = None) -> None:
        """Report that this worker runs; its supervisor does so in between."""
        super().heartbeat(ALIVE_S, pipeline)

    def request_force_stop(self, signum: int, frame: FrameType | None) -> None:
        """Go on stopping as the first signal asked."""


def work(settings: Settings, name: str) -> None:
    """Run an RQ worker of this name on our queue until a signal stops it."""
    queue = open_queue(connect_queue(settings.redis_url, timeout_s=None))
    worker = PatientWorker(
        [queue],
        name=name,
        connection=queue.connection,
        serializer=queue.serializer,
        worker_ttl=WORKER_TTL_S,
        maintenance_interval=MAINTENANCE_S,
    )
    worker.work(logging_level="WARNING", with_scheduler=False)


@contextlib.contextmanager
def _stops_held() -> Iterator[None]:
    """Hold stop signals back between a fork and the note of its pid, so the child gets them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def _ended_children() -> Iterator[tuple[int, int]]:
    """Yield (pid, status) of each child that ended.

    All of them: in a container we are process 1 and inherit the work-horses of a worker that died.
    """
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            yield pid, status
