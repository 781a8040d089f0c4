"""How the web process asks workers to look: it tries, and a loss is only a line in the log.

Nothing hangs on it: what is due stands in the store, and each worker's ticker finds it.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from config import log
from schemas.errors import StoreUnavailable
from store.queue import Wakeup

logger = log.get(__name__)

TOLD_S: Final = 1.0  # between two rings of one process


@contextmanager
def loss_is_logged() -> Iterator[None]:
    """Log `wakeup.lost` where Redis is away, and go on. A ticker looks later, within 20 s."""
    try:
        yield
    except StoreUnavailable:
        logger.warning("wakeup.lost")


class Tickers:
    """Lets the tickers know that something may be due. If this fails, it may be late."""

    def __init__(self, wakeup: Wakeup) -> None:
        self._wakeup = wakeup
        self._told_at = -math.inf  # monotonic

    def tell(self) -> None:
        """Ring, unless this process has just done so: a ticker that heard it looks on by itself."""
        now = time.monotonic()
        if now - self._told_at < TOLD_S:
            return
        self._told_at = now
        with loss_is_logged():
            self._wakeup.tell_tickers()
