"""Renames the keys and fields that an older release stored. Web and worker do this when they start.

Each script renames one page of keys, in one step. If a process is killed, the next process
continues at the saved cursor. A lock lets only one process work at a time. If that process dies,
the lock expires. To rename a page twice does no harm. The bridge accepts webhooks all the time: if
the new key exists already, the script merges the old key into it. Until all keys are renamed, no
delivery is claimed, and /readyz answers 503.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from config import log
from schemas.errors import StoreUnavailable, StoreUnfit
from store.base import Base
from store.bell import Bell, Ear
from store.indexing import INDEXED

logger = log.get(__name__)

PAGE = 100  # keys a script; it takes some ms, and Redis serves no other client during that time
LOCK_S = 5.0  # after this time the lock of a dead process expires
SLICE_S = 1.0  # migrate() renames pages for this time, then checks whether it must stop
LOCKED_S = 0.1  # the wait for the next try while another process migrates
AWAY_S = 0.5  # the wait for the next try while Redis is away
TRUSTED_S = 5.0  # how long "all is migrated" is believed: see is_migrated()
CHECK_S = 120.0  # how long a web process waits for the bell before it looks again
UPDATED = 500  # the most deliveries whose fields one script renames


@dataclass(frozen=True, slots=True)
class MigrationPage:
    """The result of one page."""

    is_done: bool  # no old name is left
    is_locked: bool  # another process migrates, so this script did nothing
    is_last: bool = False  # this page ended the migration; moved and failed are of all pages
    is_old_process: bool = False  # a process of the older release wrote after the end
    keys: int = 0  # the keys of the page
    moved: int = 0  # the keys that were renamed, or whose fields were
    failed: int = 0  # keys of an unexpected type; they stay as they are


class MigrationStore(Base):
    """The migration of Redis to the names of this release."""

    def is_migrated(self) -> bool:
        """Say whether all keys and fields have the names of this release; a true answer is cached.

        This call marks an empty Redis as migrated, and a small one that has no old name.
        """
        if time.monotonic() > self._migrated_until:
            if not self._run("migrated", INDEXED):
                return False
            self._migrated_until = time.monotonic() + TRUSTED_S
        return True

    def migrate_page(self, token: str, *, page: int = PAGE) -> MigrationPage:
        """Rename a page of keys; token: the owner of the lock."""
        state, keys, moved, failed = self._run_in("migrate", token, page, int(LOCK_S * 1000))
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
        """Rename the fields of these deliveries now, because a script is about to read them.

        Does nothing after the migration. A None is skipped.
        """
        if self.is_migrated():
            return
        wanted = [one for one in ids if one]
        for start in range(0, len(wanted), UPDATED):
            self._run("update_deliveries", *wanted[start : start + UPDATED])


class Migration:
    """Renames all that an older release stored, page by page."""

    def __init__(self, store: MigrationStore, *, page: int = PAGE) -> None:
        self._store = store
        self._page = page
        self._token = secrets.token_hex(8)

    def advance(self, *, for_s: float) -> bool:
        """Rename pages for about for_s seconds. Returns whether all is renamed.

        After the migration this costs one small command. Raises StoreUnavailable.
        """
        ends = time.monotonic() + for_s
        for page in self.pages():
            if page.is_done:
                return True
            if page.is_locked or time.monotonic() > ends:
                return False
        return True

    def pages(self) -> Iterator[MigrationPage]:
        """Rename pages and yield their results, the last one included. Raises StoreUnavailable."""
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


def _log_away(error: StoreUnavailable) -> None:
    if isinstance(error, StoreUnfit):
        logger.error("store.unfit", message=str(error))
    else:
        logger.warning("store.away", error=str(error))


def migrate(store: MigrationStore, should_stop: Callable[[], bool] = lambda: False) -> bool:
    """Rename all that an older release stored. Wait while Redis is away or another process does it.

    Returns whether all is renamed; False: should_stop() was true first.
    """
    migration, is_away = Migration(store), False
    while not should_stop():
        try:
            if migration.advance(for_s=SLICE_S):
                return True
            is_away, wait_s = False, LOCKED_S
        except StoreUnavailable as error:
            if not is_away:
                _log_away(error)
            is_away, wait_s = True, AWAY_S
        time.sleep(wait_s)
    return False


def start_migration(store: MigrationStore) -> threading.Thread:
    """Migrate in a thread of this process, for as long as the process lives.

    The thread looks again now and then, in case a process of the older release still wrote, and
    some seconds after a ring: move-store must find out whether anybody runs.
    """
    thread = threading.Thread(target=_keep_migrated, args=(store,), name="migration", daemon=True)
    thread.start()
    return thread


def _keep_migrated(store: MigrationStore) -> None:
    bell = Bell(store.redis, Ear.REST)
    while True:
        migrate(store)
        time.sleep(TRUSTED_S)
        if bell.is_open:
            bell.wait(CHECK_S)
        else:
            bell.open()  # what happened before it is heard, the next look finds
