"""`python -m workers`: a stock RQ worker, and the tick that nothing of RQ's could promise.

The supervisor forks the worker and starts it again when it dies. Its own loop is the tick: it
rings when a delivery falls due, and sweeps what dead workers left. RQ's own scheduler is not
used: killed, it was not restarted within 90 s.
"""

import contextlib
import math
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import NoReturn

from rq import Worker

from config import log
from config.settings import warnings_of
from schemas.errors import SettingsError, StoreUnavailable
from schemas.records import Pause
from schemas.settings import Settings
from store import Store, connect
from store.migration import Migration
from store.queue import Wakeup, connect_queue, open_queue
from workers import alerts, jobs
from workers.die_with_parent import die_with_parent
from workers.drain import LEASE_S
from workers.journal import Journal
from workers.shutdown import ShutdownPipe
from workers.timeouts import violations

logger = log.get(__name__)

TICK_S = 1.0  # the longest that a due delivery waits for a lost bell
SWEEP_S = 5.0
PRUNE_S = 60.0
AUDIT_S = 5.0
AUDIT_SLICE_S = 0.05  # of the tick, for an audit: it goes on with the next one
AWAY_LONGEST_S = 1.0  # between two looks for a Redis that is away; less than RESTART_GRACE_S
SAID_AT_ONCE = 500
MIGRATION_SLICE_S = 0.5  # of pages, between two looks whether to stop
MIGRATION_PAUSE_S = 0.05
ALERTS_S = 5.0  # how late an alert may be
ALERT_SENDER_S = 90  # the longest that its sender may live; less than the lease of what it sends
RESTART_LONGEST_S = 10.0
FORK_AGAIN_S = 1.0
STEADY_S = 60.0  # a worker that lived this long is started again at once
WORKER_TTL_S = 30  # RQ blocks for this less 15 s, and does its own maintenance in between
MAINTENANCE_S = 15
STOPS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Keeps one RQ worker running, and ticks."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.shutdown_pipe = ShutdownPipe()
        self.journal = Journal()
        self.worker_pid = 0
        self.alert_sender_pid = 0  # who sends alerts; 0: nobody does
        self.stopping = False
        self._deaths = 0
        self._start_after = 0.0
        self._started_at = 0.0
        self._woken, self._wake = os.pipe()

    def run(self) -> int:
        """Work until told to stop. Returns the exit code."""
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake)
        for number in STOPS:
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        tick = Tick(self.settings, self.journal)
        logger.info("worker.started", threads=self.settings.worker_threads)
        while True:
            wait_s = 0.1 if self.stopping else tick.tick()
            # Without Redis an RQ worker would only die, again and again.
            self._look_after_worker(may_start=tick.is_up)
            if tick.is_alert_due and not self.alert_sender_pid:
                tick.is_alert_due = False  # until the tick looks again
                self._start_alert_sender()
            if self.stopping and not self.worker_pid:
                logger.info("worker.stopped")
                return 0
            self._nap(wait_s)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.stopping:
            return
        self.stopping = True
        self.shutdown_pipe.cut()
        if self.worker_pid:
            # RQ's warm shutdown: it waits for its work-horse, which the lifeline has told.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.worker_pid, signal.SIGTERM)

    def _nap(self, seconds: float) -> None:
        """Sleep until then, or until any signal; take in what the worker notes meanwhile."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            ready, _, _ = select.select([self._woken, self.journal.read_end], [], [], left_s)
            if self.journal.read_end in ready:
                self.journal.take_in()
            if self._woken in ready:
                os.read(self._woken, 1024)
                return

    def _look_after_worker(self, *, may_start: bool) -> None:
        """Notice that the worker ended, and start it again, not too often."""
        for pid, status in _ended_children():
            if pid == self.worker_pid:
                self.worker_pid = 0
                self._plan_restart(status)
            if pid == self.alert_sender_pid:
                self.alert_sender_pid = 0
        is_wanted = not self.stopping and not self.worker_pid and may_start
        if is_wanted and time.monotonic() >= self._start_after:
            self._start_worker()

    def _plan_restart(self, status: int) -> None:
        if self.stopping:
            return
        lived_s = time.monotonic() - self._started_at
        self._deaths = 0 if lived_s > STEADY_S else self._deaths + 1
        wait_s = min(0.2 * 2.0**self._deaths, RESTART_LONGEST_S)
        self._start_after = time.monotonic() + wait_s
        logger.warning("worker.died", status=os.waitstatus_to_exitcode(status), restart_in_s=wait_s)

    def _start_worker(self) -> None:
        self._started_at = time.monotonic()
        with _stops_held():
            if self.stopping:
                return
            try:
                self.worker_pid = self._fork(self._be_worker, "worker.crashed")
            except OSError as error:  # no process is to be had
                logger.error("worker.unstarted", error=str(error))
                self._start_after = self._started_at + FORK_AGAIN_S

    def _be_worker(self) -> None:
        self.shutdown_pipe.hold()
        self.journal.hold()
        work(self.settings)

    def _start_alert_sender(self) -> None:
        """Send alerts beside everything else; who stops the supervisor need not wait for them."""
        with contextlib.suppress(OSError), _stops_held():  # the next look tries again
            if not self.stopping:
                self.alert_sender_pid = self._fork(self._be_alert_sender, "alert.crashed")

    def _be_alert_sender(self) -> None:
        self.shutdown_pipe.leave()
        self.journal.leave()
        signal.alarm(ALERT_SENDER_S)
        try:
            alerts.send_due(self.settings)
        except StoreUnavailable:
            logger.warning("alert.unsent")  # the lease of what it was at runs out

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


class Tick:
    """What is done every second or so, whatever happens: ring when work is due, and repair."""

    def __init__(self, settings: Settings, journal: Journal) -> None:
        self.journal = journal
        self.store = Store(connect(settings.redis_url))
        self.migration = Migration(self.store)
        self.is_migrated = False
        self.wakeup = Wakeup(open_queue(connect_queue(settings.redis_url)))
        self.is_alert_due = False
        self._retention = timedelta(days=settings.retention_days)
        self._alerted_at = -ALERTS_S if settings.alert_webhook_url else math.inf
        self._backlog_age_s = settings.alert_backlog_age_s
        self._sources = frozenset(settings.routes.sources)
        self._swept_at = -SWEEP_S
        self._pruned_at = -PRUNE_S
        self._audited_at = -AUDIT_S
        self._audit_place = (0, 0)
        self._run_id = ""
        self._paused: dict[str, Pause] = {}  # as far as it was told
        self._failures = 0

    @property
    def is_up(self) -> bool:
        """Say whether Redis answered the last time, and all records have this release's names."""
        return not self._failures and self.is_migrated

    def tick(self) -> float:
        """Ring and sweep if there is cause. Returns the seconds to wait before the next one."""
        try:
            wait_s = self._tick()
        except StoreUnavailable as error:
            self._failures += 1
            if self._failures == 1:
                logger.warning("store.away", error=str(error))
            return self._backoff_s()
        except Exception as error:
            # The tick is what brings everything back; it outlives even a mistake of ours.
            self._failures += 1
            logger.error("tick.crashed", exc_info=error)
            return self._backoff_s()
        if self._failures:
            logger.info("store.back", failures=self._failures)
            # Drains that waited for Redis, too, have answers to record before we judge them dead.
            self._swept_at = time.monotonic()
        self._failures = 0
        return wait_s

    def _prune(self) -> None:
        """Forget what is past its retention; as much as a second allows, the rest next time."""
        before, until = datetime.now(UTC) - self._retention, time.monotonic() + 1.0
        forgotten = last = self.store.prune(before)
        while last and time.monotonic() < until:
            last = self.store.prune(before)
            forgotten += last
        if forgotten:
            self._pruned_at -= PRUNE_S if last else 0
            logger.info("delivery.pruned", forgotten=forgotten)

    def _meet_redis(self) -> None:
        """After a start of Redis, say again what was attempted shortly before: it may be lost."""
        run_id = self.store.run_id()
        if run_id == self._run_id:
            return
        is_restart, moves = bool(self._run_id), list(self.journal.moves())
        recovered = 0
        for start in range(0, len(moves) if is_restart else 0, SAID_AT_ONCE):
            recovered += self.store.replay_journal(
                moves[start : start + SAID_AT_ONCE], lease_s=LEASE_S
            )
        self._run_id = run_id
        for warning in self.store.persistence().warnings():
            logger.warning("store.weak", message=warning)
        if is_restart:
            logger.warning("store.restarted", said_again=len(moves), recovered=recovered)

    def _tell_pauses(self) -> None:
        """Log each pause as it begins and ends, once: the bridge pauses CallKaro by itself, too."""
        now = {f"{one.scope} {one.reason}": one for one in self.store.pauses()}
        for name in now.keys() - self._paused.keys():
            logger.warning("pause.began", scope=now[name].scope, reason=now[name].reason)
        for name in self._paused.keys() - now.keys():
            gone = self._paused[name]
            logger.info("pause.ended", scope=gone.scope, reason=gone.reason)
        self._paused = now

    def _look_for_alerts(self) -> None:
        """Find what people are to be alerted of. Whatever fails here, the tick goes on."""
        try:
            self.store.look_for_alerts(backlog_age_s=self._backlog_age_s, sources=self._sources)
            self.is_alert_due = self.store.is_alert_due()
        except Exception as error:
            logger.error("alert.crashed", exc_info=error)

    def _audit(self) -> None:
        """Look for deliveries that no crash of ours should leave behind, a few at a time."""
        until = time.monotonic() + AUDIT_SLICE_S
        while True:
            self._audit_place, repaired = self.store.audit(self._audit_place, lease_s=LEASE_S)
            if any(astuple(repaired)):
                logger.warning("store.repaired", **asdict(repaired))
            if self._audit_place == (0, 0) or time.monotonic() > until:
                return

    def _backoff_s(self) -> float:
        return min(0.2 * 2.0 ** min(self._failures, 6), AWAY_LONGEST_S) * random.uniform(0.5, 1)  # noqa: S311  # nosec B311  # no secret

    def _tick(self) -> float:
        self.is_migrated = self.migration.advance(for_s=MIGRATION_SLICE_S)
        if not self.is_migrated:
            return MIGRATION_PAUSE_S
        self._meet_redis()
        if time.monotonic() - self._swept_at >= SWEEP_S:
            self._swept_at = time.monotonic()
            unknown, back = self.store.sweep()
            if unknown or back:
                logger.warning("delivery.swept", to_unknown=unknown, given_back=back)
        if time.monotonic() - self._pruned_at >= PRUNE_S:
            self._pruned_at = time.monotonic()
            self._prune()
        if time.monotonic() - self._audited_at >= AUDIT_S:
            self._audited_at = time.monotonic()
            self._audit()
        self._tell_pauses()
        if time.monotonic() - self._alerted_at >= ALERTS_S:
            self._alerted_at = time.monotonic()
            self._look_for_alerts()
        due_s = self.store.next_due_s()
        if due_s is not None and due_s <= 0:
            if self.store.set_wakeup():
                self.wakeup.request_drain()
            return TICK_S
        return TICK_S if due_s is None else min(max(due_s, 0.01), TICK_S)


class PatientWorker(Worker):
    """RQ's stock worker, but for one public hook: being asked twice to stop is no hurry.

    At a second SIGTERM RQ kills its work-horse, with calls on the wire that then are `unknown`.
    The horse knows that it is to stop, and ends within STOP_S; SIGKILL remains for who can't wait.
    """

    def request_force_stop(self, signum: int, frame: FrameType | None) -> None:
        """Go on stopping as the first signal asked."""


@contextlib.contextmanager
def _stops_held() -> Iterator[None]:
    """Let no stop come between a fork and the note of whom it made: it would miss the child."""
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


def work(settings: Settings) -> None:
    """Run an RQ worker on our queue until it is told to stop."""
    queue = open_queue(connect_queue(settings.redis_url, timeout_s=None))
    worker = PatientWorker(
        [queue],
        connection=queue.connection,
        serializer=queue.serializer,
        worker_ttl=WORKER_TTL_S,
        maintenance_interval=MAINTENANCE_S,
    )
    worker.work(logging_level="WARNING", with_scheduler=False)


def main() -> int:
    """Read the settings and supervise; a wrong setting is one message and exit code 1."""
    try:
        settings = jobs.settings()
    except SettingsError as error:
        sys.stderr.write(f"The worker can't start; mend this and start it again:\n{error}\n")
        return 1
    if problems := violations(settings):
        listed = "\n".join(f"  - {problem}" for problem in problems)
        sys.stderr.write(f"The worker can't start; mend this and start it again:\n{listed}\n")
        return 1
    for warning in warnings_of(settings):
        logger.warning("settings.warning", message=warning)
    jobs.warm_up()
    return Supervisor(settings).run()


if __name__ == "__main__":
    sys.exit(main())
