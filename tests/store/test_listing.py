"""Lists: what matches rarely is found page by page, with bounded work for each."""

import random
from typing import Any

import pytest
from support import each
from support.storing import a_delivery, accept, an_event, claim, put

from schemas.delivery import Reason, Status
from schemas.outcome import Outcome, Result
from schemas.records import EventFilters, Filters, Move
from store import Store
from store import queries as reading
from store.base import P
from store.records import fits


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


@each("looked_at", [3, 1500])
def test_any_filters_give_what_a_comparison_of_all_deliveries_gives(
    many: Store, monkeypatch: pytest.MonkeyPatch, looked_at: int
) -> None:
    chance = random.Random(19)  # noqa: S311  # nosec B311  # no secret
    every = many.deliveries(Filters(), before=None, limit=100).items
    assert len(every) == 60
    with monkeypatch.context() as limited:
        limited.setattr(reading, "LOOKED_AT", looked_at)
        for _ in range(40):
            chosen: dict[str, Any] = {
                "status": tuple(chance.sample(("queued", "skipped", "held"), chance.randint(1, 2))),
                "route": chance.choice(("call late", "call back", "nobody")),
                "source": chance.choice(("website", "partner")),
                "reason": "no_number",
            }
            for name in chance.sample([*chosen], chance.randint(0, 3)):
                del chosen[name]
            filters = Filters(**chosen)
            found, _ = all_pages(many, filters, chance.choice((1, 7, 100)))
            assert found == [one.id for one in every if fits(one, filters, ())], chosen


def records_read(store: Store, filters: Filters) -> int:
    """Return how many records the script of a list that finds nothing has read."""
    store.redis.config_resetstat()
    assert store.deliveries(filters, before=None, limit=50).items == ()
    return int(store.redis.info("commandstats").get("cmdstat_hget", {"calls": 0})["calls"])


def test_what_an_index_leaves_out_is_not_read(many: Store) -> None:
    assert records_read(many, Filters(source="website", status=("skipped",))) == 0
    assert records_read(many, Filters(source="website", reason="no_number")) == 30
    many.note_indexed(60, is_first=True, is_last=True)
    assert records_read(many, Filters(route="call late", outcome=("connected",))) == 0


def test_what_the_audit_has_not_indexed_yet_is_read(many: Store) -> None:
    """The index of outcomes has nothing of an older release; its records say how calls ended."""
    accept(many, (an_event(), [a_delivery("rare", route="call rarely")]))
    for one in ("rare", "d01", "d02"):
        outcome = Outcome(
            call_sid=f"CA-{one}", delivery_id=one, try_count=0, result=Result.CONNECTED
        )
        many.keep_outcome(outcome)
    many.redis.zrem(f"{P}deliveries:outcome:connected", "rare")
    rarely = Filters(route="call rarely", outcome=("connected",))
    assert all_pages(many, rarely, 50)[0] == ["rare"]


def test_several_statuses_come_in_one_order(many: Store) -> None:
    found, _ = all_pages(many, Filters(status=("queued", "skipped")), 7)
    assert found == [f"d{number:02}" for number in reversed(range(60))]


def test_events_of_one_source_are_found(store: Store) -> None:
    for number in range(6):
        source = "partner" if number == 0 else "website"
        put(store, f"d{number}", source=source)
    first = store.events(EventFilters(), before=None, limit=50).items[-1].event.id
    store.redis.hdel(f"{P}event:{first}", "source")  # before 0.1.0 only the record had it
    page = store.events(EventFilters(source="partner"), before=None, limit=50)
    assert [seen.event.source for seen in page.items] == ["partner"]
    assert page.next_cursor is None
