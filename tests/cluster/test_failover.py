"""The node that has our keys dies under load, or loses them: what was acknowledged stays."""

import time
from collections.abc import Callable

import pytest
from cluster_load import Load
from faults.report import Broken
from support.cluster import NODE_TIMEOUT_S, Cluster

StartLoad = Callable[..., Load]
# A node is asked at least twice in the node time-out, so its death may be seen that much later.
SEEN_DEAD_S = 1.5 * NODE_TIMEOUT_S
ELECTED_S = 1.0  # what a replica lets pass at the most, before it asks to be elected
BACK_S = 1.0  # how long the intake fails fast, and then finds the new owner
SOME = 30  # events of load before and after each harm


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_when_the_owner_is_killed(
    cluster: Cluster, start_load: StartLoad
) -> None:
    load = start_load(REDIS_ACKS="1")
    load.let_pass(SOME)

    cluster.kill()
    cluster.revive()
    load.let_pass(SOME)

    assert load.settle() == Broken()


def test_nothing_that_a_replica_lacks_is_acknowledged(
    cluster: Cluster, start_load: StartLoad
) -> None:
    load = start_load(REDIS_ACKS="1")
    load.let_pass(SOME)

    lose_what_replicas_lack(cluster, lambda: load.let_fail(1))
    cluster.revive()
    load.let_pass(SOME)

    assert load.settle() == Broken()


@pytest.mark.slow
def test_without_acks_a_failover_loses_what_a_replica_lacks(
    cluster: Cluster, start_load: StartLoad
) -> None:
    load = start_load(REDIS_ACKS="0")
    load.let_pass(SOME)

    lose_what_replicas_lack(cluster, lambda: load.let_pass(SOME))
    cluster.revive()
    load.let_pass(SOME)

    assert load.settle().lost, "REDIS_ACKS would not be needed"


@pytest.mark.slow
def test_a_bridge_is_back_soon_after_its_owner_was_killed(
    cluster: Cluster, start_load: StartLoad
) -> None:
    load = start_load()
    load.let_pass(SOME)

    cluster.kill_owner()
    killed_at = time.monotonic()
    load.let_fail(1)
    load.let_pass(1)
    away_s = time.monotonic() - killed_at

    assert away_s < SEEN_DEAD_S + ELECTED_S + BACK_S


def lose_what_replicas_lack(cluster: Cluster, meanwhile: Callable[[], object]) -> None:
    """Kill the owner after its replicas have stood still for a while, without links to it."""
    with cluster.replicas_standing_still() as owner:
        meanwhile()
        owner.kill()
    cluster.owner()
