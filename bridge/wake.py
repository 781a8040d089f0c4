"""How the web process asks workers to look: it tries, and a loss is only a line in the log.

Nothing hangs on it: what is due stands in the store, and each worker's ticker finds it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from config import log
from schemas.errors import StoreUnavailable

logger = log.get(__name__)


@contextmanager
def loss_is_logged() -> Iterator[None]:
    """Log `wakeup.lost` where Redis is away, and go on. A ticker looks later, within 20 s."""
    try:
        yield
    except StoreUnavailable:
        logger.warning("wakeup.lost")
