"""How many commands of Redis a delivery takes, those of its scripts included."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from support.storing import LEASE_S, a_delivery, accept, an_event, claim, put, status, to_sending

from schemas.delivery import Status
from schemas.event import Event
from schemas.records import Filters, Move, NewDelivery
from store import Store
from store.base import P
from store.records import written

MANY = 100
NUMBER = "+919876543210"
REQUEST = orjson.dumps({"to_number": NUMBER, "agent_id": "a1"}).decode()


def delivered(one: str, lease: int) -> Move:
    return Move(
        id=one,
        to=Status.DELIVERED,
        lease=lease,
        attempt=(1, {"number": 1, "status_code": 200}),
        fields={"call_sid": f"sid-{one}"},
        callkaro_ok=True,
        row={"ends": True},
    )


def sent(one: str, lease: int) -> Move:
    """Return a move to `sending` of a call whose number and campaign are known now."""
    return to_sending(
        one,
        lease,
        phone=f"p{one}",
        number=NUMBER,
        name="Asha",
        fields={"request": REQUEST, "batch_id": "b1", "campaign_key": "k1"},
    )


@pytest.fixture
def counted(store: Store) -> Callable[[], Any]:
    @contextmanager
    def count() -> Iterator[list[float]]:
        found = [0.0]
        store.redis.config_resetstat()
        yield found
        stats = store.redis.info("commandstats")
        found[0] = sum(int(one["calls"]) for one in stats.values()) / MANY

    return count


def test_a_delivery_takes_few_commands(store: Store, counted: Callable[[], Any]) -> None:
    put(store, "first")  # the scripts are loaded, and the day has its cells
    store.move([sent("first", claim(store)["first"])])
    ids = [f"d{number}" for number in range(MANY)]

    with counted() as accepting:
        put(store, *ids)
    with counted() as claiming:
        leases = claim(store)
    with counted() as sending:
        assert store.move([sent(one, leases[one]) for one in ids]) == ["ok"] * MANY
    with counted() as settling:
        assert store.move([delivered(one, leases[one]) for one in ids]) == ["ok"] * MANY

    assert accepting[0] < 4.5  # its record, that of its event, and what is known of the event
    assert claiming[0] < 4.5  # it reads both; the lease, and no time of a next attempt
    assert sending[0] < 3.6  # one read, one write, and the list of its number
    assert settling[0] < 3.6  # one read, one write, and the call's own key
    assert store.counts()[Status.DELIVERED] == MANY
    assert store.redis.zcard(f"{P}deliveries:campaign:k1") == MANY + 1


def test_a_journal_with_all_moves_of_a_delivery_leaves_one_entry(store: Store) -> None:
    put(store, "one")
    lease = claim(store)["one"]
    moves = [written(sent("one", lease)), written(delivered("one", lease))]

    assert store.replay_journal(moves, lease_s=LEASE_S) == 2

    assert status(store, "one") == "delivered"
    for index, has in {
        "deliveries:status:queued": False,
        "deliveries:status:sending": False,
        "deliveries:status:delivered": True,
        "deliveries:outcome:none": True,
        "deliveries:campaign:k1": True,
        "leased": False,
        "due": False,
    }.items():
        assert (store.redis.zscore(f"{P}{index}", "one") is not None) is has, index
    [cells] = [store.redis.hgetall(key) for key in store.redis.scan_iter(f"{P}figures:2*") if key]
    [sums] = [sums for sums in cells.values() if sums.startswith("1,")]
    assert sums.startswith("1,1,0,0,0,")  # one event, accepted once
    assert store.audit((0, 0), lease_s=LEASE_S)[1].indexed == 0


def test_an_attempt_is_kept_though_its_move_is_not_made(store: Store) -> None:
    put(store, "one")
    lease = claim(store)["one"]
    assert store.move([sent("one", lease)]) == ["ok"]
    late = Move(
        id="one", to=Status.RETRYING, lease=lease - 1, attempt=(1, {"number": 1, "error": "busy"})
    )

    assert store.move([late]) == ["stale"]

    found = store.delivery("one")
    assert found is not None
    assert (found.status, found.attempts[0]["error"]) == ("sending", "busy")


def test_a_claim_gives_the_record_as_it_is_after_the_lease(store: Store) -> None:
    event: tuple[Event, list[NewDelivery]] = (an_event(), [a_delivery("one", number=NUMBER)])
    accept(store, event)

    [found] = store.claim(1, lease_s=LEASE_S).claims

    assert found.delivery == store.delivery("one")
    assert (found.delivery.lease, found.delivery.next_attempt_at) == (1, None)


def test_what_a_pause_held_is_claimed_whole(store: Store) -> None:
    put(store, "one")
    store.redis.hset(f"{P}pauses", "route:call back", '{"message":"m"}')
    assert store.claim(1, lease_s=LEASE_S).claims == ()
    store.redis.delete(f"{P}pauses")
    store.redis.zadd(f"{P}due", {"one": 1})

    [found] = store.claim(1, lease_s=LEASE_S).claims

    assert found.delivery == store.delivery("one")
    assert (found.delivery.status, found.delivery.reason) == ("queued", None)
    [listed] = store.deliveries(Filters(status=("queued",)), before=None, limit=9).items
    assert listed.id == "one"
