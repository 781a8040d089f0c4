"""A cluster that is whole and empty before each test, and what is posted to a bridge over it."""

from collections.abc import Callable, Iterator

import pytest
from cluster_load import Load
from support import CALL_BACK, Bridge
from support.cluster import Cluster, cluster_in_memory, is_over_cluster

from simulator import Simulator
from store import Store

StartBridge = Callable[..., Bridge]
StartLoad = Callable[..., Load]

# Without a cluster's prefix nothing of it can be tested: the tests are started by `make cluster`.
collect_ignore_glob = [] if is_over_cluster() else ["test_*.py"]


@pytest.fixture(scope="session")
def valkey() -> Iterator[Cluster]:
    """The cluster of this run, whose nodes soon notice that one of them has died."""
    with cluster_in_memory() as cluster:
        yield cluster


@pytest.fixture
def cluster(valkey: Cluster) -> Iterator[Cluster]:
    """The cluster of this run, whole and empty; whatever a test does to it is undone."""
    valkey.empty()
    yield valkey
    valkey.heal()


@pytest.fixture
def start_load(
    cluster: Cluster, start_bridge: StartBridge, simulator: Simulator, store: Store
) -> Iterator[StartLoad]:
    """Start a bridge with these variables, and CRMs that post to it without a pause."""
    started: list[Load] = []

    def start(**environment: str) -> Load:
        bridge = start_bridge(CALL_BACK, own_web=True, **environment)
        started.append(Load(bridge, simulator.state, store))
        return started[-1]

    yield start
    for load in started:
        load.close()
