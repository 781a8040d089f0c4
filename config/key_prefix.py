"""The prefix of all our keys in Redis, and of RQ's.

In a cluster, a hash tag (the text between the braces) puts all keys of a bridge on one shard, so
that a script may use any of them. BRIDGE_NAME parts the bridges that share a cluster.
"""

import re

CLUSTER_SCHEMES = ("cluster://", "clusters://")  # the second one uses TLS
PREFIX = "bridge:"  # of any Redis that is not a cluster
RQ_PREFIX = "rq"
NAME = re.compile(r"[a-z0-9-]{1,32}")
NAME_FORM = "must be 1 to 32 characters of a-z, 0-9 and -"
NAME_WITHOUT_CLUSTER = (
    "is only for a cluster. Remove it, or set REDIS_URL to an address that starts with cluster:// "
    "or clusters://"
)


def is_cluster(redis_url: str) -> bool:
    """Return whether a REDIS_URL names a cluster."""
    return redis_url.startswith(CLUSTER_SCHEMES)


def prefix_of(redis_url: str, bridge_name: str = "") -> str:
    """Return the prefix of our keys; bridge_name "": BRIDGE_NAME is not set."""
    if not is_cluster(redis_url):
        return PREFIX
    return f"{{bridge-{bridge_name}}}:" if bridge_name else "{bridge}:"


def rq_prefix_of(prefix: str) -> str:
    """Return the prefix of RQ's keys (without a colon at its end) beside our own prefix."""
    return RQ_PREFIX if prefix == PREFIX else f"{prefix}{RQ_PREFIX}"


def problem_of_name(bridge_name: str, redis_url: str) -> str | None:
    """Return what is wrong with a BRIDGE_NAME, as the rest of a sentence; None: nothing.

    redis_url "": not known.
    """
    if not bridge_name:
        return None
    if not NAME.fullmatch(bridge_name):
        return NAME_FORM
    return None if is_cluster(redis_url) or not redis_url else NAME_WITHOUT_CLUSTER
