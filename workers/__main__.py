"""`python -m workers`: checks the settings, then supervises an RQ worker until it must stop."""

import sys
from collections.abc import Iterable

from config import log
from config.settings import warnings_of
from schemas.errors import SettingsError, StoreUnfit
from store.prefix import check_prefix
from store.start import check_at_start
from workers import jobs
from workers.supervisor import Supervisor
from workers.timeouts import violations

logger = log.get(__name__)


def main() -> int:
    """Read the settings and supervise. What can't work is one message and exit code 1."""
    try:
        settings = jobs.settings()
        check_prefix(settings.redis_url)
    except SettingsError as error:
        return _refuse([str(error)])
    if problems := violations(settings):
        return _refuse(f"  - {problem}" for problem in problems)
    for warning in warnings_of(settings):
        logger.warning("settings.warning", message=warning)
    store = check_at_start(settings.redis_url)
    for warning in store.warnings:
        logger.warning("store.warning", message=warning)
    if store.problem:
        return _refuse([f"  - {store.problem}"])
    jobs.warm_up()
    try:
        return Supervisor(settings).run()
    except StoreUnfit as error:
        return _refuse([f"  - REDIS_URL: {error}"])


def _refuse(problems: Iterable[str]) -> int:
    listed = "\n".join(problems)
    sys.stderr.write(f"The worker can't start. Fix this and start it again:\n{listed}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
