"""A Redis that can't be the store is refused with a sentence, and nothing is written into it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from redis._parsers.base import BaseParser
from support import (
    CALL_BACK,
    LONGEST_S,
    SECRETS,
    Valkey,
    Web,
    free_port,
    lead,
    server_version,
    until,
    variables_of,
)
from support.commandline import PLAIN, ROOT
from support.storing import put

from config import log
from schemas.errors import StoreUnavailable, StoreUnfit
from schemas.settings import Settings
from store import Store, connect, migration
from store.client import CLUSTERED, NO_DATABASE, NO_SCRIPTS, OTHER_SERVER, why_unfit
from workers.journal import Journal
from workers.ticker import Ticker

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
WITHOUT_SCRIPTS = ["~*", "&*", "+@all", "-@scripting"]
WITHOUT_INFO = ["~*", "&*", "+@all", "-info"]


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A cluster of one shard, which has all slots."""
    if server_version() < (7, 0):
        pytest.skip("it has no cluster-port, and the usual one may be taken")
    folder = tmp_path_factory.mktemp("shard")
    bus = ("--cluster-port", str(free_port()))
    server = Valkey(folder, options=("--cluster-enabled", "yes", *bus))
    try:
        server.start()
        with redis.Redis.from_url(server.url, decode_responses=True) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            until(
                lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok",
                what="the cluster",
            )
        yield server
    finally:
        server.stop()


@pytest.fixture
def without_scripts(redis_url: str) -> Iterator[str]:
    """The address of a Redis for a user who may run no scripts."""
    yield from user_with(redis_url, WITHOUT_SCRIPTS)


@pytest.fixture
def without_info(redis_url: str) -> Iterator[str]:
    """The address of a Redis for a user who may not run INFO."""
    yield from user_with(redis_url, WITHOUT_INFO)


def user_with(redis_url: str, rights: list[str]) -> Iterator[str]:
    with redis.Redis.from_url(redis_url) as client:
        client.execute_command("ACL", "SETUSER", "other", "reset", "on", ">pw", *rights)
        yield redis_url.replace("redis://", "redis://other:pw@")
        client.execute_command("ACL", "DELUSER", "other")


@pytest.fixture(params=["cluster", "no scripts"])
def unfit(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The address of a Redis that can't be the store, and why."""
    if request.param == "cluster":
        return request.getfixturevalue("shard").url, CLUSTERED
    return request.getfixturevalue("without_scripts"), NO_SCRIPTS


def keys_at(url: str) -> list[str]:
    with connect(url) as client:
        return sorted(set(client.keys("*")) - {"bridge:schema"})


def environment(url: str, folder: Path) -> dict[str, str]:
    (folder / "routes.toml").write_text(CALL_BACK, "utf-8")
    return {
        **PLAIN,
        **variables_of("http://127.0.0.1:9"),
        "REDIS_URL": url,
        "ROUTES_FILE": str(folder / "routes.toml"),
        "API_TOKEN": "t" * 32,
        "WEBSITE_WEBHOOK_SECRET": SECRETS["website"],
    }


def ends(url: str, folder: Path, *module: str) -> tuple[int, str, str]:
    """Run a program of ours to its end; return its exit code and what it printed."""
    done = subprocess.run(  # noqa: S603  (our own program)
        [sys.executable, "-m", *module],
        capture_output=True,
        text=True,
        env=environment(url, folder),
        cwd=ROOT,
        timeout=LONGEST_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_store_refuses_it_before_it_writes(unfit: tuple[str, str]) -> None:
    url, reason = unfit
    with connect(url) as client:
        store = Store(client)
        for act in (
            store.check_fit,
            store.check_room,
            store.is_migrated,
            lambda: put(store, "d1"),
            lambda: store.claim(1, lease_s=60),
        ):
            with pytest.raises(StoreUnfit) as refused:
                act()
            assert str(refused.value) == reason
    assert keys_at(url) == []


def test_the_web_is_not_ready_and_takes_no_webhook(
    unfit: tuple[str, str], make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    url, reason = unfit
    web = open_web(make_settings(CALL_BACK, redis_url=url))
    for answer in (web.client.get("/readyz"), web.post("website", lead())):
        assert answer.status_code == 503
        assert answer.json == {"error": "store_unfit", "message": reason}
    assert keys_at(url) == []


def test_a_web_process_says_it_once_in_its_log(
    unfit: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, reason = unfit
    monkeypatch.setattr(migration, "AWAY_S", 0)
    log.configure("INFO", process="test")
    looks = iter((False, False, True))
    with connect(url) as client:
        assert not migration.migrate(Store(client), lambda: next(looks))
    [line] = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["event"], line["level"], line["message"]) == ("store.unfit", "error", reason)
    assert keys_at(url) == []


def test_check_names_it(unfit: tuple[str, str], tmp_path: Path) -> None:
    url, reason = unfit
    code, printed, said = ends(url, tmp_path, "bridge", "check", "--json")
    assert code == 1
    [problem] = json.loads(printed)["problems"]
    assert problem.startswith(f"- REDIS_URL: {reason}")
    assert reason in said
    assert "pw" not in said
    assert keys_at(url) == []


def test_the_worker_ends_with_a_sentence(unfit: tuple[str, str], tmp_path: Path) -> None:
    url, reason = unfit
    code, _, said = ends(url, tmp_path, "workers")
    assert code == 1
    assert said == (
        f"The worker can't start. Fix this and start it again:\n  - REDIS_URL: {reason}\n"
    )
    assert keys_at(url) == []


def test_a_redis_that_is_away_is_no_reason_to_end(make_settings: MakeSettings) -> None:
    ticker = Ticker(make_settings(CALL_BACK, redis_url="redis://127.0.0.1:9"), Journal())
    assert ticker.tick() > 0
    assert not ticker.may_deliver


def test_a_cluster_without_a_free_connection_is_only_away(shard: Valkey) -> None:
    with redis.Redis.from_url(shard.url) as client, connect(shard.url) as other:
        client.config_set("maxclients", 1)
        try:
            with pytest.raises(StoreUnavailable) as refused:
                Store(other).check_fit()
        finally:
            client.config_set("maxclients", 100)
    assert not isinstance(refused.value, StoreUnfit)


def test_what_changes_later_is_awaited(
    without_info: str, redis_url: str, make_settings: MakeSettings
) -> None:
    ticker = Ticker(make_settings(CALL_BACK, redis_url=without_info), Journal())
    ticker.tick()
    assert ticker.may_deliver
    with connect(redis_url) as admin:
        admin.execute_command("ACL", "SETUSER", "other", "-@scripting")
        ticker.tick()
        assert not ticker.may_deliver
        admin.execute_command("ACL", "SETUSER", "other", "+@scripting")
        ticker.tick()
    assert ticker.may_deliver


def test_the_ticks_of_a_user_without_info_go_on(
    without_info: str, store: Store, make_settings: MakeSettings
) -> None:
    settings = make_settings(CALL_BACK, redis_url=without_info)
    with connect(without_info) as client:
        few = Store(client)
        assert few.run_id() == ""
        put(few, "d1", "d2")
        store.redis.delete("bridge:wakeup")
        ticker = Ticker(settings, Journal())
        ticker.tick()
        assert ticker.may_deliver
        assert store.redis.exists("bridge:wakeup"), "a drain was asked for"
        assert len(few.claim(9, lease_s=60).claims) == 2
        ticker.tick()
        assert ticker.may_deliver


ANSWERS = {
    "CROSSSLOT Keys in request don't hash to the same slot": CLUSTERED,
    "CLUSTERDOWN Hash slot not served": CLUSTERED,
    "MASTERDOWN Link with MASTER is down": None,
    "BUSY Redis is busy running a script.": None,
    "NOPERM User other has no permissions to run the 'evalsha' command": NO_SCRIPTS,
    "ERR unknown command 'EVALSHA', with args beginning with:": NO_SCRIPTS,
    "ERR syntax error script: 0a, on @user_script:3.": OTHER_SERVER,
    # What a connection may be answered, before the script is.
    "ERR max number of clients + cluster connections reached": None,
    "ERR SELECT is not allowed in cluster mode": CLUSTERED,
    "ERR DB index is out of range": NO_DATABASE,
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_an_answer_says_of_a_server(answer: str) -> None:
    assert why_unfit(BaseParser.parse_error(answer), is_tagged=False) == ANSWERS[answer]


def test_keys_with_a_hash_tag_are_fit_for_a_cluster() -> None:
    down = BaseParser.parse_error("CLUSTERDOWN The cluster is down")
    assert why_unfit(down, is_tagged=True) is None
