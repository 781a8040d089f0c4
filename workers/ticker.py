"""The ticker: the supervisor's loop, about once a second, and less often at rest.

It requests a drain when a delivery falls due, and repairs what dead workers left behind. RQ's own
scheduler is not used: after it was killed, it was not restarted within 90 s.
"""

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple
from datetime import UTC, datetime, timedelta
from functools import partial

from config import log
from rules.backoff import doubled_s
from rules.search import found_again
from rules.shown import person_of
from schemas.errors import StoreUnavailable, StoreUnfit
from schemas.records import Look, Pause
from schemas.settings import Settings
from store import Store, connect
from store.bell import Bell, Ear
from store.migration import Migration
from store.queue import Wakeup, connect_queue, open_queue
from workers.daily_reconcile import DailyReconcile
from workers.drain import LEASE_S
from workers.journal import Journal
from workers.summary import DailySummary

logger = log.get(__name__)

TICK_S = 1.0  # the longest that a due delivery waits after a wake-up was lost
# At rest: the bell did not ring and no drain worked for BUSY_S. Then nothing new falls due without
# a ring, and the ticker knows when the rest does. Only if a web process is killed between storing
# and ringing, a delivery waits for this time.
REST_S = 20.0
BUSY_S = 30.0
REPORT_S = 20.0  # how often the RQ worker is reported to run: three times in ALIVE_S
SWEEP_S = 5.0
PRUNE_S = 60.0
PRUNE_SLICE_S = 1.0  # of the tick, for pruning
PRUNE_REST_S = 600.0
AUDIT_S = 5.0
AUDIT_REST_S = 300.0  # between two rounds
AUDIT_SLICE_S = 0.05  # of the tick, for an audit; the next audit goes on from there
RECONCILE_S = 60.0
ALERTS_S = 5.0  # the longest that an alert waits before the ticker finds it
ALERTS_REST_S = 60.0
AWAY_LONGEST_S = 1.0  # between two tries while Redis is away; less than RESTART_GRACE_S
REPLAYED_AT_ONCE = 500
MIGRATION_SLICE_S = 0.5  # of the tick, for the move of stored names
MIGRATION_PAUSE_S = 0.05  # between two such slices


class _Every:
    """A timer that is due every period_s seconds, and at rest every rest_s. First: now."""

    def __init__(self, period_s: float, *, rest_s: float | None = None) -> None:
        self._period_s = period_s
        self._rest_s = rest_s or period_s
        self._began_at = -math.inf

    def is_due(self, *, is_at_rest: bool = False) -> bool:
        """Say whether the timer is due; if so, start the next period now."""
        period_s = self._rest_s if is_at_rest else self._period_s
        if time.monotonic() - self._began_at < period_s:
            return False
        self.put_off()
        return True

    def put_off(self) -> None:
        """Make the timer due a period from now."""
        self._began_at = time.monotonic()

    def hurry(self) -> None:
        """Make the timer due now."""
        self._began_at = -math.inf


class Ticker:
    """Requests drains when work is due, and keeps the store in order."""

    def __init__(self, settings: Settings, journal: Journal) -> None:
        self._journal = journal
        self._store = Store(
            connect(settings.redis_url),
            zone=settings.callkaro_timezone,
            acks=settings.redis_acks,
            is_engine_durable=settings.is_engine_durable,
        )
        self._migration = Migration(self._store)
        self._is_fit = False  # not known yet
        self._is_migrated = False
        self._told = {
            one.name: one.write_back.on for one in settings.routes.routes if one.write_back
        }
        self._is_told_noted = False  # Redis knows which routes tell their CRM of which moments
        of_rq = connect_queue(settings.redis_url)
        self._wakeup = Wakeup(open_queue(of_rq))
        self.bell = Bell(of_rq, Ear.REST)
        self._listen = _Every(BUSY_S)
        self._rests_at = 0.0  # monotonic; from then on, the ticker is at rest
        self._retention = timedelta(days=settings.retention_days)
        self._refused_keep = settings.refused_keep
        self._backlog_age_s = settings.alert_backlog_age_s
        self._sources = frozenset(settings.routes.sources)
        self._person_of = partial(person_of, settings.routes.sources)
        self._sweep = _Every(SWEEP_S)
        self._prune = _Every(PRUNE_S, rest_s=PRUNE_REST_S)
        self._audit = _Every(AUDIT_S, rest_s=AUDIT_REST_S)
        self._has_alerts = bool(settings.alert_webhook_url)
        self._alerts = _Every(ALERTS_S, rest_s=ALERTS_REST_S)
        self._suspension = _Every(0.0, rest_s=ALERTS_REST_S)
        self._report = _Every(REPORT_S)
        self.worker_name = ""  # of the RQ worker that runs; empty: none does
        self._known_worker = ""  # the one that RQ knew at the last report
        self._summary = DailySummary(settings, self._store)
        self._reconcile = DailyReconcile(settings, self._store)
        self._reconciles = _Every(RECONCILE_S)
        self._audit_place = (0, 0)
        self._found_by = partial(found_again, settings.routes)
        self._stale_place = 0  # where to look for entries of the search index that are too old
        self._run_id: str | None = None  # of Redis at the last tick; empty: it does not tell
        self._pauses: dict[str, Pause] = {}  # the pauses whose begin was logged
        self._is_alert_due = False
        self._is_worker_forgotten = False
        self._is_suspended = False  # by `rq suspend`
        self._failures = 0

    @property
    def may_deliver(self) -> bool:
        """Say whether Redis answered the last time, and all records have this release's names."""
        return self._is_migrated and not self._failures

    @property
    def is_at_rest(self) -> bool:
        """Say whether nothing new falls due without a ring."""
        return self.bell.is_open and not self._failures and time.monotonic() > self._rests_at

    def stir(self) -> None:
        """End the rest, because a drain works, or somebody rang."""
        self._rests_at = time.monotonic() + BUSY_S

    def hear(self) -> None:
        """Take in that the bell rang, or that its Redis is gone."""
        self.bell.was_rung()
        self.stir()

    def take_forgotten_worker(self) -> bool:
        """Say whether RQ forgot our worker, because nobody could report it for a minute."""
        is_forgotten, self._is_worker_forgotten = self._is_worker_forgotten, False
        return is_forgotten

    def take_due_alerts(self) -> bool:
        """Say whether alerts are due. The answer is no until the ticker looks for alerts again."""
        is_due, self._is_alert_due = self._is_alert_due, False
        return is_due

    def tick(self) -> float:
        """Do what is due. Returns the seconds to wait before the next tick.

        Raises StoreUnfit, and nothing else: before anything was done, no wait would help.
        """
        try:
            wait_s = self._tick()
        except StoreUnfit:
            raise
        except StoreUnavailable as error:
            self._failures += 1
            if self._failures == 1:
                logger.warning("store.away", error=str(error))
            return self._backoff_s()
        except Exception as error:
            # The ticker restarts everything else, so it must outlive a bug of ours.
            self._failures += 1
            logger.error("tick.crashed", exc_info=error)
            return self._backoff_s()
        if self._failures:
            self.stir()
            # Its connection may still be one to the master that was, which hears nobody.
            self.bell.close()
            self._listen.hurry()
            logger.info("store.back", failures=self._failures)
            # Drains waited for Redis, too. They must record their answers before the sweep.
            self._sweep.put_off()
        self._failures = 0
        return wait_s

    def _tick(self) -> float:
        if not self._is_fit:
            self._store.check_fit()
            self._is_fit = True  # a later change is answered by StoreUnavailable, and awaited
        self._note_restart()  # first: a migration that begins again may outlast RESTART_GRACE_S
        look = self._store.look()
        self._is_migrated = look.is_migrated or self._migration.advance(for_s=MIGRATION_SLICE_S)
        if not self._is_migrated:
            return MIGRATION_PAUSE_S
        if not self._is_told_noted:
            self._store.note_write_back_routes(self._told)
            self._store.note_happenings(datetime.now(UTC))
            self._store.renew_all_channels()  # the routes may want other events than before
            self._is_told_noted = True
        for step in self._due_steps(look):
            _do(step)
        if not self.bell.is_open and self._listen.is_due():
            self.bell.open()
            self.stir()  # what was rung for until now is found by the next looks
        return self._request_drain(look)

    def _due_steps(self, look: Look) -> Iterator[Callable[[], None]]:
        """Yield what has to be done now besides asking for a drain."""
        rests = self.is_at_rest
        if self.worker_name and self._report.is_due():
            yield self._report_worker
        if look.lease_ends_s is not None and self._sweep.is_due():
            yield self._sweep_stalled
        if self._prune.is_due(is_at_rest=rests):
            yield self._prune_old
        # A round that has begun goes on at rest, too.
        if self._audit.is_due(is_at_rest=rests and self._audit_place == (0, 0)):
            yield self._audit_some
        if look.has_pauses or self._pauses or not rests:
            yield self._log_pauses
        if self._suspension.is_due(is_at_rest=rests):
            yield self._log_suspension
        is_alert_due = look.alert_s is not None and look.alert_s <= 0
        if self._has_alerts and self._alerts.is_due(is_at_rest=rests and not is_alert_due):
            yield self._look_for_alerts
        if self._reconciles.is_due():
            yield self._reconcile_daily

    def _backoff_s(self) -> float:
        return doubled_s(0.2, self._failures, AWAY_LONGEST_S) * random.uniform(0.5, 1)  # noqa: S311  # nosec B311  # no secret

    def _request_drain(self, look: Look) -> float:
        """Request a drain if a delivery is due. Returns the seconds until the next look."""
        longest_s = REST_S if self.is_at_rest else TICK_S
        times = [look.due_s] if look.due_s is not None else []
        if look.due_s is not None and look.due_s <= 0:
            if self._store.set_wakeup():
                self._wakeup.request_drain(is_late=look.due_s < -TICK_S)
            times = [TICK_S]
        if look.lease_ends_s is not None:
            times.append(max(look.lease_ends_s, TICK_S))
        if look.alert_s is not None and self._has_alerts:
            times.append(max(look.alert_s, TICK_S))
        return min(max(min(times, default=longest_s), 0.01), longest_s)

    def _note_restart(self) -> None:
        """After a restart of Redis, replay the journal: Redis may have lost its last second."""
        run_id = self._store.run_id()
        # Where Redis does not tell its run, it may have restarted while it was away.
        may_be_new = not run_id and self._failures > 0
        if run_id == self._run_id and not may_be_new:
            return
        is_restart = bool(self._run_id) or (self._run_id is not None and may_be_new)
        moves = list(self._journal.moves())
        recovered = 0
        for start in range(0, len(moves) if is_restart else 0, REPLAYED_AT_ONCE):
            part = moves[start : start + REPLAYED_AT_ONCE]
            recovered += self._store.replay_journal(part, lease_s=LEASE_S)
        self._run_id = run_id
        self._is_told_noted = False
        for warning in self._store.persistence().warnings():
            logger.warning("store.weak", message=warning)
        if is_restart:
            logger.warning("store.restarted", replayed=len(moves), recovered=recovered)

    def _sweep_stalled(self) -> None:
        """Repair the deliveries whose worker died."""
        unknown, back = self._store.sweep()
        if unknown or back:
            logger.warning("delivery.stalled", to_unknown=unknown, given_back=back)

    def _prune_old(self) -> None:
        """Delete what is past its retention, for at most a second; the rest in the next tick."""
        before, until = datetime.now(UTC) - self._retention, time.monotonic() + PRUNE_SLICE_S
        if self._store.is_empty():
            return
        self._store.prune_refused(keep=self._refused_keep, retention=self._retention)
        self._stale_place = self._store.forget_stale_terms(self._stale_place)
        forgotten = last = self._store.prune(before)
        while last and time.monotonic() < until:
            last = self._store.prune(before)
            forgotten += last
        if forgotten:
            logger.info("delivery.pruned", forgotten=forgotten)
        if last:
            self._prune.hurry()

    def _audit_some(self) -> None:
        """Look through deliveries, a few at a time, for states that no crash should leave."""
        until = time.monotonic() + AUDIT_SLICE_S
        while True:
            self._audit_place, repaired = self._store.audit(
                self._audit_place,
                lease_s=LEASE_S,
                person_of=self._person_of,
                found_by=self._found_by,
            )
            if any(astuple(repaired)):
                logger.warning("store.repaired", **asdict(repaired))
            if self._audit_place == (0, 0) or time.monotonic() > until:
                return

    def _log_pauses(self) -> None:
        """Log each pause once as it begins and ends; the bridge pauses CallKaro by itself, too."""
        now = {f"{pause.scope} {pause.reason}": pause for pause in self._store.pauses()}
        for name in now.keys() - self._pauses.keys():
            logger.warning("pause.began", scope=now[name].scope, reason=now[name].reason)
        for name in self._pauses.keys() - now.keys():
            ended = self._pauses[name]
            logger.info("pause.ended", scope=ended.scope, reason=ended.reason)
        self._pauses = now

    def _report_worker(self) -> None:
        """Report that the RQ worker runs; RQ itself does that each few minutes only."""
        if self._wakeup.report(self.worker_name):
            self._known_worker = self.worker_name
        elif self._known_worker == self.worker_name:
            self._is_worker_forgotten = True

    def _log_suspension(self) -> None:
        """Log once that `rq suspend` stopped the workers, and once that they go on."""
        was, self._is_suspended = self._is_suspended, self._wakeup.is_suspended()
        if self._is_suspended and not was:
            logger.warning("worker.suspended")
        if was and not self._is_suspended:
            logger.info("worker.resumed")

    def _reconcile_daily(self) -> None:
        """Ask CRMs once a day for what never arrived."""
        self._reconcile.look(datetime.now(UTC))

    def _look_for_alerts(self) -> None:
        """Find the alerts that people must get. If this fails, the tick continues."""
        try:
            self._store.look_for_alerts(
                backlog_age_s=self._backlog_age_s,
                sources=self._sources,
                is_suspended=self._is_suspended,
            )
            self._summary.look(datetime.now(UTC))
            self._is_alert_due = self._store.is_alert_due()
        except Exception as error:
            logger.error("alert.crashed", exc_info=error)


def _do(step: Callable[[], None]) -> None:
    """Do a step of the tick. An error of ours in it must stop neither the others nor the calls."""
    try:
        step()
    except StoreUnavailable:
        raise
    except Exception as error:
        logger.error("tick.crashed", step=step.__name__.strip("_"), exc_info=error)
