"""What all parts of the store share: the client, the scripts, the memory check, the errors."""

import hashlib
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

import redis
from redis.commands.core import Script
from redis.exceptions import NoPermissionError, NoScriptError

from config import log
from schemas.delivery import WRITE_BACK_ID
from schemas.errors import StoreClosed, StoreUnavailable, StoreUnfit, Unconfirmed
from schemas.records import Persistence
from schemas.settings import DEFAULT_ZONE
from schemas.spellings import spellings
from store.client import (
    CONNECT_S,
    code_of,
    is_forbidden,
    leave_demoted,
    make_client,
    why_away,
    why_unfit,
)
from store.closing import CLOSED, closed_sentence
from store.local_time import in_zone
from store.prefix import KEY_PREFIX
from store.script_loader import load_scripts
from store.slot_owner import SlotMoved

logger = log.get(__name__)

P = KEY_PREFIX
FULL_AT = 0.85  # of Redis' memory limit: beyond it the intake stops, but workers still record
ROOM_CHECK_S = 1.0  # for how long a check of Redis' memory counts
AWAY_S = 1.0  # how long the intake fails fast after a time-out
ACKS_S = 1.0  # how long replicas may take to confirm; less than each client's time-out
MARK = "mark"  # the script that has WAIT wait: see scripts/mark.lua


def delivery_key(delivery_id: str) -> str:
    """Return the key of a delivery's record; write-backs have keys of their own."""
    kind = "write_back" if delivery_id.startswith(WRITE_BACK_ID) else "delivery"
    return f"{P}{kind}:{delivery_id}"


def connect(url: str, *, timeout_s: float = 3.0, retries: int = 0) -> "redis.Redis":
    """Return a client for our data. Its answers are text. It retries `retries` times at once."""
    return make_client(
        url, is_text=True, timeout_s=timeout_s, connect_s=min(timeout_s, CONNECT_S), retries=retries
    )


@cache
def _scripts_in(zone: str, year: int) -> Mapping[str, str]:
    """Return the text of each script by name, for a store that starts in this year."""
    start = datetime(year, 1, 1, tzinfo=UTC)
    return {name: in_zone(text, zone, start) for name, text in load_scripts().items()}


class Base:
    """A client of Redis that raises our own errors.

    max_rate: requests/s to CallKaro; 0: no cap. zone: the time zone (IANA name) of the figures.
    acks: how many replicas must have what can't be lost, before it counts; 0: none is waited for.
    is_engine_durable: the engine keeps a log of its own, so an append-only file is not needed.
    """

    def __init__(
        self,
        client: "redis.Redis",
        *,
        max_rate: float = 0,
        zone: str = DEFAULT_ZONE,
        acks: int = 0,
        is_engine_durable: bool = False,
    ) -> None:
        self.redis = client
        self.max_rate = max_rate
        self.acks = acks
        self._is_engine_durable = is_engine_durable
        self._is_confirmed = False  # whether enough replicas confirmed the latest write
        self._scripts = {
            name: client.register_script(text)
            for name, text in _scripts_in(zone, datetime.now(UTC).year).items()
        }
        self._room_checked = 0.0  # monotonic; 0: not yet
        self._room_lock = threading.Lock()
        self._away_until = 0.0
        self._has_room = True
        self._is_fit = False  # not known yet
        self._keyed_hashes: dict[int, hashlib.blake2b] = {}  # by size, keyed; copied for each text
        self._migrated_until = 0.0  # monotonic: see store/migration.py

    def ping(self) -> None:
        """Raise StoreUnavailable unless Redis answers and accepts writes, and replicas confirm."""
        with self._reached():
            self.redis.set(f"{P}ping", "1", ex=60)
        self._confirm()

    def run_id(self) -> str:
        """Return the id that Redis chooses for itself at each start; empty: it does not tell."""
        with self._reached():
            return _run_id_of(self.redis)

    def check_fit(self) -> None:
        """Raise StoreUnfit if this Redis is in cluster mode, or can't run our scripts.

        Nothing here asks Redis for its mode: a user may lack the right to INFO, and some managed
        Redis hide it. Raises StoreUnavailable if Redis is away.
        """
        self._is_fit = False
        with self._reached():
            try:
                self._scripts["fits"](keys=[f"{P}fits:a", f"{P}fits:b"])
            except redis.ResponseError as error:
                if reason := why_unfit(error, is_tagged="{" in P):
                    raise StoreUnfit(reason) from error
                raise
        self._is_fit = True

    def check_room(self) -> None:
        """Raise StoreUnavailable while Redis is over 85 % of its memory limit, unfit, or hangs.

        Where Redis does not tell its memory, its own refusal is the limit: see _reached().
        After one time-out, fail fast for a second: other requests need not wait for Redis, too.
        """
        self._check_away()
        if self._must_look_at_room():
            is_first = self._room_checked == 0.0
            # Of many threads one looks; until it has the answer, the others go by the last one.
            if self._room_lock.acquire(blocking=is_first):
                try:
                    self._look_at_room()
                finally:
                    self._room_lock.release()
        if not self._has_room:
            raise StoreUnavailable("Redis is over 85 % of its memory limit")

    def _must_look_at_room(self) -> bool:
        return time.monotonic() - self._room_checked > ROOM_CHECK_S

    def _look_at_room(self) -> None:
        if not self._must_look_at_room():  # another thread has looked in the meantime
            return
        self._check_away()  # or it has waited for a time-out
        now = time.monotonic()
        self.check_fit()  # never a 202 for what no worker would call
        used = self.persistence().used_ratio
        self._has_room = used is None or used < FULL_AT
        self._room_checked = now

    def _check_away(self) -> None:
        """Raise StoreUnavailable within AWAY_S of a time-out, or of too few confirmations."""
        if time.monotonic() < self._away_until:
            raise StoreUnavailable("Redis did not answer a moment ago")

    def persistence(self) -> Persistence:
        """Return how safely Redis keeps data; "unknown" or None where Redis does not say."""
        with self._reached():
            memory, durable = _info(self.redis, "memory"), _info(self.redis, "persistence")
            try:
                fsync = str(self.redis.config_get("appendfsync").get("appendfsync", "unknown"))
                forbidden = False
            except redis.ResponseError as error:
                fsync, forbidden = "unknown", isinstance(error, NoPermissionError)
            replicas = _info(self.redis, "replication").get("connected_slaves") if self.acks else 0
        limit, used = int(memory.get("maxmemory", 0)), memory.get("used_memory")
        aof = durable.get("aof_enabled")
        return Persistence(
            append_only=None if aof is None else bool(aof),
            fsync=fsync,
            policy=str(memory.get("maxmemory_policy", "unknown")),
            used_bytes=None if used is None else int(used),
            used_ratio=int(used) / limit if used is not None and limit else None,
            forbidden=(*(("INFO",) if not memory else ()), *(("CONFIG GET",) if forbidden else ())),
            replicas=None if replicas is None else int(replicas),
            acks=self.acks,
            is_engine_durable=self._is_engine_durable,
        )

    def phone_key(self, number: str) -> str:
        """Return the keyed hash of a number (E.164); the number can't be computed from it.

        It is the same for all spellings of a number.
        """
        return self._keyed(spellings(number)[0])

    def phone_keys(self, number: str) -> tuple[str, ...]:
        """Return the keyed hash of a number, then those that older releases stored it under.

        They stored each spelling under a hash of its own.
        """
        return tuple(self._keyed(spelling) for spelling in spellings(number))

    def person_key(self, source: str, subject_type: str, subject: str) -> str:
        """Return the keyed hash of a CRM's record (a `contact`, a `lead`), to suppress it by."""
        return self._keyed(f"{source}\0{subject_type}\0{subject}")

    def list_row_key(self, list_name: str, number: str) -> str:
        """Return the keyed hash of a number (E.164) in a call list, the same for all spellings."""
        return self._keyed(f"list\0{list_name}\0{spellings(number)[0]}")

    def _keyed(self, text: str) -> str:
        return self._digest(text, 12).hex()

    def _digest(self, text: str, size: int) -> bytes:
        """Return the keyed hash of a text, of this many bytes."""
        found = self._keyed_hashes.get(size)
        if found is None:
            found = hashlib.blake2b(key=self._read_pepper().encode(), digest_size=size)
            self._keyed_hashes[size] = found
        keyed = found.copy()
        keyed.update(text.encode("utf-8", "replace"))
        return keyed.digest()

    def _read_pepper(self) -> str:
        with self._reached():
            found = self.redis.get(f"{P}pepper")  # first: a full Redis refuses any write
            if not found:
                self.redis.set(f"{P}pepper", secrets.token_hex(16), nx=True)
                found = self.redis.get(f"{P}pepper")
            return str(found)

    def _run(self, script: str, *args: Any) -> Any:
        self._check_fit_once()
        with self._reached():
            return self._scripts[script](keys=[P], args=args)

    def _run_kept(self, script: str, *args: Any) -> Any:
        """Run a script whose writes must survive a failover: wait until `acks` replicas have them.

        What the script found written already is waited for, too. Raises Unconfirmed: too few
        replicas confirmed in time. Then it is written here, and a failover may still lose it.
        """
        if not self.acks:
            return self._run(script, *args)
        return self._run_and_wait(script, args)

    def _confirm(self) -> None:
        """Raise Unconfirmed unless enough replicas have all that was written until now."""
        if self.acks:
            self._run_and_wait(MARK, ())

    def _run_and_wait(self, script: str, args: Sequence[Any]) -> Any:
        self._is_confirmed = False
        self._check_fit_once()
        with self._reached():
            answer, _, confirmed = self._piped(self._scripts[script], args)
        if int(confirmed) < self.acks:
            self._away_until = time.monotonic() + AWAY_S
            raise Unconfirmed(
                f"{confirmed} of {self.acks} replicas of Redis confirmed within {ACKS_S:g} s"
            )
        self._is_confirmed = True
        return answer

    def _piped(self, script: Script, args: Sequence[Any]) -> list[Any]:
        """Return the answers to a script, the mark and WAIT, sent together over one connection.

        WAIT waits for what its own connection wrote, and for all that was written before that.
        """
        with self.redis.pipeline(transaction=False) as pipe:
            pipe.evalsha(script.sha, 1, P, *args)
            # With its text, so that Redis never answers that it does not know it: by then the
            # script has run, and can't be run again.
            pipe.eval(str(self._scripts[MARK].script), 1, P)
            pipe.wait(self.acks, int(ACKS_S * 1000))
            answers: list[Any] = pipe.execute(raise_on_error=False)
        if isinstance(answers[0], NoScriptError):  # Redis started anew, so it did not run
            self.redis.script_load(script.script)
            return self._piped(script, args)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def _raise_refusal(self, answers: Sequence[Any]) -> None:
        """Raise the first of the errors that a script returned for parts of its work, if any."""
        for answer in answers:
            if isinstance(answer, redis.RedisError):
                with self._reached():
                    raise answer

    def _run_in(self, script: str, *args: Any) -> Any:
        """Run a script whose last argument is the run id of Redis, as run_id() returns it.

        Both commands use one connection. It does not outlive a restart of Redis, so the script
        never runs in another Redis than the one whose id it has. (Scripts can't read it: Redis
        checks the rights of our user in them, too.)
        """
        self._check_fit_once()
        with self._reached(), self.redis.client() as one:  # type: ignore[no-untyped-call]
            return self._scripts[script](keys=[P], args=[*args, _run_id_of(one)], client=one)

    def _check_fit_once(self) -> None:
        """Check before the first script: it must leave no keys behind in a cluster."""
        if not self._is_fit:
            self.check_fit()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn Redis' errors into ours. Redis' name addresses and commands, never data."""
        try:
            yield
        except (redis.ConnectionError, redis.TimeoutError) as error:
            if not isinstance(error, SlotMoved):  # the next try asks who owns the slot
                self._away_until = time.monotonic() + AWAY_S
            raise StoreUnavailable(why_away(error)) from error
        except redis.RedisError as error:
            # Redis is full, read-only, busy with another script or failing over, or our user lacks
            # rights. All of that ends by itself or is fixed in Redis, so no loop of ours may die.
            leave_demoted(self.redis, error)
            if (code := code_of(error)) == CLOSED:
                raise StoreClosed(closed_sentence(str(error).removeprefix(f"{CLOSED} "))) from error
            if code == "ERR":
                logger.error("store.refused", exc_info=error)  # a script of ours may be wrong
            raise StoreUnavailable(f"Redis refuses ({code})") from error


def _run_id_of(client: "redis.Redis") -> str:
    return str(_info(client, "server").get("run_id", ""))


def _info(client: "redis.Redis", section: str) -> dict[str, Any]:
    """Return a section of INFO; empty: our user may not run it."""
    try:
        return dict(client.info(section))
    except redis.ResponseError as error:
        if not is_forbidden(error):
            raise
        return {}


def answers(pipe: Any, otherwise: Any) -> list[Any]:
    """Return the answers of a pipeline; `otherwise` for a key of another type than ours.

    Raises the first other error.
    """
    found = pipe.execute(raise_on_error=False)
    for one in found:
        if isinstance(one, Exception) and not _is_of_another_type(one):
            raise one
    return [otherwise if isinstance(one, Exception) else one for one in found]


def _is_of_another_type(error: Exception) -> bool:
    return isinstance(error, redis.ResponseError) and code_of(error) == "WRONGTYPE"
