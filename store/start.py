"""What a process must know of its store before it starts: whether it is closed, or empty."""

import time
from contextlib import suppress
from dataclasses import dataclass

from schemas.errors import StoreUnavailable
from store.base import P, connect
from store.closing import MARK, closed_sentence
from store.migration import MigrationStore
from store.records import at


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreCheck:
    """What was found in the store."""

    problem: str | None = None  # why no process may use it, as a sentence; None: it may
    warnings: tuple[str, ...] = ()


class StartStore(MigrationStore):
    """The look at a store before it is used."""

    def check_store(self) -> StoreCheck:
        """Say whether the store is closed, or empty."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            pipe.hget(f"{P}{MARK}", "state")
            # `order` is written with the first event, and stays.
            pipe.exists(f"{P}order", f"{P}suppressed")
            pipe.get(f"{P}born")
            state, is_used, born = pipe.execute()
        if state:
            return StoreCheck(problem=f"{closed_sentence(state)}.")
        return StoreCheck() if is_used else StoreCheck(warnings=(_empty(born),))

    def note_birth(self) -> None:
        """Note when the store was first used; a later call changes nothing."""
        with self._reached():
            self.redis.set(f"{P}born", int(time.time() * 1000), nx=True)


def check_at_start(redis_url: str) -> StoreCheck:
    """Look at the store of a process that starts, and note when it was first used.

    A new store is marked as one of this release before its first event comes: else the audit would
    read each of the first deliveries for what an older release had left out.
    Nothing is found while Redis is away: a process waits for it, and the scripts of a closed store
    refuse to run. Nothing is written into a Redis that can't be the store; others say so.
    """
    with connect(redis_url) as client:
        store = StartStore(client)
        try:
            store.check_fit()
            found = store.check_store()
            if found.problem is None:
                store.note_birth()
        except StoreUnavailable:
            return StoreCheck()
        if found.problem is None:
            with suppress(StoreUnavailable):
                store.is_migrated()
        return found


def _empty(born: str | None) -> str:
    used = f"was first used at {at(born):%Y-%m-%d %H:%M} UTC" if born else "was never used before"
    return (
        f"Redis has no event and no suppressed number, and {used}. That is right for a new bridge. "
        "If this bridge has run before, REDIS_URL is wrong: nobody knows here whom it called, and "
        "who must not be called"
    )
