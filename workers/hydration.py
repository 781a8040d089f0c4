"""Hydration: fetches the full CRM records of thin events, many records in one request.

This runs in the drain's coordinating thread, except for the request itself.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from config import log
from config.tracing import Facts
from rules.backoff import Jitter
from rules.plan import screen
from rules.transitions import fail, keep_waiting, retry_lookup, retry_missing_record
from schemas.crm_api import Hydration as CrmHydration
from schemas.crm_api import OwnUser
from schemas.delivery import Reason
from schemas.event import Event
from schemas.records import Claim
from schemas.settings import Settings
from schemas.source import Source
from store import Store
from workers import traces
from workers.crm import CrmClient, FetchFailed, Found, Records
from workers.drain_context import DrainContext
from workers.preparation import MakeWhole

# What batch reads leave out is asked for one id at a time: at most this often in one drain, which
# takes up to a minute. HubSpot permits 100 requests in 10 s at least.
MOST_ALONE = 200
NO_THREAD_S = 5.0  # until the next try after the system gave no thread

logger = log.get(__name__)

Prepare = Callable[[Claim, MakeWhole | None], None]


@dataclass(frozen=True, slots=True)
class _Read:
    """What a CRM answered."""

    records: Records
    own_user: str | FetchFailed | None  # see CrmClient.own_user(); None also if nothing needs it


class Hydration:
    """The records that one drain fetches."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        crm_client: CrmClient,
        drain: DrainContext,
        prepare: Prepare,
        jitter: Jitter,
    ) -> None:
        self._store = store
        self._settings = settings
        self._crm_client = crm_client
        self._drain = drain
        self._prepare = prepare
        self._jitter = jitter
        self._alone = count(1)

    def take(self, claims: Iterable[Claim]) -> None:
        """Prepare deliveries whose event says all; ask the CRM about the others first."""
        asking: dict[tuple[str, str | None], list[Claim]] = defaultdict(list)
        for claim in claims:
            event = claim.event
            source = self._settings.routes.sources.get(claim.delivery.source)
            if not (event and event.subject and source and self._asks(source, event)):
                self._prepare(claim, None)
                continue
            try:
                move = screen(claim, self._settings, self._drain.now())
            except Exception as error:
                self._drain.crashed(claim, error)
                continue
            if move:
                self._drain.move(move)
            else:
                asking[source.name, event.hydrate].append(claim)
        for (name, crm_object), group in asking.items():
            source = self._settings.routes.sources[name]
            if hydration := source.kind.hydration:
                # Of complete events, one question is asked: who our user is.
                size = hydration.batch if crm_object else len(group)
                for start in range(0, len(group), size):
                    batch = group[start : start + size]
                    self._fetch(source, hydration, crm_object, batch)

    def _asks(self, source: Source, event: Event) -> bool:
        """Say whether the CRM is asked: for the record, or whether its change was our own."""
        has_api = source.kind.hydration is not None
        return has_api and bool(event.hydrate or self._settings.own_user_of(source, event))

    def _own_user_of(self, source: Source, claim: Claim) -> OwnUser | None:
        return self._settings.own_user_of(source, claim.event) if claim.event else None

    def _fetch(
        self, source: Source, hydration: CrmHydration, crm_object: str | None, batch: list[Claim]
    ) -> None:
        again = partial(self._each_alone, source, hydration, crm_object, batch)
        try:
            ids = sorted({str(claim.event.subject) for claim in batch if claim.event})
            own = next(filter(None, (self._own_user_of(source, claim) for claim in batch)), None)
            fields = own.fields if own else frozenset()
            wanted = sorted({*self._fields(source, hydration, batch), *fields})
        except Exception as error:
            again(error)
            return
        try:
            read = partial(self._read, source, crm_object, ids, wanted, asks_user=own is not None)
            self._drain.submit(
                traces.around("hydrate", batch, read, _told),
                partial(self._fetched, source, hydration, batch),
                again,
            )
        except RuntimeError:  # the system gives no thread, so no record is at fault
            for claim in batch:
                self._drain.move(keep_waiting(claim.delivery, NO_THREAD_S))

    def _read(
        self,
        source: Source,
        crm_object: str | None,
        ids: list[str],
        wanted: list[str],
        *,
        asks_user: bool,
    ) -> _Read:
        """Fetch records, and who our user is. This runs in a thread of its own.

        crm_object: None: the events are complete.
        """
        if crm_object is None:
            return _Read({}, self._crm_client.own_user(source))
        records = self._crm_client.fetch(source, crm_object, ids, wanted, self._may_ask_alone)
        is_there = any(isinstance(record, Found) for record in records.values())
        user = self._crm_client.own_user(source) if asks_user and is_there else None
        return _Read(records, user)

    def _may_ask_alone(self) -> bool:
        return next(self._alone) <= MOST_ALONE

    def _each_alone(
        self,
        source: Source,
        hydration: CrmHydration,
        crm_object: str | None,
        batch: list[Claim],
        error: Exception,
    ) -> None:
        """Fetch the records of a batch that raised an error one by one, to find the broken one."""
        if len(batch) == 1:
            self._drain.crashed(batch[0], error)
            return
        for claim in batch:
            self._fetch(source, hydration, crm_object, [claim])

    def _fields(self, source: Source, hydration: CrmHydration, batch: list[Claim]) -> Iterator[str]:
        """Yield the CRM fields that the routes of these deliveries read, and their `fetch`."""
        for name in {claim.delivery.route for claim in batch}:
            if route := self._settings.routes.named(name):
                yield from hydration.fields(route.paths_with(source))
                yield from route.fetch

    def _fetched(
        self, source: Source, hydration: CrmHydration, batch: list[Claim], read: _Read
    ) -> None:
        for claim in batch:
            try:
                self._take_record(source, hydration, claim, read)
            except Exception as error:
                self._drain.crashed(claim, error)

    def _take_record(
        self, source: Source, hydration: CrmHydration, claim: Claim, read: _Read
    ) -> None:
        now, event = self._drain.now(), claim.event
        if event is None:
            return
        record = read.records.get(str(event.subject))
        is_complete = event.hydrate is None
        if (is_complete or isinstance(record, Found)) and self._own_user_of(source, claim):
            if isinstance(read.own_user, FetchFailed):
                record = read.own_user
            else:
                claim = replace(claim, own_user=read.own_user)
        if is_complete and record is None:
            self._prepare(claim, None)
        elif record is None:
            self._drain.move(retry_missing_record(claim.delivery, now, self._jitter))
        elif isinstance(record, FetchFailed) and record.is_broken:
            self._drain.move(fail(claim.delivery, Reason.BAD_REQUEST, record.message))
        elif isinstance(record, FetchFailed) and record.crash:
            self._drain.crashed(claim, record.crash)
        elif isinstance(record, FetchFailed):
            move = retry_lookup(
                claim.delivery,
                "record",
                record.message,
                now,
                self._jitter,
                retry_after_s=record.retry_after_s,
                # If the CRM does not accept our login, the lead is not at fault.
                may_give_up=not record.is_account,
            )
            self._drain.move(move)
        else:
            self._take_found(hydration, claim, event, record)

    def _take_found(
        self, hydration: CrmHydration, claim: Claim, event: Event, found: Found
    ) -> None:
        """Prepare a delivery with its record, which the CRM may have merged into another one."""
        make_whole = partial(hydration.merge, event.data, found.record)
        now = event if found.id == event.subject else event.followed(found.id)
        kept = claim.delivery
        if (kept.subject, kept.merged_from) == (now.subject, now.merged_from):
            # The record of an event from an older release may not say yet what it became.
            self._prepare(replace(claim, event=now), make_whole)
            return
        delivery = replace(kept, subject=now.subject, merged_from=now.merged_from)

        def follow() -> None:
            self._store.follow_merge(delivery, event, now)
            self._prepare(replace(claim, delivery=delivery, event=now), make_whole)

        logger.info("record.merged", delivery=delivery.id)
        self._drain.store_later(follow, partial(self._drain.crashed, claim))


def _told(claim: Claim, read: _Read) -> Facts:
    record = read.records.get(str(claim.event and claim.event.subject))
    return traces.asked(claim, record if isinstance(record, FetchFailed) else None)
