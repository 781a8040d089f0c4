"""A cluster that REDIS_URL names as one Redis is refused, before anything is taken in."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from support import CALL_BACK, Bridge, end, until, variables_of
from support.cluster import Cluster, cluster_in_memory

StartBridge = Callable[..., Bridge]


@pytest.fixture(params=[1, pytest.param(3, marks=pytest.mark.slow)])
def shards(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with cluster_in_memory(primaries=request.param, replicas=0) as cluster:
        yield cluster


def test_a_cluster_behind_the_address_of_one_redis_is_refused(
    shards: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "routes.toml").write_text(CALL_BACK, "utf-8")
    environment = {
        **variables_of("http://127.0.0.1:9"),
        "REDIS_URL": shards.owner().url,
        "ROUTES_FILE": str(tmp_path / "routes.toml"),
    }
    bridge = Bridge(tmp_path, environment, web_processes=1)

    assert end(bridge.run("check", "bridge", "check")) == 1
    assert "cluster://" in bridge.log("check")
    assert end(bridge.run("worker", "workers")) != 0
    told = bridge.log("worker").splitlines()
    assert "cluster://" in told[-1]
    assert "Traceback" not in bridge.log("worker")
    assert refuses(bridge)
    assert shards.all_keys() == set(), "no key is left behind"


def refuses(bridge: Bridge) -> bool:
    """Tell whether the web process does not start, or starts and is not ready."""
    web = bridge.run(
        "web", "gunicorn", "--bind", f"127.0.0.1:{bridge.port}", "bridge.app:create_app()"
    )
    try:
        return until(lambda: is_refused(bridge, web), what="the web process' answer")
    finally:
        web.terminate()
        end(web)


def is_refused(bridge: Bridge, web: "subprocess.Popen[bytes]") -> bool:
    if web.poll() is not None:
        return web.returncode != 0
    try:
        answer = bridge.session.get(f"{bridge.url}/readyz", timeout=10)
    except requests.ConnectionError:
        return False
    assert answer.status_code == 503, answer.text
    return True
