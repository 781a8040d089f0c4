"""What an earlier release stored is indexed by the first round of the audit: outcomes, names."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import pytest
from old_store import RELEASES, ROUTES, Old
from support import API_TOKEN, Web

from rules.shown import person_of
from schemas.delivery import WAITING, Status
from schemas.headline import newest
from schemas.records import NO_OUTCOME, Filters
from schemas.settings import Settings
from store import Store
from store.migration import migrate

MakeSettings = Callable[..., Settings]


@pytest.fixture(params=RELEASES, ids=lambda file: file.stem)
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


def test_the_first_audit_indexes_the_calls_of_campaigns(
    old: Old, store: Store, settings: Settings, web: Web
) -> None:
    calls = [one for one in all_of(store).values() if one.to == "call" and one.batch_id]
    started = [one for one in calls if one.status not in WAITING]
    assert started
    audit_all(store, settings)

    statuses = ",".join(status for status in Status if status not in WAITING)
    for batch_id in {str(one.batch_id) for one in started}:
        mine = [one for one in started if one.batch_id == batch_id]
        shown = web.get(f"/api/campaigns/{batch_id}").json
        assert shown["counts"].items() >= Counter(str(one.status) for one in mine).items()
        accepted = [
            change.at for one in mine for change in one.timeline if change.status == "delivered"
        ]
        if accepted:
            first = datetime.fromisoformat(shown["first_call_at"])
            last = datetime.fromisoformat(shown["last_call_at"])
            assert (first, last) == (min(accepted), max(accepted))
        listed = web.get(f"/api/deliveries?campaign={batch_id}&status={statuses}&limit=200").json
        assert {one["id"] for one in listed["items"]} == {one.id for one in mine}
        assert listed["total"] == len(mine)
    for one in web.get("/api/campaigns").json["items"]:
        found = web.get(f"/api/deliveries?campaign={one['batch_id']}").json
        by_name = web.client.get(
            "/api/deliveries",
            query_string={"campaign": one["name"]},
            headers={"Authorization": f"Bearer {API_TOKEN}"},
        ).json
        assert found["items"] == by_name["items"]
