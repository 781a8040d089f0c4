"""The store against a real Valkey: nothing twice, nothing lost, no move that is not allowed."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pytest
from support import each, end_lease, free_port, keys_of, make_due, move_back, until
from support.storing import (
    LEASE_S,
    NOW,
    a_delivery,
    accept,
    an_event,
    claim,
    put,
    status,
    to_sending,
)

from schemas.delivery import MOVES, Reason, Status
from schemas.errors import StoreUnavailable
from schemas.event import EventStatus
from schemas.outcome import read_outcome
from schemas.records import Filters, Move
from store import Store, connect
from store.base import P

# --- taking in ----------------------------------------------------------------------------------


def test_an_event_is_stored_with_its_deliveries(store: Store) -> None:
    event = an_event("e1", subject="77", hydrate="contacts")

    woke, [accepted] = accept(store, (event, [a_delivery("d1"), a_delivery("d2", route="two")]))

    assert woke
    assert not accepted.duplicate
    assert [(one.id, one.route, one.status) for one in accepted.deliveries] == [
        ("d1", "call back", "queued"),
        ("d2", "two", "queued"),
    ]
    found = store.event("e1")
    assert found is not None
    kept, event_status, refs = found.event, found.status, found.deliveries
    assert (kept.data, kept.time, kept.hydrate) == (event.data, NOW, "contacts")
    assert event_status is EventStatus.ROUTED
    assert refs == accepted.deliveries
    delivery = store.delivery("d1")
    assert delivery is not None
    assert (delivery.event_id, delivery.subject, delivery.routes) == ("e1", "77", "digest")
    assert [change.status for change in delivery.timeline] == ["queued"]
    assert delivery.next_attempt_at == delivery.created_at


def test_a_duplicate_is_answered_with_the_ids_and_statuses_of_the_first(store: Store) -> None:
    accept(store, (an_event("e1"), [a_delivery("d1")]))
    lease = claim(store)["d1"]
    store.move([Move(id="d1", to=Status.SKIPPED, lease=lease, reason=Reason.NO_NUMBER)])
    before = keys_of(store)

    woke, [accepted] = accept(
        store, (an_event("e1"), [a_delivery("d1"), a_delivery("d2", route="a new route")])
    )

    assert not woke
    assert accepted.duplicate
    assert accepted.event_id == "e1"
    assert [(one.id, one.status) for one in accepted.deliveries] == [("d1", "skipped")]
    assert keys_of(store) == before


def test_an_event_that_stands_twice_in_one_request_is_stored_once(store: Store) -> None:
    twice = (an_event("e1"), [a_delivery("d1")])

    _, [first, second] = accept(store, twice, twice)

    assert (first.duplicate, second.duplicate) == (False, True)
    assert first.event_id == second.event_id
    assert first.deliveries == second.deliveries
    assert list(claim(store)) == ["d1"]


def test_equal_bytes_are_a_new_event_once_their_window_is_over(store: Store) -> None:
    accept(store, (an_event("e1", fingerprint="bytes", remember_s=60), [a_delivery("d1")]))
    assert 0 < store.redis.ttl(f"{P}seen:bytes") <= 60

    _, [within] = accept(store, (an_event("e2", fingerprint="bytes"), [a_delivery("d2")]))
    store.redis.expire(f"{P}seen:bytes", 0)
    _, [after] = accept(store, (an_event("e3", fingerprint="bytes"), [a_delivery("d3")]))

    assert (within.event_id, within.duplicate) == ("e1", True)
    assert (after.event_id, after.duplicate) == ("e3", False)
    assert sorted(claim(store)) == ["d1", "d3"]


def test_an_event_that_no_route_wants_or_nobody_can_read_is_kept(store: Store) -> None:
    woke, [unrouted, unreadable] = accept(
        store, (an_event("e1"), []), (an_event("e2", problem="It is no JSON object."), [])
    )

    assert not woke
    assert (unrouted.status, unreadable.status) == ("unrouted", "unreadable")
    for event_id, expected in (("e1", "unrouted"), ("e2", "unreadable")):
        found = store.event(event_id)
        assert found is not None
        assert found.status == expected
        assert found.deliveries == ()
    assert accept(store, (an_event("e2"), []))[1][0].status == "unreadable"


def test_ids_longer_than_a_double_keep_every_digit(store: Store) -> None:
    accept(store, (an_event("e1", data={"id": 5725767000000411001}), []))

    found = store.event("e1")

    assert found is not None
    assert found.event.data == {"id": 5725767000000411001}


def test_the_bell_is_rung_once_until_a_drain_answers_it(store: Store) -> None:
    first, _ = accept(store, (an_event(), [a_delivery("d1")]))
    store.redis.set(f"{P}wakeup", "1")  # as it was, and for good
    second, _ = accept(store, (an_event(), [a_delivery("d2")]))
    assert not store.set_wakeup()
    store.clear_wakeup()
    third, _ = accept(store, (an_event(), [a_delivery("d3")]))

    assert (first, second, third) == (True, False, True)


def test_the_bell_is_not_rung_for_what_is_due_later(store: Store) -> None:
    woke, _ = accept(store, (an_event(), [a_delivery("d1", wait_s=120)]))

    assert not woke
    assert store.set_wakeup()


# --- claiming -----------------------------------------------------------------------------------


def test_what_is_claimed_is_leased_and_claimed_by_nobody_else(store: Store) -> None:
    accept(store, (an_event("e1"), [a_delivery("d1")]))

    claimed = store.claim(10, lease_s=LEASE_S)
    now, [mine] = claimed.now, claimed.claims

    assert mine.delivery.lease == 1
    assert mine.event is not None
    assert mine.event.id == "e1"
    assert mine.delivery.next_attempt_at is None
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
    assert claim(store) == {}
    assert store.due_count() == 0


def test_a_claim_takes_the_oldest_and_no_more_than_its_limit(store: Store) -> None:
    for delivery_id in ("d1", "d2", "d3"):
        put(store, delivery_id)
    for place, delivery_id in enumerate(("d1", "d2", "d3")):
        store.redis.zadd(f"{P}due", {delivery_id: 1000 + place})

    assert list(claim(store, limit=2)) == ["d1", "d2"]
    assert list(claim(store, limit=2)) == ["d3"]


def test_what_is_not_due_yet_is_not_claimed(store: Store) -> None:
    put(store, "d1", wait_s=600)

    assert claim(store) == {}
    due_s = store.next_due_s()
    assert due_s is not None
    assert 0 < due_s <= 600
    make_due(store, "d1")
    assert claim(store) == {"d1": 1}


def test_two_claimers_never_get_the_same_delivery(store: Store, redis_url: str) -> None:
    put(store, *(f"d{number}" for number in range(300)))

    def claim_all(_: int) -> list[str]:
        with connect(redis_url) as client:
            mine = Store(client)
            return [one for batch in iter(lambda: claim(mine, limit=7), {}) for one in batch]

    with ThreadPoolExecutor(8) as pool:
        claimed = [one for ids in pool.map(claim_all, range(8)) for one in ids]

    assert sorted(claimed) == sorted(f"d{number}" for number in range(300))


def test_what_was_held_for_hours_remembers_for_how_long(store: Store) -> None:
    put(store, "d1", "d2")
    leases = claim(store)
    due_at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    for delivery_id, reason in (("d1", Reason.OUTSIDE_HOURS), ("d2", Reason.ROUTE_MISSING)):
        held = Move(
            id=delivery_id,
            to=Status.HELD,
            lease=leases[delivery_id],
            reason=reason,
            message="Why.",
            due_at=due_at,
        )
        assert store.move([held]) == ["ok"]
        found = store.delivery(delivery_id)
        assert found is not None
        assert (found.status, found.reason, found.message) == ("held", reason, "Why.")
        assert found.next_attempt_at == due_at.replace(
            microsecond=due_at.microsecond // 1000 * 1000
        )
        move_back(store, delivery_id, "held_since_ms", 3600)
    make_due(store, "d1", "d2")

    claims = {one.delivery.id: one.delivery for one in store.claim(10, lease_s=LEASE_S).claims}

    assert {one.status for one in claims.values()} == {"queued"}
    assert {one.reason for one in claims.values()} == {None}
    assert claims["d1"].held_ms >= 3_600_000
    assert claims["d2"].held_ms == 0
    assert [change.status for change in claims["d1"].timeline] == ["queued", "held", "queued"]
    assert store.counts()["held"] == 0
    assert store.counts()["queued"] == 2


def test_what_was_settled_meanwhile_is_not_claimed(store: Store) -> None:
    put(store, "d1")
    assert store.move([Move(id="d1", to=Status.CANCELLED)]) == ["ok"]
    store.redis.zadd(f"{P}due", {"d1": 1, "no-such-delivery": 1})

    assert claim(store) == {}
    assert store.due_count() == 0


# --- moving -------------------------------------------------------------------------------------


PAIRS = [(old, new) for old in Status for new in Status]


@pytest.mark.parametrize(("old", "new"), PAIRS, ids=str)
def test_only_the_moves_of_the_diagram_are_made(store: Store, old: Status, new: Status) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    store.redis.hset(f"{P}delivery:d1", "status", old)
    store.redis.zrem(f"{P}deliveries:status:queued", "d1")
    store.redis.zadd(f"{P}deliveries:status:{old}", {"d1": 1})
    stays = old is new and old in {Status.QUEUED, Status.RETRYING}
    allowed = new in MOVES[old] or stays or new is Status.DELIVERED

    [answer] = store.move([Move(id="d1", to=new, lease=lease, attempt=(1, {"number": 1}))])

    assert answer == ("ok" if allowed else f"refused {old}")
    now = new if allowed else old
    assert status(store, "d1") == now
    assert {name: count for name, count in store.counts().items() if count} == {now: 1}


def test_no_status_has_a_way_back_to_the_wire_but_queued_and_retrying() -> None:
    assert {old for old, moves in MOVES.items() if Status.SENDING in moves} == {
        Status.QUEUED,
        Status.RETRYING,
    }
    assert MOVES[Status.UNKNOWN] == {Status.DELIVERED, Status.FAILED}


def test_a_lease_that_was_lost_moves_nothing(store: Store) -> None:
    put(store, "d1")
    old = claim(store)["d1"]
    end_lease(store, "d1")
    assert store.sweep() == (0, 1)
    new = claim(store)["d1"]
    assert new > old

    answers = store.move([to_sending("d1", old), Move(id="d1", to=Status.SKIPPED, lease=old)])

    assert answers == ["stale", "stale"]
    assert status(store, "d1") == "queued"
    assert store.move([to_sending("d1", new)]) == ["ok"]


def test_a_move_of_nothing_says_so(store: Store) -> None:
    assert store.move([to_sending("no-such-delivery", 1)]) == ["gone"]
    assert store.move([]) == []


def test_one_refused_move_does_not_cost_its_neighbours(store: Store) -> None:
    put(store, "d1", "d2", "d3")
    leases = claim(store)

    answers = store.move(
        [
            to_sending("d1", leases["d1"]),
            to_sending("d2", leases["d2"] - 1),
            to_sending("d3", leases["d3"]),
        ]
    )

    assert answers == ["ok", "stale", "ok"]


def test_sending_needs_enough_of_the_lease_left(store: Store) -> None:
    put(store, "d1")
    lease = claim(store, lease_s=30)["d1"]

    assert store.move([to_sending("d1", lease, needs_s=31)]) == ["late"]
    assert status(store, "d1") == "queued"
    assert store.move([to_sending("d1", lease, needs_s=5)]) == ["ok"]


def test_what_was_given_back_is_not_sent_by_a_move_that_comes_late(store: Store) -> None:
    """A Redis that stood still may run the two in the other order."""
    put(store, "d1")
    lease = claim(store)["d1"]
    assert store.move([Move(id="d1", to=Status.QUEUED, lease=lease, wait_s=1)]) == ["ok"]

    assert store.move([to_sending("d1", lease, needs_s=5)]) == ["late"]
    assert status(store, "d1") == "queued"


def test_an_attempt_is_written_down_before_and_after(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    store.move([to_sending("d1", lease, fields={"request": '{"to_number": "+91"}', "spent": 1})])
    before = store.delivery("d1")
    store.move(
        [
            Move(
                id="d1",
                to=Status.RETRYING,
                lease=lease,
                message="CallKaro is busy (503).",
                attempt=(1, {"number": 1, "status_code": 503}),
                wait_s=4.5,
            )
        ]
    )
    after = store.delivery("d1")

    assert before is not None
    assert after is not None
    assert (before.attempts, before.spent) == (({"number": 1},), 1)
    assert before.request == {"to_number": "+91"}
    assert after.attempts == ({"number": 1, "status_code": 503},)
    assert after.message == "CallKaro is busy (503)."
    assert after.next_attempt_at == after.timeline[-1].at + timedelta(seconds=4.5)
    assert [change.status for change in after.timeline] == ["queued", "sending", "retrying"]


def test_proof_of_acceptance_counts_under_any_lease(store: Store) -> None:
    put(store, "d1")
    old = claim(store)["d1"]
    end_lease(store, "d1")
    store.sweep()
    claim(store)

    late = Move(
        id="d1",
        to=Status.DELIVERED,
        lease=old,
        fields={"call_sid": "CA1"},
        attempt=(1, {"number": 1, "status_code": 200}),
    )

    assert store.move([late]) == ["ok"]
    found = store.delivery("d1")
    assert found is not None
    assert (found.status, found.call_sid) == ("delivered", "CA1")
    assert store.redis.zcard(f"{P}leased") == 0


def test_the_rate_cap_holds_over_all_workers(redis_url: str, store: Store) -> None:
    put(store, "d1", "d2", "d3")
    leases = claim(store)
    with connect(redis_url) as one, connect(redis_url) as other:
        first, second = Store(one, max_rate=0.1), Store(other, max_rate=0.1)

        begun = first.move([to_sending("d1", leases["d1"]), to_sending("d2", leases["d2"])])
        elsewhere = second.move([to_sending("d3", leases["d3"])])

    assert begun[0] == "ok"
    for answer in (begun[1], *elsewhere):
        word, wait_ms = answer.split()
        assert word == "wait"
        assert 0 < int(wait_ms) <= 10_600  # 5 % below the cap
    assert store.counts() == {**dict.fromkeys(Status, 0), "sending": 1, "queued": 2}


def test_the_rate_cap_is_never_exceeded_however_hard_it_is_pressed(
    redis_url: str, store: Store
) -> None:
    ids = [f"d{number}" for number in range(20)]
    put(store, *ids)
    leases = claim(store)

    def press(mine: list[str]) -> None:
        with connect(redis_url) as client:
            capped = Store(client, max_rate=50)
            for one in mine:
                until(lambda one=one: capped.move([to_sending(one, leases[one])]) == ["ok"])

    began = monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(press, (ids[start::4] for start in range(4))))
    took_s = monotonic() - began

    # The first may go at once, and one slack of 20 ms is given once.
    assert took_s >= 19 / 50 - 0.02 - 0.005


# --- sweeping -----------------------------------------------------------------------------------


@each("pause", ["all", "callkaro", "source:website", "route:call back"])
def test_a_late_refusal_settles_although_a_pause_is_on(store: Store, pause: str) -> None:
    put(store, f"d-{pause}")
    lease = claim(store)[f"d-{pause}"]
    store.move([to_sending(f"d-{pause}", lease)])
    end_lease(store, f"d-{pause}")
    assert store.sweep() == (1, 0)
    store.pause(pause, reason="person", message="x")
    row = {"most": 5, "pause": "{}"}
    late = Move(
        id=f"d-{pause}",
        to=Status.FAILED,
        lease=lease,
        reason=Reason.REFUSED,
        message="CallKaro refused it.",
        attempt=(1, {"number": 1}),
        row=row,
    )

    assert store.move([late]) == ["ok"]
    assert status(store, f"d-{pause}") == "failed"
    store.resume(pause)


def test_a_dead_workers_sending_becomes_unknown_and_its_late_answer_settles_it(
    store: Store,
) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    store.move([to_sending("d1", lease)])
    end_lease(store, "d1")

    assert store.sweep() == (1, 0)

    found = store.delivery("d1")
    assert found is not None
    assert (found.status, found.reason, found.lease) == ("unknown", "worker_died", lease)
    assert found.message
    assert claim(store) == {}
    assert store.move([to_sending("d1", lease)]) == ["refused unknown"]
    late = Move(id="d1", to=Status.DELIVERED, lease=lease, fields={"call_sid": "CA1"})
    assert store.move([late]) == ["ok"]
    assert status(store, "d1") == "delivered"


def test_an_unknowns_late_refusal_settles_it_too(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    store.move([to_sending("d1", lease)])
    end_lease(store, "d1")
    store.sweep()

    late = Move(id="d1", to=Status.RETRYING, lease=lease, wait_s=1)

    assert store.move([late]) == ["refused unknown"]
    late = Move(id="d1", to=Status.FAILED, lease=lease, reason=Reason.REFUSED)
    assert store.move([late]) == ["ok"]


def test_what_a_dead_worker_had_not_begun_is_due_again_under_a_new_lease(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    end_lease(store, "d1")

    assert store.sweep() == (0, 1)

    found = store.delivery("d1")
    assert found is not None
    assert (found.status, found.lease) == ("queued", lease + 1)
    assert claim(store) == {"d1": lease + 2}


def test_a_lease_that_still_runs_is_left_alone(store: Store) -> None:
    put(store, "d1", "d2")
    leases = claim(store)
    store.move([to_sending("d2", leases["d2"])])

    assert store.sweep() == (0, 0)
    assert (status(store, "d1"), status(store, "d2")) == ("queued", "sending")


def test_a_campaign_that_was_being_made_is_simply_made_again(store: Store) -> None:
    """An empty campaign rings nobody."""
    accept(store, (an_event(), [a_delivery("d1", to="campaign")]))
    lease = claim(store)["d1"]
    store.move([to_sending("d1", lease)])
    end_lease(store, "d1")

    assert store.sweep() == (0, 1)

    assert status(store, "d1") == "retrying"
    assert store.move([Move(id="d1", to=Status.FAILED, lease=lease)]) == ["stale"]
    assert claim(store) == {"d1": lease + 2}


# --- forgetting ---------------------------------------------------------------------------------


def test_what_is_final_is_forgotten_in_time_and_nothing_else(store: Store) -> None:
    put(store, "d1", "d2", "d3", "d4")
    accept(store, (an_event("e1"), [a_delivery("d5"), a_delivery("d6", route="two")]))
    accept(store, (an_event("e2"), []), (an_event("e3", problem="Broken."), []))
    store.keep_campaign("v2/Leads", "batch-1", {})
    leases = claim(store)
    for delivery_id in ("d2", "d3"):
        store.move([to_sending(delivery_id, leases[delivery_id], phone="a-hash")])
    store.move([Move(id="d2", to=Status.UNKNOWN, lease=leases["d2"])])
    for delivery_id, to in (
        ("d3", Status.DELIVERED),
        ("d4", Status.FAILED),
        ("d5", Status.SKIPPED),
    ):
        store.move([Move(id=delivery_id, to=to, lease=leases[delivery_id])])
    gone = store.delivery("d3")
    assert gone is not None

    assert store.prune(datetime.now(UTC) - timedelta(days=1)) == 0
    assert store.prune(datetime.now(UTC) + timedelta(days=1)) == 5

    assert [store.delivery(f"d{number}") is None for number in range(1, 7)] == [
        False,
        False,
        True,
        True,
        True,
        False,
    ]
    found = [store.event(event_id) is None for event_id in (gone.event_id, "e1", "e2", "e3")]
    assert found == [True, False, True, True]
    assert sorted(listed(store)) == ["d1", "d2", "d6"]
    assert store.counts() == {**dict.fromkeys(Status, 0), "queued": 2, "unknown": 1}
    assert store.redis.zcard(f"{P}deliveries:phone:a-hash") == 1
    assert store.campaigns_kept(["v2/Leads"])
    # Event ids outlive records: a resend is still a duplicate.
    _, [resent] = accept(store, (an_event("e2"), [a_delivery("d7")]))
    assert resent.duplicate
    _, [known] = accept(store, (an_event("e1"), []))
    assert [(one.id, one.status) for one in known.deliveries] == [
        ("d5", "erased"),
        ("d6", "queued"),
    ]


# --- listing ------------------------------------------------------------------------------------


@pytest.fixture
def twelve(store: Store) -> Store:
    """d0 to d11, the oldest first; two routes, two sources, three subjects, some skipped."""
    for number in range(12):
        event = an_event(
            source=("website", "zoho")[number % 2], subject=str(number % 3), data={"n": number}
        )
        accept(store, (event, [a_delivery(f"d{number}", route=("one", "two")[number // 6])]))
    leases = claim(store)
    number = store.phone_key("+919876543210")
    for delivery_id in ("d0", "d3", "d9"):
        store.move([to_sending(delivery_id, leases[delivery_id], phone=number)])
    for delivery_id in ("d1", "d3", "d8"):
        store.move([Move(id=delivery_id, to=Status.FAILED, lease=leases[delivery_id])])
    return store


def listed(store: Store, limit: int = 50, before: int | None = None, **filters: Any) -> list[str]:
    page = store.deliveries(Filters(**filters), before=before, limit=limit)
    return [one.id for one in page.items]


def test_deliveries_are_listed_newest_first(twelve: Store) -> None:
    assert listed(twelve) == [f"d{number}" for number in reversed(range(12))]


@each(
    ("filters", "expected"),
    [
        ({"status": ("failed",)}, ["d8", "d3", "d1"]),
        ({"status": ("failed", "sending")}, ["d9", "d8", "d3", "d1", "d0"]),
        ({"route": "one"}, ["d5", "d4", "d3", "d2", "d1", "d0"]),
        ({"route": "one", "source": "zoho"}, ["d5", "d3", "d1"]),
        ({"route": "one", "source": "zoho", "status": ("failed",)}, ["d3", "d1"]),
        ({"subject": "0"}, ["d9", "d6", "d3", "d0"]),
        ({"subject": "0", "route": "two"}, ["d9", "d6"]),
        ({"phone": "+919876543210"}, ["d9", "d3", "d0"]),
        ({"phone": "+919876543210", "status": ("sending",)}, ["d9", "d0"]),
        ({"phone": "+919876543211"}, []),
        ({"route": "no such route"}, []),
    ],
)
def test_filters_combine(twelve: Store, filters: dict[str, Any], expected: list[str]) -> None:
    assert listed(twelve, **filters) == expected
    pages, before = [], None
    while True:
        page = twelve.deliveries(Filters(**filters), before=before, limit=2)
        pages += [one.id for one in page.items]
        if page.next_cursor is None:
            break
        before = int(page.next_cursor)
    assert pages == expected


def test_since_and_until_bound_the_list(twelve: Store) -> None:
    third, eighth = twelve.delivery("d3"), twelve.delivery("d8")
    assert third is not None
    assert eighth is not None
    at = [datetime.fromtimestamp(one.order / 1e6, UTC) for one in (third, eighth)]

    assert listed(twelve, since=at[0], until=at[1]) == ["d8", "d7", "d6", "d5", "d4", "d3"]
    assert listed(twelve, since=at[1] + timedelta(days=1)) == []


def test_pages_are_stable_while_new_deliveries_come_in(store: Store) -> None:
    put(store, *(f"d{number}" for number in range(10)))
    seen: list[str] = []
    before: int | None = None

    for turn in range(20):
        page = store.deliveries(Filters(), before=before, limit=3)
        seen += [one.id for one in page.items]
        if page.next_cursor is None:
            break
        before = int(page.next_cursor)
        put(store, f"new{turn}")

    assert seen == [f"d{number}" for number in reversed(range(10))]


def test_a_number_is_found_by_a_keyed_hash_and_never_stands_in_a_key(twelve: Store) -> None:
    hashed = twelve.phone_key("+919876543210")

    assert hashed == twelve.phone_key("+919876543210")
    assert hashed != twelve.phone_key("+919876543211")
    assert not [key for key in twelve.redis.scan_iter("*") if "9876543210" in key]


def test_two_processes_hash_a_number_alike(store: Store, redis_url: str) -> None:
    with connect(redis_url) as client:
        assert Store(client).phone_key("+919876543210") == store.phone_key("+919876543210")


def test_counts_and_ages_tell_what_waits(store: Store) -> None:
    assert store.oldest_waiting_s() is None
    assert store.next_due_s() is None

    put(store, "d1")

    waited = store.oldest_waiting_s()
    assert waited is not None
    assert waited >= 0
    assert store.counts() == {**dict.fromkeys(Status, 0), "queued": 1}
    assert store.due_count() == 1


# --- campaigns and tokens -----------------------------------------------------------------------


def test_the_first_batch_id_of_a_campaign_wins(store: Store) -> None:
    assert store.campaigns_kept(["v2/Leads"]) == {}

    first = store.keep_campaign("v2/Leads", "batch-1", {"name": "Leads"})
    second = store.keep_campaign("v2/Leads", "batch-2", {"name": "Other"})

    assert (first, second) == ("batch-1", "batch-1")
    assert store.campaigns_kept(["v2/Leads", "v2/None"]) == {"v2/Leads": "batch-1"}
    assert store.campaigns() == [{"key": "v2/Leads", "batch_id": "batch-1", "name": "Leads"}]


def test_a_campaign_wakes_whoever_awaits_it(store: Store) -> None:
    put(store, "d1", "d2")
    leases = claim(store)
    due_at = datetime.now(UTC) + timedelta(hours=1)
    for delivery_id, key in (("d1", "key/7"), ("d2", "key/8")):
        held = Move(
            id=delivery_id,
            to=Status.HELD,
            lease=leases[delivery_id],
            reason=Reason.AWAITING_CAMPAIGN,
            due_at=due_at,
            awaits_campaign=key,
        )
        assert store.move([held]) == ["ok"]
    assert claim(store) == {}

    store.keep_campaign("key/7", "batch-1", {})

    assert claim(store) == {"d1": 2}


def test_only_one_may_create_a_campaign_or_refresh_a_token(store: Store) -> None:
    assert store.may_create_campaign("key")
    assert not store.may_create_campaign("key")
    store.give_up_campaign("key")
    assert store.may_create_campaign("key")

    assert store.may_refresh_token("zoho")
    assert not store.may_refresh_token("zoho")
    store.done_refreshing("zoho")
    assert store.may_refresh_token("zoho")


def test_a_token_is_shared_until_it_runs_out_or_is_dropped(store: Store) -> None:
    assert store.token("zoho") is None
    store.put_token("zoho", {"token": "t", "api_url": "https://api"}, for_s=60)
    assert store.token("zoho") == {"token": "t", "api_url": "https://api"}
    assert 0 < store.redis.ttl(f"{P}token:zoho") <= 60
    store.drop_token("zoho", "t")
    assert store.token("zoho") is None


def test_a_token_that_was_refused_late_costs_no_newer_one(store: Store) -> None:
    store.put_token("zoho", {"token": "new"}, for_s=60)
    store.drop_token("zoho", "old")
    assert store.token("zoho") == {"token": "new"}
    store.drop_token("hubspot", "old")


# --- when Redis can't ---------------------------------------------------------------------------


def test_every_method_says_when_redis_is_away(redis_url: str) -> None:
    scheme = redis_url.partition(":")[0]
    with connect(f"{scheme}://127.0.0.1:{free_port()}/0") as client:
        store = Store(client)
        move = Move(id="d1", to=Status.SKIPPED, lease=1)
        for ask in (
            lambda: accept(store, (an_event(), [a_delivery("d1")])),
            store.set_wakeup,
            store.clear_wakeup,
            lambda: store.claim(1, lease_s=1),
            lambda: store.move([move]),
            store.sweep,
            store.next_due_s,
            lambda: store.event("e1"),
            lambda: store.delivery("d1"),
            lambda: store.deliveries(Filters(phone="+919876543210"), before=None, limit=1),
            store.counts,
            store.campaigns,
            lambda: store.campaigns_kept(["k"]),
            store.persistence,
            store.ping,
        ):
            with pytest.raises(StoreUnavailable):
                ask()


def test_a_full_redis_takes_nothing_in_and_nothing_is_half_written(
    store: Store, redis_url: str
) -> None:
    put(store, "d1")
    before = keys_of(store)
    store.redis.config_set("maxmemory", 1)

    # This one has looked at the memory a moment ago, so Redis itself refuses the script.
    with pytest.raises(StoreUnavailable):
        put(store, "d2", "d3")
    with connect(redis_url) as client, pytest.raises(StoreUnavailable):
        put(Store(client), "d4")

    assert keys_of(store) == before
    store.redis.config_set("maxmemory", 0)
    assert claim(store) == {"d1": 1}


def test_a_nearly_full_redis_takes_nothing_in_but_lets_workers_settle(
    store: Store, redis_url: str
) -> None:
    put(store, "d1")
    # So much that what else comes and goes, of connections, moves the share of it by very little.
    store.redis.setrange(f"{P}ballast", 100_000_000, "x")
    used = int(store.redis.info("memory")["used_memory"])
    store.redis.config_set("maxmemory", int(used / 0.92))
    with connect(redis_url) as client:
        fresh = Store(client)

        with pytest.raises(StoreUnavailable):
            put(fresh, "d2")
        lease = claim(fresh)["d1"]
        assert fresh.move([to_sending("d1", lease)]) == ["ok"]
        assert fresh.move([Move(id="d1", to=Status.DELIVERED, lease=lease)]) == ["ok"]


def test_a_full_redis_takes_nothing_in_and_lets_everything_else_through(store: Store) -> None:
    put(store, "d1", "d2", "d3")
    leases = claim(store, 2)
    store.move([to_sending(one, lease) for one, lease in leases.items()])
    [settles, dies] = leases
    end_lease(store, dies)
    store.redis.config_set("maxmemory", 1)

    with pytest.raises(StoreUnavailable):
        put(store, "d4")
    sid = {"call_sid": "CA1"}
    settled = Move(
        id=settles,
        to=Status.DELIVERED,
        lease=leases[settles],
        fields=sid,
        attempt=(1, {"number": 1}),
    )
    assert store.move([settled]) == ["ok"]
    outcome = read_outcome({"event": "call_ended", "data": {"callSid": "CA1"}}, "Asia/Kolkata")
    assert outcome is not None
    assert store.keep_outcome(outcome) == ("stored", settles)
    assert store.sweep() == (1, 0)
    assert len(claim(store)) == 1
    store.audit((0, 0), lease_s=60)
    assert store.counts() == {
        **dict.fromkeys(Status, 0),
        "delivered": 1,
        "unknown": 1,
        "queued": 1,
    }


def test_a_full_redis_still_lets_a_campaign_be_made_and_a_pause_be_ended(store: Store) -> None:
    store.pause("all", reason="person", message="Wait.")
    put(store, "d1")
    claim(store)
    store.redis.config_set("maxmemory", 1)

    assert store.may_create_campaign("key")
    assert store.may_ask_callkaro("cancel:d1", despite_pause=True).is_granted
    assert store.resume("all") == 1


def test_a_record_that_can_not_be_read_costs_no_other_its_claim(store: Store) -> None:
    put(store, "d1", "bad", "d2")
    store.redis.hset(f"{P}delivery:bad", "routes_since", "never")
    store.redis.hset(f"{P}delivery:bad", "created_ms", "what?")

    assert claim(store).keys() == {"d1", "d2"}

    assert store.redis.hget(f"{P}delivery:bad", "status") == "failed"
    assert claim(store) == {}
    page = store.deliveries(Filters(), before=None, limit=10)
    assert {one.id for one in page.items} == {"d1", "d2"}, "nor its page the others"


def test_persistence_is_told_as_it_is(store: Store) -> None:
    kept = store.persistence()

    assert (kept.append_only, kept.fsync, kept.policy) == (True, "always", "noeviction")
    assert kept.used_ratio is None
    store.redis.config_set("maxmemory", 10**9)
    assert 0 < (store.persistence().used_ratio or 0) < 1
