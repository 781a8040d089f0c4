"""Our slot moves to another shard, while the bridge goes on: nothing is lost or half-written."""

from collections.abc import Callable

import pytest
from cluster_load import Load
from faults.report import Broken
from support.cluster import Cluster
from support.storing import NOW, a_delivery, accept, an_event, claim, put, status, to_sending

from schemas.delivery import Status
from schemas.errors import StoreUnavailable
from schemas.records import Move, Suppression
from store import Store
from store.base import P

StartLoad = Callable[..., Load]
GRACE_MS = 10_000  # longer than nothing is claimed of a node that is new to us
SOME = 30  # events of load before and after each move


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_when_the_slot_moves(
    cluster: Cluster, start_load: StartLoad
) -> None:
    load = start_load()
    load.let_pass(SOME)

    assert cluster.move_slot()
    load.let_pass(SOME)
    assert cluster.move_slot()
    load.let_pass(SOME)

    assert load.settle() == Broken()


def test_nothing_is_half_written_while_the_keys_are_on_two_shards(
    cluster: Cluster, store: Store
) -> None:
    put(store, "on its way", "waits")
    lease = claim(store, 1)["on its way"]
    store.move([to_sending("on its way", lease)])
    store.clear_wakeup()  # it ends by itself, and that may be now
    source, target = cluster.begin_move()
    assert cluster.move_keys(source, target, most=len(cluster.all_keys()) // 2)
    before = cluster.content()
    delivered = Move(id="on its way", to=Status.DELIVERED, lease=lease)
    suppression = Suppression(key="a-hash", reason="by_person", since=NOW)
    writes: dict[str, Callable[[], object]] = {
        "accept": lambda: accept(store, (an_event("e9"), [a_delivery("new")])),
        "claim": lambda: claim(store),
        "settle": lambda: store.move([delivered]),
        "sweep": store.sweep,
        "pause": lambda: store.pause("all", reason="person", message="m"),
        "suppress": lambda: store.suppress(suppression),
    }

    for name, write in writes.items():
        with pytest.raises(StoreUnavailable):
            write()
        assert cluster.content() == before, name

    cluster.move_keys(source, target)
    cluster.end_move(source, target)
    assert store.move([delivered]) == ["ok"]
    assert status(store, "on its way") == "delivered"
    assert claim(store) == {}, "workers first tell a node what they know, as after a restart"
    store.redis.hincrby(f"{P}run", "since_ms", -GRACE_MS)
    assert list(claim(store)) == ["waits"]
