"""The prefix of all keys that this process uses. It is settled once, before RQ is imported.

RQ reads the prefix of its own keys from the environment when it is imported. So this module is the
first that the store imports, and only the store imports RQ.
"""

import os
import sys

from config.key_prefix import prefix_of, rq_prefix_of
from config.settings import bridge_name_from_env, redis_url_from_env
from schemas.errors import SettingsError

RQ_VARIABLE = "RQ_KEY_PREFIX"


def _settle() -> str:
    """Return the prefix that the environment asks for, and let RQ use the same.

    A wrong REDIS_URL or BRIDGE_NAME gives the usual prefix: the settings refuse it later.
    """
    prefix = prefix_of(redis_url_from_env() or "", bridge_name_from_env())
    os.environ[RQ_VARIABLE] = rq_prefix_of(prefix)
    return prefix


KEY_PREFIX = _settle()


def prefix_problem(redis_url: str) -> str | None:
    """Return why this process can't use a REDIS_URL, as the rest of a sentence; None: it can."""
    if prefix_of(redis_url, bridge_name_from_env()) != KEY_PREFIX:
        return (
            "or BRIDGE_NAME changed while this program ran, and its keys have another prefix now: "
            "start the program again"
        )
    defaults = sys.modules.get("rq.defaults")
    wanted = rq_prefix_of(KEY_PREFIX)
    if defaults is not None and wanted != defaults.RQ_KEY_PREFIX:
        return (
            f"needs {RQ_VARIABLE}={wanted}, and something imported RQ before the bridge, with "
            f"{defaults.RQ_KEY_PREFIX}: set {RQ_VARIABLE}={wanted} in the environment"
        )
    return None


def check_prefix(redis_url: str) -> None:
    """Raise SettingsError if this process can't use this REDIS_URL: see prefix_problem()."""
    if problem := prefix_problem(redis_url):
        raise SettingsError(f"  - REDIS_URL: {problem}")
