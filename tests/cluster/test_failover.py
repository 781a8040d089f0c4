"""The node that has our keys dies under load, or loses them: what was acknowledged stays."""

import time
from collections.abc import Callable

import pytest
from cluster_load import Load
from faults.report import Broken
from support.cluster import NODE_TIMEOUT_S, Cluster

StartLoad = Callable[..., Load]
SOME = 30  # events of load before and after each harm


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
    cluster.add_replica(cluster.owner())  # who confirms after the failover
    load = start_load(REDIS_ACKS="1")
    load.let_pass(SOME)

    cluster.kill_owner()
    killed_at = time.monotonic()
    load.let_fail(1)
    load.let_pass(1)
    away_s = time.monotonic() - killed_at
    load.let_pass(SOME)

    assert load.settle() == Broken()
    assert away_s < NODE_TIMEOUT_S + 2


def lose_what_replicas_lack(cluster: Cluster, meanwhile: Callable[[], object]) -> None:
    """Kill the owner after its replicas have stood still for a while, without links to it."""
    with cluster.replicas_standing_still() as owner:
        meanwhile()
        owner.kill()
    cluster.owner()
