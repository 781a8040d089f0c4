"""Working off: claims, moves, repairs; campaigns and tokens that all workers share."""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from schemas.delivery import Reason, Status
from schemas.records import Claims, Move, Permit, Repaired
from store.base import Base, P
from store.records import at, read_claim, written

TOKEN_LOCK_MS = 30_000
CAMPAIGN_LOCK_S = 60  # longer than the creation of one can take: see workers/campaigns.py
# After a restart of Redis nothing is claimed for so long: workers say again what they did just
# before, and each looks for Redis more often than that.
RESTART_GRACE_S = 5.0
PAUSE_CHECK_S = 600.0  # when a paused delivery looks again by itself; resuming wakes it at once
AUDITED = 200  # deliveries in a page
DIED = (
    "The worker stopped while this request was on its way, so CallKaro may have accepted it. "
    "CallKaro's dashboard knows."
)


class LeaseStore(Base):
    """What the worker process writes."""

    def claim(self, limit: int, *, lease_s: float) -> Claims:
        """Lease up to `limit` deliveries that are due, fresh ones and retries in turn."""
        now_ms, wait_ms, looked_at, *found = self._run(
            "claim",
            limit,
            int(lease_s * 1000),
            int(RESTART_GRACE_S * 1000),
            int(PAUSE_CHECK_S * 1000),
        )
        claims = [read_claim(*claim) for claim in found]
        broken = [one for one, claim in zip(found, claims, strict=True) if claim is None]
        # Claimed along with others, it must not cost them theirs, nor come back again and again.
        self.move([_unreadable(delivery_id, lease) for delivery_id, lease, *_ in broken])
        return Claims(
            now=at(now_ms),
            wait_s=wait_ms / 1000,
            looked_at=looked_at,
            claims=tuple(claim for claim in claims if claim is not None),
        )

    def move(self, moves: Sequence[Move]) -> list[str]:
        """Make moves, each by compare-and-set on (lease, status).

        Returns for each `ok`, `stale`, `refused <status>`, `gone`, `late`, `wait <ms>`,
        `paused <ms>` or `no <reason> …`: see store/scripts/move.lua. Only `ok` on a move to
        `sending` permits the request.
        """
        if not moves:
            return []
        asked = orjson.dumps([written(move) for move in moves])
        return list(self._run("move", asked, self.max_rate, "", 0))

    def replay_journal(self, moves: Sequence[Mapping[str, Any]], *, lease_s: float) -> int:
        """Make moves (as written() has them) that Redis may have forgotten in its last second.

        Returns how many it had. Whatever it still knows stays as it is.
        """
        if not moves:
            return 0
        answers = self._run("move", orjson.dumps(moves), 0, "1", int(lease_s * 1000))
        return sum(answer == "ok" for answer in answers)

    def sweep(self, limit: int = 1000) -> tuple[int, int]:
        """Repair what dead workers left. Returns how many are `unknown`, how many due again."""
        unknown, back = self._run("sweep", limit, DIED)
        return int(unknown), int(back)

    def audit(self, place: tuple[int, int], *, lease_s: float) -> tuple[tuple[int, int], Repaired]:
        """Look at a page of all deliveries, from `place` on; repair what does not fit together.

        Returns the next place, (0, 0) once round, and what was repaired. Places are cursors of
        Redis' scans over records and over the list. A round begins with what stands where: it is
        counted anew if it does not fit the lists.
        """
        if place == (0, 0):
            self._run("recount")
        with self._reached():
            records, keys = self.redis.scan(place[0], match=f"{P}delivery:*", count=AUDITED)
            listed, members = self.redis.zscan(f"{P}deliveries", place[1], count=AUDITED)
        ids = {str(key).removeprefix(f"{P}delivery:") for key in keys}
        ids |= {str(member) for member, _ in members}
        repaired = Repaired()
        if ids:
            repaired = Repaired(*self._run("audit", int(lease_s * 1000), *sorted(ids)))
        return (int(records), int(listed)), repaired

    def prune(self, before: datetime, limit: int = 500) -> int:
        """Forget final deliveries and fruitless events from before; returns how many."""
        return int(self._run("prune", int(before.timestamp() * 1e6), limit))

    def next_due_s(self) -> float | None:
        """Return the seconds until something can be claimed (0 or less: now); None: never."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            pipe.time()
            pipe.zrange(f"{P}due", 0, 0, withscores=True)
            pipe.zrange(f"{P}due:retry", 0, 0, withscores=True)
            pipe.zrange(f"{P}due:cancel", 0, 0, withscores=True)
            pipe.zrange(f"{P}due:background_task", 0, 0, withscores=True)
            pipe.hmget(f"{P}breaker", "open_ms", "probe_ms")
            (seconds, micros), *firsts, cancels, background_tasks, (is_open, probe_ms) = (
                pipe.execute()
            )
        due = [first[0][1] for first in firsts if first]
        if due and is_open:
            due = [max(min(due), float(probe_ms))]
        due += [first[1] for first in (*cancels, *background_tasks)]  # these wait for no breaker
        return float(min(due) / 1000 - (seconds + micros / 1e6)) if due else None

    def note_callkaro(self, *, answered: bool, message: str) -> None:
        """Remember how CallKaro took the latest request: whether it answered sensibly, and how."""
        with self._reached():
            key = f"{P}callkaro"
            name = "answered_ms" if answered else "failed_ms"
            self.redis.hset(key, mapping={"message": message, name: int(time.time() * 1000)})

    def callkaro(self) -> dict[str, Any]:
        """Return how CallKaro took the latest requests: {answered_at, failed_at, message}."""
        with self._reached():
            kept: dict[str, str] = self.redis.hgetall(f"{P}callkaro")  # type: ignore[assignment]
        return {
            "answered_at": at(kept["answered_ms"]) if "answered_ms" in kept else None,
            "failed_at": at(kept["failed_ms"]) if "failed_ms" in kept else None,
            "message": kept.get("message"),
        }

    def may_ask_callkaro(
        self,
        who: str,
        *,
        on_behalf_of: Iterable[str] = (),
        despite_pause: bool = False,
        patience_s: float = 0.0,
    ) -> Permit:
        """Permit a request to CallKaro that is no delivery's own; who: a word for what it is about.

        on_behalf_of: the deliveries that need it. patience_s: how long it may wait for its turn
        under the rate cap, which is kept for it.
        """
        answer, *wait_ms = self._run(
            "permit",
            who,
            self.max_rate,
            "1" if despite_pause else "",
            int(patience_s * 1000),
            *on_behalf_of,
        )
        if answer == "paused":
            return Permit(is_granted=False, is_paused=True)
        return Permit(is_granted=answer == "ok", wait_s=float(wait_ms[0]) / 1000)

    def note_callkaro_result(
        self, who: str, *, well: bool | None, pause: Mapping[str, Any] | None = None
    ) -> None:
        """Count how CallKaro took such a request, for the breaker; pause: why it is paused now."""
        took = "" if well is None else str(int(well))
        self._run("callkaro_result", who, took, orjson.dumps(pause) if pause else "")

    # --- campaigns ----------------------------------------------------------------------------

    def campaigns_kept(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the batch_id of each of these campaigns that is there."""
        wanted = list(dict.fromkeys(keys))
        if not wanted:
            return {}
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for key in wanted:
                pipe.hget(f"{P}campaign:{key}", "batch_id")
            found = pipe.execute()
        return {key: batch_id for key, batch_id in zip(wanted, found, strict=True) if batch_id}

    def may_create_campaign(self, key: str) -> bool:
        """Take the right to create this campaign, for a minute; False: somebody is at it."""
        return bool(self._run("lock", f"campaign-lock:{key}", CAMPAIGN_LOCK_S * 1000))

    def give_up_campaign(self, key: str) -> None:
        """Give the right to create this campaign back."""
        with self._reached():
            self.redis.delete(f"{P}campaign-lock:{key}")

    def keep_campaign(self, key: str, batch_id: str, record: Mapping[str, Any]) -> str:
        """Keep a campaign; the first stored batch_id wins and is returned. Wakes who awaits it."""
        return str(self._run("campaign", key, batch_id, orjson.dumps(record)))

    # --- tokens of CRMs, one for all workers ----------------------------------------------------

    def token(self, source: str) -> dict[str, Any] | None:
        """Return the access token of a source, as it was put; None: none, or it ran out."""
        with self._reached():
            found = self.redis.get(f"{P}token:{source}")
        return orjson.loads(found) if found else None

    def put_token(self, source: str, token: Mapping[str, Any], *, for_s: int) -> None:
        """Keep an access token for for_s seconds."""
        with self._reached():
            self.redis.set(f"{P}token:{source}", orjson.dumps(token), ex=max(for_s, 1))

    def drop_token(self, source: str) -> None:
        """Forget an access token that its CRM refused."""
        with self._reached():
            self.redis.delete(f"{P}token:{source}")

    def may_refresh_token(self, source: str) -> bool:
        """Take the right to refresh a source's token, for 30 s; False: somebody is at it."""
        with self._reached():
            return bool(self.redis.set(f"{P}token-lock:{source}", "1", nx=True, px=TOKEN_LOCK_MS))

    def done_refreshing(self, source: str) -> None:
        """Give the right to refresh a source's token back."""
        with self._reached():
            self.redis.delete(f"{P}token-lock:{source}")


def _unreadable(delivery_id: str, lease: int) -> Move:
    return Move(
        id=delivery_id,
        to=Status.FAILED,
        lease=lease,
        reason=Reason.BAD_REQUEST,
        message="Its record can't be read by this version; the log says why.",
    )
