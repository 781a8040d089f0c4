"""What the audit's first round reads of the events that an older release stored."""

from collections import Counter
from functools import partial
from typing import Any

import pytest
from support.storing import put

from rules.search import found_again
from rules.shown import person_of
from store import Store
from store.base import P


def test_the_first_round_reads_each_event_once(
    store: Store, make_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = make_settings().routes
    ids = [f"d{number}" for number in range(30)]
    put(store, *ids)
    for one in ids:
        store.redis.hdel(f"{P}delivery:{one}", "terms")
    read: Counter[str] = Counter()
    small_events = Store.small_events

    def counting(self: Store, wanted: Any) -> Any:
        found = small_events(self, wanted)
        read.update(list(found))
        return found

    monkeypatch.setattr(Store, "small_events", counting)
    place = (0, 0)
    while True:
        place, _ = store.audit(
            place,
            lease_s=60,
            person_of=partial(person_of, routes.sources),
            found_by=partial(found_again, routes),
        )
        if place == (0, 0):
            break
    assert len(read) == len(ids)
    assert all(store.redis.hget(f"{P}delivery:{one}", "terms") is not None for one in ids)
    assert set(read.values()) == {1}
