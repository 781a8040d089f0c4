"""Moves what an older release stored to the names of this release, when web and worker start.

A page of keys is one script, and so one step: if a process is killed at any moment, the next one
goes on from the kept place. A lock keeps two processes from moving the same page; it runs out by
itself. A page that is moved twice does no harm. Webhooks are accepted all the time: if the new name
has something already, old and new are merged. Until all is moved nothing is claimed, and /readyz
answers 503.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from config import log
from schemas.errors import StoreUnavailable
from store.base import Base

logger = log.get(__name__)

PAGE = 100  # keys that one script looks at: some ms, in which Redis serves no other client
LOCK_S = 5.0  # then the lock of a process that died runs out
SLICE_S = 1.0  # of the pages between two looks whether to stop
LOCKED_S = 0.1  # between two looks while another process migrates
AWAY_S = 0.5  # between two looks for a Redis that is away
TRUSTED_S = 5.0  # how long "all is migrated" is believed without a look: see is_migrated()
UPDATED = 500  # deliveries that one script brings up to date


@dataclass(frozen=True, slots=True)
class MigrationPage:
    """What one page came to."""

    is_done: bool  # nothing is left
    is_locked: bool  # another process migrates; this page was not looked at
    is_last: bool = False  # this page ended the migration; moved and failed are then of all pages
    is_old_process: bool = False  # a process of the older release has written since the end
    keys: int = 0  # that the page had
    moved: int = 0
    failed: int = 0  # keys of another type than ours, left as they are


class MigrationStore(Base):
    """The version of the names in Redis, and the steps to this release's."""

    def is_migrated(self) -> bool:
        """Say whether all that is stored has the names of this release; true costs nothing again.

        A new store is marked by this.
        """
        if time.monotonic() > self._migrated_until:
            if not self._run("migrated"):
                return False
            self._migrated_until = time.monotonic() + TRUSTED_S
        return True

    def migrate_page(self, token: str, *, page: int = PAGE) -> MigrationPage:
        """Move a page of keys; token: names this process for the lock."""
        state, keys, moved, failed = self._run("migrate", token, page, int(LOCK_S * 1000))
        return MigrationPage(
            is_done=state in ("done", "finished"),
            is_last=state == "finished",
            is_old_process=state == "old process",
            is_locked=state == "locked",
            keys=int(keys),
            moved=int(moved),
            failed=int(failed),
        )

    def bring_up_to_date(self, ids: Iterable[str | None]) -> None:
        """Rename the fields of these deliveries now: a script is about to read them.

        Does nothing once all is migrated, nor for a None.
        """
        if self.is_migrated():
            return
        wanted = [one for one in ids if one]
        for start in range(0, len(wanted), UPDATED):
            self._run("update_deliveries", *wanted[start : start + UPDATED])


class Migration:
    """Moves all that an older release stored, page by page."""

    def __init__(self, store: MigrationStore, *, page: int = PAGE) -> None:
        self._store = store
        self._page = page
        self._token = secrets.token_hex(8)

    def advance(self, *, for_s: float) -> bool:
        """Move pages for about for_s seconds. Returns whether all is moved.

        Once all is moved, this is one small command. Raises StoreUnavailable.
        """
        ends = time.monotonic() + for_s
        for page in self.pages():
            if page.is_done:
                return True
            if page.is_locked or time.monotonic() > ends:
                return False
        return True

    def pages(self) -> Iterator[MigrationPage]:
        """Move and yield pages, the last one included. Raises StoreUnavailable."""
        while True:
            page = self._store.migrate_page(self._token, page=self._page)
            _log(page)
            yield page
            if page.is_done:
                return


def _log(page: MigrationPage) -> None:
    if page.is_old_process:
        logger.error("store.old_process", message="A process of the release before still runs.")
    if page.is_last and page.failed:
        logger.error("store.migration_skipped", keys=page.failed)
    if page.is_last and page.moved:
        logger.info("store.migrated", moved=page.moved)


def migrate(store: MigrationStore, should_stop: Callable[[], bool] = lambda: False) -> bool:
    """Move all that an older release stored; wait for Redis, or for another process that does it.

    Returns whether all is moved; False: should_stop() was true first.
    """
    migration, is_away = Migration(store), False
    while not should_stop():
        try:
            if migration.advance(for_s=SLICE_S):
                return True
            is_away, wait_s = False, LOCKED_S
        except StoreUnavailable as error:
            if not is_away:
                logger.warning("store.away", error=str(error))
            is_away, wait_s = True, AWAY_S
        time.sleep(wait_s)
    return False


def start_migration(store: MigrationStore) -> threading.Thread:
    """Migrate in a thread of this process, for as long as the process lives.

    The thread looks again every few seconds, in case a process of the older release still wrote.
    """
    thread = threading.Thread(target=_keep_migrated, args=(store,), name="migration", daemon=True)
    thread.start()
    return thread


def _keep_migrated(store: MigrationStore) -> None:
    while True:
        migrate(store)
        time.sleep(TRUSTED_S)
