"""Moves all keys of a bridge to another Redis, under the prefix of its keys there.

While keys are copied, both stores are closed: their scripts refuse to run (see store/closing.py).
So nothing is accepted or called that the copy does not know, and a process that still runs shows.

    <prefix>closed   hash, in either store: state (see closing.State), move (the same random id in
                     both), mover (the process that moves; another one may write nothing any
                     more), unused (1, until a script wanted to run); in the old one: new_closed
                     (1: the move goes to no other address); and in the new one: was_empty (1:
                     nothing was in its way), cursor and run (where the next page of keys begins,
                     at which start of the old Redis), is_copied (1: only the comparison is left)

A process that was overtaken must not write: the new store may be open, and in use. So each write
to it, and each change of a mark, is a transaction that holds only while the mark names its process.
"""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

import redis

from config.key_prefix import rq_prefix_of
from schemas.errors import BridgeError, StoreUnavailable
from store.bell import Ear, ring
from store.client import is_forbidden, leave_demoted, make_client, why_away, why_unfit
from store.closing import MARK, State
from store.copying import Side, compare_keys, copy_keys
from store.queue import QUEUE
from store.script_loader import load_scripts

PAGE: Final = 200  # keys
LOOK: Final = 1000  # keys of a page whose names alone are read
# After a ring, a web process runs a script within 5 s, and a worker within one: one that runs has
# shown by then.
WATCH_S: Final = 6.0
LOOK_S: Final = 0.1
TIMEOUT_S: Final = 10.0
CONFIRM_MS: Final = 5000  # for replicas of the new Redis to have all
TRIES: Final = 10
AGAIN_S: Final = 1.0  # between two tries
# Never copied: what is of a process, of this start of Redis, or of a moment. A worker that starts
# asks for a drain anew.
OF_ITS_STORE: Final = frozenset(
    {b"closed", b"mark", b"migration", b"migration-lock", b"nothing", b"ping", b"run", b"wakeup"}
)
# What a process writes that looks at an empty store.
OF_A_START: Final = (b"born", b"indexed", b"schema")
SAME_REDIS: Final = (
    "The old and the new address lead to the same Redis. REDIS_URL must be the new one"
)
OVERTAKEN: Final = "Another move-store has taken over, or has ended the move"
Done = TypeVar("Done")


class MoveRefused(BridgeError):
    """The store can't be moved. The message says what to do, and has no secret."""


def open_side(url: str, prefix: str) -> Side:
    """Return the store at this URL, which uses this prefix of keys."""
    client = make_client(url, is_text=False, timeout_s=TIMEOUT_S, retries=1, prefix=prefix)
    return Side(client, prefix)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the stores have, by kind of key: (keys or elements in the old one, in the new one)."""

    counts: Mapping[str, tuple[int, int]]
    different: Mapping[str, int]  # keys that differ, by kind


@dataclass(slots=True)
class StoreMove:
    """The move of a store. All its steps raise MoveRefused or StoreUnavailable."""

    old: Side
    new: Side
    acks: int = 0  # REDIS_ACKS: as many replicas must have all before the old store is left
    watch_s: float = field(default_factory=lambda: WATCH_S)
    tries: int = TRIES
    again_s: float = AGAIN_S
    _token: str = field(default_factory=lambda: secrets.token_hex(8))

    # --- steps ----------------------------------------------------------------------------------

    def begin(self) -> bool:
        """Close both stores, and see that nobody uses them.

        Returns whether an older try goes on.
        """
        for side, which in self._sides():
            self._refuse_unfit(side, which)
        old, new = self._mark(self.old), self._mark(self.new)
        self._refuse_impossible(old, new)
        for side, which in self._sides():
            if self._patiently(_workers, side):
                raise MoveRefused(
                    f"A worker is registered in the {which} Redis. Stop all workers and webs, then "
                    "try again. (A worker that was killed is forgotten after at most 60 s)"
                )
        move_id = old["move"] if new else secrets.token_hex(8)
        self._patiently(self._close, self.old, State.LEAVING, move_id, old.get("mover"))
        try:
            self._close_new(move_id, new.get("mover"))
            self._note(self.old, {"new_closed": "1"})
            if new:
                self._go_on()
            self._see_that_nobody_runs()
        except (MoveRefused, KeyboardInterrupt):
            if not new:  # nothing was copied yet
                self._open_again()
            raise
        return bool(new)

    def key_count(self) -> int:
        """Return how many keys the old Redis has, others' and RQ's included."""
        return int(self._patiently(self.old.client.dbsize))

    def copy(self, tell: Callable[[int], None] = lambda keys: None) -> None:
        """Copy all keys, from where an older try has got to; tell: is told how many are copied."""
        run = self._patiently(_run_of, self.old)
        kept = self._mark(self.new)
        if kept.get("is_copied"):
            return
        # A cursor means nothing to another start of Redis.
        cursor = int(kept.get("cursor") or 0) if run and kept.get("run") == run else 0
        copied = 0
        while True:
            cursor, keys = self._patiently(self._copy_page, cursor, run)
            copied += keys
            tell(copied)
            if not cursor:
                return

    def compare(self) -> Comparison:
        """Compare all keys of the old store with those of the new one."""
        old, new, different = Counter[str](), Counter[str](), Counter[str]()
        for names in self._pages(self.old, PAGE):
            for one in self._patiently(compare_keys, self.old, self.new, names):
                kind = kind_of(one.name)
                each = ":*" in kind  # count its keys
                old[kind] += 1 if each else one.old
                new[kind] += min(one.new, 1) if each else one.new
                different[kind] += not one.is_same
        return Comparison(
            {kind: (old[kind], new[kind]) for kind in sorted(old)},
            {kind: different[kind] for kind in sorted(+different)},
        )

    def finish(self, found: Comparison) -> None:
        """Close the old store for good, and open the new one."""
        if found.different:
            kinds = ", ".join(f"{kind} ({count})" for kind, count in found.different.items())
            self._copy_anew()
            raise MoveRefused(
                f"These keys differ: {kinds}. Does a process of an older release still write to "
                "the old Redis? Stop all processes, then try again: all keys are copied again"
            )
        if self._was_used(self.old):
            self._copy_anew()
            raise MoveRefused(
                "A process has used the old Redis meanwhile. Stop it, then try again: all keys are "
                "copied again"
            )
        if self._patiently(_confirmed, self.new, self.acks) < self.acks:
            raise MoveRefused(
                f"Fewer than {self.acks} replicas of the new Redis have all data (REDIS_ACKS). "
                "Connect them, then try again"
            )
        self._note(self.old, {"state": State.LEFT})
        self._patiently(self._open, self.new)

    def undo(self) -> None:
        """Give an unfinished move up: empty the new store, and open the old one."""
        old, new = self._mark(self.old), self._mark(self.new)
        self._refuse_no_new_store(old, new)
        if old.get("state") != State.LEAVING:
            raise MoveRefused("No unfinished move from the old Redis can be undone")
        if new and new.get("move") != old["move"]:
            raise MoveRefused("REDIS_URL leads to another Redis than the one that was moved to")
        self._patiently(self._close, self.old, State.LEAVING, old["move"], old.get("mover"))
        if new:
            self._patiently(self._close, self.new, State.ARRIVING, old["move"], new.get("mover"))
            self._copy_anew()
        self._open_again()

    # --- helpers --------------------------------------------------------------------------------

    def _refuse_unfit(self, side: Side, which: str) -> None:
        """Refuse a store at which no bridge could start: from a new one there is no way back.

        It is asked once, so whoever mistyped an address or a password soon learns which one.
        """
        try:
            side.client.register_script(load_scripts()["fits"])(
                keys=[side.key(b"fits:a"), side.key(b"fits:b")]
            )
        except redis.RedisError as error:
            reason = (
                why_unfit(error, is_tagged="{" in side.prefix)
                if isinstance(error, redis.ResponseError)
                else None
            )
            said = (reason or _why(error)).removesuffix(".")
            raise MoveRefused(f"The {which} Redis can't be used. {said}") from error

    def _refuse_impossible(self, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        state, is_same = old.get("state"), old.get("move") == new.get("move")
        self._refuse_no_new_store(old, new)
        if state == State.ARRIVING:
            raise MoveRefused("The old Redis is itself the new one of a move that has not ended")
        if state == State.LEFT and not new:
            raise MoveRefused("The old Redis was moved already")
        if "new_closed" in old and not new:
            raise MoveRefused(
                "A move of the old Redis to another address has begun. Go on with that address, or "
                "give it up with --undo"
            )
        if new and not is_same:
            raise MoveRefused(
                "REDIS_URL leads to the new Redis of another move. If that was given up, empty it"
            )
        if not old and not self._patiently(_is_used, self.old):
            raise MoveRefused(
                "The old Redis has no event and no suppressed number of this bridge. Is its "
                "address right? Look, and try again"
            )

    def _refuse_no_new_store(self, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        if new.get("state") in (State.LEAVING, State.LEFT):
            raise MoveRefused(
                SAME_REDIS
                if old.get("move") == new.get("move")
                else "REDIS_URL leads to a Redis that was itself moved"
            )

    def _close_new(self, move_id: str, mover: str | None) -> None:
        """Close the new store for this process. Raises MoveRefused if it has anything already."""
        if self._mark(self.new).get("state") == State.LEAVING:
            raise MoveRefused(SAME_REDIS)
        self._patiently(self._close, self.new, State.ARRIVING, move_id, mover)
        if self._mark(self.new).get("was_empty"):
            return
        for names in self._pages(self.new, LOOK):
            if foreign := sorted(set(names).difference(OF_A_START)):
                self._patiently(self._open, self.new)
                shown = ", ".join(kind_of(one) for one in foreign[:3])
                raise MoveRefused(
                    f"The new Redis is not empty: it has {shown} and perhaps more. If nothing of "
                    "it is needed, stop all its processes, empty it, and try again"
                )
        # The layout of keys that an older release wrote must not seem to be today's.
        self._patiently(self._unlink, OF_A_START)
        self._note(self.new, {"was_empty": "1"})

    def _go_on(self) -> None:
        """Look again whether anybody uses the stores, from now on."""
        for side, _ in self._sides():
            if self._was_used(side):
                self._copy_anew()
            self._note(side, {"unused": "1"})

    def _see_that_nobody_runs(self) -> None:
        ends = time.monotonic() + self.watch_s
        for side, _ in self._sides():
            self._patiently(_ring, side)
        while True:
            is_over = time.monotonic() >= ends
            for side, which in self._sides():
                if self._was_used(side):
                    raise MoveRefused(
                        f"A process of the {which} Redis still runs. Stop all webs and workers, "
                        "then try again"
                    )
            if is_over:
                return
            time.sleep(LOOK_S)

    def _open_again(self) -> None:
        for side in (self.new, self.old):  # in this order --undo goes on after a kill
            if self._mark(side).get("mover") == self._token:
                self._patiently(self._open, side)

    def _copy_anew(self) -> None:
        """Have the next copy begin with the first page: the old store has changed."""
        self._note(self.new, {"cursor": "", "run": "", "is_copied": ""})
        for names in self._pages(self.new, LOOK):
            self._patiently(self._unlink, names)

    def _sides(self) -> tuple[tuple[Side, str], ...]:
        return ((self.old, "old"), (self.new, "new"))

    def _was_used(self, side: Side) -> bool:
        return "unused" not in self._mark(side)

    def _mark(self, side: Side) -> Mapping[str, str]:
        return self._patiently(_read, side)

    def _copy_page(self, cursor: int, run: str) -> tuple[int, int]:
        """Copy a page of keys. Returns the cursor of the next one, and how many keys it had."""
        after, names = _page(self.old, cursor, PAGE)
        copy_keys(self.old, self.new, names, hold=partial(self._hold, self.new))
        self._set(self.new, {"cursor": str(after), "run": run} if after else {"is_copied": "1"})
        return after, len(names)

    # What writes: each in a transaction of its own, which may be made twice.

    def _hold(self, side: Side, pipe: Any) -> None:
        """Begin a transaction that fails once another process moves this store."""
        mark = side.key(_MARK)
        pipe.watch(mark)
        if pipe.hget(mark, "mover") != self._token.encode():
            raise MoveRefused(OVERTAKEN)
        pipe.multi()

    def _close(self, side: Side, state: State, move_id: str, mover: str | None) -> None:
        """Close a store, or take it over from an older try. mover: who had it; None: nobody."""
        mark = side.key(_MARK)
        with side.client.pipeline() as pipe:
            pipe.watch(mark)  # type: ignore[no-untyped-call]
            found: Any = pipe.hgetall(mark)
            if _decoded(found).get("mover") not in (mover, self._token):
                raise MoveRefused(OVERTAKEN)
            pipe.multi()
            pipe.hsetnx(mark, "state", state)
            pipe.hsetnx(mark, "unused", 1)
            pipe.hset(mark, mapping={"move": move_id, "mover": self._token})
            pipe.execute()

    def _open(self, side: Side) -> None:
        with side.client.pipeline() as pipe:
            self._hold(side, pipe)
            pipe.delete(side.key(_MARK))
            pipe.execute()

    def _note(self, side: Side, fields: Mapping[Any, Any]) -> None:
        self._patiently(self._set, side, fields)

    def _set(self, side: Side, fields: Mapping[Any, Any]) -> None:
        with side.client.pipeline() as pipe:
            self._hold(side, pipe)
            pipe.hset(side.key(_MARK), mapping=fields)
            pipe.execute()

    def _unlink(self, names: Sequence[bytes]) -> None:
        with self.new.client.pipeline() as pipe:
            self._hold(self.new, pipe)
            for name in names:
                pipe.unlink(self.new.key(name))
            pipe.execute()

    def _pages(self, side: Side, size: int) -> Iterator[list[bytes]]:
        """Yield the names of a store's keys that may be copied, in pages."""
        cursor, names = self._patiently(_page, side, 0, size)
        yield names
        while cursor:
            cursor, names = self._patiently(_page, side, cursor, size)
            yield names

    def _patiently(self, work: Callable[..., Done], *given: Any) -> Done:
        """Do what may be done twice; while Redis is away or fails over, do it again."""
        for left in reversed(range(self.tries)):
            try:
                return work(*given)
            except redis.RedisError as error:
                for side in (self.old, self.new):
                    leave_demoted(side.client, error)
                if not left:
                    raise StoreUnavailable(_why(error)) from error
                time.sleep(self.again_s)
        raise AssertionError("there is at least one try")


_MARK: Final = MARK.encode()


def kind_of(name: bytes) -> str:
    """Return the kind of a key: `seen:*` of many keys, or a name of its own, such as `suppressed`.

    It has nothing of a person, a route or a source.
    """
    text = name.decode("utf-8", "replace")
    first, colon, _ = text.partition(":")
    is_own = text.startswith("deliveries:status:") or not colon
    return text if is_own else f"{first}:*"


def _page(side: Side, cursor: int, size: int) -> tuple[int, list[bytes]]:
    """Return the next cursor (0: the end), and the names that may be copied."""
    after, names = side.page(cursor, size)
    # In a cluster, the keys of RQ have our prefix.
    return after, [one for one in names if one not in OF_ITS_STORE and not one.startswith(b"rq:")]


def _ring(side: Side) -> None:
    """Let the processes of a store look now, also those that are at rest."""
    ring(side.client, Ear.REST, prefix=side.prefix)


def _read(side: Side) -> Mapping[str, str]:
    """Return the mark of a store; empty: it is open."""
    return _decoded(side.client.hgetall(side.key(_MARK)))


def _decoded(mark: Any) -> Mapping[str, str]:
    return {name.decode(): value.decode() for name, value in mark.items()}


def _confirmed(side: Side, acks: int) -> int:
    """Return how many replicas have all that was written so far; acks 0: none is asked."""
    if not acks:
        return 0
    with side.client.pipeline(transaction=False) as pipe:  # one connection
        pipe.set(side.key(b"mark"), 1)  # WAIT waits only for what its own connection wrote
        pipe.wait(acks, CONFIRM_MS)
        return int(pipe.execute()[-1])


def _is_used(side: Side) -> bool:
    return bool(side.client.exists(side.key(b"order"), side.key(b"suppressed")))


def _workers(side: Side) -> int:
    """Return how many RQ workers are registered."""
    names = side.client.smembers(f"{rq_prefix_of(side.prefix)}:workers:{QUEUE}")
    return sum(bool(side.client.exists(name)) for name in names)


def _run_of(side: Side) -> str:
    """Return the id of this start of Redis; "": our user may not ask for it."""
    try:
        return str(dict(side.client.info("server")).get("run_id", ""))
    except redis.ResponseError as error:
        if not is_forbidden(error):
            raise
        return ""


def _why(error: redis.RedisError) -> str:
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return why_away(error)
    return f"Redis refuses ({error.status_code or type(error).__name__})"
