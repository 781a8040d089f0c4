"""`python -m bridge.serve`: starts gunicorn with gunicorn.conf.py. Arguments go to gunicorn.

gunicorn reads WEB_CONCURRENCY when it is imported, before any file of ours. An empty value, as an
.env file may have it, ends it with a traceback there. So this checks the value first.
"""

import os
import re
import sys
from collections.abc import Mapping

CONCURRENCY = "WEB_CONCURRENCY"
APP = "bridge.app:create_app()"


def environment_for(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for gunicorn: an empty WEB_CONCURRENCY is not set.

    Raises ValueError, with a sentence, for a value that is not a number of processes.
    """
    found = dict(given)
    processes = found.pop(CONCURRENCY, "").strip()
    if not processes:
        return found
    if not re.fullmatch(r"[1-9][0-9]{0,2}", processes):
        raise ValueError(f"{CONCURRENCY} must be a number from 1 to 999.")
    return {**found, CONCURRENCY: processes}


def main() -> None:
    """Become gunicorn."""
    try:
        environment = environment_for(os.environ)
    except ValueError as error:
        sys.exit(str(error))
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", *sys.argv[1:], APP]
    os.execve(sys.executable, gunicorn, environment)  # noqa: S606  # nosec B606  # our own program


if __name__ == "__main__":
    main()
