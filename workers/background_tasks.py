"""Background tasks: what the worker does besides deliveries. Doing a task twice does no harm.

A thread of the drain's pool does the whole task, so a task may wait for a CRM.
"""

import time
from dataclasses import replace
from functools import partial
from typing import Any

from config import log
from rules.backoff import doubled_s
from rules.candidate import numbers_of, routes_like
from schemas.errors import StoreUnavailable
from schemas.event import Event
from schemas.records import BackgroundTask
from schemas.settings import Settings
from schemas.source import Source
from store import Store
from store.erasure import Eraser
from store.suppression import AGAIN_S, Suppressions, person_key, why_opted_out
from workers.channels import Channels
from workers.crm import CrmClient, FetchFailed
from workers.drain_context import DrainContext
from workers.reconcile import Reconciler

logger = log.get(__name__)

LOOK_S = 1.0  # how often to look for tasks
AT_ONCE = 8  # tasks in one look
LONGEST_WAIT_S = 3600.0  # until the next try of a task that fails again and again


class BackgroundTasks:
    """Does background tasks that are due: one drain's share of them."""

    def __init__(
        self, store: Store, settings: Settings, crm_client: CrmClient, drain: DrainContext
    ) -> None:
        self._store = store
        self._settings = settings
        self._crm_client = crm_client
        self._drain = drain
        self._channels = Channels(store, settings, crm_client)
        self._reconciler = Reconciler(store, settings, crm_client)
        self._suppressions = Suppressions(store=store)
        self._look_at = 0.0  # monotonic

    def take(self) -> None:
        """Start the tasks that are due."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_S
        try:
            tasks = self._store.claim_background_tasks(AT_ONCE)
        except StoreUnavailable:
            raise
        except Exception as error:  # tasks must not stop the calls
            _log_crash(error)
            return
        for task in tasks:
            self._drain.submit(partial(self.attempt, task), lambda _: None, _log_crash)

    def hurry(self) -> None:
        """Look for tasks in the next step."""
        self._look_at = 0.0

    def attempt(self, task: BackgroundTask) -> None:
        """Try to do a task. After an error it is tried again, with growing waits and for ever."""
        try:
            try:
                self.do(task)
            except StoreUnavailable:
                raise
            except Exception as error:
                _log_crash(error, what=task.what)
                self._crashed(task)
        except StoreUnavailable as error:
            # Its lease runs out; then the next drain does it.
            logger.warning("background_task.unfinished", what=task.what, error=str(error))

    def _crashed(self, task: BackgroundTask) -> None:
        if task.what == "reconcile":
            self._reconciler.crashed(str(task.key))
            self._store.end_background_task(task.id)
            return
        self._fail(task)

    def _fail(self, task: BackgroundTask, *, retry_after_s: float | None = None) -> None:
        """Let a task wait for its next try; the status page shows that it fails."""
        wait_s = doubled_s(AGAIN_S, task.failures, LONGEST_WAIT_S)
        self._store.put_background_task(
            replace(task, failures=task.failures + 1), in_s=max(wait_s, retry_after_s or 0)
        )

    def do(self, task: BackgroundTask) -> None:
        """Do a task, or the part of it that can be done now."""
        match task.what:
            case "erase":
                Eraser(store=self._store).pursue(replace(task, failures=0))
            case "call_off" if task.key:
                off = self._suppressions.call_off(task.key, tuple(task.state.get("keys", ())))
                if off.on_the_wire:
                    self._store.put_background_task(replace(task, failures=0), in_s=AGAIN_S)
                else:
                    self._store.end_background_task(task.id)
            case "opt_out":
                self._opt_out(task)
            case "reconcile":
                self._go_on(task, self._reconciler.go_on(str(task.key)))
            case "channel":
                self._go_on(task, self._channels.renew(str(task.key)))

    def _go_on(self, task: BackgroundTask, wait_s: float | None) -> None:
        """Do a task again in wait_s seconds; None: it is done."""
        if wait_s is None:
            self._store.end_background_task(task.id)
        else:
            self._store.put_background_task(replace(task, failures=0), in_s=wait_s)

    def _opt_out(self, task: BackgroundTask) -> None:
        """Suppress the numbers of a CRM's record whose person must not be called."""
        seen = self._store.event(str(task.event_id))
        source = self._settings.routes.sources.get(seen.event.source) if seen else None
        if seen is None:  # pruned: nobody knows the record any more
            logger.error("opt_out.given_up", event_id=task.event_id)
            self._store.end_background_task(task.id)
            return
        if source is None:
            logger.warning("opt_out.source_missing", source=seen.event.source)
            self._fail(task)
            return
        record = self._record(source, seen.event)
        if isinstance(record, FetchFailed):
            # The record is suppressed already. Its numbers follow once the CRM can be read.
            logger.warning("opt_out.fetch_failed", source=source.name, message=record.message)
            self._fail(task, retry_after_s=record.retry_after_s)
            return
        key = person_key(seen.event, self._store)
        persons = (key,) if key else ()
        numbers = numbers_of(source, record, self._settings)
        if not numbers:
            logger.warning("opt_out.without_number", source=source.name, event_id=seen.event.id)
        for number in numbers:
            self._suppressions.suppress(
                number,
                reason="by_crm",
                message=why_opted_out(seen.event),
                source=source.name,
                persons=persons,
                event_id=seen.event.id,
            )
        off = self._suppressions.call_off_all(self._suppressions.ids_of_record(seen.event))
        if off.on_the_wire:
            self._store.put_background_task(replace(task, failures=0), in_s=AGAIN_S)
            return
        self._store.end_background_task(task.id)

    def _record(self, source: Source, event: Event) -> Any:
        """Return an event's data with its full record; FetchFailed: the CRM can't be read."""
        hydration = source.kind.hydration
        if hydration is None or event.hydrate is None or event.subject is None:
            return event.data
        paths = [route.paths_with(source) for route in routes_like(source, self._settings)]
        if source.kind.phones:
            paths.append(source.kind.phones.paths)
        fields = {name for some in paths for name in hydration.fields(some)}
        found = self._crm_client.fetch(source, event.hydrate, [event.subject], sorted(fields))
        answer = found.get(event.subject)
        if answer is None or isinstance(answer, FetchFailed):
            return event.data if answer is None else answer
        return hydration.merge(event.data, answer.record)


def _log_crash(error: Exception, **what: str) -> None:
    logger.error("background_task.crashed", **what, exc_info=error)
