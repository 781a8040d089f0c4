"""A bridge whose store is a cluster: all its keys, RQ's too, are on one shard."""

from collections.abc import Callable

import pytest
from support import CALL_BACK, Bridge, lead, until
from support.cluster import Cluster

from simulator import Simulator

StartBridge = Callable[..., Bridge]


def test_a_lead_is_called_and_no_key_is_without_the_tag(
    cluster: Cluster, start_bridge: StartBridge, simulator: Simulator
) -> None:
    bridge = start_bridge(CALL_BACK, own_web=True)

    [one] = bridge.send("website", lead("+919876500001"))
    found = bridge.await_status(one, "delivered")

    assert found["call_sid"] == simulator.state.calls[0].call_sid
    assert len(simulator.state.calls) == 1
    keys = cluster.all_keys()
    assert {key for key in keys if not key.startswith("{bridge}:")} == set()
    assert any(key.startswith("{bridge}:rq:workers") for key in keys)
    assert cluster.owner().all_keys() == keys, "all of them are on one shard"


@pytest.mark.slow
def test_bridges_of_two_names_share_a_cluster_and_see_nothing_of_each_other(
    cluster: Cluster, start_bridge: StartBridge, simulator: Simulator
) -> None:
    north = start_bridge(CALL_BACK, own_web=True, web_processes=1, BRIDGE_NAME="north")
    south = start_bridge(CALL_BACK, own_web=True, web_processes=1, BRIDGE_NAME="south")
    phone = "+919876500002"
    put_to(north, "/api/pauses/source:website")
    put_to(north, f"/api/suppressions/{phone}")

    [held] = north.send("website", lead("+919876500003"))
    [called] = south.send("website", lead(phone))

    assert north.await_status(held, "held")["reason"] == "paused"
    south.await_status(called, "delivered")
    until(lambda: len(simulator.state.calls) == 1, what="the one call")
    for bridge, own in ((north, held), (south, called)):
        listed = bridge.get("/api/deliveries")["items"]
        assert [one["id"] for one in listed] == [own]
    assert north.get("/api/pauses")["items"] != []
    assert south.get("/api/pauses")["items"] == []
    assert south.get("/api/suppressions")["items"] == []
    tags = {key.partition(":")[0] for key in cluster.all_keys()} - {"{bridge}"}
    assert tags == {"{bridge-north}", "{bridge-south}"}


def put_to(bridge: Bridge, path: str) -> None:
    """Have the API do this, as a person does."""
    answer = bridge.session.put(
        bridge.url + path,
        json={},
        headers={"Authorization": f"Bearer {bridge.environment['API_TOKEN']}"},
    )
    assert answer.ok, answer.text
