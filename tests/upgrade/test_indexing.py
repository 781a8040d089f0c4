"""What an earlier release stored is indexed by the first round of the audit: outcomes, names."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from old_store import FILES, ROUTES, Old
from support import Web

from rules.shown import person_of
from schemas.headline import newest
from schemas.records import NO_OUTCOME, Filters
from schemas.settings import Settings
from store import Store
from store.migration import migrate

MakeSettings = Callable[..., Settings]


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def old(request: pytest.FixtureRequest, store: Store) -> Old:
    found = Old(request.param)
    found.load(store)
    assert migrate(store)
    return found


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(ROUTES)


def audit_all(store: Store, settings: Settings) -> None:
    fill = partial(person_of, settings.routes.sources)
    place, _ = store.audit((0, 0), lease_s=60, person_of=fill)
    while place != (0, 0):
        place, _ = store.audit(place, lease_s=60, person_of=fill)


def all_of(store: Store, **filters: Any) -> dict[str, Any]:
    page = store.deliveries(Filters(**filters), before=None, limit=200)
    return {one.id: one for one in page.items}


def test_the_first_audit_indexes_what_an_earlier_release_stored(
    old: Old, store: Store, settings: Settings, web: Web
) -> None:
    before = all_of(store)
    said = web.get("/api/status").json["indexing"]
    assert said == {"done": 0, "of": len(before)}
    audit_all(store, settings)
    assert web.get("/api/status").json["indexing"] is None

    by_result: dict[str, set[str]] = {}
    for one in before.values():
        best = newest(one.outcomes, one.past)
        if best:
            by_result.setdefault(best.result, set()).add(one.id)
        elif one.status == "delivered" and one.to == "call":
            by_result.setdefault(NO_OUTCOME, set()).add(one.id)
    assert by_result
    for result, ids in by_result.items():
        assert all_of(store, outcome=(result,)).keys() == ids
        assert store.count(Filters(outcome=(result,))) == len(ids)

    after = all_of(store)
    assert after.keys() == before.keys()
    for one in after.values():
        if one.erased_at or one.to != "call":
            assert (one.name, one.number) == (None, None)
        elif one.request:
            assert one.number == one.request["to_number"]
    brief = store.deliveries(Filters(), before=None, limit=200, brief=True).items
    assert {one.id: one.headline for one in brief} == {
        one.id: one.headline for one in after.values()
    }
    audit_all(store, settings)  # a second round changes nothing
    assert all_of(store) == after
