"""Suppressions, what erasing a person needs, and background tasks."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from config import log
from schemas.delivery import Delivery
from schemas.event import Event
from schemas.records import BackgroundTask, SeenEvent, Suppression, SuppressionPage
from store.base import P
from store.migration import MigrationStore
from store.queries import QueryStore
from store.records import (
    UNREADABLE,
    background_task_record,
    event_record,
    read_background_task,
    read_suppression,
    suppression_record,
)

logger = log.get(__name__)

TASK_LEASE_S = 120.0
SCANNED = 200  # events in a page, numbers in a question


class SuppressionStore(MigrationStore, QueryStore):
    """The numbers and CRM records that must not be called."""

    def suppress(
        self,
        suppression: Suppression,
        *,
        replaces: bool = False,
        task: BackgroundTask | None = None,
        task_in_s: float = 0,
    ) -> tuple[bool, Suppression]:
        """Keep a suppression, and the background task that cancels the planned calls.

        Returns whether it is new, and the one that is kept: the first, unless this one replaces it.
        """
        is_new, kept = self._run_kept(
            "suppress",
            suppression.key,
            suppression_record(suppression),
            "1" if replaces else "",
            task.id if task else "",
            background_task_record(task) if task else "",
            int(task_in_s * 1000),
        )
        return bool(is_new), read_suppression(suppression.key, kept)

    def unsuppress(self, key: str) -> bool:
        """Delete a suppression; False: there was none."""
        return bool(self._run("unsuppress", key))

    def suppression(self, key: str) -> Suppression | None:
        """Return the suppression of a keyed hash; None: there is none."""
        with self._reached():
            record = self.redis.hget(f"{P}suppressed", key)
        return read_suppression(key, str(record)) if record else None

    def suppression_of(self, number: str) -> Suppression | None:
        """Return the suppression of a number (E.164), in any spelling; None: there is none."""
        return self._first_suppression(self.phone_keys(number))

    def suppressed_among(self, numbers: Sequence[str]) -> set[str]:
        """Return those of the numbers (E.164) that are suppressed, in any spelling."""
        found: set[str] = set()
        for start in range(0, len(numbers), SCANNED):
            keys = {one: self.phone_keys(one) for one in numbers[start : start + SCANNED]}
            with self._reached():
                kept = iter(self._kept([key for many in keys.values() for key in many]))
            found |= {one for one, many in keys.items() if any([next(kept) for _ in many])}
        return found

    def suppression_of_call(self, delivery: Delivery) -> Suppression | None:
        """Return the suppression of the number that a delivery calls; None: there is none."""
        number = (delivery.request or {}).get("to_number")
        if isinstance(number, str):
            return self.suppression_of(number)
        return self._first_suppression((delivery.phone,) if delivery.phone else ())

    def _first_suppression(self, keys: Iterable[str]) -> Suppression | None:
        return next(filter(None, map(self.suppression, keys)), None)

    def suppressions(self, *, before: int | None, limit: int) -> SuppressionPage:
        """Return the newest suppressions from before a time (us)."""
        high = "+inf" if before is None else f"({before}"
        with self._reached():
            found = self._newest([f"{P}suppressions"], high=high, low="-inf", limit=limit)
            records = self._kept([key for key, _ in found])
        items = (
            read_suppression(key, record)
            for (key, _), record in zip(found, records, strict=True)
            if record
        )
        is_last = len(found) < limit
        return SuppressionPage(
            items=tuple(items), next_cursor=None if is_last else str(found[-1][1])
        )

    def _kept(self, keys: list[str]) -> list[str | None]:
        if not keys:
            return []
        return [str(one) if one else None for one in self.redis.hmget(f"{P}suppressed", keys)]

    def suppressions_with(self, person: str) -> Iterator[Suppression]:
        """Yield the suppressions of numbers that belong to a CRM's record, by its keyed hash."""
        with self._reached():
            for key, record in self.redis.hscan_iter(f"{P}suppressed", count=1000):
                if person in str(record):
                    yield read_suppression(str(key), str(record))

    def suppression_count(self) -> int:
        """Return how many suppressions there are."""
        with self._reached():
            return int(self.redis.zcard(f"{P}suppressions"))

    def bulk_count(self) -> int:
        """Return how many deliveries wait for a person to release them."""
        with self._reached():
            return int(self.redis.zcard(f"{P}bulk"))

    # --- the deliveries and events of a person ----------------------------------------------------

    def ids_by_phone(self, *keys: str) -> list[str]:
        """Return the deliveries to a number, by its keyed hashes."""
        with self._reached():
            found = [self.redis.zrange(f"{P}deliveries:phone:{key}", 0, -1) for key in keys]
        return [str(one) for one in chain.from_iterable(found)]

    def ids_by_subject(self, subject: str) -> list[str]:
        """Return the deliveries of a CRM's record id, of any source."""
        with self._reached():
            found = self.redis.zrange(f"{P}deliveries:subject:{subject}", 0, -1)
        return [str(one) for one in found]

    def scan_events(self, place: int) -> tuple[int | None, list[SeenEvent]]:
        """Return the order to go on from (None: this is the last page), and a page of all events.

        The page begins behind the order `place`; the oldest event comes first.
        """
        with self._reached():
            found: Any = self.redis.zrangebyscore(
                f"{P}events", f"({place}", "+inf", start=0, num=SCANNED, withscores=True
            )
        every = [(str(event_id), int(order)) for event_id, order in found]
        page, _ = self._affordable(every, None)
        seen = list(self._events(page))
        is_last = len(every) < SCANNED and len(page) == len(every)
        return (None if is_last else page[-1][1]), seen

    # --- erasing ----------------------------------------------------------------------------------

    def erase_deliveries(self, ids: Iterable[str]) -> None:
        """Remove all personal data from deliveries, also from answers that arrive later."""
        wanted = list(ids)
        self.bring_up_to_date(wanted)
        for start in range(0, len(wanted), 100):
            self._run("erase", *wanted[start : start + 100])

    def rewrite_events(self, events: Sequence[Event]) -> None:
        """Replace the records of events; an event that was deleted is not written again."""
        pairs = [(event.id, event_record(event)) for event in events]
        self._run("rewrite_event", *chain.from_iterable(pairs))

    def forget_number(self, *keys: str) -> None:
        """Delete the claims on a suppressed number: the suppression alone forbids its calls."""
        with self._reached():
            for key in keys:
                self.redis.delete(f"{P}number:{key}")

    def forget_records(self, *keys: str) -> None:
        """Delete the claims on CRM records whose person was erased."""
        with self._reached():
            for key in keys:
                self.redis.delete(f"{P}record_calls:{key}")

    # --- background tasks -------------------------------------------------------------------------

    def put_background_task(self, task: BackgroundTask, *, in_s: float = 0) -> None:
        """Keep a background task with its progress; it is due in in_s seconds."""
        with self._reached():
            seconds, micros = self.redis.time()
            pipe = self.redis.pipeline()
            pipe.hset(f"{P}background_tasks", task.id, background_task_record(task))
            due_ms = int((seconds + micros / 1e6 + in_s) * 1000)
            pipe.zadd(f"{P}due:background_task", {task.id: due_ms})
            if task.failures:
                pipe.hset(f"{P}background_tasks:failing", task.id, task.what)
            else:
                pipe.hdel(f"{P}background_tasks:failing", task.id)
            pipe.execute()

    def failing_background_tasks(self) -> dict[str, int]:
        """Return how many background tasks fail and are tried again, by what they do."""
        with self._reached():
            kept: list[str] = self.redis.hvals(f"{P}background_tasks:failing")  # type: ignore[assignment]
        return dict(sorted(Counter(kept).items()))

    def claim_background_tasks(self, limit: int) -> list[BackgroundTask]:
        """Lease the background tasks that are due."""
        flat = self._run("claim_background_tasks", limit, int(TASK_LEASE_S * 1000))
        return list(_background_tasks(zip(flat[::2], flat[1::2], strict=True)))

    def end_background_task(self, task_id: str) -> None:
        """Delete a background task that is done."""
        with self._reached():
            pipe = self.redis.pipeline()
            pipe.zrem(f"{P}due:background_task", task_id)
            pipe.hdel(f"{P}background_tasks", task_id)
            pipe.hdel(f"{P}background_tasks:failing", task_id)
            pipe.execute()


def _background_tasks(found: Iterable[tuple[str, str]]) -> Iterator[BackgroundTask]:
    for task_id, record in found:
        try:
            yield read_background_task(task_id, record)
        except UNREADABLE:  # a newer release wrote it, and will do it
            logger.warning("background_task.unreadable", task=task_id)
