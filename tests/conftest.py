"""Fixtures for everybody: a real Valkey, stand-in APIs, the web process, a drain, a bridge."""

import functools
import gc
import logging
import signal
from collections.abc import Callable, Hashable, Iterator, Set
from dataclasses import fields
from pathlib import Path
from types import CodeType
from typing import Any

import flask
import hypothesis
import jinja2
import jinja2.bccache
import pytest
from redis.commands.core import Script
from support import (
    ALL_ROUTES,
    API_TOKEN,
    LONGEST_S,
    SECRETS,
    Bridge,
    Valkey,
    Web,
    examples,
    valkey_in_memory,
    variables_of,
)
from support.cluster import Cluster, cluster_in_memory, is_over_cluster
from support.ending import ended
from support.makers import load
from werkzeug.routing import Rule

from bridge.app import create_app
from config import log
from rules import backoff
from schemas.hours import ALWAYS
from schemas.settings import Settings
from simulator import Simulator
from store import Store, connect
from store.base import P
from workers.callkaro import CallKaro
from workers.crm import CrmClient
from workers.drain import Drain
from workers.http import HttpClient
from workers.reporting import DrainStats

MakeSettings = Callable[..., Settings]
RunDrain = Callable[..., DrainStats]
StartBridge = Callable[..., Bridge]
MOST_DRAINS = 20  # one after the other; what is due then never ends

# On a busy machine an example takes as long as it takes.
hypothesis.settings.register_profile(
    "tests", parent=examples(100), suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")


# Python looks for garbage after each 700 new objects, and tests make very many.
gc.set_threshold(20_000, 20, 20)


def pytest_collection_finish() -> None:
    """Keep what the tests share, which never becomes garbage, out of the searches for garbage.

    There are more than a million such objects. To look at them again and again took a quarter of
    the time of the tests.
    """
    gc.collect()
    gc.freeze()


def compile_rules_once() -> None:
    """Let all apps of this process share what a rule's path is compiled to.

    Werkzeug compiles a path when an app is made, and what builds its URLs, too. Nearly every test
    makes an app with the same paths, and builds few URLs or none.
    """
    compile_path, compile_builder = Rule.compile, Rule._compile_builder
    compiled_paths: dict[Hashable, dict[str, Any]] = {}
    builders: dict[Hashable, Callable[..., tuple[str, str]]] = {}

    def compile_once(rule: Rule) -> None:
        names = sorted(rule.arguments)
        defaults = sorted((rule.defaults or {}).items())
        key = (rule.rule, rule.subdomain, rule.host, rule.merge_slashes, *names, *defaults)
        if key not in compiled_paths:
            compile_path(rule)
            names = ("_parts", "_trace", "_converters", "arguments")
            compiled_paths[key] = {name: getattr(rule, name) for name in names}
        arguments = rule.arguments | compiled_paths[key]["arguments"]
        vars(rule).update(compiled_paths[key], arguments=arguments)
        rule._build = functools.partial(build, rule, key, append_unknown=False)
        rule._build_unknown = functools.partial(build, rule, key, append_unknown=True)

    def build(
        rule: Rule, key: Hashable, /, *, append_unknown: bool, **values: Any
    ) -> tuple[str, str]:
        if (key, append_unknown) not in builders:
            builders[key, append_unknown] = compile_builder(rule, append_unknown)
        return builders[key, append_unknown](rule, **values)

    Rule.compile = compile_once  # type: ignore[method-assign]


compile_rules_once()


def hash_scripts_once() -> None:
    """Let all clients of Redis share the hashes that the scripts are called by.

    Each store hashes all scripts anew, and a test makes several stores.
    """
    make = Script.__init__
    hashes: dict[Any, str] = {}

    def make_with_hash(script: Script, client: Any, text: Any) -> None:
        if text not in hashes:
            make(script, client, text)
            hashes[text] = script.sha
        script.registered_client, script.script, script.sha = client, text, hashes[text]

    Script.__init__ = make_with_hash  # type: ignore[method-assign]


hash_scripts_once()


class Templates(jinja2.BytecodeCache):
    """Compiled templates, kept for the apps of the other tests of this process."""

    def __init__(self) -> None:
        self._compiled: dict[str, CodeType | None] = {}

    def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        bucket.code = self._compiled.get(bucket.key)

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        self._compiled[bucket.key] = bucket.code


flask.Flask.jinja_options = {**flask.Flask.jinja_options, "bytecode_cache": Templates()}


# A shell starts what it runs in the background with SIGINT ignored, and all its children ignore it,
# too. Many tests press Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey | Cluster]:
    """The Valkey of this run, so no other data is in reach; by `make cluster`, a cluster."""
    # A cluster whose nodes wait long for each other, for this machine may be busy.
    made = cluster_in_memory(timeout_s=LONGEST_S) if is_over_cluster() else valkey_in_memory()
    with made as server:
        yield server


@pytest.fixture
def redis_url(valkey: Valkey | Cluster) -> str:
    """The address of an empty Redis."""
    valkey.empty()
    return valkey.url


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    client = connect(redis_url, timeout_s=LONGEST_S)
    with client:
        yield Store(client)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(autouse=True)
def _usual_logs() -> Iterator[None]:
    """Undo what log.configure() does to the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def make_settings(redis_url: str, simulator: Simulator) -> MakeSettings:
    """Build settings against the test's own Valkey and simulator; any field can be overridden."""

    def make(routes_toml: str = ALL_ROUTES, **overrides: Any) -> Settings:
        assert overrides.keys() <= {field.name for field in fields(Settings)}
        usual: dict[str, Any] = {
            "redis_url": redis_url,
            "api_tokens": (API_TOKEN,),
            "callkaro_api_key": "a-key",
            "callkaro_base_url": simulator.url,
            "callkaro_timeout_s": 20.0,
            "worker_threads": 8,
            "calling_hours": ALWAYS,
            "secrets": {name: (secret,) for name, secret in SECRETS.items()},
            "variables": {
                "hubspot": {
                    "ACCESS_TOKEN": "a-token",
                    "API_URL": simulator.url,
                    "API_VERSION": "2026-03",
                },
                "zoho": {
                    "ACCOUNTS_URL": simulator.url,
                    "CLIENT_ID": "a-client",
                    "CLIENT_SECRET": "its-secret",
                    "REFRESH_TOKEN": "a-refresh-token",
                },
            },
        }
        routes = load(routes_toml)
        usual["crm_rates"] = dict.fromkeys(routes.sources, 100_000)
        return Settings(routes=routes, **{**usual, **overrides})

    return make


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings()


@pytest.fixture(autouse=True)
def _nothing_outlives_its_test() -> Iterator[None]:
    with ended():
        yield


@pytest.fixture
def open_web() -> Callable[[Settings], Web]:
    """Open the web process of these settings."""
    return lambda settings: Web(create_app(settings).test_client())


@pytest.fixture
def web(open_web: Callable[[Settings], Web], settings: Settings) -> Web:
    return open_web(settings)


def leased(store: Store) -> set[str]:
    """Return the deliveries that a drain has, or had when it died."""
    return set(store.redis.zrange(f"{P}leased", 0, -1))


def is_idle(store: Store, others: Set[str]) -> bool:
    """Tell whether nothing is due now and nothing is in a drain's hands.

    others: what dead drains had. Only the sweep gives it back, and a drain does not wait for that.
    """

    def is_leased() -> bool:
        return bool(leased(store) - others)

    if is_leased():
        return False
    due_s = store.next_due_s()
    # Once more: what was due just before may have been claimed since.
    return (due_s is None or due_s > 0) and not is_leased()


def add_stats(total: DrainStats, more: DrainStats) -> None:
    """Count what one more drain did."""
    total.claimed += more.claimed
    total.attempts += more.attempts
    for status, count in more.moved.items():
        total.moved[status] += count


@pytest.fixture
def run_drain(monkeypatch: pytest.MonkeyPatch) -> RunDrain:
    """Run drains in this process until nothing is due; with options, one drain.

    jitter says how long what failed waits: 0 is not at all, 0.99 nearly as long as it may be. That
    is minutes here, so that it surely waits still when a test looks at it, however slow that is.
    A drain lingers a moment once it is idle; to spare that, it is told to stop then. It then leaves
    to the next one what was put there meanwhile, such as by its background tasks.
    """
    log.configure("INFO", process="test")
    monkeypatch.setattr(backoff, "FIRST_S", 120.0)

    def run(settings: Settings, *, jitter: float = 0.99, **options: Any) -> DrainStats:
        client = connect(settings.redis_url, timeout_s=LONGEST_S)
        store = Store(client, max_rate=settings.max_rate)
        callkaro = CallKaro(
            HttpClient(timeout_s=settings.callkaro_timeout_s),
            base_url=settings.callkaro_base_url,
            api_key=settings.callkaro_api_key,
        )
        crm_client = CrmClient(HttpClient(timeout_s=30.0), store, settings)
        stats = DrainStats()
        with client:
            others = leased(store)
            usual = {"should_stop": lambda: is_idle(store, others), "jitter": lambda: jitter}
            for _ in range(MOST_DRAINS):
                drain = Drain(store, settings, callkaro, crm_client, **{**usual, **options})
                add_stats(stats, drain.run())
                if options or is_idle(store, others):
                    break
        return stats

    return run


@pytest.fixture(scope="session")
def shared_web(
    valkey: Valkey | Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bridge]:
    """The web process of all bridges that don't ask for their own; it calls nobody itself."""
    folder = tmp_path_factory.mktemp("web")
    (folder / "routes.toml").write_text(ALL_ROUTES, "utf-8")
    environment = {
        **variables_of("http://127.0.0.1:9"),
        "REDIS_URL": valkey.url,
        "ROUTES_FILE": str(folder / "routes.toml"),
    }
    bridge = Bridge(folder, environment)
    try:
        yield bridge.start_web()
    finally:
        bridge.stop()


@pytest.fixture
def start_bridge(
    request: pytest.FixtureRequest, redis_url: str, simulator: Simulator, tmp_path: Path
) -> Iterator[StartBridge]:
    """Start a bridge of gunicorn and `python -m workers`, with these variables."""
    started: list[Bridge] = []

    def start(
        routes_toml: str = ALL_ROUTES,
        *,
        own_web: bool = False,
        web_processes: int = 2,
        **environment: str,
    ) -> Bridge:
        assert own_web or routes_toml == ALL_ROUTES
        folder = tmp_path / f"bridge-{len(started)}"
        folder.mkdir()
        (folder / "routes.toml").write_text(routes_toml, "utf-8")
        usual = {
            **variables_of(simulator.url),
            "REDIS_URL": redis_url,
            "ROUTES_FILE": str(folder / "routes.toml"),
            "WORKER_THREADS": "8",
        }
        shared = None if own_web else request.getfixturevalue("shared_web")
        bridge = Bridge(
            folder, {**usual, **environment}, shared=shared, web_processes=web_processes
        )
        started.append(bridge)
        return bridge.start()

    yield start
    simulator.state.behave_normally()
    for bridge in started:
        bridge.stop()


@pytest.fixture
def bridge(start_bridge: StartBridge) -> Bridge:
    return start_bridge()
