"""outcomes_total: each dial of a call counts once, by its route and result."""

from support.storing import a_delivery, accept, an_event, claim, put

from schemas.outcome import INBOUND, Outcome, Result
from store import Store
from store.counters import read_counts


def counted(store: Store) -> dict[tuple[str, str], int]:
    """Return the counts by (result, route)."""
    found: dict[tuple[str, str], int] = read_counts(store.measured().totals, "outcome")
    return found


def tell(store: Store, try_count: int, result: Result, **more: str) -> str:
    fields = {"call_sid": "CA1", "delivery_id": "d1", **more}
    return store.keep_outcome(Outcome(try_count=try_count, result=result, **fields))[0]


def test_each_dial_counts_once_and_what_is_doubled_not_at_all(store: Store) -> None:
    put(store, "d1")
    assert tell(store, 0, Result.NOT_REACHED) == "stored"
    assert tell(store, 1, Result.NOT_REACHED) == "stored"
    assert tell(store, 1, Result.CONNECTED) == "duplicate"
    assert tell(store, 2, Result.CONNECTED) == "stored"
    expected = {("not_reached", "call back"): 2, ("connected", "call back"): 1}
    assert counted(store) == expected
    assert tell(store, INBOUND, Result.CONNECTED) == "stored"  # nobody was dialled
    assert counted(store) == expected


def test_an_outcome_that_came_early_counts_with_its_delivery(store: Store) -> None:
    assert tell(store, 0, Result.VOICEMAIL) == "kept"
    assert tell(store, 0, Result.VOICEMAIL) == "duplicate"
    assert counted(store) == {}
    accept(store, (an_event(), [a_delivery("d1", route="call late")]))
    assert claim(store) == {}  # it is proved: there is nothing left to send
    assert counted(store) == {("voicemail", "call late"): 1}
    assert tell(store, 0, Result.VOICEMAIL) == "duplicate"
    assert counted(store) == {("voicemail", "call late"): 1}


def test_outcomes_beyond_what_is_kept_do_not_count(store: Store) -> None:
    put(store, "d1")
    answers = [tell(store, number, Result.CONNECTED) for number in range(52)]
    assert answers.count("full") == 2
    assert counted(store) == {("connected", "call back"): 50}
