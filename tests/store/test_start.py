"""What a process finds in its store before it starts, and what it marks there."""

from support import Valkey
from support.cluster import not_over_cluster

from store import Store
from store.start import check_at_start

pytestmark = not_over_cluster  # these give the address of one Redis


def test_a_new_store_is_marked_and_warned_of(store: Store, valkey: Valkey) -> None:
    store.redis.delete("bridge:schema")  # of the fixture
    first = check_at_start(valkey.url)
    assert first.problem is None
    assert "was never used before" in first.warnings[0]
    assert store.redis.exists("bridge:born", "bridge:schema", "bridge:indexed") == 3
    assert "was first used at" in check_at_start(valkey.url).warnings[0]


def test_a_store_that_can_not_be_marked_is_warned_of_all_the_same(
    store: Store, valkey: Valkey
) -> None:
    store.redis.delete("bridge:schema")
    store.redis.rpush("bridge:schema", "no text")
    assert "was never used before" in check_at_start(valkey.url).warnings[0]
