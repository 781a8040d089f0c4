"""The store: events, deliveries, what is due, campaigns. The only module that knows our Redis keys.

Truth lives here; the queue is a hint. Every change of more than one key is one script
(bridge/scripts/*.lua), so nothing is ever half-written, and scripts take the time from Redis.

    bridge:event:<id>            hash: record (JSON), status, deliveries ("<id> <route>" lines)
    bridge:seen:<fingerprint>    the event first stored under it; outlives records (DEDUPE_DAYS)
    bridge:events[:<status>]     zsets: event ids by order (us, strictly rising); also those that
                                 are unrouted or unreadable
    bridge:delivery:<id>         hash: see Delivery
    bridge:deliveries[:<by>:…]   zsets: delivery ids by order; by status, route, source, subject or
                                 phone
    bridge:due                   zset: when to look at a delivery next (ms)
    bridge:leased                zset: when the lease of a claimed one is over (ms)
    bridge:bell                  set while a drain was asked for and has not started
    bridge:campaigns, bridge:campaign:<key>, bridge:campaign-lock:<key>, bridge:awaiting:<key>
    bridge:callkaro              hash: how it took the latest requests
    bridge:token:<source>, bridge:token-lock:<source>, bridge:rate, bridge:pepper, bridge:order
"""

import hashlib
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.resources import files
from typing import Any

import orjson
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from bridge import log
from bridge.errors import StoreUnavailable
from bridge.records import (
    Accepted,
    Claim,
    Filters,
    Move,
    NewDelivery,
    Page,
    Persistence,
    accepted,
    at,
    described,
    event_record,
    fits,
    read_claim,
    read_delivery,
    read_event,
    written,
)
from schemas.delivery import Delivery, DeliveryRef, Status
from schemas.event import Event, EventStatus

logger = log.get(__name__)

P = "bridge:"
FULL_AT = 0.85  # of Redis' memory limit: the intake stops here, settles still get through
ROOM_CHECK_S = 1.0  # how old a look at Redis' memory may be
AWAY_S = 1.0  # after a time-out, how long the intake does not ask Redis again
TOKEN_LOCK_MS = 30_000
CAMPAIGN_LOCK_S = 60  # longer than the creation of one can take: see drain.py
DIED = (
    "The worker stopped while this request was on its way, so CallKaro may have accepted it. "
    "CallKaro's dashboard knows."
)


def connect(url: str, *, timeout_s: float = 3.0, retries: int = 0) -> "redis.Redis":
    """Return a client for our data: text answers, quick to give up, `retries` at once.

    redis-py's own default retries with a backoff of up to 10 s, far over what a webhook's
    sender waits. One retry at once mends a connection that a restarted Redis closed.
    """
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=timeout_s,
        socket_connect_timeout=min(timeout_s, 2.0),
        retry=Retry(NoBackoff(), retries),
        health_check_interval=0,
    )


class Store:
    """Everything the bridge remembers. Every method raises StoreUnavailable when Redis is away."""

    def __init__(self, client: "redis.Redis", *, max_rate: float = 0) -> None:
        self.redis = client
        self.max_rate = max_rate
        common = _script("common")
        self._accept, self._claim, self._move, self._sweep, self._prune, self._keep_campaign = (
            client.register_script(common + _script(name))
            for name in ("accept", "claim", "move", "sweep", "prune", "campaign")
        )
        self._room_checked = 0.0
        self._away_until = 0.0
        self._has_room = True
        self._pepper: str | None = None

    # --- the intake ---------------------------------------------------------------------------

    def accept(
        self, events: Sequence[tuple[Event, Sequence[NewDelivery]]], *, routes: str
    ) -> tuple[bool, list[Accepted]]:
        """Store events with their deliveries, all or none, before anyone is told so.

        Returns whether the bell was rung by this (the caller then asks for a drain), and what
        became of each event, in order.
        """
        if not events:
            return False, []
        self.check_room()
        items = [described(event, deliveries) for event, deliveries in events]
        records = [event_record(event) for event, _ in events]
        with self._reached():
            rung, *answers = self._accept(args=[orjson.dumps(items), routes, *records])
        return bool(rung), [
            accepted(event, deliveries, answer, one["status"])
            for (event, deliveries), answer, one in zip(events, answers, items, strict=True)
        ]

    def check_room(self) -> None:
        """Raise StoreUnavailable while Redis is over 85 % of its memory limit, or hangs.

        Who has just waited for Redis in vain need not be followed by a queue of others.
        """
        now = time.monotonic()
        if now < self._away_until:
            raise StoreUnavailable("Redis did not answer a moment ago")
        if now - self._room_checked > ROOM_CHECK_S:
            used = self.persistence().used_ratio
            self._has_room = used is None or used < FULL_AT
            self._room_checked = now
        if not self._has_room:
            raise StoreUnavailable("Redis is over 85 % of its memory limit")

    def ring(self) -> bool:
        """Set the bell; False if it was set already, that is, a drain has just been asked for."""
        with self._reached():
            return bool(self.redis.set(f"{P}bell", "1", nx=True, px=1000))

    def answer_bell(self) -> None:
        """Take the bell down. A drain does this first and claims after, so no ring is lost."""
        with self._reached():
            self.redis.delete(f"{P}bell")

    # --- the worker ---------------------------------------------------------------------------

    def claim(self, limit: int, *, lease_s: float) -> tuple[datetime, list[Claim]]:
        """Lease up to `limit` deliveries that are due. Returns Redis' time and the claims."""
        with self._reached():
            now_ms, *claims = self._claim(args=[limit, int(lease_s * 1000)])
        return at(now_ms), [read_claim(*claim) for claim in claims]

    def move(self, moves: Sequence[Move]) -> list[str]:
        """Make moves, each by compare-and-set on (lease, status).

        Returns for each `ok`, `stale`, `refused <status>`, `gone`, `late` or `wait <ms>`: see
        bridge/scripts/move.lua. Only `ok` on a move to `sending` permits the request.
        """
        if not moves:
            return []
        with self._reached():
            asked = orjson.dumps([written(move) for move in moves])
            return list(self._move(args=[asked, self.max_rate]))

    def sweep(self, limit: int = 1000) -> tuple[int, int]:
        """Repair what dead workers left. Returns how many are `unknown`, how many due again."""
        with self._reached():
            unknown, back = self._sweep(args=[limit, DIED])
        return int(unknown), int(back)

    def prune(self, before: datetime, limit: int = 500) -> int:
        """Forget final deliveries and fruitless events from before; returns how many."""
        with self._reached():
            return int(self._prune(args=[int(before.timestamp() * 1e6), limit]))

    def next_due_s(self) -> float | None:
        """Return the seconds until the next delivery is due (0 or less: now); None: none is."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            pipe.time()
            pipe.zrange(f"{P}due", 0, 0, withscores=True)
            (seconds, micros), first = pipe.execute()
        return first[0][1] / 1000 - (seconds + micros / 1e6) if first else None

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
        with self._reached():
            return bool(self.redis.set(f"{P}campaign-lock:{key}", "1", nx=True, ex=CAMPAIGN_LOCK_S))

    def give_up_campaign(self, key: str) -> None:
        """Give the right to create this campaign back."""
        with self._reached():
            self.redis.delete(f"{P}campaign-lock:{key}")

    def keep_campaign(self, key: str, batch_id: str, record: Mapping[str, Any]) -> str:
        """Keep a campaign; the first stored batch_id wins and is returned. Wakes who awaits it."""
        with self._reached():
            return str(self._keep_campaign(args=[key, batch_id, orjson.dumps(record)]))

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

    # --- reading ------------------------------------------------------------------------------

    def event(self, event_id: str) -> tuple[Event, EventStatus, tuple[DeliveryRef, ...]] | None:
        """Return an event, its status and its deliveries; None if there is no such event."""
        with self._reached():
            found: dict[str, str] = self.redis.hgetall(f"{P}event:{event_id}")  # type: ignore[assignment]
            if not found:
                return None
            listed = [line.split(" ", 1) for line in found["deliveries"].splitlines()]
            pipe = self.redis.pipeline(transaction=False)
            for delivery_id, _ in listed:
                pipe.hget(f"{P}delivery:{delivery_id}", "status")
            statuses = pipe.execute()
        refs = tuple(
            DeliveryRef(id=delivery_id, route=route, status=status or "erased")
            for (delivery_id, route), status in zip(listed, statuses, strict=True)
        )
        return read_event(found["record"]), EventStatus(found["status"]), refs

    def delivery(self, delivery_id: str) -> Delivery | None:
        """Return a delivery; None if there is no such delivery."""
        with self._reached():
            found: dict[str, str] = self.redis.hgetall(f"{P}delivery:{delivery_id}")  # type: ignore[assignment]
        return read_delivery(delivery_id, found) if found else None

    def deliveries(self, filters: Filters, *, before: int | None, limit: int) -> Page:
        """Return the newest deliveries that fit and whose order is under `before`.

        Walks the smallest index that fits and looks at the records, at most 20 times `limit` of
        them: a page may then be short and still have a next_cursor.
        """
        low = f"{int(filters.since.timestamp() * 1e6)}" if filters.since else "-inf"
        high = f"{int(filters.until.timestamp() * 1e6)}" if filters.until else "+inf"
        if before is not None and (high == "+inf" or before <= int(high)):
            high = f"({before}"
        items: list[Delivery] = []
        phone = self.phone_key(filters.phone) if filters.phone else None
        with self._reached():
            indexes = self._smallest_indexes(filters, phone)
            for _ in range(20):
                batch = self._newest(indexes, high=high, low=low, limit=limit)
                for delivery in self._records(batch):
                    high = f"({delivery.order}"
                    if fits(delivery, filters, phone):
                        items.append(delivery)
                    if len(items) == limit:
                        return Page(items=tuple(items), next_cursor=str(delivery.order))
                if len(batch) < limit:
                    return Page(items=tuple(items), next_cursor=None)
                high = f"({batch[-1][1]}"
        return Page(items=tuple(items), next_cursor=high.removeprefix("("))

    def counts(self) -> dict[str, int]:
        """Return how many deliveries stand in each status."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for status in Status:
                pipe.zcard(f"{P}deliveries:status:{status}")
            return dict(zip(Status, pipe.execute(), strict=True))

    def oldest_waiting_s(self) -> float | None:
        """Return how long the oldest queued or retrying delivery has waited; None: none waits."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            pipe.time()
            pipe.zrange(f"{P}deliveries:status:queued", 0, 0, withscores=True)
            pipe.zrange(f"{P}deliveries:status:retrying", 0, 0, withscores=True)
            (seconds, micros), *oldest = pipe.execute()
        orders = [found[0][1] for found in oldest if found]
        return seconds + (micros - min(orders)) / 1e6 if orders else None

    def due_count(self) -> int:
        """Return how many deliveries wait for their time."""
        with self._reached():
            return int(self.redis.zcard(f"{P}due"))

    def campaigns(self, limit: int = 200) -> list[dict[str, Any]]:
        """Return the newest campaigns: key, batch_id and what was kept with them."""
        with self._reached():
            keys = [str(key) for key in self.redis.zrange(f"{P}campaigns", 0, limit - 1, desc=True)]
            pipe = self.redis.pipeline(transaction=False)
            for key in keys:
                pipe.hgetall(f"{P}campaign:{key}")
            found = pipe.execute()
        return [
            {"key": key, "batch_id": kept["batch_id"], **orjson.loads(kept["record"])}
            for key, kept in zip(keys, found, strict=True)
            if kept
        ]

    def persistence(self) -> Persistence:
        """Return how safe Redis keeps what it took; "unknown" where a managed one won't say."""
        with self._reached():
            memory = self.redis.info("memory")
            durable = self.redis.info("persistence")
            try:
                fsync = str(self.redis.config_get("appendfsync").get("appendfsync", "unknown"))
            except redis.ResponseError:
                fsync = "unknown"
        limit = int(memory.get("maxmemory", 0))
        used = int(memory["used_memory"])
        return Persistence(
            append_only=bool(durable.get("aof_enabled")),
            fsync=fsync,
            policy=str(memory.get("maxmemory_policy", "unknown")),
            used_bytes=used,
            used_ratio=used / limit if limit else None,
        )

    def ping(self) -> None:
        """Raise StoreUnavailable unless Redis answers and takes writes."""
        with self._reached():
            self.redis.set(f"{P}ping", "1", ex=60)

    def phone_key(self, number: str) -> str:
        """Return the keyed hash that a number (E.164) is listed by; it can't be turned back."""
        if self._pepper is None:
            with self._reached():
                self.redis.set(f"{P}pepper", secrets.token_hex(16), nx=True)
                self._pepper = str(self.redis.get(f"{P}pepper"))
        keyed = hashlib.blake2b(number.encode(), key=self._pepper.encode(), digest_size=12)
        return keyed.hexdigest()

    # --- within -------------------------------------------------------------------------------

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn Redis' own errors into ours. They name addresses and commands, never data."""
        try:
            yield
        except (redis.ConnectionError, redis.TimeoutError) as error:
            self._away_until = time.monotonic() + AWAY_S
            raise StoreUnavailable(f"Redis does not answer ({type(error).__name__})") from error
        except redis.RedisError as error:
            # Full, read-only, busy with another's script, failing over, a user without rights: all
            # of them pass or are mended over there, and no loop of ours may die of one.
            word = str(error).partition(" ")[0]
            if word == "ERR":
                logger.error("store.refused", exc_info=error)  # a script of ours may be wrong
            raise StoreUnavailable(f"Redis refuses ({word})") from error

    def _smallest_indexes(self, filters: Filters, phone: str | None) -> list[str]:
        """Return the index to walk: the smallest that fits; several for several statuses."""
        choices = [
            [f"{P}deliveries:{by}:{value}"]
            for by, value in (
                ("phone", phone),
                ("subject", filters.subject),
                ("route", filters.route),
                ("source", filters.source),
            )
            if value
        ]
        if filters.status:
            choices.append([f"{P}deliveries:status:{status}" for status in filters.status])
        if len(choices) < 2:
            return choices[0] if choices else [f"{P}deliveries"]
        pipe = self.redis.pipeline(transaction=False)
        for index in (index for choice in choices for index in choice):
            pipe.zcard(index)
        sizes = iter(pipe.execute())
        sized = [(sum(next(sizes) for _ in choice), choice) for choice in choices]
        return min(sized)[1]

    def _newest(
        self, indexes: list[str], *, high: str, low: str, limit: int
    ) -> list[tuple[str, int]]:
        """Return (id, order) of the newest in these indexes between low and high."""
        pipe = self.redis.pipeline(transaction=False)
        for index in indexes:
            pipe.zrange(
                index, high, low, desc=True, byscore=True, offset=0, num=limit, withscores=True
            )
        found = [(member, int(score)) for listed in pipe.execute() for member, score in listed]
        return sorted(found, key=lambda pair: -pair[1])[:limit]

    def _records(self, batch: list[tuple[str, int]]) -> Iterator[Delivery]:
        pipe = self.redis.pipeline(transaction=False)
        for delivery_id, _ in batch:
            pipe.hgetall(f"{P}delivery:{delivery_id}")
        for (delivery_id, _), found in zip(batch, pipe.execute(), strict=True):
            if found:
                yield read_delivery(delivery_id, found)


def _script(name: str) -> str:
    return (files("bridge") / "scripts" / f"{name}.lua").read_text(encoding="utf-8")
