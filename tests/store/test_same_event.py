"""What came by webhook and by reconcile is one event, decided in the step that stores it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from support.storing import NOW, a_delivery, accept, an_event

from schemas.event import Event
from schemas.reconcile import ReconcileRun
from schemas.records import Accepted
from store import Store, connect
from store.base import P


@pytest.fixture(autouse=True)
def _a_reconcile(store: Store) -> None:
    """Let there have been a reconcile of each source, as there was before it finds an event."""
    for source in ("hubspot", "hubspot-2"):
        store.keep_reconcile(ReconcileRun(source=source, since=NOW, started_at=NOW))


def found(event_id: str, *, by_reconcile: bool, at: datetime = NOW, **more: object) -> Event:
    """Return an event of the record 101 of an account."""
    of = {"source": "hubspot", "type": "contact.created", "subject": "101", "account": "62515"}
    return an_event(event_id, time=at, is_reconciled=by_reconcile, **{**of, **more})


def stored(store: Store, event: Event) -> Accepted:
    """Store an event with a delivery, and return what became of it."""
    _, (answer,) = accept(store, (event, [a_delivery(f"of-{event.id}")]))
    return answer


def test_a_creation_is_one_event_in_both_orders(store: Store) -> None:
    for first, second in ((True, False), (False, True)):
        subject = {"subject": f"10{int(first)}"}
        one = found(f"a{first}", by_reconcile=first, **subject)
        # A creation is one, however far its times lie apart.
        other = found(f"b{first}", by_reconcile=second, at=NOW + timedelta(days=2), **subject)
        assert not stored(store, one).duplicate
        answer = stored(store, other)
        assert answer.duplicate
        assert answer.event_id == one.id
        assert [ref.id for ref in answer.deliveries] == [f"of-{one.id}"]
        assert stored(store, other).event_id == one.id, "a resend gets the same answer"
    assert store.counts()["queued"] == 2


def test_both_in_one_request_are_one_event(store: Store) -> None:
    events = [found("a", by_reconcile=False), found("b", by_reconcile=True)]
    _, answers = accept(store, *((one, [a_delivery(f"of-{one.id}")]) for one in events))
    assert [one.duplicate for one in answers] == [False, True]


def test_changes_are_one_event_within_ten_minutes(store: Store) -> None:
    changed = {"type": "contact.updated"}
    stored(store, found("webhook", by_reconcile=False, **changed))
    for minutes, is_same in ((-11, False), (-10, True), (10, True), (11, False)):
        at = NOW + timedelta(minutes=minutes)
        event = found(f"change{minutes}", by_reconcile=True, at=at, **changed)
        assert store.are_told([event]) == [is_same]
        assert stored(store, event).duplicate is is_same, minutes


def test_two_webhooks_are_never_compared(store: Store) -> None:
    for by_reconcile in (False, True):
        subject = {"subject": f"20{int(by_reconcile)}"}
        for number in range(2):
            event = found(f"{by_reconcile}{number}", by_reconcile=by_reconcile, **subject)
            assert not stored(store, event).duplicate


def test_another_record_account_type_or_source_is_another_event(store: Store) -> None:
    stored(store, found("webhook", by_reconcile=False))
    others = (
        {"subject": "102"},
        {"account": "62516"},
        {"type": "deal.created"},
        {"source": "hubspot-2"},
        {"type": "contact.deleted"},
        {"account": None},
    )
    for number, more in enumerate(others):
        assert not stored(store, found(f"other{number}", by_reconcile=True, **more)).duplicate, more


def test_what_is_known_lives_as_long_as_the_id(store: Store) -> None:
    event = found("webhook", by_reconcile=False, remember_s=1000)
    stored(store, event)
    assert event.happening is not None
    key = f"{P}happening:webhook:{event.happening.key}"
    assert 990 < store.redis.ttl(key) <= 1000
    store.redis.delete(key)
    assert not stored(store, found("later", by_reconcile=True)).duplicate


def test_webhooks_and_a_reconcile_at_once_make_one_delivery_a_record(
    store: Store, redis_url: str
) -> None:
    stores = [Store(connect(redis_url)) for _ in range(4)]

    def store_all(number: int) -> list[bool]:
        events = [
            found(f"{number % 2}-{record}", by_reconcile=bool(number % 2), subject=str(record))
            for record in range(25)
        ]
        return [stored(stores[number], event).duplicate for event in events]

    with ThreadPoolExecutor(len(stores)) as pool:
        answers = list(pool.map(store_all, range(len(stores))))
    assert store.counts()["queued"] == 25
    assert sum(not is_duplicate for of_one in answers for is_duplicate in of_one) == 25
