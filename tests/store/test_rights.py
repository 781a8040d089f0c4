"""A Redis user with few rights: those in docs/operating.md are enough; what is missing is said."""

import re
from collections.abc import Callable, Iterator

import pytest
import redis
from support import LONGEST_S, ROOT, Bridge, Valkey, lead, until
from support.cluster import Cluster, is_over_cluster
from support.storing import a_delivery, accept, an_event, claim, put, status, to_sending

from schemas.delivery import Status
from schemas.errors import StoreUnavailable
from schemas.records import Move
from store import Store, connect
from store.base import P
from store.client import is_forbidden
from store.queue import Wakeup, connect_queue, open_queue

StartBridge = Callable[..., Bridge]
PAGE = (ROOT / "docs/operating.md").read_text("utf-8")
[LISTED] = re.findall(r"^ACL SETUSER bridge on >\S+ (.+)$", PAGE, re.M)
[ADDED] = re.findall(r"\(cluster: `\{bridge\}:`, and add `(.+?)`\)", PAGE)
SEES_ALL = ["+info", "+config|get"]
# On a cluster, as that page says: the keys have a tag, RQ's too, and a client asks who owns them.
OF_CLUSTER = ADDED.replace("{bridge}:", P).split() if is_over_cluster() else []
RIGHTS = [*(right.replace("bridge:", P) for right in LISTED.split()), *OF_CLUSTER]
FEWEST = [right for right in RIGHTS if right not in SEES_ALL]
RESTRICTED = {
    "the fewest": FEWEST,
    "without @dangerous": ["~*", "&*", "+@all", "-@dangerous"],
    "without INFO alone": ["~*", "&*", "+@all", "-info"],
    "without @admin and INFO": [
        f"~{P}*",
        "~rq:*",
        "resetchannels",
        "&rq:*",
        *OF_CLUSTER,
        "+@all",
        "-@admin",
        "-info",
    ],
}


@pytest.fixture
def url_of(valkey: Valkey | Cluster, redis_url: str) -> Iterator[Callable[[list[str]], str]]:
    def make(rights: list[str]) -> str:
        valkey.run("ACL", "SETUSER", "few", "reset", "on", ">pw", *rights)
        return redis_url.replace("://", "://few:pw@")

    yield make
    valkey.run("ACL", "DELUSER", "few")


@pytest.fixture
def store_of(url_of: Callable[[list[str]], str]) -> Iterator[Callable[[list[str]], Store]]:
    opened: list[redis.Redis] = []

    def open_store(rights: list[str]) -> Store:
        opened.append(connect(url_of(rights), timeout_s=LONGEST_S))
        return Store(opened[-1])

    yield open_store
    for client in opened:
        client.close()


@pytest.mark.parametrize("rights", RESTRICTED.values(), ids=RESTRICTED)
def test_a_user_without_info_stores_claims_and_settles(
    store_of: Callable[[list[str]], Store], rights: list[str]
) -> None:
    store = store_of(rights)
    store.check_room()
    store.ping()
    assert store.run_id() == ""
    assert store.is_migrated()
    put(store, "a", "b")
    leases = claim(store)
    assert set(leases) == {"a", "b"}
    assert store.move([to_sending("a", leases["a"])]) == ["ok"]
    store.move([Move(id="a", to=Status.DELIVERED, lease=leases["a"])])
    assert status(store, "a") == "delivered"


def test_the_fewest_rights_are_enough_to_tell_a_crm(
    store_of: Callable[[list[str]], Store],
) -> None:
    store = store_of(FEWEST)
    store.note_write_back_routes({"call back": ["failed"]})
    put(store, "a", subject="101")
    store.move([Move(id="a", to=Status.FAILED, lease=claim(store)["a"])])
    [found] = store.claim_write_backs(9, {}, lease_s=60)
    assert store.may_ask_crm("website", rate=9, patience_s=1) == 0
    store.slow_crm("website", for_s=1)
    store.keep_crm_calls({("a", ""): "501"})
    one = found.delivery
    assert store.move([to_sending(one.id, one.lease)]) == ["ok"]
    store.erase_deliveries(["a"])


@pytest.mark.parametrize("rights", RESTRICTED.values(), ids=RESTRICTED)
def test_what_can_not_be_seen_is_said(
    store_of: Callable[[list[str]], Store], rights: list[str]
) -> None:
    kept = store_of(rights).persistence()
    assert (kept.append_only, kept.used_bytes, kept.used_ratio) == (None, None, None)
    assert any("may not run INFO" in warning for warning in kept.warnings())
    assert not any("append-only" in warning for warning in kept.warnings())
    sees_config = "-info" in rights and "-@admin" not in rights
    assert any("may not run CONFIG GET" in one for one in kept.warnings()) is not sees_config


def test_a_user_with_the_listed_rights_misses_nothing(
    store_of: Callable[[list[str]], Store],
) -> None:
    store = store_of(RIGHTS)
    assert store.persistence().warnings() == []
    assert len(store.run_id()) == 40


def test_without_config_get_only_the_fsync_is_unknown(
    store_of: Callable[[list[str]], Store],
) -> None:
    kept = store_of([*FEWEST, "+info"]).persistence()
    assert (kept.append_only, kept.fsync) == (True, "unknown")
    assert kept.warnings() == ["the Redis user may not run CONFIG GET: appendfsync can't be seen"]


def test_the_intake_stops_when_redis_itself_is_full_and_settles_go_on(
    store: Store, store_of: Callable[[list[str]], Store]
) -> None:
    few = store_of(FEWEST)
    put(few, "a")
    lease = claim(few)["a"]
    assert few.move([to_sending("a", lease)]) == ["ok"]
    store.redis.config_set("maxmemory", 1)
    few._room_checked = 0.0
    few.check_room()  # it can't be judged
    with pytest.raises(StoreUnavailable, match="OOM"):
        accept(few, (an_event(), [a_delivery("b")]))
    few.move([Move(id="a", to=Status.DELIVERED, lease=lease)])
    assert status(few, "a") == "delivered"


def test_the_migration_goes_on_where_redis_does_not_tell_its_run(
    store: Store, store_of: Callable[[list[str]], Store]
) -> None:
    few = store_of(FEWEST)
    store.redis.delete(f"{P}schema")
    for n in range(30):
        store.redis.hset(f"{P}delivery:old{n}", "status", "queued")
    pages = 0
    while not few.migrate_page("token", page=10).is_done:
        pages += 1
        assert pages < 50
    assert few.is_migrated()


def test_the_queue_works(url_of: Callable[[list[str]], str]) -> None:
    wakeup = Wakeup(open_queue(connect_queue(url_of(FEWEST))))
    assert wakeup.request_drain()
    assert wakeup.queue.count == 1
    assert not wakeup.is_suspended()


@pytest.mark.slow
def test_a_whole_bridge_calls_with_the_fewest_rights(
    start_bridge: StartBridge, url_of: Callable[[list[str]], str], store: Store
) -> None:
    bridge = start_bridge(own_web=True, web_processes=1, REDIS_URL=url_of(FEWEST))
    store.redis.execute_command("ACL", "LOG", "RESET")
    answer = bridge.post("website", lead())
    assert answer.status_code == 202
    [delivery] = answer.json()["events"][0]["deliveries"]
    until(lambda: status(store, delivery["id"]) == "delivered", what="the call")
    refused = {entry["object"] for entry in store.redis.execute_command("ACL", "LOG", "100")}
    assert refused <= {"info", "config|get"}


def test_a_command_that_was_renamed_away_is_a_missing_right() -> None:
    assert is_forbidden(redis.ResponseError("unknown command 'INFO', with args beginning with:"))
    assert is_forbidden(redis.ResponseError("ERR unknown command `CONFIG`"))
    assert is_forbidden(
        redis.ResponseError("ERR The user executing the script can't run this command")
    )
    assert not is_forbidden(redis.ResponseError("ERR wrong number of arguments"))
    assert not is_forbidden(redis.exceptions.ReadOnlyError("READONLY"))
