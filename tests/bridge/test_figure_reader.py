"""FigureReader remembers the sums of days, and never longer than they are right."""

from datetime import UTC, datetime

from support.storing import put

from bridge.figures import FigureReader
from schemas.figures import By, FigureQuery, FigureTable
from store import Store

EVER = ((0, "00"), (10**5, "23"))


def asked(
    reader: FigureReader, by: By = By.DAY, only: tuple[By, frozenset[str]] | None = None
) -> FigureTable:
    return reader.table(FigureQuery(by=by, first=EVER[0], last=EVER[1], only=only))


def test_a_change_is_seen_at_once(store: Store) -> None:
    reader = FigureReader(store)
    assert asked(reader).items == ()
    for number in range(3):
        put(store, f"d{number}")
        assert [asked(reader, by).total.events for by in (By.DAY, By.DAY, By.ROUTE)] == [
            number + 1
        ] * 3


def test_what_did_not_change_is_not_read_again(store: Store) -> None:
    reader = FigureReader(store)
    put(store, "d1")
    first = asked(reader)
    [key] = [k for k in store.redis.keys("bridge:figures:*") if not k.endswith("changed")]
    store.redis.delete(key)
    assert asked(reader) == first
    assert asked(reader, only=(By.ROUTE, frozenset(["another"]))).items == ()


def test_a_store_that_was_emptied_has_no_figures(store: Store) -> None:
    reader = FigureReader(store)
    put(store, "d1")
    assert asked(reader).total.events == 1
    store.redis.flushall()
    assert asked(reader).total.events == 0
    put(store, "d1", "d2")
    assert asked(reader).total.events == 2


def test_it_remembers_a_limited_number_of_sums(store: Store) -> None:
    reader = FigureReader(store, most=5)
    put(store, "d1")
    hour = f"{datetime.now(UTC):%H}"
    for number in range(20):
        for by in By:
            asked(reader, by, (By.CAMPAIGN, frozenset([f"b{number}"])))
            assert asked(reader, by).total.events == 1, hour
    assert len(reader._known) <= 5
    assert reader._size == sum(len(sums) + 1 for _, sums in reader._known.values())
