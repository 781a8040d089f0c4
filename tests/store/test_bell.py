"""The bell: who rings learns whether anybody heard it; without it, a drain is enqueued."""

import contextlib
import resource
import socket
import threading
from collections.abc import Iterator

import pytest
import redis
from support import until
from support.cluster import is_over_cluster

from config.key_prefix import rq_prefix_of
from store import Store, migration
from store.base import P
from store.bell import Bell, Ear, ring
from store.queue import Wakeup, connect_queue, open_queue


class EnoughError(Exception):
    """Ends the thread of a test."""


@pytest.fixture
def client(redis_url: str) -> Iterator["redis.Redis"]:
    with connect_queue(redis_url) as client:
        yield client


@pytest.fixture
def wakeup(client: "redis.Redis") -> Wakeup:
    return Wakeup(open_queue(client))


@pytest.fixture
def standby(client: "redis.Redis") -> Iterator[Bell]:
    bell = Bell(client, Ear.STANDBY)
    assert bell.open()
    yield bell
    bell.close()


def test_a_drain_that_stands_by_is_rung_for_and_none_is_enqueued(
    wakeup: Wakeup, standby: Bell
) -> None:
    assert not standby.was_rung()
    assert wakeup.request_drain()
    standby.wait(60)
    assert wakeup.queue.count == 0


def test_what_is_late_has_a_drain_enqueued_though_somebody_heard_the_bell(
    wakeup: Wakeup, standby: Bell
) -> None:
    assert wakeup.request_drain(is_late=True)
    assert wakeup.queue.count == 1


def test_who_closed_the_bell_hears_no_more_and_who_rings_knows_it(
    wakeup: Wakeup, standby: Bell
) -> None:
    standby.close()
    assert wakeup.request_drain()
    assert wakeup.queue.count == 1
    assert not standby.is_open


def test_each_ear_hears_what_is_for_it(client: "redis.Redis", standby: Bell) -> None:
    ring(client, Ear.REST)
    assert not standby.was_rung()
    ring(client, Ear.REST, Ear.STANDBY)
    standby.wait(60)
    assert ring(client, Ear.STANDBY, Ear.REST) == 1, "only the first kind counts"


@pytest.mark.skipif(is_over_cluster(), reason="a cluster has one database")
def test_another_database_of_the_same_redis_is_another_bell(
    redis_url: str, client: "redis.Redis", standby: Bell
) -> None:
    base, _, number = redis_url.rpartition("/")
    with connect_queue(f"{base}/{int(number) + 1}") as other:
        assert ring(other, Ear.STANDBY) == 0
    assert ring(client, Ear.STANDBY) == 1


def test_a_lost_connection_closes_the_bell_or_opens_it_again(
    client: "redis.Redis", standby: Bell
) -> None:
    client.client_kill_filter(_type="pubsub")  # type: ignore[no-untyped-call]
    standby.wait(60)  # it does not hang: a lost connection is readable
    assert standby.is_open == until(lambda: [ring(client, Ear.STANDBY)])[0]


def test_without_the_right_to_ring_a_drain_is_enqueued(redis_url: str) -> None:
    with connect_queue(redis_url) as admin:
        rights = [f"~{P}*", f"~{rq_prefix_of(P)}:*", "resetchannels", "+@all"]
        admin.execute_command("ACL", "SETUSER", "mute", "reset", "on", ">pw", *rights)
        try:
            with connect_queue(redis_url.replace("://", "://mute:pw@")) as client:
                assert not Bell(client, Ear.STANDBY).open()
                wakeup = Wakeup(open_queue(client))
                assert wakeup.request_drain()
                assert wakeup.queue.count == 1
        finally:
            admin.execute_command("ACL", "DELUSER", "mute")


def test_a_web_process_at_rest_looks_after_a_ring(
    store: Store, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """move-store relies on it: a look at a closed store tells that a process runs."""
    looks: list[Store] = []

    def look(at: Store) -> None:
        looks.append(at)
        if len(looks) == 3:
            raise EnoughError

    monkeypatch.setattr(migration, "migrate", look)
    monkeypatch.setattr(migration, "TRUSTED_S", 0)
    monkeypatch.setattr(migration, "CHECK_S", 3600)

    def run() -> None:
        with contextlib.suppress(EnoughError):
            migration._keep_migrated(store)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    until(lambda: len(looks) == 2, what="the look after the bell was opened")
    until(lambda: [ring(client, Ear.REST)] and len(looks) == 3, what="the look after a ring")
    thread.join(60)
    assert not thread.is_alive()


def test_a_process_with_many_open_files_hears_the_bell(client: "redis.Redis") -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 1200
    if hard != resource.RLIM_INFINITY and hard < most + 200:
        pytest.skip("the system does not allow it")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most + 200), hard))
    bell = Bell(client, Ear.STANDBY)
    with contextlib.ExitStack() as files:
        for _ in range(most):
            files.enter_context(socket.socket())
        assert bell.open()
        assert bell.fileno() > 1024
        ring(client, Ear.STANDBY)
        bell.wait(60)
        assert bell.is_open
    bell.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
