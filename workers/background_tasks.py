"""Background tasks: what the worker does besides deliveries. Doing a task twice does no harm.

A thread of the drain's pool does the whole task, so a task may wait for a CRM.
"""

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from config import log
from rules.candidate import numbers_of, routes_like
from schemas.errors import StoreUnavailable
from schemas.event import Event
from schemas.records import BackgroundTask
from schemas.settings import Settings
from schemas.source import Source
from store import Store
from store.erasure import Eraser
from store.suppression import AGAIN_S, Suppressions, person_key
from workers.crm import CrmClient, FetchFailed
from workers.drain_context import DrainContext

logger = log.get(__name__)

LOOK_S = 1.0  # how often to look for tasks
AT_ONCE = 8  # tasks in one look
PATIENCE = timedelta(days=1)  # with a CRM that can't be read


class BackgroundTasks:
    """Does background tasks that are due: one drain's share of them."""

    def __init__(
        self, store: Store, settings: Settings, crm_client: CrmClient, drain: DrainContext
    ) -> None:
        self._store = store
        self._settings = settings
        self._crm_client = crm_client
        self._drain = drain
        self._suppressions = Suppressions(store=store)
        self._look_at = 0.0  # monotonic

    def take(self) -> None:
        """Start the tasks that are due."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_S
        for task in self._store.claim_background_tasks(AT_ONCE):
            self._drain.submit(partial(self._try, task), lambda _: None)

    def _try(self, task: BackgroundTask) -> None:
        try:
            self.do(task)
        except StoreUnavailable as error:
            # Its lease runs out; then the next drain does it.
            logger.warning("background_task.unfinished", what=task.what, error=str(error))

    def do(self, task: BackgroundTask) -> None:
        """Do a task, or the part of it that can be done now."""
        match task.what:
            case "erase":
                Eraser(store=self._store).pursue(task)
            case "call_off" if task.key:
                off = self._suppressions.call_off(task.key, tuple(task.state.get("keys", ())))
                if off.on_the_wire:
                    self._store.put_background_task(task, in_s=AGAIN_S)
                else:
                    self._store.end_background_task(task.id)
            case "opt_out":
                self._opt_out(task)

    def _opt_out(self, task: BackgroundTask) -> None:
        """Suppress the numbers of a CRM's record whose person must not be called."""
        seen = self._store.event(str(task.event_id))
        source = self._settings.routes.sources.get(seen.event.source) if seen else None
        if seen is None or source is None:
            self._store.end_background_task(task.id)
            return
        record = self._record(source, seen.event)
        if isinstance(record, FetchFailed):
            # The record is suppressed already. Its numbers follow once the CRM can be read.
            if datetime.now(UTC) - seen.event.received_at > PATIENCE:
                logger.error("opt_out.given_up", source=source.name, event_id=seen.event.id)
                self._store.end_background_task(task.id)
                return
            logger.warning("opt_out.fetch_failed", source=source.name, message=record.message)
            self._store.put_background_task(task, in_s=max(AGAIN_S, record.retry_after_s or 0))
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
                message=seen.event.type,
                source=source.name,
                persons=persons,
            )
        off = self._suppressions.call_off_all(self._suppressions.ids_of_record(seen.event))
        if off.on_the_wire:
            self._store.put_background_task(task, in_s=AGAIN_S)
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
        record = found.get(event.subject)
        if record is None or isinstance(record, FetchFailed):
            return event.data if record is None else record
        return hydration.merge(event.data, record)
