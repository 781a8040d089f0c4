"""What CallKaro tells later, and what a person says: evidence, and how it meets the workers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from support import end_lease, make_due
from support.storing import a_delivery, accept, an_event, claim, put, status, to_sending

from schemas.delivery import Reason, Status
from schemas.outcome import read_outcome
from schemas.records import Move
from store import Store
from store.base import P
from store.records import written

ZONE = "Asia/Kolkata"


def told(delivery: str | None, sid: str = "CA1", try_count: int = 0, **data: Any) -> Any:
    """Return what CallKaro tells of a call."""
    metadata = {"bridge_delivery_id": delivery} if delivery else {}
    body = {"callSid": sid, "try_count": try_count, "call_metadata": metadata, **data}
    outcome = read_outcome({"event": "call_ended", "data": body}, ZONE)
    assert outcome is not None
    return outcome


def settle(store: Store, delivery_id: str, lease: int, to: Status, **more: Any) -> str:
    attempt = (1, {"number": 1})
    return store.move([Move(id=delivery_id, to=to, lease=lease, attempt=attempt, **more)])[0]


def deliver(store: Store, delivery_id: str = "d1", sid: str = "CA1") -> None:
    put(store, delivery_id)
    lease = claim(store)[delivery_id]
    store.move([to_sending(delivery_id, lease)])
    assert settle(store, delivery_id, lease, Status.DELIVERED, fields={"call_sid": sid}) == "ok"


def again(store: Store, delivery_id: str = "d1") -> None:
    """Have a person say "call again"."""
    rang = frozenset({Status.DELIVERED, Status.UNKNOWN})
    restarts: dict[str, Any] = {"restarts": True, "fields": {"call_sid": None}}
    move = Move(id=delivery_id, to=Status.QUEUED, from_statuses=rang, wait_s=0, **restarts)
    assert store.move([move]) == ["ok"]


# --- outcomes -----------------------------------------------------------------------------------


def test_an_outcome_is_kept_with_its_delivery_once(store: Store) -> None:
    deliver(store)

    assert store.keep_outcome(told("d1", call_duration=42)) == ("stored", "d1")
    assert store.keep_outcome(told("d1", call_duration=99)) == ("duplicate", "d1")

    [outcome] = store.delivery("d1").outcomes
    assert (outcome.call_sid, outcome.try_count, outcome.duration_s) == ("CA1", 0, 42)
    assert status(store, "d1") == "delivered"


def test_redials_are_a_list(store: Store) -> None:
    deliver(store)
    for number in (2, 0, 1):
        store.keep_outcome(told("d1", try_count=number, next_call_scheduled=number < 2))

    outcomes = store.delivery("d1").outcomes

    assert [(one.try_count, one.is_final) for one in outcomes] == [
        (0, False),
        (1, False),
        (2, True),
    ]


def test_without_our_id_the_call_sid_finds_the_delivery(store: Store) -> None:
    deliver(store, sid="CA9")

    assert store.keep_outcome(told(None, "CA9")) == ("stored", "d1")


def test_a_redial_under_a_sid_that_came_with_our_id_is_found_by_it(store: Store) -> None:
    deliver(store, sid="CA9")
    store.keep_outcome(told("d1", "another"))

    assert store.keep_outcome(told(None, "another", 1)) == ("stored", "d1")


def test_what_matches_nothing_is_kept_and_found_when_the_delivery_settles(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    store.move([to_sending("d1", lease)])

    assert store.keep_outcome(told(None, "CA7")) == ("kept", None)
    assert store.keep_outcome(told(None, "CA7")) == ("duplicate", None)
    assert status(store, "d1") == "sending"
    settle(store, "d1", lease, Status.DELIVERED, fields={"call_sid": "CA7"})

    assert [one.call_sid for one in store.delivery("d1").outcomes] == ["CA7"]
    assert not store.redis.exists(f"{P}early_outcome:CA7")
    assert store.keep_outcome(told(None, "CA7")) == ("duplicate", "d1")


def test_what_matches_nothing_is_kept_for_thirty_days(store: Store) -> None:
    store.keep_outcome(told("unheard-of", "CA7"))

    assert 29 * 86400 < store.redis.ttl(f"{P}early_outcome:unheard-of") <= 30 * 86400


@pytest.mark.parametrize("at", ["sending", "unknown", "retrying", "queued", "failed", "cancelled"])
def test_an_outcome_with_our_id_proves_acceptance_in_every_status(store: Store, at: str) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    if at in ("queued", "cancelled"):
        store.move([Move(id="d1", to=Status(at), lease=lease, wait_s=0)])
    else:
        store.move([to_sending("d1", lease)])
    if at in ("unknown", "failed", "retrying"):
        settle(store, "d1", lease, Status(at), wait_s=0 if at == "retrying" else None)
    assert status(store, "d1") == at

    assert store.keep_outcome(told("d1")) == ("stored", "d1")

    kept = store.delivery("d1")
    assert (kept.status, kept.call_sid, kept.reason) == ("delivered", "CA1", None)
    assert claim(store) == {}, "a pending retry is off"
    end_sweep = store.sweep()
    assert end_sweep == (0, 0)


def test_an_outcome_before_our_own_settle_lets_that_add_what_it_knows(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    store.move([to_sending("d1", lease)])
    store.keep_outcome(told("d1", "theirs"))

    answer = settle(store, "d1", lease, Status.DELIVERED, fields={"call_sid": "CA1"})

    assert answer == "ok"
    kept = store.delivery("d1")
    assert (kept.status, kept.call_sid) == ("delivered", "theirs")
    assert store.keep_outcome(told(None, "CA1", 1)) == ("stored", "d1"), "found by both"


@pytest.mark.parametrize("to", [Status.UNKNOWN, Status.RETRYING, Status.FAILED])
def test_an_outcome_before_our_own_settle_outweighs_it(store: Store, to: Status) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    store.move([to_sending("d1", lease)])
    store.keep_outcome(told("d1"))

    answer = settle(store, "d1", lease, to, wait_s=0 if to is Status.RETRYING else None)

    assert answer == "refused delivered"
    assert status(store, "d1") == "delivered"
    assert claim(store) == {}
    assert store.delivery("d1").attempts, "what the attempt came to is kept all the same"


def test_an_outcome_stops_a_retry_that_a_worker_has_claimed(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    store.move([to_sending("d1", lease)])
    settle(store, "d1", lease, Status.RETRYING, wait_s=0)
    second = claim(store)["d1"]

    store.keep_outcome(told("d1"))

    assert store.move([to_sending("d1", second)]) == ["refused delivered"]


def test_an_outcome_of_a_delivery_that_was_forgotten_stops_it_when_it_comes_again(
    store: Store,
) -> None:
    store.keep_outcome(told("d1"))

    put(store, "d1")  # Redis had lost it, and its CRM sent it again

    assert claim(store) == {}
    kept = store.delivery("d1")
    assert (kept.status, kept.call_sid, len(kept.outcomes)) == ("delivered", "CA1", 1)


@pytest.mark.parametrize("word", ["DELETED_SCH_CALL_ALL", "DELETED_SCH_CALL_ONE"])
def test_a_call_that_callkaro_dropped_is_cancelled(store: Store, word: str) -> None:
    deliver(store)

    store.keep_outcome(told("d1", hangup_reason=word))

    kept = store.delivery("d1")
    assert (kept.status, kept.reason) == ("cancelled", "by_callkaro")


def test_the_number_of_outcomes_is_bounded(store: Store) -> None:
    deliver(store)
    became = [store.keep_outcome(told("d1", try_count=number))[0] for number in range(60)]

    assert became.count("stored") == 50
    assert set(became[50:]) == {"full"}
    kept = [store.keep_outcome(told(None, "CA0", number))[0] for number in range(60)]
    assert kept.count("kept") == 50


def test_pruning_forgets_how_a_call_is_found(store: Store) -> None:
    deliver(store, sid="CA9")
    store.keep_outcome(told("d1", "another:one"))
    assert store.redis.exists(f"{P}call:CA9", f"{P}call:another:one") == 2

    store.prune(datetime.now(UTC) + timedelta(minutes=1))

    assert list(store.redis.scan_iter(f"{P}call:*")) == []


# --- "call again" -------------------------------------------------------------------------------


def test_an_outcome_of_the_first_call_does_not_call_the_second_off(store: Store) -> None:
    deliver(store)
    again(store)

    assert store.keep_outcome(told("d1", "CA1")) == ("stored", "d1")

    assert status(store, "d1") == "queued"
    assert claim(store).keys() == {"d1"}


def test_an_outcome_nobody_knew_of_calls_it_off(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    store.move([to_sending("d1", lease)])
    settle(store, "d1", lease, Status.UNKNOWN)
    again(store)

    store.keep_outcome(told("d1", "CA1"))

    assert status(store, "d1") == "delivered", "the first call was made: no need for a second"
    assert claim(store) == {}


def test_a_person_fences_off_the_worker_that_has_it(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]

    cancel = Move(id="d1", to=Status.CANCELLED, reason=Reason.BY_PERSON)
    assert store.move([cancel]) == ["ok"]

    assert store.move([to_sending("d1", lease)]) == ["stale"]
    assert store.redis.zcard(f"{P}leased") == store.redis.zcard(f"{P}due") == 0


def test_a_person_moves_only_what_stands_where_they_saw_it(store: Store) -> None:
    deliver(store)
    retry = Move(id="d1", to=Status.QUEUED, from_statuses=frozenset({Status.FAILED}), wait_s=0)

    assert store.move([retry]) == ["refused delivered"]


def test_the_first_call_that_was_stored_stays_and_a_late_one_can_be_found(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    store.move([to_sending("d1", lease)])
    end_lease(store, "d1")
    store.sweep()
    again(store)
    second = claim(store)["d1"]
    move = Move(id="d1", to=Status.SENDING, lease=second, attempt=(2, {"number": 2}))
    assert store.move([move]) == ["ok"]
    store.move(
        [
            Move(
                id="d1",
                to=Status.DELIVERED,
                lease=second,
                attempt=(2, {"number": 2}),
                fields={"call_sid": "CA2"},
            )
        ]
    )

    late = settle(store, "d1", lease, Status.DELIVERED, fields={"call_sid": "CA1"})

    assert late == "ok"
    assert store.delivery("d1").call_sid == "CA2"
    assert store.keep_outcome(told(None, "CA1")) == ("stored", "d1")


def test_a_cancellation_at_callkaro_is_claimed_like_any_work(store: Store) -> None:
    deliver(store)
    accept(store, (an_event(), [a_delivery("d2")]))
    ask = Move(
        id="d1",
        to=Status.DELIVERED,
        from_statuses=frozenset({Status.DELIVERED}),
        fields={"cancel_ms": 1},
        wait_s=0,
    )
    assert store.move([ask]) == ["ok"]

    claims = {one.delivery.id: one.delivery for one in store.claim(10, lease_s=60).claims}

    assert claims["d1"].status == "delivered"
    assert claims["d1"].cancel_asked_at is not None
    end_lease(store, "d1", "d2")
    assert store.sweep() == (0, 2), "and given back when its worker dies"
    make_due(store, "d1")
    lease = claim(store)["d1"]
    over = Move(id="d1", to=Status.CANCELLED, lease=lease, fields={"cancel_ms": None})
    assert store.move([over]) == ["ok"]
    assert status(store, "d1") == "cancelled"
    assert store.delivery("d1").cancel_asked_at is None


# --- what a review found --------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["retrying", "unknown", "queued"])
def test_an_outcome_with_our_id_alone_proves_it_too(store: Store, at: str) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    if at == "queued":
        store.move([Move(id="d1", to=Status.QUEUED, lease=lease, wait_s=0)])
    else:
        store.move([to_sending("d1", lease)])
        settle(store, "d1", lease, Status(at), wait_s=0 if at == "retrying" else None)

    assert store.keep_outcome(told("d1", "")) == ("stored", "d1")

    assert status(store, "d1") == "delivered"
    assert claim(store) == {}


def test_an_early_outcome_without_a_call_sid_proves_it_too(store: Store) -> None:
    store.keep_outcome(told("d1", ""))
    put(store, "d1")

    assert claim(store) == {}
    assert status(store, "d1") == "delivered"


def test_what_a_person_says_is_done_once_however_often_redis_hears_it(store: Store) -> None:
    deliver(store)
    rang = frozenset({Status.DELIVERED})
    move = Move(id="d1", to=Status.QUEUED, from_statuses=rang, restarts=True, wait_s=0)
    said = orjson.dumps([written(move)])  # once written, a client may send it again
    assert store._run("move", said, 0, "", 0) == ["ok"]
    second = claim(store)["d1"]
    begun = Move(id="d1", to=Status.SENDING, lease=second, attempt=(2, {"number": 2}))
    assert store.move([begun]) == ["ok"]
    done = Move(
        id="d1",
        to=Status.DELIVERED,
        lease=second,
        attempt=(2, {"number": 2}),
        fields={"call_sid": "CA2"},
    )
    assert store.move([done]) == ["ok"]

    assert store._run("move", said, 0, "", 0) == ["ok"], "it was done"

    assert status(store, "d1") == "delivered"
    assert claim(store) == {}, "and a phone does not ring for it a second time"


def test_two_people_who_saw_the_same_call_have_it_called_again_once(store: Store) -> None:
    deliver(store)
    seen = store.delivery("d1").lease
    rang = frozenset({Status.DELIVERED})
    again = {
        "to": Status.QUEUED,
        "from_statuses": rang,
        "expected_lease": seen,
        "restarts": True,
        "wait_s": 0,
    }
    assert store.move([Move(id="d1", **again)]) == ["ok"]
    second = claim(store)["d1"]
    store.move([Move(id="d1", to=Status.SENDING, lease=second, attempt=(2, {"number": 2}))])
    settle(store, "d1", second, Status.DELIVERED, fields={"call_sid": "CA2"})

    assert store.move([Move(id="d1", **again)]) == ["stale"]


@pytest.mark.parametrize("keeps", [True, False])
def test_a_late_word_on_a_cancellation_does_not_undo_a_call_again(
    store: Store, keeps: bool
) -> None:
    deliver(store)
    rang = frozenset({Status.DELIVERED})
    ask = Move(id="d1", to=Status.DELIVERED, from_statuses=rang, fields={"cancel_ms": 1}, wait_s=0)
    assert store.move([ask]) == ["ok"]
    lease = claim(store)["d1"]
    again(store)

    late = {"wait_s": 2.0} if keeps else {"fields": {"cancel_ms": None}}
    stays = Move(id="d1", to=Status.DELIVERED, lease=lease, from_statuses=rang, **late)

    assert store.move([stays]) == ["stale"]
    assert claim(store).keys() == {"d1"}


def test_a_settle_that_is_said_twice_does_not_undo_a_call_again(store: Store) -> None:
    deliver(store)
    lease = store.delivery("d1").lease
    again(store)

    assert settle(store, "d1", lease, Status.DELIVERED, fields={"call_sid": "CA1"}) == "stale"
    assert claim(store).keys() == {"d1"}


def test_what_callkaro_dropped_stays_cancelled_whatever_is_said_late(store: Store) -> None:
    deliver(store)
    lease = store.delivery("d1").lease
    store.keep_outcome(told("d1", hangup_reason="DELETED_SCH_CALL_ONE"))
    done = Move(
        id="d1",
        to=Status.DELIVERED,
        lease=lease,
        attempt=(1, {"number": 1}),
        fields={"call_sid": "CA1"},
    )

    assert store.move([done]) == ["stale"]
    store.replay_journal([orjson.loads(orjson.dumps(written(done)))], lease_s=60)
    assert status(store, "d1") == "cancelled"


def test_a_sure_failure_that_came_too_late_settles_what_was_in_doubt(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    store.move([to_sending("d1", lease)])
    end_lease(store, "d1")
    store.sweep()

    assert settle(store, "d1", lease, Status.RETRYING, reason=Reason.BUSY, wait_s=5) == "ok"

    kept = store.delivery("d1")
    assert (kept.status, kept.reason) == ("failed", "busy")
    assert claim(store) == {}
    assert store.next_due_s() is None


def test_an_acceptance_of_what_redis_lost_is_kept_for_its_resend(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    store.move([to_sending("d1", lease)])
    store.redis.flushall()
    assert settle(store, "d1", lease, Status.DELIVERED, fields={"call_sid": "CA1"}) == "gone"

    put(store, "d1")

    assert claim(store) == {}
    assert status(store, "d1") == "delivered"


def test_calls_of_before_are_found_and_forgotten_with_their_delivery(store: Store) -> None:
    deliver(store)
    again(store)
    second = claim(store)["d1"]
    store.move([Move(id="d1", to=Status.SENDING, lease=second, attempt=(2, {"number": 2}))])
    settle(store, "d1", second, Status.DELIVERED, fields={"call_sid": "CA2"})
    assert store.delivery("d1").past == ("CA1",)

    store.prune(datetime.now(UTC) + timedelta(minutes=1))

    assert list(store.redis.scan_iter(f"{P}call:*")) == []


def test_a_second_acceptance_can_be_found_and_is_forgotten_too(store: Store) -> None:
    deliver(store, sid="CA1")
    lease = store.delivery("d1").lease
    settle(store, "d1", lease, Status.DELIVERED, fields={"call_sid": "CA9"})
    assert store.keep_outcome(told(None, "CA9")) == ("stored", "d1")
    assert store.delivery("d1").call_sid == "CA1"

    store.prune(datetime.now(UTC) + timedelta(minutes=1))

    assert list(store.redis.scan_iter(f"{P}call:*")) == []
