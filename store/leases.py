"""Leases: workers claim deliveries, move them, and repair what a dead worker left."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from config import log
from rules.transitions import (
    CRASH_WAIT_S,
    CRASHED_AGAIN,
    CRASHED_ON_THE_WIRE,
    CRASHED_ONCE,
    CRASHES_END,
)
from schemas.delivery import Delivery, Reason, Status
from schemas.errors import Unconfirmed
from schemas.event import Event
from schemas.records import Claims, Look, Move, Repaired
from store.base import P
from store.campaigns import CampaignStore
from store.indexing import INDEXED, PersonOf
from store.migration import MigrationStore
from store.records import at, read_claim, subject_text, written
from store.search import DescribeFound, SearchStore

logger = log.get(__name__)

# For this time after a restart of Redis, no delivery is claimed, so that each worker first replays
# its journal. A worker looks for Redis more often than that.
RESTART_GRACE_S = 5.0
# A worker looks at a paused delivery again after this time; a resume makes it due at once.
PAUSE_CHECK_S = 600.0
MIGRATION_CHECK_S = 1.0  # how long to wait with the next claim during a migration
# About how many bytes of records one claim has; one record is claimed at least. As Python objects
# they take several times as much of a worker's memory.
CLAIM_BYTES = 8 * 1024 * 1024
AUDITED = 200  # deliveries in a page of the audit
KEYS_LOOKED_AT = 1000  # by the same page, for records that are in no list
SEARCH_CHECK_S = 600.0  # how often a round of the audit checks the search index, at most
RECOUNTED = 500  # deliveries in a page of a recount, which Redis counts in about 2 ms
RECOUNTS = 8  # such pages beside a page of the audit
ENDED = -1  # the cursor of what a round of the audit has seen to its end; Redis would begin again
# When the sweep looks again at a delivery whose record raised an error that was not counted.
SWEPT_AGAIN_S = 60.0
DIED = (
    "The worker stopped while it was sending this request. CallKaro may have accepted it. Look for "
    "the call in CallKaro's dashboard."
)


class LeaseStore(MigrationStore, SearchStore, CampaignStore):
    """The part of the store that the workers write."""

    _is_recounting = False  # as far as this process knows
    _checks_search = True  # in this round of the audit
    # Monotonic: when the last such round ended; before it, when the process began. At a start, the
    # worker has calls to make.
    _search_checked = time.monotonic()

    def claim(
        self, limit: int, *, lease_s: float, campaigns: Mapping[str, str] | None = None
    ) -> Claims:
        """Lease up to `limit` due deliveries, with records of about CLAIM_BYTES.

        Cancellations come first, then first attempts and retries in turn. Before the migration has
        ended, none is leased.

        campaigns: the key of the campaign that the calls of a route join now, by route; a pause of
        that campaign holds them. None: no route names a campaign.

        While too few replicas confirm, only cancellations are leased: to prepare a call, its record
        may be read from a CRM, and then no call is permitted. Raises Unconfirmed if there are none.
        """
        if not self.is_migrated():
            return Claims(
                now=self._now(), wait_s=MIGRATION_CHECK_S, looked_at=0, is_cut=False, claims=()
            )
        unconfirmed = self._unconfirmed()
        now_ms, wait_ms, looked_at, is_cut, raised, *found = self._run_in(
            "claim",
            limit,
            int(lease_s * 1000),
            int(RESTART_GRACE_S * 1000),
            int(PAUSE_CHECK_S * 1000),
            CLAIM_BYTES,
            orjson.dumps(campaigns or {}),
            1 if unconfirmed else 0,
        )
        self._count_errors(raised)
        if unconfirmed and not looked_at:
            raise unconfirmed
        claims = [read_claim(*claim) for claim in found]
        broken = [one for one, claim in zip(found, claims, strict=True) if claim is None]
        # A broken record must not stop the other claims. It fails, so that it is not claimed again.
        self._fail_unreadable(broken)
        return Claims(
            now=at(now_ms),
            wait_s=wait_ms / 1000,
            looked_at=looked_at,
            is_cut=bool(is_cut),
            claims=tuple(claim for claim in claims if claim is not None),
        )

    def move(self, moves: Sequence[Move]) -> list[str]:
        """Make moves, each by compare-and-set on (lease, status).

        Returns an answer for each move: `ok`, `stale`, `refused <status>`, `gone`, `late`,
        `wait <ms>`, `paused <ms>`, `behind <delivery>`, `no <reason> …`, `crashed` or `unmade`: see
        store/scripts/move.lua. Only `ok` on a move to `sending` permits the request.

        Raises Unconfirmed: too few replicas confirmed a move to `sending` in time. It permits
        nothing, and is recorded if the error says `is_written`.
        """
        if not moves:
            return []
        self.bring_up_to_date(move.id for move in moves)
        wanted = orjson.dumps([written(move) for move in moves])
        is_permission = any(move.to is Status.SENDING for move in moves)
        # While replicas are away, a permission would be recorded and taken back again and again.
        if is_permission and (unconfirmed := self._unconfirmed()):
            raise unconfirmed
        run = self._run_kept if is_permission else self._run
        answers = list(run("move", wanted, self.max_rate, "", 0))
        return [_without_error(move, answer) for move, answer in zip(moves, answers, strict=True)]

    def _unconfirmed(self) -> Unconfirmed | None:
        """Return why no call is permitted now; None: replicas confirmed the latest write."""
        if self._is_confirmed:
            return None
        try:
            self._confirm()
        except Unconfirmed as error:
            return Unconfirmed(str(error), is_written=False)
        return None

    def follow_merge(self, delivery: Delivery, event: Event, followed: Event) -> None:
        """Keep that the CRM merged the record of a delivery's event into that of `followed`."""
        self._run(
            "follow_merge",
            delivery.id,
            event.id,
            subject_text(event),
            subject_text(followed),
            followed.subject,
            "\n".join(followed.merged_from),
        )

    def replay_journal(self, moves: Sequence[Mapping[str, Any]], *, lease_s: float) -> int:
        """Repeat moves (as written() returns them), because Redis may have lost its last second.

        Returns how many moves Redis had lost. A move that Redis still knows changes nothing.
        """
        if not moves:
            return 0
        self.bring_up_to_date(str(move["id"]) for move in moves)
        answers = self._run("move", orjson.dumps(moves), 0, "1", int(lease_s * 1000))
        return sum(answer == "ok" for answer in answers)

    def sweep(self, limit: int = 1000) -> tuple[int, int]:
        """Repair deliveries of dead workers. Returns how many became `unknown`, how many due."""
        unknown, back, raised = self._run("sweep", limit, DIED, int(SWEPT_AGAIN_S * 1000))
        self._count_errors(raised)
        return int(unknown), int(back)

    def count_error(self, delivery_id: str, error: str, *, is_last: bool = False) -> None:
        """Count an error that a delivery's record raised in a script, as the drain counts its own.

        The delivery waits, and with the last error it fails; on the wire, it becomes `unknown`. A
        record that can't even be written is put aside: see broken_count().
        error: its text, without people's data. is_last: it fails now.
        """
        status = self._run(
            "crash",
            delivery_id,
            error,
            1 if is_last else CRASHES_END,
            int(CRASH_WAIT_S * 1000),
            CRASHED_ONCE,
            CRASHED_AGAIN,
            CRASHED_ON_THE_WIRE,
        )
        if status:
            logger.error("delivery.crashed", delivery=delivery_id, error=error, status=status)

    def _fail_unreadable(self, claims: Sequence[Sequence[Any]]) -> None:
        self.move([_unreadable(delivery_id, lease) for delivery_id, lease, *_ in claims])

    def _count_errors(self, raised: Sequence[str]) -> None:
        for delivery_id, error in zip(raised[::2], raised[1::2], strict=True):
            self.count_error(delivery_id, error)

    def broken_count(self) -> int:
        """Return how many deliveries were put aside, because no script can write their records."""
        with self._reached():
            return self.redis.hlen(f"{P}broken")

    def audit(
        self,
        place: tuple[int, int],
        *,
        lease_s: float,
        person_of: PersonOf | None = None,
        found_by: DescribeFound | None = None,
    ) -> tuple[tuple[int, int], Repaired]:
        """Check a page of all deliveries, from `place` on, and repair those that are inconsistent.

        Returns the next place, (0, 0) at the end of a round, and the counts of repairs. A place is
        two cursors of Redis: one over the records, one over the list; ENDED: it is through. A round
        begins with a check of the counts. The first round of all also indexes and counts what an
        older release stored; person_of: what lists show of a person (None: that is not filled in).
        found_by: what a delivery of an older release is found by; None: that is not filled in, and
        the search index not checked. Whether it has all entries is checked in one round of
        SEARCH_CHECK_S.
        """
        if place == (0, 0) or self._is_recounting:
            self._is_recounting = not any(self.recount() for _ in range(RECOUNTS))
        self.repair_campaigns(is_first=place == (0, 0))
        after, ids = self._audited(*place)
        if place == (0, 0):
            self._start_round()
        checks_search = "1" if found_by and self._checks_search else ""
        repaired, unfound = Repaired(), list[str]()
        if ids:
            *counts, raised, unfound = self._run(
                "audit", int(lease_s * 1000), INDEXED, checks_search, *sorted(ids)
            )
            self._count_errors(raised)
            repaired = Repaired(*counts)
        is_first_round = not self.is_indexed()
        self._fill_in(ids, set(unfound), person_of if is_first_round else None, found_by)
        if is_first_round:
            self.note_indexed(len(ids), is_first=place == (0, 0), is_last=after == (0, 0))
        if checks_search and after == (0, 0):
            self._search_checked = time.monotonic()
        return after, repaired

    def _start_round(self) -> None:
        # A delivery's search terms are indexed in the step that writes them. Only a key that could
        # not be written lacks one, so a store need not look at the keys in each of its rounds.
        is_due = time.monotonic() - self._search_checked >= SEARCH_CHECK_S
        self._checks_search = is_due or not self.is_indexed()

    def recount(self) -> bool:
        """Count a page of the deliveries by status again, if the counts differ from the indexes.

        Returns whether the counts are right now. Any process may go on with the next page.
        """
        _, is_last = self._run("recount", RECOUNTED)
        return bool(is_last)

    def _audited(self, records: int, listed: int) -> tuple[tuple[int, int], set[str]]:
        """Return the place after this one, and the deliveries of its page.

        A round has each delivery of the list once, and each record that is not in the list.
        """
        ids: set[str] = set()
        with self._reached():
            if records != ENDED:
                found, keys = self.redis.scan(records, match=f"{P}delivery:*", count=KEYS_LOOKED_AT)
                records = int(found) or ENDED
                ids |= self._unlisted([str(key).removeprefix(f"{P}delivery:") for key in keys])
            if listed != ENDED:
                found, members = self.redis.zscan(f"{P}deliveries", listed, count=AUDITED)
                listed = int(found) or ENDED
                ids |= {str(member) for member, _ in members}
        after = (0, 0) if records == listed == ENDED else (records, listed)
        return after, ids

    def _unlisted(self, ids: Sequence[str]) -> set[str]:
        if not ids:
            return set()
        orders: Any = self.redis.zmscore(f"{P}deliveries", [*ids])
        return {one for one, order in zip(ids, orders, strict=True) if order is None}

    def _fill_in(
        self,
        ids: set[str],
        unfound: set[str],
        person_of: PersonOf | None,
        found_by: DescribeFound | None,
    ) -> None:
        """Fill in what an older release did not store. What is None is not filled in.

        unfound: those of them that nothing is found by yet.
        """
        wanted = ids if person_of else unfound if found_by else set()
        for records in self.old_records(sorted(wanted)):
            if person_of:
                self.fill_persons(records, person_of)
            if found_by:
                self.fill_terms((one for one in records if one.id in unfound), found_by)

    def prune(self, before: datetime, limit: int = 500) -> int:
        """Delete old settled deliveries, and old events without deliveries. Return how many.

        Old: from before this time.
        """
        return int(self._run("prune", int(before.timestamp() * 1e6), limit))

    def look(self) -> Look:
        """Return what a supervisor has to look after; where nothing waits, this costs little."""
        is_migrated, has_pauses, *times = self._run("look")
        due_s, lease_ends_s, alert_s = (int(ms) / 1000 if ms else None for ms in times)
        return Look(
            is_migrated=bool(is_migrated),
            has_pauses=bool(has_pauses),
            due_s=due_s,
            lease_ends_s=lease_ends_s,
            alert_s=alert_s,
        )

    def next_due_s(self) -> float | None:
        """Return the seconds until a drain has work (0 or less: now); None: no work waits."""
        return self.look().due_s

    def is_empty(self) -> bool:
        """Say whether nothing is kept: no delivery, no event and no refused request."""
        with self._reached():
            return not self.redis.exists(f"{P}deliveries", f"{P}events", f"{P}refused_requests")

    def _now(self) -> datetime:
        with self._reached():
            seconds, micros = self.redis.time()
        return at(int(seconds * 1000 + micros // 1000))


def _unreadable(delivery_id: str, lease: int) -> Move:
    return Move(
        id=delivery_id,
        to=Status.FAILED,
        lease=lease,
        reason=Reason.BAD_REQUEST,
        message="This version can't read the delivery's record; the log says why.",
    )


def _without_error(move: Move, answer: str) -> str:
    """Return an answer of move.lua; of `crashed <error>` only the word: the error is logged."""
    word, _, error = answer.partition(" ")
    if word != "crashed":
        return answer
    logger.error("move.crashed", delivery=move.id, to=move.to, error=error)
    return word
