"""What a drain reports: its own log line, metrics, and how CallKaro answers.

Reports go to the store about once a second, in one go. A process that is killed loses what it had
not yet written.
"""

import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from rules.plan import Ready
from rules.verdict import Meaning, Verdict
from schemas.delivery import Status
from schemas.http_result import HttpResult
from schemas.records import Move
from store import Store
from store.counters import Measures

REPORT_EVERY_S = 1.0


@dataclass(slots=True)
class DrainStats:
    """What a drain did, for its one log line."""

    claimed: int = 0
    attempts: int = 0
    moved: dict[str, int] = field(default_factory=lambda: defaultdict(int))


class Reports:
    """The statistics and metrics of one drain."""

    def __init__(self, store: Store) -> None:
        self.stats = DrainStats()
        self._store = store
        self._measures = Measures()  # since the last write
        self._measured_at = 0.0  # monotonic
        # CallKaro's latest acceptance and its latest failure, with their times, not yet written.
        self._health_to_note: dict[bool, tuple[datetime, str]] = {}
        self._health_noted_at = 0.0  # monotonic

    def note_attempt(self, ready: Ready, result: HttpResult, move: Move, now: datetime) -> None:
        """Count an attempt; if CallKaro accepted it, also how long its event had waited."""
        word = str(result.status_code) if result.status_code else (result.error or "no_answer")
        self._measures.attempt(word, result.duration_ms / 1000)
        event = ready.claim.event
        if move.to is Status.DELIVERED and event:
            waited_s = (now - event.received_at).total_seconds()
            self._measures.accepted(ready.route.name, waited_s)

    def note_health(self, verdict: Verdict, now: datetime) -> None:
        """Keep CallKaro's latest acceptance and its latest failure for the status page.

        A refusal of one person is neither.
        """
        if not verdict.is_about_person:
            is_well = verdict.meaning is Meaning.ACCEPTED
            self._health_to_note[is_well] = (now, verdict.public)

    def write_if_due(self) -> None:
        """Write what has come together, once a second at most."""
        now = time.monotonic()
        if self._health_to_note and now - self._health_noted_at >= REPORT_EVERY_S:
            self._health_noted_at = now
            self._write_health()
        if now - self._measured_at >= REPORT_EVERY_S:
            self.write_metrics()

    def write_all(self) -> None:
        """Write everything now, at the end of the drain."""
        self._write_health()
        self.write_metrics()

    def write_metrics(self) -> None:
        """Write the metrics now. If Redis does not accept them, they stay for the next time."""
        self._measured_at = time.monotonic()
        self._store.measure(self._measures)
        self._measures = Measures()

    def _write_health(self) -> None:
        heard, self._health_to_note = self._health_to_note, {}
        for is_well, (at, message) in sorted(heard.items(), key=lambda one: one[1][0]):
            self._store.note_callkaro(answered=is_well, message=message, at=at)
