"""How long to wait before a delivery is looked at again. Pure: the dice are an argument."""

from collections.abc import Callable
from datetime import datetime, timedelta

FIRST_S = 2.0
LONGEST_S = 900.0
MAX_ATTEMPTS = 40  # 4 hours of waiting on average, 8 at the most; max_age usually ends it before
GIVE_UP_AFTER = timedelta(hours=24)

Jitter = Callable[[], float]  # 0 <= x < 1


def wait_s(failed: int, jitter: Jitter, *, retry_after_s: float | None = None) -> float:
    """Return the seconds to wait after `failed` failures (1 or more) in a row.

    Full jitter over 2 s doubling to 15 min: thousands that failed together come back apart.
    retry_after_s is what the other side asked for; it is honoured, plus up to 20 %, and the
    longer of the two counts. It is cut at GIVE_UP_AFTER: as a date it may lie in the year 9999.
    """
    ceiling = min(FIRST_S * 2.0 ** min(failed - 1, 20), LONGEST_S)
    drawn = jitter() * ceiling
    if retry_after_s is None:
        return drawn
    asked = min(retry_after_s, GIVE_UP_AFTER.total_seconds())
    return max(drawn, asked * (1 + 0.2 * jitter()))


def is_spent(spent: int, since: datetime | None, now: datetime) -> bool:
    """Say whether the attempts are used up: too many, or for too long since the first."""
    return spent >= MAX_ATTEMPTS or (since is not None and now - since >= GIVE_UP_AFTER)
