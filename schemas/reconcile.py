"""A reconcile: what a CRM has that never arrived by webhook, as it is counted and taken."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from schemas.event import SAME_CHANGE


class ReconcileStatus(StrEnum):
    """How far a reconcile has come."""

    COUNTING = "counting"  # nothing is stored yet
    TAKING = "taking"
    DONE = "done"
    FAILED = "failed"


RUNNING: Final = frozenset({ReconcileStatus.COUNTING, ReconcileStatus.TAKING})

FORGETTING: Final = timedelta(minutes=5)  # what is forgotten so soon counts as forgotten


def longest_back(dedupe_days: int) -> timedelta:
    """Return how far a reconcile may look back.

    Of what came before, the bridge does not know any more whether it arrived. The hour is for the
    reconcile itself, which may take long.
    """
    return timedelta(days=dedupe_days) - timedelta(hours=1)


def oldest_known(now: datetime, dedupe_days: int, noted_since: datetime | None) -> datetime:
    """Return the time from which on the bridge knows whether an event arrived.

    noted_since: since when it notes what a webhook and a reconcile have in common; None: always.
    """
    forgotten = now - timedelta(days=dedupe_days) + SAME_CHANGE + FORGETTING
    return forgotten if noted_since is None else max(forgotten, noted_since)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReconcileRun:
    """The latest reconcile of a source. The times are aware UTC."""

    source: str
    since: datetime  # records that were created or changed from this time on
    started_at: datetime
    dry_run: bool = False  # it only counts
    actor: str | None = None  # the token of the person who asked for it; None: the bridge itself
    status: ReconcileStatus = ReconcileStatus.COUNTING
    message: str | None = None  # why it waits or failed, a sentence; None: it does not
    ended_at: datetime | None = None
    known: int = 0  # events that are stored already
    missed: int = 0  # events that never arrived, and that a route wants
    left_out: int = 0  # events that never arrived, and that no route takes from a reconcile
    own: int = 0  # changes of records that the bridge itself wrote to; they are left out, too
    taken: int = 0  # events that were stored
    is_held: bool = False  # their calls wait for a person to release them
    examples: tuple[Mapping[str, str | None], ...] = ()  # some of `missed`: type, subject, at
    routes: str | None = None  # the digest of the routes that it is done for; None: not begun
    # Where it goes on: the CRM's account, which of the objects, and the cursor of its page.
    account: str | None = None
    place: tuple[int, str | None] = (0, None)

    @property
    def is_running(self) -> bool:
        """Say whether it has not ended."""
        return self.status in RUNNING


def as_record(run: ReconcileRun) -> dict[str, Any]:
    """Return a run as JSON can have it."""
    fields = {name: getattr(run, name) for name in ReconcileRun.__dataclass_fields__}
    times = ("since", "started_at", "ended_at")
    return fields | {name: fields[name] and fields[name].isoformat() for name in times}


def read_run(kept: Mapping[str, Any]) -> ReconcileRun:
    """Return the run that as_record() wrote. Fields that this release does not know are ignored."""
    known = {name: kept[name] for name in ReconcileRun.__dataclass_fields__ if name in kept}
    ended_at = known.get("ended_at")
    index, cursor = known.get("place", (0, None))
    return ReconcileRun(
        **{
            **known,
            "since": datetime.fromisoformat(known["since"]),
            "started_at": datetime.fromisoformat(known["started_at"]),
            "ended_at": datetime.fromisoformat(ended_at) if ended_at else None,
            "status": ReconcileStatus(known["status"]),
            "examples": tuple(known.get("examples", ())),
            "place": (index, cursor),
        }
    )
