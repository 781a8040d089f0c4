"""REDIS_ACKS: what can't be lost counts once replicas have it, too."""

import contextlib
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support import LONGEST_S, Valkey
from support.grouping import of_one, together
from support.replicas import Replicated, replicated
from support.storing import a_delivery, accept, an_event, claim, put, status, to_sending

from bridge import app
from schemas.delivery import Status
from schemas.errors import StoreUnavailable, Unconfirmed
from schemas.records import Move, Persistence, Suppression
from store import Store, base, connect
from store.base import ACKS_S
from workers import jobs

OPTED_OUT = Suppression(key="a-key", reason="by_person", since=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def servers() -> Iterator[Replicated]:
    with replicated() as servers:
        yield servers


@pytest.fixture
def kept(servers: Replicated) -> Iterator[Store]:
    """A store that waits for the one replica."""
    servers.empty()
    with servers.store() as store:
        yield store


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Wait for no replica for long: none will confirm."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "ACKS_S", 0.05)
        yield


@contextlib.contextmanager
def hanging_replica(servers: Replicated) -> Iterator[None]:
    with servers.replicas[0].hanging(), impatient():
        yield


def on_replica(servers: Replicated, key: str) -> bool:
    with connect(servers.replicas[0].url, timeout_s=LONGEST_S) as client:
        return bool(client.exists(key))


def test_what_was_accepted_is_on_the_replica(servers: Replicated, kept: Store) -> None:
    woke, [answer] = accept(kept, (an_event("one"), [a_delivery("a")]))
    assert (woke, answer.duplicate) == (True, False)
    assert on_replica(servers, "bridge:event:one")
    assert on_replica(servers, "bridge:delivery:a")


def test_an_event_that_no_replica_confirmed_is_refused_and_then_a_duplicate(
    servers: Replicated, kept: Store
) -> None:
    event = an_event("one")
    with hanging_replica(servers):
        with pytest.raises(Unconfirmed, match="0 of 1 replicas"):
            accept(kept, (event, [a_delivery("a")]))
        kept._away_until = 0.0
        with pytest.raises(Unconfirmed):  # a duplicate is not confirmed either
            accept(kept, (event, [a_delivery("a")]))
        with pytest.raises(StoreUnavailable, match="a moment ago"):  # the next need not wait
            accept(kept, (an_event(), [a_delivery("b")]))
    kept._away_until = 0.0
    _, [answer] = accept(kept, (event, [a_delivery("a")]))
    assert answer.duplicate
    assert on_replica(servers, "bridge:delivery:a")
    assert not on_replica(servers, "bridge:delivery:b")


def test_what_is_stored_together_waits_once_for_the_replica(
    servers: Replicated, kept: Store
) -> None:
    accept(kept, (an_event(), []))
    kept.redis.config_resetstat()
    answers = together(kept, *(of_one(an_event(f"e{n}"), f"d{n}") for n in range(6)))
    assert [answer.event_id for _, [answer] in answers] == [f"e{n}" for n in range(6)]
    told: dict[str, Any] = kept.redis.info("commandstats")
    assert told["cmdstat_wait"]["calls"] == 2  # of the first, and of the six
    assert all(on_replica(servers, f"bridge:delivery:d{n}") for n in range(6))


def test_all_that_no_replica_confirmed_together_are_refused(
    servers: Replicated, kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [of_one(an_event(f"e{n}"), f"d{n}") for n in range(3)]
    with hanging_replica(servers):
        refused = together(kept, *requests)  # after a first one that was not confirmed
        assert [str(one) for one in refused] == ["Redis did not answer a moment ago"] * 3
        monkeypatch.setattr(base, "AWAY_S", 0.0)
        kept._away_until = 0.0
        refused = together(kept, *requests)
    assert [type(one) for one in refused] == [Unconfirmed] * 3
    answers = [accept(kept, *request) for request in requests]
    assert [answer.duplicate for _, [answer] in answers] == [True] * 3


def suppress(store: Store) -> None:
    store.suppress(OPTED_OUT)


def pause(store: Store) -> None:
    store.pause("all", reason="by_person", message="")


def replay(store: Store) -> None:
    store.replay(an_event("one"), [a_delivery("b")], routes="digest", is_record_new=False)


def reach(store: Store) -> None:
    store.ping()


@pytest.mark.parametrize("write", [suppress, pause, replay, reach])
def test_what_else_must_not_be_lost_waits_for_the_replica(
    servers: Replicated, kept: Store, write: Callable[[Store], None]
) -> None:
    accept(kept, (an_event("one"), [a_delivery("a")]))
    write(kept)  # confirmed
    with hanging_replica(servers), pytest.raises(Unconfirmed):
        write(kept)  # it is there already; whether the replica has it is not known
    write(kept)


def test_a_person_stays_suppressed_though_no_replica_confirmed_it(
    servers: Replicated, kept: Store
) -> None:
    with hanging_replica(servers), pytest.raises(Unconfirmed):
        kept.suppress(OPTED_OUT)
    assert kept.suppression(OPTED_OUT.key) is not None


def test_a_permission_waits_for_the_replica_and_other_moves_do_not(
    servers: Replicated, kept: Store
) -> None:
    put(kept, "a", "b")
    leases = claim(kept)
    assert kept.move([to_sending("a", leases["a"])]) == ["ok"]
    with hanging_replica(servers):
        with pytest.raises(Unconfirmed):
            kept.move([to_sending("b", leases["b"])])
        assert status(kept, "b") == "sending"  # recorded, and not permitted: the drain undoes it
        kept.move([Move(id="a", to=Status.DELIVERED, lease=leases["a"])])
        assert status(kept, "a") == "delivered"


def test_no_permission_is_recorded_while_the_replica_is_known_to_be_away(
    servers: Replicated, kept: Store
) -> None:
    put(kept, "a")
    lease = claim(kept)["a"]
    with servers.store() as another, hanging_replica(servers):  # it has confirmed nothing yet
        with pytest.raises(Unconfirmed):
            another.move([to_sending("a", lease)])
        assert status(kept, "a") == "queued"
    assert kept.move([to_sending("a", lease)]) == ["ok"]


def test_more_acks_than_replicas_confirm_nothing(servers: Replicated, kept: Store) -> None:
    match = "1 of 2 replicas"
    with servers.store(acks=2) as store, impatient(), pytest.raises(Unconfirmed, match=match):
        store.ping()


def test_a_script_that_redis_forgot_runs_once(servers: Replicated, kept: Store) -> None:
    put(kept, "a")
    lease = claim(kept)["a"]
    kept.redis.script_flush()
    assert kept.move([to_sending("a", lease)]) == ["ok"]
    kept.redis.script_flush()
    _, [answer] = accept(kept, (an_event("two"), [a_delivery("b")]))
    assert not answer.duplicate


def test_a_user_who_may_not_wait_is_permitted_nothing(servers: Replicated, kept: Store) -> None:
    kept.redis.execute_command("ACL", "SETUSER", "few", "on", ">pw", "~*", "&*", "+@all", "-wait")
    put(kept, "a")
    lease = claim(kept)["a"]
    with connect(servers.url.replace("//", "//few:pw@"), timeout_s=LONGEST_S) as client:
        store = Store(client, acks=1)
        with pytest.raises(StoreUnavailable, match="NOPERM"):
            store.ping()
        with pytest.raises(StoreUnavailable, match="NOPERM"):
            store.move([to_sending("a", lease)])
    assert status(kept, "a") == "queued"


def test_a_full_redis_still_permits_what_it_has(servers: Replicated, kept: Store) -> None:
    put(kept, "a")
    lease = claim(kept)["a"]
    kept.redis.config_set("maxmemory", 1)
    assert kept.move([to_sending("a", lease)]) == ["ok"]


def test_without_acks_nothing_more_is_asked(valkey: Valkey, redis_url: str) -> None:
    with connect(redis_url, timeout_s=LONGEST_S) as client:
        store = Store(client)
        put(store, "warm")
        store.move([to_sending("warm", claim(store)["warm"])])
        store.pause("all", reason="by_person", message="")
        store.suppress(OPTED_OUT)
        client.config_resetstat()
        put(store, "a")
        store.pause("all", reason="by_person", message="")
        store.suppress(OPTED_OUT)
        told: dict[str, Any] = client.info("commandstats")
        assert told["cmdstat_evalsha"]["calls"] == 3
        assert not {"cmdstat_wait", "cmdstat_eval"} & told.keys()
        assert not client.exists("bridge:mark")


# --- warnings -------------------------------------------------------------------------------------


def test_as_many_replicas_as_acks_are_too_few_to_lose_one(kept: Store) -> None:
    [warning] = [one for one in kept.persistence().warnings() if "REDIS_ACKS" in one]
    assert "Redis has 1 connected replica(s), and REDIS_ACKS is 1" in warning
    assert "connect 2" in warning


def how(**more: Any) -> list[str]:
    usual: dict[str, Any] = {"append_only": True, "fsync": "always", "policy": "noeviction"}
    return Persistence(**{**usual, "used_bytes": 1, "used_ratio": None, **more}).warnings()


def test_replicas_warn_only_where_they_must_confirm() -> None:
    assert how(replicas=0) == how(acks=1, replicas=2) == how(acks=2, replicas=3) == []
    assert len(how(acks=2, replicas=2)) == len(how(acks=1, replicas=0)) == 1
    [unseen] = how(acks=1, replicas=None)
    assert unseen == "Redis does not say how many replicas are connected; REDIS_ACKS is 1"


def test_a_user_without_info_can_not_see_the_replicas(servers: Replicated, kept: Store) -> None:
    kept.redis.execute_command("ACL", "SETUSER", "blind", "on", ">pw", "~*", "+@all", "-info")
    with connect(servers.url.replace("//", "//blind:pw@"), timeout_s=LONGEST_S) as client:
        assert Store(client, acks=1).persistence().replicas is None
        assert Store(client).persistence().replicas == 0


def test_an_engine_with_a_log_of_its_own_needs_no_append_only_file() -> None:
    assert len(how(append_only=False, fsync="no")) == 1
    assert how(append_only=False, fsync="no", is_engine_durable=True) == []
    assert how(fsync="unknown", forbidden=("CONFIG GET",), is_engine_durable=True) == []
    assert len(how(policy="allkeys-lru", is_engine_durable=True)) == 1


def test_the_wait_is_shorter_than_every_client_s_patience() -> None:
    web = Path(app.__file__).read_text("utf-8")
    [of_web] = re.findall(r"timeout_s=(\d\.\d), retries", web)
    assert min(float(of_web), jobs.REDIS_TIMEOUT_S) > ACKS_S
