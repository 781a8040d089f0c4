"""A notification channel: what a CRM promised to tell us of, and until when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """The channel of a source, as the bridge knows it. The times are aware UTC."""

    source: str
    events: tuple[str, ...] = ()  # what the CRM tells of, in its words: "Leads.create"
    renewed_at: datetime | None = None  # None: it was not made yet
    expires_at: datetime | None = None
    failures: int = 0  # tries in a row to make or renew it that failed
    # Since when the CRM told of nothing; None: a reconcile that asks for it has begun.
    lapsed_at: datetime | None = None
    message: str | None = None  # why the latest try failed, a sentence; None: it did not
    notified_at: datetime | None = None  # the latest webhook of the source; None: there was none

    def has_lapsed(self, now: datetime) -> bool:
        """Say whether the CRM tells us of nothing any more."""
        return self.expires_at is not None and self.expires_at <= now


_TIMES: Final = ("renewed_at", "expires_at", "lapsed_at")


def channel_record(channel: Channel) -> dict[str, Any]:
    """Return a channel as JSON can have it: times in ms, as alert.lua reads them."""
    times = {name: getattr(channel, name) for name in _TIMES}
    return {
        "events": list(channel.events),
        "failures": channel.failures,
        "message": channel.message,
        **{
            name.replace("_at", "_ms"): int(at.timestamp() * 1000)
            for name, at in times.items()
            if at is not None
        },
    }


def read_channel(source: str, kept: Mapping[str, Any], notified_ms: str | None) -> Channel:
    """Return the channel that channel_record() wrote."""
    return Channel(
        source=source,
        events=tuple(kept.get("events", ())),
        failures=int(kept.get("failures") or 0),
        message=kept.get("message"),
        renewed_at=_at(kept.get("renewed_ms")),
        expires_at=_at(kept.get("expires_ms")),
        lapsed_at=_at(kept.get("lapsed_ms")),
        notified_at=_at(notified_ms),
    )


def _at(ms: Any) -> datetime | None:
    return datetime.fromtimestamp(int(ms) / 1000, UTC) if ms else None
