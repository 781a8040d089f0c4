"""Reconcile: asks a CRM what was created or changed, and takes in what never arrived.

First all pages are counted, then they are read again and taken. Each step is a background task of
some seconds, after which the place is kept: the threads of calls are not held up, and another
worker goes on if this one dies. To take a page twice does no harm: the store knows its events.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from config import log
from rules.matching import as_event
from rules.reconcile import (
    Wanted,
    deliveries_found,
    examples,
    is_many,
    items_of,
    wanted_of,
)
from schemas.crm_api import Reconcile as HowToReconcile
from schemas.crm_api import RecordPage, RecordSearch
from schemas.event import Event
from schemas.reconcile import ReconcileRun, ReconcileStatus, oldest_known
from schemas.records import NewDelivery
from schemas.settings import Settings
from schemas.source import Source
from store import Store
from store.suppression import side_effect_of
from workers.crm import CrmClient, FetchFailed

logger = log.get(__name__)

STEP_S: Final = 10.0  # of one background task
AT_ONCE: Final = 50  # events that are stored in one step, during which Redis serves nobody else
SHOWN: Final = 5  # examples
AGAIN_S: Final = 30.0  # until the CRM is asked again after it could not be

Found = tuple[Event, list[NewDelivery]]


class Reconciler:
    """Does the reconciles of one drain."""

    def __init__(self, store: Store, settings: Settings, crm_client: CrmClient) -> None:
        self._store = store
        self._settings = settings
        self._crm_client = crm_client

    def go_on(self, name: str) -> float | None:
        """Do a step of the reconcile of a source.

        Returns in how many seconds the next step is due; None: it has ended.
        """
        run = self._store.reconcile(name)
        if run is None or not run.is_running:
            return None
        source = self._settings.routes.sources.get(name)
        if source is None or source.kind.reconcile is None:
            self._fail(run, "The source is not in routes.toml any more.")
            return None
        run = _for_routes(run, self._settings.routes.digest)
        wanted = wanted_of(source, self._settings.routes)
        until = time.monotonic() + STEP_S
        while time.monotonic() < until:
            answer = self._page(run, source, source.kind.reconcile, wanted)
            if isinstance(answer, FetchFailed):
                return self._failed(run, answer)
            run = answer
            self._store.keep_reconcile(run)
            if not run.is_running:
                return None
        return 0.0

    def _page(
        self, run: ReconcileRun, source: Source, how: HowToReconcile, wanted: Sequence[Wanted]
    ) -> ReconcileRun | FetchFailed:
        """Count or take a page. Returns the run after it."""
        index, cursor = run.place
        if index >= len(wanted):
            return self._through(run)
        if run.account is None:
            account = self._account(source, how)
            if isinstance(account, FetchFailed):
                return account
            run = replace(run, account=account)
        one = wanted[index]
        search = RecordSearch(
            crm_object=one.crm_object,
            since=run.since,
            with_changed=one.with_changed,
            cursor=cursor,
        )
        answer = self._crm_client.ask(source, how.search(search), rate=how.rate)
        if isinstance(answer, FetchFailed):
            return replace(answer, message=f"{answer.message} It was asked for {one.crm_object}.")
        page: RecordPage = how.page(answer, search)
        if page.cursor is not None and page.cursor == cursor:
            message = f"{source.kind.title} answered with the same page again."
            return FetchFailed(message=message, is_broken=True)
        place = (index, page.cursor) if page.cursor else (index + 1, None)
        events = self._events(run, source, how, one, page)
        return replace(self._take_in(run, source, events), place=place, message=None)

    def _account(self, source: Source, how: HowToReconcile) -> str | FetchFailed:
        if how.account is None:
            return ""
        request, read = how.account
        answer = self._crm_client.ask(source, request, rate=how.rate)
        if isinstance(answer, FetchFailed):
            return answer
        message = f"{source.kind.title} did not say whose account this is."
        return read(answer) or FetchFailed(message=message, is_broken=True)

    def _events(
        self,
        run: ReconcileRun,
        source: Source,
        how: HowToReconcile,
        wanted: Wanted,
        page: RecordPage,
    ) -> list[Event]:
        now, settings = datetime.now(UTC), self._settings
        # A reconcile that waited for its CRM must not ask for what is forgotten by now.
        noted = self._store.happenings_since()
        since = max(run.since, oldest_known(now, settings.dedupe_days, noted))
        return [
            as_event(
                item,
                source,
                now,
                settings.dedupe_days * 86_400,
                zone=settings.callkaro_timezone,
            )
            for record in page.records
            for item in items_of(record, wanted, since, how, run.account or "")
        ]

    def _take_in(self, run: ReconcileRun, source: Source, events: list[Event]) -> ReconcileRun:
        """Count the events of a page, or store those that are missing."""
        told = self._store.are_told(events)
        missing = [event for event, is_told in zip(events, told, strict=True) if not is_told]
        theirs = self._not_ours(source, missing)
        found = self._with_deliveries(run, theirs)
        if run.status is ReconcileStatus.TAKING:
            if not run.is_held and is_many(run.taken + len(found)):  # more came since the count
                run = replace(run, is_held=True)
                found = self._with_deliveries(run, theirs)
            return replace(run, taken=run.taken + self._store_all(source, found))
        missed = [event for event, _ in found]
        return replace(
            run,
            known=run.known + len(events) - len(missing),
            own=run.own + len(missing) - len(theirs),
            left_out=run.left_out + len(theirs) - len(missed),
            missed=run.missed + len(missed),
            examples=(*run.examples, *examples(missed))[:SHOWN],
        )

    def _not_ours(self, source: Source, events: list[Event]) -> list[Event]:
        """Leave out changes that the bridge itself may have made.

        Where the record says who changed it, and our user is known, that is judged once it is read,
        as for a webhook. Elsewhere a change of a record that the bridge wrote to may be our own,
        and is not called for.
        """
        if isinstance(self._crm_client.own_user(source), str):
            return events
        written = self._store.were_written(events)
        return [
            event
            for event, is_written in zip(events, written, strict=True)
            if not (is_written and event.type.endswith(".updated"))
        ]

    def _with_deliveries(self, run: ReconcileRun, events: Sequence[Event]) -> list[Found]:
        routes = self._settings.routes
        pairs = ((event, deliveries_found(event, routes, is_bulk=run.is_held)) for event in events)
        return [(event, deliveries) for event, deliveries in pairs if deliveries]

    def _store_all(self, source: Source, found: Sequence[Found]) -> int:
        """Store events. Returns how many were new."""
        new = 0
        for start in range(0, len(found), AT_ONCE):
            part = found[start : start + AT_ONCE]
            effects = {event.id: side_effect_of(event, source, self._store) for event, _ in part}
            routes = self._settings.routes.digest
            _, answers = self._store.accept(part, routes=routes, side_effects=effects)
            new += sum(not one.duplicate for one in answers)
        return new

    # --- the end ----------------------------------------------------------------------------------

    def _through(self, run: ReconcileRun) -> ReconcileRun:
        """Return the run after its last page: after the count comes the taking, or the end."""
        if run.status is ReconcileStatus.COUNTING and run.missed and not run.dry_run:
            return replace(
                run,
                status=ReconcileStatus.TAKING,
                place=(0, None),
                is_held=is_many(run.missed),
            )
        self._log(run)
        return replace(run, status=ReconcileStatus.DONE, ended_at=datetime.now(UTC), message=None)

    def _failed(self, run: ReconcileRun, failed: FetchFailed) -> float | None:
        """Let a run wait for a CRM that is away; one that refuses ends it."""
        if failed.is_account or failed.is_broken:
            self._fail(run, failed.message)
            return None
        self._store.keep_reconcile(replace(run, message=failed.message))
        return max(AGAIN_S, failed.retry_after_s or 0.0)

    def _fail(self, run: ReconcileRun, message: str) -> None:
        logger.warning("reconcile.failed", source=run.source, message=message)
        now = datetime.now(UTC)
        self._store.keep_reconcile(
            replace(run, status=ReconcileStatus.FAILED, ended_at=now, message=message)
        )

    def crashed(self, name: str) -> None:
        """End a reconcile that raised an error: the same page would raise it again."""
        run = self._store.reconcile(name)
        if run is not None and run.is_running:
            self._fail(run, "It caused an error in the bridge. The worker's log has the details.")

    @staticmethod
    def _log(run: ReconcileRun) -> None:
        logger.info(
            "reconcile.done",
            source=run.source,
            known=run.known,
            missed=run.missed,
            left_out=run.left_out,
            own=run.own,
            taken=run.taken,
            is_held=run.is_held,
            dry_run=run.dry_run,
        )


def _for_routes(run: ReconcileRun, digest: str) -> ReconcileRun:
    """Return the run as it is done for these routes: for others than before it begins again.

    Its place is one among the objects that the routes want. What was taken is known by then.
    """
    if run.routes in (None, digest):
        return replace(run, routes=digest)
    return replace(
        run,
        routes=digest,
        status=ReconcileStatus.COUNTING,
        place=(0, None),
        known=0,
        missed=0,
        left_out=0,
        own=0,
        examples=(),
    )
