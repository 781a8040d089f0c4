"""A fault run in a hurry ends no lease of a drain that lives."""

from faults.harm import end_leases, leases
from support import end_lease
from support.storing import claim, put

from store import Store


def test_only_the_leases_that_the_dead_had_are_ended(store: Store) -> None:
    put(store, "a", "b")
    claim(store)
    of_the_dead = leases(store)
    end_lease(store, "a")
    store.sweep()
    [renewed] = claim(store)

    assert end_leases(store, of_the_dead) == 1
    assert [*leases(store)] == [renewed] == ["a"]
    assert [*claim(store)] == ["b"]
