"""What is repaired: indexes and records that do not fit, and a Redis that forgot a second."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from support import Valkey, keys_of
from support.cluster import not_over_cluster
from support.storing import claim, put, status, to_sending

from schemas.delivery import Reason, Status
from schemas.records import Move, Repaired
from store import Store, connect, leases
from store.base import P
from store.records import written


def audit(store: Store) -> Repaired:
    """Go once round all deliveries, and return what was repaired."""
    place, totals = (0, 0), [0, 0, 0]
    while True:
        place, found = store.audit(place, lease_s=60)
        totals = [
            totals[0] + found.woken,
            totals[1] + found.indexed,
            totals[2] + found.forgotten,
        ]
        if place == (0, 0):
            return Repaired(*totals)


def contents(store: Store) -> dict[str, Any]:
    """Return every sorted set, without the times at which things are due."""
    names = [key for key in keys_of(store) if store.redis.type(key) == "zset"]
    return {key: sorted(store.redis.zrange(key, 0, -1)) for key in names}


def test_there_is_nothing_to_repair_in_a_sound_store(store: Store) -> None:
    put(store, *(f"d{number}" for number in range(300)))
    for one, lease in list(claim(store, 100).items())[:50]:
        store.move([to_sending(one, lease)])
    before = contents(store)

    assert audit(store) == Repaired()
    assert contents(store) == before
    assert store._run("recount", 9) == [-1, 1]


def test_a_round_ends_when_records_and_list_are_through(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "AUDITED", 10)
    put(store, *(f"d{number}" for number in range(300)))  # each has two keys beside its record
    done = []
    place, _ = store.audit((0, 0), lease_s=60)
    while place != (0, 0):
        indexing = store.indexing()
        assert indexing is not None
        done.append(indexing.done)
        assert len(done) <= 2 * 3 * 300 / 10  # 900 keys, 10 a page, or a few more
        place, _ = store.audit(place, lease_s=60)
    assert 50 < done[len(done) // 2] < 250  # each delivery is counted once
    assert store.indexing() is None


@pytest.mark.parametrize("stands", ["queued", "held", "retrying"])
def test_what_waits_and_nobody_would_wake_is_woken(store: Store, stands: str) -> None:
    put(store, "d1", "d2")
    leases = claim(store)
    for one, lease in leases.items():
        if stands == "retrying":
            store.move([to_sending(one, lease)])
        store.move([Move(id=one, to=Status(stands), lease=lease, wait_s=900)])
    store.redis.delete(f"{P}due", f"{P}due:retry", f"{P}leased")

    assert audit(store) == Repaired(woken=2)
    assert claim(store).keys() == {"d1", "d2"}
    assert audit(store) == Repaired()


def test_what_is_sending_under_no_lease_becomes_unknown_in_time(store: Store) -> None:
    put(store, "d1")
    store.move([to_sending("d1", claim(store)["d1"])])
    store.redis.delete(f"{P}leased")

    assert audit(store) == Repaired(woken=1)

    assert claim(store) == {}, "it may have rung, so it is not simply due"
    assert store.redis.zcard(f"{P}leased") == 1
    store.redis.zadd(f"{P}leased", {"d1": 1})
    assert store.sweep() == (1, 0)
    assert status(store, "d1") == "unknown"


def test_a_record_that_an_index_misses_is_put_into_it(store: Store) -> None:
    put(store, "d1", "d2")
    before = contents(store)
    for index in ("deliveries", "deliveries:status:queued", "deliveries:source:website"):
        store.redis.zrem(f"{P}{index}", "d1")

    assert audit(store) == Repaired(indexed=1)
    assert contents(store) == before


def test_a_record_that_two_statuses_list_is_listed_by_its_own(store: Store) -> None:
    put(store, "d1")
    store.redis.zadd(f"{P}deliveries:status:failed", {"d1": 5})

    assert audit(store) == Repaired(indexed=1)
    assert store.counts() == {**dict.fromkeys(Status, 0), "queued": 1}


def test_an_index_of_what_is_gone_forgets_it(store: Store) -> None:
    put(store, "d1", "d2")
    store.redis.delete(f"{P}delivery:d1")

    assert audit(store) == Repaired(forgotten=1)

    assert store.counts()["queued"] == 1
    assert claim(store).keys() == {"d2"}
    assert audit(store) == Repaired()


def test_records_that_are_gone_do_not_let_each_index_be_read_again(store: Store) -> None:
    ids = [f"d{number}" for number in range(200)]
    put(store, *ids)
    store.redis.delete(*(f"{P}delivery:{one}" for one in ids[::2]))
    store.redis.config_resetstat()

    assert audit(store) == Repaired(forgotten=100)

    looks = store.redis.info("commandstats")["cmdstat_zmscore"]["calls"]
    assert looks < 100, "about 20 indexes for each page, however many records are gone"


@pytest.mark.parametrize("harm", ["of an older release", "two statuses", "gone"])
def test_what_stands_where_is_counted_anew_after_a_repair(store: Store, harm: str) -> None:
    put(store, "d1", "d2")
    if harm == "of an older release":
        store.redis.delete(f"{P}status_counts")
        put(store, "d3")  # counted where nothing else was
    elif harm == "two statuses":
        store.redis.hset(f"{P}status_counts", "failed call back", 1)
        store.redis.zadd(f"{P}deliveries:status:failed", {"d1": 5})
    else:
        store.redis.delete(f"{P}delivery:d1")

    audit(store)
    audit(store)

    left = {"of an older release": 3, "two statuses": 2, "gone": 1}[harm]
    assert store.measured().status_counts == {("queued", "call back"): left}
    [one, *_] = claim(store)
    assert {status: n for (status, _), n in store.measured().status_counts.items()}[
        "queued"
    ] == left
    store.move([Move(id=one, to=Status.SKIPPED, reason=Reason.NO_NUMBER)])
    assert store.measured().status_counts[("skipped", "call back")] == 1


# --- a Redis that was started again ---------------------------------------------------------------


@pytest.fixture
def forgetful(tmp_path) -> Iterator[Valkey]:
    """A Valkey of the test's own, to be started again."""
    server = Valkey(tmp_path)
    try:
        yield server.start()
    finally:
        server.stop()


def an_attempt(lease: int, to: Status | None = None, **more: Any) -> Move:
    if to is None:
        return to_sending("d1", lease)
    return Move(id="d1", to=to, lease=lease, attempt=(1, {"number": 1, "answer": "so"}), **more)


def as_noted(*moves: Move) -> list[dict[str, Any]]:
    return [orjson.loads(orjson.dumps(written(move))) for move in moves]


def forget_the_attempt(store: Store) -> None:
    """Put the delivery back to how it stood before it was claimed."""
    key = f"{P}delivery:d1"
    store.redis.hdel(key, "attempt:1", "call_sid", "spent")
    store.redis.hset(key, mapping={"status": "queued", "lease": 0})
    for name in ("sending", "delivered", "retrying", "failed", "unknown"):
        store.redis.zrem(f"{P}deliveries:status:{name}", "d1")
    store.redis.zadd(f"{P}deliveries:status:queued", {"d1": 1})
    store.redis.zrem(f"{P}leased", "d1")
    store.redis.zrem(f"{P}due:retry", "d1")
    store.redis.zadd(f"{P}due", {"d1": 1})


ENDS = {
    "delivered": {"fields": {"call_sid": "CA1"}},
    "unknown": {"reason": Reason.NO_ANSWER},
    "failed": {"reason": Reason.REFUSED},
    "retrying": {"reason": Reason.BUSY, "wait_s": 5},
}


@pytest.mark.parametrize("end", ENDS)
def test_what_redis_forgot_of_an_attempt_is_said_again(store: Store, end: str) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    moves = [an_attempt(lease), an_attempt(lease, Status(end), **ENDS[end])]
    assert store.move(moves) == ["ok", "ok"]
    forget_the_attempt(store)

    assert store.replay_journal(as_noted(*moves), lease_s=60) == 2

    assert status(store, "d1") == end
    assert store.delivery("d1").attempts[0]["answer"] == "so"
    assert claim(store) == {}, "so it is not sent a second time"


def test_a_drain_that_records_its_answer_before_it_was_said_again_does_no_harm(
    store: Store,
) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    moves = [an_attempt(lease), an_attempt(lease, Status.UNKNOWN, reason=Reason.NO_ANSWER)]
    assert store.move(moves[:1]) == ["ok"]
    forget_the_attempt(store)
    assert store.move(moves[1:]) == ["stale"], "Redis knows nothing of that lease"

    store.replay_journal(as_noted(*moves), lease_s=60)

    assert status(store, "d1") == "unknown"
    assert claim(store) == {}


@pytest.mark.parametrize(
    ("end", "becomes"),
    [(None, "unknown"), ("unknown", "unknown"), ("delivered", "delivered"), ("failed", "queued")],
)
def test_a_lost_delivery_that_was_on_the_wire_is_in_doubt_when_it_comes_again(
    store: Store, end: str | None, becomes: str
) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    moves = [an_attempt(lease)]
    if end:
        moves.append(an_attempt(lease, Status(end), **ENDS[end]))
    store.move(moves)
    store.redis.flushall()

    store.replay_journal(as_noted(*moves), lease_s=60)
    put(store, "d1")

    assert bool(claim(store)) == (becomes == "queued")
    assert status(store, "d1") == becomes


def test_an_attempt_that_is_still_on_the_wire_is_put_back_there(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    store.move([an_attempt(lease)])
    forget_the_attempt(store)

    store.replay_journal(as_noted(an_attempt(lease)), lease_s=60)

    assert status(store, "d1") == "sending"
    assert claim(store) == {}
    done = an_attempt(lease, Status.DELIVERED, fields={"call_sid": "CA1"})
    assert store.move([done]) == ["ok"]
    assert status(store, "d1") == "delivered"


@pytest.mark.parametrize("end", ENDS)
def test_what_redis_still_knows_stays_as_it_is(store: Store, end: str) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    moves = [an_attempt(lease), an_attempt(lease, Status(end), **ENDS[end])]
    store.move(moves)
    before = store.redis.hgetall(f"{P}delivery:d1")

    assert store.replay_journal(as_noted(*moves), lease_s=60) == 0

    assert store.redis.hgetall(f"{P}delivery:d1") == before


def test_a_person_who_has_moved_it_since_is_not_overruled(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    moves = [an_attempt(lease), an_attempt(lease, Status.DELIVERED, fields={"call_sid": "CA1"})]
    store.move(moves)
    again = Move(id="d1", to=Status.QUEUED, from_statuses=frozenset({Status.DELIVERED}), wait_s=0)
    assert store.move([again]) == ["ok"]

    assert store.replay_journal(as_noted(*moves), lease_s=60) == 0

    assert claim(store).keys() == {"d1"}


def test_a_newer_lease_is_not_overruled(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    moves = [an_attempt(lease), an_attempt(lease, Status.RETRYING, wait_s=0)]
    store.move(moves)
    newer = claim(store)["d1"]

    assert store.replay_journal(as_noted(*moves), lease_s=60) == 0
    assert store.delivery("d1").lease == newer


def test_a_delivery_that_is_all_forgotten_does_not_ring_when_its_crm_sends_it_again(
    store: Store,
) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    moves = [an_attempt(lease), an_attempt(lease, Status.DELIVERED, fields={"call_sid": "CA1"})]
    store.move(moves)
    store.redis.flushall()

    store.replay_journal(as_noted(*moves), lease_s=60)
    put(store, "d1")

    assert claim(store) == {}
    kept = store.delivery("d1")
    assert (kept.status, kept.call_sid, kept.outcomes) == ("delivered", "CA1", ())


@not_over_cluster
def test_nothing_is_claimed_just_after_a_start_of_redis(forgetful: Valkey) -> None:
    with connect(forgetful.url) as client:
        store = Store(client)
        put(store, "d1")
        assert store.claim(1, lease_s=60).wait_s == 0, "an empty Redis has nothing to lose"
        put(store, "d2")
    forgetful.stop(by=9)
    forgetful.start()

    with connect(forgetful.url) as client:
        store = Store(client)
        found = store.claim(10, lease_s=60)
        assert found.claims == ()
        assert 4 < found.wait_s <= 5
        store.redis.hincrby(f"{P}run", "since_ms", -5000)
        assert claim(store).keys() == {"d2"}
