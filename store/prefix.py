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


def check_prefix(redis_url: str) -> None:
    """Raise SettingsError if the keys at this URL need another prefix than this process has."""
    if prefix_of(redis_url, bridge_name_from_env()) != KEY_PREFIX:
        raise SettingsError(
            "REDIS_URL or BRIDGE_NAME changed after the program had started: its keys have another "
            "prefix now. Start the program again"
        )
    defaults = sys.modules.get("rq.defaults")
    if defaults is not None and rq_prefix_of(KEY_PREFIX) != defaults.RQ_KEY_PREFIX:
        raise SettingsError(
            f"RQ was imported before the bridge, with {RQ_VARIABLE}={defaults.RQ_KEY_PREFIX}: "
            f"import the bridge first, or set {RQ_VARIABLE}={rq_prefix_of(KEY_PREFIX)}"
        )
