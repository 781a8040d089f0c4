"""The way from one Redis to a cluster: a bridge knows there whom it has called, and who said no."""

from collections.abc import Callable

from support import ALL_ROUTES, Bridge, lead, valkey_in_memory
from support.cluster import Cluster
from support.commandline import BRIDGE, start

from simulator import Simulator
from store import Store

StartBridge = Callable[..., Bridge]
CALLED, STOPPED = "+919876500001", "+919876500002"


def test_a_bridge_is_moved_from_one_redis_to_a_cluster(
    cluster: Cluster, store: Store, start_bridge: StartBridge, simulator: Simulator
) -> None:
    first, waiting = lead(CALLED), lead("+919876500003")
    with valkey_in_memory() as one_redis:
        old = start_bridge(ALL_ROUTES, own_web=True, web_processes=1, REDIS_URL=one_redis.url)
        [called] = old.send("website", first)
        old.await_status(called, "delivered")
        ask(old, "PUT", "/api/pauses/all")
        ask(old, "PUT", f"/api/suppressions/{STOPPED}")
        [held] = old.send("website", waiting)
        old.await_status(held, "held")
        still_runs, output = move(old, one_redis.url, cluster.url)
        assert (still_runs, "A worker is registered in the old Redis" in output) == (1, True)
        old.stop()
        failed, output = move(old, one_redis.url, cluster.url)
        assert (failed, "All is moved." in output) == (0, True), output

    keys = cluster.all_keys()
    assert {key for key in keys if not key.startswith("{bridge}:")} == set()
    new = start_bridge(ALL_ROUTES, own_web=True, web_processes=1)
    for body in (first, waiting):
        [event] = new.post("website", body).json()["events"]
        assert event["duplicate"]
    [stopped] = new.send("website", lead(STOPPED))
    ask(new, "DELETE", "/api/pauses/all")
    new.await_status(held, "delivered")
    assert new.await_status(stopped, "skipped")["reason"] == "suppressed"
    assert len(simulator.state.calls) == 2


def ask(bridge: Bridge, method: str, path: str) -> None:
    """Have the API do this, as a person does."""
    headers = {"Authorization": f"Bearer {bridge.environment['API_TOKEN']}"}
    answer = bridge.session.request(method, bridge.url + path, json={}, headers=headers)
    assert answer.ok, answer.text


def move(bridge: Bridge, old_url: str, new_url: str) -> tuple[int, str]:
    """Run the command; return its exit code and what it says."""
    env = {**bridge.environment, "REDIS_URL": new_url, "OLD_REDIS_URL": old_url}
    process = start(*BRIDGE, "move-store", env=env)
    output, _ = process.communicate()
    return process.returncode, output
