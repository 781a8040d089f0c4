"""The offsets of a time zone, as the Lua scripts have them: they count in hours of a zone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

BEFORE = timedelta(days=800)  # how far back; older than all that is counted
AHEAD = timedelta(days=3700)  # how long a process may run before it misses a change
# The line of store/scripts/includes/local_time.lua that has them.
IN_UTC = "local ZONE_OFFSETS = {{0, 0}}"


def in_zone(script: str, zone: str, now: datetime) -> str:
    """Return the text of a script that counts in hours of this zone (IANA name)."""
    if IN_UTC not in script:
        return script
    return script.replace(IN_UTC, f"local ZONE_OFFSETS = {_offsets(zone, now.date().year)}")


@cache
def _offsets(zone: str, year: int) -> str:
    now = datetime(year, 1, 1, tzinfo=UTC)
    changes = offsets(ZoneInfo(zone), now - BEFORE, now + AHEAD)
    return "{" + ", ".join(f"{{{at_ms}, {offset_s}}}" for at_ms, offset_s in changes) + "}"


def offsets(zone: ZoneInfo, first: datetime, last: datetime) -> Iterator[tuple[int, int]]:
    """Yield (from when, ms since 1970; seconds ahead of UTC) from `first` to `last` (aware UTC)."""
    at, known = first, None
    while at < last:
        found = at.astimezone(zone).utcoffset()
        if found is not None and found != known:
            if known is not None:
                at = _change(zone, at - timedelta(days=1), at)
            known = at.astimezone(zone).utcoffset() or found
            yield int(at.timestamp() * 1000), int(known.total_seconds())
        at += timedelta(days=1)


def _change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return the second between two times at which the offset of the first one ends."""
    old = before.astimezone(zone).utcoffset()
    low, high = int(before.timestamp()), int(after.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        same = datetime.fromtimestamp(middle, UTC).astimezone(zone).utcoffset() == old
        low, high = (middle, high) if same else (low, middle)
    return datetime.fromtimestamp(high, UTC)
