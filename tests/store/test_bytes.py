"""What one accept, one claim and one page of a list may hold of large records, in bytes."""

from dataclasses import replace
from typing import Any

import pytest
from support import each
from support.makers import NOW
from support.samples import source_of
from support.storing import a_delivery, accept, an_event

from rules.matching import LONGEST_ID, as_event
from schemas.crm import kinds
from schemas.delivery import Status
from schemas.errors import TooLarge
from schemas.event import Item
from schemas.records import EventFilters, Filters, Move
from schemas.responses import DeliveryBrief, EventBrief
from store import Store, intake, leases, queries
from store.base import P

LARGE = {"note": 'a "quoted" text, "data":{ and more ' * 100, "phone": "+919876543210"}
SIZE = 4000  # bytes of a record with it, and more
WEBSITE = source_of(kinds()["generic"])


@pytest.fixture
def many(store: Store) -> Store:
    """Six events with large data, each with a delivery."""
    for number in range(6):
        event = replace(an_event(), data=LARGE, id=f"e{number}", source_event_id=f'"data":{number}')
        accept(store, (event, [a_delivery(f"d{number}")]))
    return store


def all_pages(read: Any) -> list[list[str]]:
    """Return the ids of each page of a list."""
    pages, before = [], None
    while True:
        page = read(before)
        pages.append([getattr(one, "event", one).id for one in page.items])
        if page.next_cursor is None:
            return pages
        before = int(page.next_cursor)


@each("limit", [1, 4, 50])
def test_a_list_in_brief_has_all_that_it_shows_and_no_data(many: Store, limit: int) -> None:
    page = many.events(EventFilters(), before=None, limit=limit, brief=True)
    assert len(page.items) == min(limit, 6)
    for brief in page.items:
        full = many.event(brief.event.id)
        assert full is not None
        assert brief.event.data is None
        assert full.event.data == LARGE
        assert EventBrief().dump(brief.event) == EventBrief().dump(full.event)
        assert (brief.deliveries, brief.status) == (full.deliveries, full.status)
    listed = many.deliveries(Filters(), before=None, limit=limit, brief=True)
    for one in listed.items:
        whole = many.delivery(one.id)
        assert whole is not None
        assert DeliveryBrief().dump(one) == DeliveryBrief().dump(whole)


@each("most", [1, SIZE, 2 * SIZE])
def test_a_page_loads_a_limited_number_of_bytes(
    many: Store, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(queries, "PAGE_BYTES", most)
    pages = all_pages(lambda before: many.events(EventFilters(), before=before, limit=50))
    assert [one for page in pages for one in page] == ["e5", "e4", "e3", "e2", "e1", "e0"]
    assert max(map(len, pages)) <= max(most // SIZE + 1, 1)
    brief = all_pages(lambda b: many.events(EventFilters(), before=b, limit=50, brief=True))
    assert brief[0] == ["e5", "e4", "e3", "e2", "e1", "e0"]


def test_a_page_of_whole_deliveries_is_limited_too(
    many: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "PAGE_BYTES", 1)
    monkeypatch.setattr(queries, "AT_ONCE", 2)
    pages = all_pages(lambda before: many.deliveries(Filters(), before=before, limit=50))
    assert pages == [["d5", "d4"], ["d3", "d2"], ["d1", "d0"]]


def test_a_search_through_all_events_sees_each_of_them(
    many: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "PAGE_BYTES", SIZE)
    place: int | None = 0
    found: list[str] = []
    while place is not None:
        place, page = many.scan_events(place)
        assert len(page) <= 2
        found += [seen.event.id for seen in page]
    assert found == ["e0", "e1", "e2", "e3", "e4", "e5"]


@each("most", [1, SIZE, 2 * SIZE])
def test_a_claim_has_a_limited_number_of_bytes(
    many: Store, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(leases, "CLAIM_BYTES", most)
    found: dict[str, int] = {}
    for _ in range(6):
        claims = many.claim(50, lease_s=60)
        assert 1 <= len(claims.claims) <= most // SIZE + 1
        assert claims.is_cut
        found |= {one.delivery.id: one.delivery.lease for one in claims.claims}
        if len(found) == 6:
            break
    assert [*found] == [f"d{number}" for number in range(6)]
    assert many.claim(50, lease_s=60).claims == ()
    queued = frozenset({Status.QUEUED})
    back = [
        Move(id=one, to=Status.QUEUED, lease=lease, from_statuses=queued, wait_s=0)
        for one, lease in found.items()
    ]
    assert many.move(back) == ["ok"] * 6


def test_a_claim_of_small_records_is_not_cut(many: Store) -> None:
    claims = many.claim(50, lease_s=60)
    assert len(claims.claims) == 6
    assert not claims.is_cut


def test_an_accept_of_too_many_bytes_stores_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MOST_BYTES", 2 * SIZE)
    events = [
        (replace(an_event(), id=f"e{n}", data=LARGE), [a_delivery(f"d{n}")]) for n in (1, 2, 3)
    ]
    with pytest.raises(TooLarge):
        store.accept(events, routes="0" * 12)
    assert store.events(EventFilters(), before=None, limit=50).items == ()
    assert store.counts()[Status.QUEUED] == 0


@each("name", ["type", "source_event_id", "subject"])
def test_a_long_id_or_type_is_kept_in_short_and_stays_unique(name: str) -> None:
    text = "a" * LONGEST_ID
    same, long, longer = (
        getattr(as_event(Item(**{"type": "t", "data": {}, name: one}), WEBSITE, NOW, 60), name)
        for one in (text, text + "b", text + "c" * 10**6)
    )
    assert same == text
    assert long != longer
    assert max(len(long), len(longer)) < LONGEST_ID + 40


@pytest.mark.bounds
@pytest.mark.parametrize("large", [0, 1, 30])
def test_what_a_failing_route_holds_is_held_without_a_look_at_its_data(
    store: Store, large: int
) -> None:
    for number in range(30):
        note = "x" * (1_600_000 if number < large else 1000)
        event = replace(an_event(), data={"note": note}, id=f"e{number}")
        accept(store, (event, [a_delivery(f"d{number}")]))
    store.redis.hset(f"{P}pauses", "route:call back", '{"reason":"failing","message":"m"}')
    store.redis.config_set("slowlog-log-slower-than", 0)
    took_ms = []
    for _ in range(5):
        store.redis.zadd(f"{P}due", {f"d{number}": 1 for number in range(30)})
        store.redis.slowlog_reset()
        claims = store.claim(100, lease_s=60)
        assert (claims.looked_at, claims.claims) == (30, ())
        took_ms.append(max(entry["duration"] for entry in store.redis.slowlog_get(100)) / 1000)
    store.redis.config_set("slowlog-log-slower-than", 10_000)
    assert min(took_ms) < 50
