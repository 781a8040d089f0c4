"""Lists: what matches rarely is found page by page, with bounded work for each."""

from typing import Any

import pytest
from support import each
from support.storing import a_delivery, accept, an_event, claim, put

from schemas.delivery import Reason, Status
from schemas.records import EventFilters, Filters, Move
from store import Store
from store import queries as reading


def all_pages(store: Store, filters: Filters, limit: int) -> tuple[list[str], int]:
    """Return the ids that a list gives to its end, and how many pages that took."""
    found: list[str] = []
    before, pages = None, 0
    while True:
        page = store.deliveries(filters, before=before, limit=limit)
        pages += 1
        found += [one.id for one in page.items]
        if page.next_cursor is None:
            return found, pages
        before = int(page.next_cursor)


@pytest.fixture
def many(store: Store) -> Store:
    """60 deliveries on two routes and of two sources; each tenth is skipped."""
    for number in range(60):
        of = {"source": "website" if number % 2 else "partner"}
        route = "call late" if number % 3 == 0 else "call back"
        accept(store, (an_event(**of), [a_delivery(f"d{number:02}", route=route)]))
    leases = claim(store)
    skips = [
        Move(id=one, to=Status.SKIPPED, lease=leases[one], reason=Reason.NO_NUMBER)
        for one in leases
        if one.endswith("0")
    ]
    store.move(skips)
    return store


@each(
    ("filters", "expected"),
    [
        ({"status": ("skipped",)}, ["d50", "d40", "d30", "d20", "d10", "d00"]),
        ({"status": ("skipped",), "route": "call late"}, ["d30", "d00"]),
        ({"reason": "no_number", "route": "call back"}, ["d50", "d40", "d20", "d10"]),
        ({"source": "website", "status": ("skipped",)}, []),
        ({"source": "nobody"}, []),
        (
            {"status": ("skipped", "held"), "source": "partner", "route": "call late"},
            ["d30", "d00"],
        ),
    ],
)
@each("limit", [1, 2, 50])
def test_filters_combine_and_pages_end(
    many: Store, filters: dict[str, Any], expected: list[str], limit: int
) -> None:
    found, _ = all_pages(many, Filters(**filters), limit)
    assert found == expected


def test_a_page_looks_at_so_many_records_and_goes_on_with_its_cursor(
    many: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LOOKED_AT", 5)
    page = many.deliveries(Filters(reason="no_number"), before=None, limit=50)
    assert [one.id for one in page.items] == ["d50"]
    assert page.next_cursor is not None
    found, pages = all_pages(many, Filters(reason="no_number"), 50)
    assert found == ["d50", "d40", "d30", "d20", "d10", "d00"]
    assert pages == 7  # the last one finds that there is no more


def test_several_statuses_come_in_one_order(many: Store) -> None:
    found, _ = all_pages(many, Filters(status=("queued", "skipped")), 7)
    assert found == [f"d{number:02}" for number in reversed(range(60))]


def test_events_of_one_source_are_found(store: Store) -> None:
    for number in range(6):
        source = "partner" if number == 0 else "website"
        put(store, f"d{number}", source=source)
    page = store.events(EventFilters(source="partner"), before=None, limit=50)
    assert [seen.event.source for seen in page.items] == ["partner"]
    assert page.next_cursor is None
