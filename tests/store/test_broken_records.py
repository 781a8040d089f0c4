"""A record that makes a script raise an error costs itself alone, ends, and is seen."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import CALL_BACK, Valkey, Web, each, end_lease, lead, make_due
from support.cluster import Cluster
from support.storing import a_delivery, accept, an_event, claim, put, status, to_sending

import workers.preparation
from config import log
from rules.transitions import CRASHES_END
from schemas.delivery import Status
from schemas.errors import StoreUnavailable
from schemas.outcome import Outcome, Result
from schemas.records import Claim, EventFilters, Filters, HistoryCheck, Move
from schemas.search import FoundBy
from schemas.settings import Settings
from simulator import Simulator
from store import Store, connect
from store.base import P
from store.erasure import Eraser

OpenWeb = Callable[[Settings], Web]
MakeSettings = Callable[..., Settings]
RunDrain = Callable[..., Any]


def key(delivery_id: str) -> str:
    return f"{P}delivery:{delivery_id}"


@pytest.fixture(autouse=True)
def _logs() -> None:
    log.configure("INFO", process="test")


BREAK: dict[str, Callable[[Store, str], object]] = {
    "no JSON": lambda store, one: store.redis.hset(f"{P}early_outcome:{one}", "s:0", "{broken"),
    "JSON of another kind": lambda store, one: store.redis.hset(
        f"{P}early_outcome:{one}", "s:0", "7"
    ),
    "JSON without its fields": lambda store, one: store.redis.hset(
        f"{P}early_outcome:{one}", "s:0", "{}"
    ),
    "a list": lambda store, one: store.redis.rpush(f"{P}early_outcome:{one}", "{}"),
    "a text": lambda store, one: store.redis.set(f"{P}early_outcome:{one}", "{}"),
}


@pytest.mark.parametrize("breaks", BREAK.values(), ids=BREAK)
def test_a_record_that_breaks_the_claim_waits_once_then_fails(
    store: Store, breaks: Callable[[Store, str], object], caplog: pytest.LogCaptureFixture
) -> None:
    put(store, "a", "b", "c")
    breaks(store, "b")

    assert set(claim(store)) == {"a", "c"}

    kept = store.redis.hgetall(key("b"))
    assert (kept["status"], kept["crashes"]) == ("queued", "1")
    assert "tries once more" in kept["message"]
    assert store.redis.zscore(f"{P}leased", "b") is None
    assert claim(store) == {}

    make_due(store, "b")
    assert claim(store) == {}

    kept = store.redis.hgetall(key("b"))
    assert (kept["status"], kept["reason"]) == ("failed", "bad_request")
    assert "happened twice" in kept["message"]
    assert store.redis.zscore(f"{P}due", "b") is None
    assert store.redis.zscore(f"{P}deliveries:status:failed", "b")
    assert [line for line in caplog.text.splitlines() if "delivery.crashed" in line and "b" in line]
    assert store.counts()[Status.FAILED] == 1


def test_a_key_that_is_not_a_record_is_put_aside_and_seen(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, "a", "b")
    record = store.redis.hgetall(key("b"))
    store.redis.delete(key("b"))
    store.redis.set(key("b"), "no hash")

    assert set(claim(store)) == {"a"}

    assert store.broken_count() == 1
    assert "WRONGTYPE" in (store.redis.hget(f"{P}broken", "b") or "")
    assert (
        "status=broken" in caplog.text.replace("'", "").replace("\x1b", "")
        or "broken" in caplog.text
    )
    for name in ("due", "leased", "deliveries", "deliveries:status:queued"):
        assert store.redis.zscore(f"{P}{name}", "b") is None
    caplog.clear()
    store.audit((0, 0), lease_s=60)
    assert store.broken_count() == 1
    assert "delivery.crashed" not in caplog.text, "it was logged once"

    store.redis.delete(key("b"))
    store.redis.hset(key("b"), mapping=record)
    store.audit((0, 0), lease_s=60)
    assert store.broken_count() == 0
    assert set(claim(store)) == {"b"}


@pytest.fixture
def put_aside(store: Store) -> Store:
    """Three deliveries that a search finds; `b` is put aside."""
    for one in "abc":
        accept(store, (an_event(), [a_delivery(one, found_by=FoundBy(indexed=("nair",)))]))
    store.redis.delete(key("b"))
    store.redis.set(key("b"), "no hash")
    assert set(claim(store)) == {"a", "c"}
    return store


@each(
    "filters",
    [
        {},
        {"route": "call back"},
        {"source": "website"},
        {"source": "website", "route": "call back"},
        {"route": "call back", "status": ("sending", "queued")},
        {"unfinished": True, "route": "call back"},
        {"to": ("call", "write_back")},
    ],
)
@each("typed", [None, "nair"])
@each("is_brief", [True, False])
def test_what_was_put_aside_hides_no_other_of_a_list(
    put_aside: Store, filters: dict[str, Any], typed: str | None, is_brief: bool
) -> None:
    search = put_aside.search(typed, []) if typed else None
    page = put_aside.deliveries(
        Filters(search=search, **filters), before=None, limit=50, brief=is_brief
    )
    assert [one.id for one in page.items] == ["c", "a"]


@each("is_brief", [True, False])
def test_what_was_put_aside_hides_no_event(put_aside: Store, is_brief: bool) -> None:
    page = put_aside.events(EventFilters(), before=None, limit=50, brief=is_brief)
    seen = [(one.id, one.status) for event in page.items for one in event.deliveries]
    assert seen == [("c", "queued"), ("b", "erased"), ("a", "queued")]


def test_a_write_back_that_was_put_aside_does_not_hide_its_call(store: Store) -> None:
    put(store, "a")
    store.redis.hset(key("a"), "write_backs", "wb-1\n")
    store.redis.set(f"{P}write_back:wb-1", "no hash")

    found = store.delivery("a")
    assert found is not None
    assert (found.id, found.write_backs) == ("a", ())


def test_the_status_page_counts_what_was_put_aside(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    web = open_web(make_settings(CALL_BACK))
    put(store, "a")
    store.redis.delete(key("a"))
    store.redis.rpush(key("a"), "no hash")
    claim(store)

    [warning] = [one for one in web.get("/api/status").json["warnings"] if "put aside" in one]
    assert warning.startswith("1 put aside")


@pytest.mark.parametrize("lease", ["many", "", "1.5.2", str(2**63 - 1)])
@pytest.mark.parametrize("step", ["claim", "sweep"])
def test_a_lease_that_is_no_number_is_repaired(store: Store, step: str, lease: str) -> None:
    put(store, "a", "b")
    if step == "sweep":
        claim(store)
        end_lease(store, "a", "b")
    store.redis.hset(key("b"), "lease", lease)

    if step == "sweep":
        assert store.sweep() == (0, 1)
    assert set(claim(store)) == {"a"}

    assert store.redis.hget(key("b"), "crashes") == "1"
    make_due(store, "b")
    assert claim(store) == {"b": 1}


@pytest.mark.parametrize("order", ["not a number", "", "1 2"])
def test_what_was_on_the_wire_becomes_unknown_though_its_record_breaks_the_sweep(
    store: Store, order: str
) -> None:
    put(store, "a", "b")
    leases = claim(store)
    store.move([to_sending(one, leases[one]) for one in ("a", "b")])
    store.redis.hset(key("b"), "order", order)
    end_lease(store, "a", "b")

    assert store.sweep() == (1, 0)
    store.audit((0, 0), lease_s=60)  # it lists what an error left half done

    for one in ("a", "b"):
        assert status(store, one) == "unknown"
        assert store.redis.zscore(f"{P}leased", one) is None
        assert store.redis.zscore(f"{P}deliveries:status:unknown", one)


@pytest.mark.parametrize("order", ["not a number", "", "1 2"])
def test_a_record_that_breaks_the_audit_ends_and_the_round_goes_on(
    store: Store, order: str
) -> None:
    put(store, "a", "b", "c")
    store.redis.hset(key("b"), "order", order)
    store.redis.zrem(f"{P}due", "c")

    _, repaired = store.audit((0, 0), lease_s=60)

    assert repaired.woken == 1
    assert store.redis.hget(key("b"), "crashes") == "1"
    store.audit((0, 0), lease_s=60)
    assert store.redis.hget(key("b"), "crashes") == "1", "its order was repaired"


def test_a_cancellation_is_never_given_up(store: Store) -> None:
    put(store, "a")
    store.redis.hset(key("a"), mapping={"status": "delivered", "cancel_ms": 1})
    store.redis.zrem(f"{P}due", "a")
    for wait in (10, 20, 40, 80):
        store.count_error("a", "an error")
        assert status(store, "a") == "delivered"
        due_ms = store.redis.zscore(f"{P}due:cancel", "a")
        assert due_ms is not None
        assert wait - 5 < due_ms / 1000 - store.redis.time()[0] < wait + 2


@pytest.mark.parametrize("state", ["delivered", "skipped", "unknown", "cancelled"])
def test_an_error_changes_nothing_that_has_ended(store: Store, state: str) -> None:
    put(store, "a")
    store.redis.hset(key("a"), "status", state)
    for _ in range(3):
        store.count_error("a", "an error")
    assert status(store, "a") == state


def test_a_move_of_a_broken_record_is_told_with_its_error(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, "a", "b")
    leases = claim(store)
    store.redis.hset(key("b"), "number_claim", "{broken +919876543210")
    moves = [
        Move(id=one, to=Status.FAILED, lease=leases[one], message="+919876543210")
        for one in ("b", "a")
    ]
    assert store.move(moves) == ["crashed", "ok"]
    assert "Expected object key string" in caplog.text
    assert "9876543210" not in caplog.text


def test_a_record_that_breaks_both_moves_of_a_drain_is_put_aside(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = make_settings(CALL_BACK)
    web = open_web(settings)
    [first] = web.send("website", lead("12"))
    [second] = web.send("website", lead("+919876543212"))
    prepare = workers.preparation.prepare

    def replacing(claim: Claim, *args: Any) -> Any:
        if claim.delivery.id == first:
            store.redis.set(key(first), "no hash")
        return prepare(claim, *args)

    monkeypatch.setattr(workers.preparation, "prepare", replacing)

    run_drain(settings)

    assert store.broken_count() == 1
    assert status(store, second) == "delivered"
    assert store.redis.zcard(f"{P}leased") == 0
    assert store.redis.zscore(f"{P}due", first) is None


# --- errors that are not the record's -------------------------------------------------------------


@pytest.fixture
def without(valkey: Valkey | Cluster, redis_url: str) -> Any:
    """Return a store whose user may not run some commands, or may see these keys alone."""
    made = []

    def make(*commands: str, keys: Sequence[str] = ("~*",)) -> Store:
        rights = [*keys, "allchannels", "+@all", *(f"-{command}" for command in commands)]
        valkey.run("ACL", "SETUSER", "few", "reset", "on", ">pw", *rights)
        made.append(connect(redis_url.replace("://", "://few:pw@")))
        return Store(made[-1])

    yield make
    for client in made:
        client.close()
    valkey.run("ACL", "DELUSER", "few")


@pytest.mark.parametrize("command", ["hincrby", "hdel", "hmget", "hgetall"])
def test_a_missing_right_in_a_claim_is_no_error_of_a_record(
    store: Store, without: Callable[..., Store], command: str
) -> None:
    put(store, "a", "b")
    few = without(command)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="NOPERM"):
            few.claim(10, lease_s=60)
    for one in ("a", "b"):
        kept = store.redis.hgetall(key(one))
        assert (kept["status"], kept.get("crashes")) == ("queued", None)
    assert set(claim(store)) == {"a", "b"}


def test_a_missing_right_to_the_records_is_no_error_of_a_record(
    store: Store, without: Callable[..., Store]
) -> None:
    put(store, "a", "b")
    few = without(keys=[f"~{P}", *(f"~{P}{letter}*" for letter in "abcfglmoprst"), f"~{P}due"])
    for _ in range(CRASHES_END):
        with pytest.raises(StoreUnavailable, match="NOPERM"):
            few.claim(10, lease_s=60)
    assert [store.redis.hget(key(one), "crashes") for one in ("a", "b")] == [None, None]
    assert set(claim(store)) == {"a", "b"}


@pytest.mark.parametrize("command", ["hset", "zrem", "hdel"])
def test_a_missing_right_in_a_move_is_no_error_of_a_record(
    store: Store, without: Callable[..., Store], command: str
) -> None:
    put(store, "a", "b")
    leases = claim(store)
    for one in leases:
        store.redis.hset(key(one), "message", "It waits.")  # for the move to delete
    few = without(command)
    moves = [Move(id=one, to=Status.FAILED, lease=lease) for one, lease in leases.items()]
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="NOPERM"):
            few.move(moves)
    assert {status(store, one) for one in leases} == {"queued"}
    assert store.move(moves) == ["ok", "ok"]


def test_moves_before_and_behind_a_refused_command_are_told_apart(
    store: Store, without: Callable[..., Store]
) -> None:
    put(store, "a", "b", "c")
    leases = claim(store)
    few = without("sadd")
    waits = {"awaits_campaign": "k", "wait_s": 60}
    moves = [
        Move(id="a", to=Status.FAILED, lease=leases["a"]),
        Move(id="b", to=Status.HELD, lease=leases["b"], **waits),
        Move(id="c", to=Status.FAILED, lease=leases["c"]),
    ]
    assert few.move(moves) == ["ok", "unmade", "unmade"]
    assert status(store, "c") == "queued"


@pytest.mark.parametrize("command", ["hset", "zrem"])
def test_a_missing_right_in_a_sweep_changes_nothing(
    store: Store, without: Callable[..., Store], command: str
) -> None:
    put(store, "a")
    lease = claim(store)["a"]
    store.move([to_sending("a", lease)])
    end_lease(store, "a")
    with pytest.raises(StoreUnavailable, match="NOPERM"):
        without(command).sweep()
    store.sweep()
    assert status(store, "a") == "unknown"


@pytest.mark.parametrize("command", ["rename", "hsetnx"])
def test_a_missing_right_in_a_migration_gives_up_no_key(
    store: Store, without: Callable[..., Store], command: str
) -> None:
    store.redis.delete(f"{P}schema")
    store.redis.hset(f"{P}orphan:CA1", "doubt", json.dumps({"doubt": True, "message": "m"}))
    with pytest.raises(StoreUnavailable, match="NOPERM"):
        without(command).migrate_page("token")
    assert store.redis.get(f"{P}schema") is None
    store.redis.delete(f"{P}migration-lock")
    assert store.migrate_page("token").is_last
    assert store.redis.hexists(f"{P}early_outcome:CA1", "mark_unknown")


# --- events -------------------------------------------------------------------------------------

BROKEN_EVENTS: list[Callable[[Store, str], object]] = [
    lambda store, key: (store.redis.delete(key), store.redis.set(key, "no hash")),
    lambda store, key: store.redis.hset(key, "record", "[]"),
    lambda store, key: store.redis.hset(key, "record", '{"id": []'),
]


@pytest.mark.parametrize("breaks", BROKEN_EVENTS, ids=["no hash", "no object", "no JSON"])
@pytest.mark.parametrize("is_brief", [True, False])
def test_an_event_that_can_not_be_read_stops_no_list_no_erasure_and_no_pruning(
    store: Store, breaks: Callable[[Store, str], object], is_brief: bool
) -> None:
    events = [an_event(f"e{one}") for one in range(3)]
    accept(store, *((event, [a_delivery(f"d{at}")]) for at, event in enumerate(events)))
    settled = [Move(id=one, to=Status.SKIPPED, lease=lease) for one, lease in claim(store).items()]
    assert store.move(settled) == ["ok"] * 3
    breaks(store, f"{P}event:{events[1].id}")

    page = store.events(EventFilters(), before=None, limit=10, brief=is_brief)
    assert [one.event.id for one in page.items] == [events[2].id, events[0].id]
    assert Eraser(store=store).erase("+919876543210").is_done
    assert store.prune(datetime.now(UTC) + timedelta(days=1)) == 3
    assert store.redis.keys(f"{P}event:*") == []
    assert store.redis.keys(f"{P}delivery:*") == []


def test_a_delivery_that_is_no_hash_stops_no_pruning(store: Store) -> None:
    put(store, "one", "two", "three")
    leases = claim(store)
    settled = [Move(id=one, to=Status.SKIPPED, lease=lease) for one, lease in leases.items()]
    store.move(settled)
    store.redis.delete(f"{P}delivery:two")
    store.redis.set(f"{P}delivery:two", "no hash")

    store.prune(datetime.now(UTC) + timedelta(days=1))

    assert store.redis.keys(f"{P}delivery:*") == [f"{P}delivery:two"]
    assert store.broken_count() == 1


@pytest.mark.parametrize("order", [None, "", "x", "nan", "1e999"])
def test_a_call_without_a_place_in_time_is_not_sent_where_no_list_shows_it(
    store: Store, order: str | None
) -> None:
    put(store, "one", "two")
    leases = claim(store)
    if order is None:
        store.redis.hdel(f"{P}delivery:one", "order")
    else:
        store.redis.hset(f"{P}delivery:one", "order", order)

    became = store.move([to_sending(one, leases[one]) for one in ("one", "two")])

    assert became == ["crashed", "ok"]
    listed = store.redis.zrange(f"{P}deliveries:status:sending", 0, -1)
    assert listed == ["two"]


@pytest.mark.parametrize("value", ["", "x", "nan"])
def test_a_time_that_is_no_number_stops_no_status(store: Store, value: str) -> None:
    put(store, "one", "two")
    store.redis.hset(f"{P}delivery:one", "not_before_ms", value)
    assert store.oldest_waiting_s() is not None


@pytest.mark.parametrize("field", ["created_ms", "next_ms", "first_ms"])
def test_a_time_out_of_range_hides_no_other_delivery_of_its_page(store: Store, field: str) -> None:
    put(store, "one", "two")
    store.redis.hset(f"{P}delivery:one", field, "9" * 30)
    page = store.deliveries(Filters(), before=None, limit=10)
    assert [one.id for one in page.items] == ["two"]


# --- what all records share -----------------------------------------------------------------------


@pytest.mark.parametrize("shared", ["pauses", "breaker", "suppressed", "failing", "rate"])
def test_a_broken_key_that_all_records_share_fails_none_of_them(store: Store, shared: str) -> None:
    store.max_rate = 100.0
    put(store, "one", "two")
    leases = claim(store)
    store.redis.rpush(f"{P}{shared}", "of another type")
    guard = HistoryCheck(phone="p", person=None, rings_at=datetime.now(UTC))
    moves = [to_sending(one, lease, guard=guard) for one, lease in leases.items()]
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        store.move(moves)
    store.redis.zadd(f"{P}leased", dict.fromkeys(leases, 1))
    store.sweep()
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        claim(store)

    store.redis.delete(f"{P}{shared}")

    assert claim(store).keys() == {"one", "two"}
    assert [of.crashes for one in leases if (of := store.delivery(one))] == [0, 0]


def test_a_rate_that_is_no_number_stops_no_call(store: Store) -> None:
    store.max_rate = 100.0
    put(store, "one")
    store.redis.set(f"{P}rate", "soon")
    assert store.move([to_sending("one", claim(store)["one"])]) == ["ok"]


@pytest.mark.parametrize("place", ["none", "connected"])
def test_an_index_of_outcomes_that_can_not_be_written_stops_no_outcome(
    store: Store, place: str
) -> None:
    store.redis.set(f"{P}deliveries:outcome:{place}", "of another type")
    put(store, "one", "two")
    lease = claim(store, 1)["one"]
    store.move([to_sending("one", lease)])
    store.move([Move(id="one", to=Status.RETRYING, lease=lease, wait_s=0)])
    outcome = Outcome(call_sid="CA1", delivery_id="one", result=Result.CONNECTED)
    assert store.keep_outcome(outcome) == ("stored", "one")
    assert status(store, "one") == "delivered"  # so no phone rings again
    for _ in range(CRASHES_END):
        store.audit((0, 0), lease_s=60)
    found = store.delivery("two")
    assert found
    assert (found.status, found.crashes) == (Status.QUEUED, 0)
    store.redis.delete(f"{P}deliveries:outcome:{place}")
    store.audit((0, 0), lease_s=60)
    wanted = Filters(outcome=("connected",))
    assert [one.id for one in store.deliveries(wanted, before=None, limit=9).items] == ["one"]


def test_an_index_of_a_search_that_can_not_be_written_stops_no_call(store: Store) -> None:
    put(store, "one")
    lease = claim(store)["one"]
    store.redis.set(f"{P}find:aaa", "of another type")
    assert store.move([to_sending("one", lease, fields={"terms": "aaabcdef"})]) == ["ok"]
