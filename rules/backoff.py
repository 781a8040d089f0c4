"""How long a delivery waits before its next try. Pure: the jitter's random number is passed in."""

from collections.abc import Callable
from datetime import datetime, timedelta

FIRST_S = 2.0
LONGEST_S = 900.0
MAX_ATTEMPTS = 40  # 4 hours of waiting on average, 8 at most; usually max_age ends it earlier
GIVE_UP_AFTER = timedelta(hours=24)

Jitter = Callable[[], float]  # 0 <= x < 1


def wait_s(failed: int, jitter: Jitter, *, retry_after_s: float | None = None) -> float:
    """Return the seconds to wait after `failed` failures (1 or more) in a row.

    Full jitter over 2 s, doubling to 15 min: deliveries that failed together come back apart.
    retry_after_s is the wait that the other side requested. Up to 20 % is added to it, and the
    longer of the two waits counts. It is cut at GIVE_UP_AFTER: a date may be in the year 9999.
    """
    ceiling = doubled_s(FIRST_S, failed - 1, LONGEST_S)
    drawn = jitter() * ceiling
    if retry_after_s is None:
        return drawn
    requested_s = min(retry_after_s, GIVE_UP_AFTER.total_seconds())
    return max(drawn, requested_s * (1 + 0.2 * jitter()))


def doubled_s(first_s: float, failures: int, longest_s: float) -> float:
    """Return the seconds to wait: first_s, doubled at each further failure, at most longest_s.

    A loop may fail for months. The power of a large number of failures is not a float.
    """
    return min(first_s * 2.0 ** min(failures, 64), longest_s)


def is_spent(spent: int, since: datetime | None, now: datetime) -> bool:
    """Say whether to give up: after too many attempts, or too long after the first."""
    return spent >= MAX_ATTEMPTS or (since is not None and now - since >= GIVE_UP_AFTER)
