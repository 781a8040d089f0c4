"""The first round of the audit counts the calls that an earlier release stored."""

import pytest
from old_store import RELEASES, ROUTES, Old
from support import Web
from support.recounting import recount

from schemas.figures import By
from schemas.settings import Settings
from store import Store
from store.migration import migrate


@pytest.fixture(params=RELEASES, ids=lambda file: file.stem)
def old(request: pytest.FixtureRequest, store: Store) -> Old:
    found = Old(request.param)
    found.load(store)
    assert migrate(store)
    return found


@pytest.fixture
def settings(make_settings: object) -> Settings:
    found: Settings = make_settings(ROUTES)  # type: ignore[operator]
    return found


def figures(web: Web, by: str) -> dict[str, int]:
    answer = web.get(f"/api/stats?by={by}")
    assert answer.status_code == 200, answer.text
    return {name: n for name, n in answer.json["total"].items() if n and "rate" not in name}


def test_the_first_audit_counts_them_and_later_ones_change_nothing(
    old: Old, web: Web, store: Store
) -> None:
    kept = [store.delivery(made["id"]) for made in old.made.values()]
    wanted = recount(one for one in kept if one)
    assert wanted["events"] > wanted["accepted"] > wanted["connected"] > 0
    assert figures(web, "day") == {}
    for _ in range(2):
        assert store.audit((0, 0), lease_s=60)[0] == (0, 0)
        for by in By:
            assert figures(web, by) == wanted
