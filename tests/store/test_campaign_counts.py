"""The calls of a campaign: its index, its counts and its list agree with the records."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from support import examples
from support.storing import a_delivery, accept, an_event, claim, put, to_sending

from bridge.operations.deliveries import RESTARTED
from schemas.delivery import WAITING, Delivery, Status
from schemas.outcome import Outcome, Result
from schemas.records import NO_OUTCOME, CampaignCounts, CampaignFilter, Filters, Move
from store import Store, campaigns
from store.base import P
from store.records import outcome_of

NAMED, GIVEN = "a route that names its campaign", "a route whose records name theirs"
BY_NAME = frozenset({NAMED})
ONE = CampaignFilter(campaigns=frozenset({"b-1", "key/1"}), named=BY_NAME)
TWO = CampaignFilter(campaigns=frozenset({"b-2"}), named=BY_NAME)
OF_NAME = CampaignFilter(campaigns=frozenset({"b-n", "v2/N"}), routes=BY_NAME, named=BY_NAME)
ALL = (ONE, TWO, OF_NAME)


@pytest.fixture(autouse=True)
def _is_indexed(store: Store) -> None:
    store.note_indexed(0, is_first=True, is_last=True)


def counted(store: Store, of: CampaignFilter = ONE) -> CampaignCounts:
    [found] = store.campaign_counts([of])
    return found


def listed(store: Store, of: CampaignFilter, *status: str) -> list[str]:
    filters = Filters(campaign=of, status=status)
    return [one.id for one in store.deliveries(filters, before=None, limit=200, brief=True).items]


def records(store: Store) -> list[Delivery]:
    found = (store.delivery(one) for one in store.redis.zrange(f"{P}deliveries", 0, -1))
    return [one for one in found if one is not None]


def check(store: Store) -> None:
    """Fail unless all that is known of each campaign is what the records say."""
    found = records(store)
    for of in ALL:
        members = [one for one in found if of.has(one)]
        counts = counted(store, of)
        assert counts.statuses == Counter(str(one.status) for one in members)
        outcomes = [outcome_of(one) for one in members]
        assert counts.outcomes == Counter(str(one) for one in outcomes if one)
        for statuses in ((), tuple(WAITING)):
            fitting = [one for one in members if not statuses or one.status in statuses]
            assert store.count(Filters(campaign=of, status=statuses)) == len(fitting)
            assert sorted(listed(store, of, *statuses)) == sorted(one.id for one in fitting)


def audit(store: Store) -> int:
    """Go once round all deliveries, and return how many were missing in an index."""
    place, indexed = (0, 0), 0
    while True:
        place, repaired = store.audit(place, lease_s=60)
        indexed += repaired.indexed
        if place == (0, 0):
            return indexed


def send(
    store: Store, one: str, batch_id: str | None = "b-1", to: Status = Status.DELIVERED, **more: Any
) -> None:
    """Send a delivery that is due, in a campaign."""
    lease = claim(store, 1)[one]
    fields = {"batch_id": batch_id, "campaign_key": None}
    assert store.move([to_sending(one, lease, fields=fields)]) == ["ok"]
    answered = Move(id=one, to=to, lease=lease, attempt=(1, {"number": 1}), **more)
    assert store.move([answered]) == ["ok"]


def count_page(store: Store, of: str = "b-1", *, size: int = 10) -> tuple[int | str, int]:
    """Count a page again; return what the script returns."""
    counted, is_last = store._run("recount_campaign", of, 1000, size)
    return counted, is_last


def in_hash(store: Store) -> dict[str, int]:
    """Return how many calls of the campaign b-1 there are by its hash, those pruned left out."""
    found = store.redis.hgetall(f"{P}campaign_counts:b-1")
    return {name: int(n) for name, n in found.items() if not name.endswith("_ms")}


def by_record(store: Store) -> dict[str, int]:
    """Count the calls of the campaign b-1 as its hash does."""
    of = CampaignFilter(campaigns=frozenset({"b-1"}))
    members = [one for one in records(store) if of.has(one)]
    outcomes = [f"outcome {outcome_of(one)}" for one in members if outcome_of(one)]
    return dict(Counter([*(f"{one.status} {one.route}" for one in members), *outcomes]))


def an_outcome(one: str, sid: str = "CA1", **more: Any) -> Outcome:
    made: dict[str, Any] = {"result": Result.CONNECTED, "is_final": True, **more}
    return Outcome(call_sid=sid, delivery_id=one, try_count=0, **made)


# --- whatever happens -----------------------------------------------------------------------------


class Calls(RuleBasedStateMachine):
    """Three deliveries of each route, and what happens to them, in any order."""

    store: Store  # set by the test
    ids = st.sampled_from([f"{route}{number}" for route in "ng" for number in range(3)])
    batches = st.sampled_from(["b-1", "b-2", "b-n", None])
    keys = st.sampled_from(["key/1", "b-2", "v2/N", None])

    @initialize()
    def begin(self) -> None:
        self.store.redis.flushdb()
        self.store.note_indexed(0, is_first=True, is_last=True)
        self.sids, self.leases = count(), dict[str, int]()
        for letter, route in (("n", NAMED), ("g", GIVEN)):
            made = [a_delivery(f"{letter}{number}", route=route) for number in range(3)]
            accept(self.store, *((an_event(), [one]) for one in made))

    @rule(one=ids, batch_id=batches, to=st.sampled_from(["delivered", "retrying", "unknown", "x"]))
    def send(self, one: str, batch_id: str | None, to: str) -> None:
        self.leases |= claim(self.store)  # an old one is refused
        lease = self.leases.get(one, 0)
        fields = {"batch_id": batch_id, "campaign_key": None}
        self.store.move([to_sending(one, lease, fields=fields)])
        if to != "x":
            sid = {"call_sid": f"CA{next(self.sids)}"} if to == "delivered" else {}
            move = Move(id=one, to=Status(to), lease=lease, attempt=(1, {"number": 1}), fields=sid)
            self.store.move([move])
        self.store.redis.zadd(f"{P}due:retry", {one: 1}, xx=True)

    @rule(one=ids, key=keys, to=st.sampled_from([Status.HELD, Status.CANCELLED, Status.SKIPPED]))
    def stop(self, one: str, key: str | None, to: Status) -> None:
        wait = {"wait_s": 0} if to is Status.HELD else {}
        self.store.move([Move(id=one, to=to, fields={"campaign_key": key}, **wait)])

    @rule(one=ids)
    def restart(self, one: str) -> None:
        ended = frozenset({Status.DELIVERED, Status.CANCELLED, Status.SKIPPED, Status.UNKNOWN})
        move = Move(
            id=one,
            to=Status.QUEUED,
            from_statuses=ended,
            restarts=True,
            wait_s=0,
            fields={**RESTARTED, "call_again": 1},
        )
        self.store.move([move])

    @rule(one=ids, sid=st.sampled_from(["CA0", "CA1", "CA7"]), result=st.sampled_from(Result))
    def hear(self, one: str, sid: str, result: Result) -> None:
        self.store.keep_outcome(an_outcome(one, sid, result=result))

    @rule(one=ids)
    def erase(self, one: str) -> None:
        self.store.erase_deliveries([one])

    @rule(lost=st.sampled_from(["", "deliveries:campaign:b-1", "campaign_counts:b-1"]))
    def repair(self, lost: str) -> None:
        if lost:
            self.store.redis.delete(f"{P}{lost}")
        audit(self.store)  # indexes what is missing
        audit(self.store)  # begins with the counts

    @invariant()
    def all_agree(self) -> None:
        check(self.store)


def test_counts_and_lists_follow_the_records_whatever_happens(store: Store) -> None:
    machine = type("OfThisStore", (Calls,), {"store": store})
    run_state_machine_as_test(machine, settings=settings(examples(48), stateful_step_count=10))


class Recounted(Calls):
    """The same calls, of which a page is counted again after each step."""

    @initialize()
    def begin(self) -> None:
        super().begin()
        for route in "ng":
            for number in range(3):
                self.send(one=f"{route}{number}", batch_id="b-1", to="delivered")

    @invariant()
    def count_a_page(self) -> None:
        count_page(self.store, size=1)


@pytest.mark.slow
def test_a_campaign_is_counted_right_whatever_happens_between_two_pages(store: Store) -> None:
    machine = type("OfThisStore", (Recounted,), {"store": store})
    run_state_machine_as_test(machine, settings=settings(examples(48), stateful_step_count=20))


# --- one by one -----------------------------------------------------------------------------------


def test_a_pruned_call_stays_counted_and_is_in_no_list(store: Store) -> None:
    put(store, "d1", "d2")
    for one in ("d1", "d2"):
        send(store, one)
    store.keep_outcome(an_outcome("d1"))
    before = counted(store)
    assert (before.total, before.outcomes) == (2, {"connected": 1, NO_OUTCOME: 1})

    assert store.prune(datetime.now(UTC) + timedelta(days=1)) == 2

    after = counted(store)
    assert (after.statuses, after.outcomes) == (before.statuses, before.outcomes)
    assert after.pruned == {"delivered": 2}
    assert (after.first_call_at, after.last_call_at) == (before.first_call_at, before.last_call_at)
    assert after.first_call_at is not None
    assert listed(store, ONE) == []
    assert store.count(Filters(campaign=ONE)) == 0
    audit(store)
    assert counted(store) == after


def test_a_call_that_can_not_be_pruned_is_not_counted_as_pruned(store: Store) -> None:
    put(store, "d1", "d2")
    for one in ("d1", "d2"):
        send(store, one)
    store.redis.hset(f"{P}delivery:d1", "phone", "hash")
    store.redis.set(f"{P}deliveries:phone:hash", "no list")
    for _ in range(2):
        store.prune(datetime.now(UTC) + timedelta(days=1))
        assert store.broken_count() == 1
        audit(store)
        audit(store)
        counts = counted(store)
        assert (counts.statuses, counts.pruned) == ({"delivered": 2}, {"delivered": 1})


@pytest.mark.parametrize("name", ["deliveries:campaign:b-1", "campaign_counts:b-1"])
def test_a_broken_key_of_one_campaign_stops_neither_audit_nor_pruning(
    store: Store, name: str
) -> None:
    put(store, "d1", "d2", "d3")
    send(store, "d1", "b-1")
    send(store, "d2", "b-2")
    store.redis.zrem(f"{P}deliveries:status:delivered", "d2")
    store.redis.delete(f"{P}{name}")
    store.redis.set(f"{P}{name}", "of another type")

    assert audit(store) == 1
    assert store.prune(datetime.now(UTC) + timedelta(days=1)) == 2
    assert store.broken_count() == 0
    assert [one.id for one in records(store)] == ["d3"]


def test_the_audit_repairs_a_broken_index(store: Store) -> None:
    put(store, "d1", "d2")
    for one in ("d1", "d2"):
        send(store, one)
    index = f"{P}deliveries:campaign:b-1"
    store.redis.zrem(index, "d1")
    store.redis.zadd(index, {"of a record that is gone": 1})

    assert audit(store) == 1
    audit(store)

    assert store.redis.zrange(index, 0, -1) == ["d1", "d2"]
    check(store)
    assert audit(store) == 0


def test_a_large_campaign_is_counted_again_only_where_its_counts_differ(store: Store) -> None:
    put(store, "d1", "d2")
    for one in ("d1", "d2"):
        send(store, one)
    assert store._run("recount_campaign", "b-1", 1, 9) == [-1, 1]
    store.redis.hincrby(f"{P}campaign_counts:b-1", "delivered call back", 3)
    assert store._run("recount_campaign", "b-1", 1, 9) == [2, 1]
    check(store)


def test_a_large_campaign_loses_the_calls_that_an_older_release_pruned(store: Store) -> None:
    put(store, "d1", "d2")
    for one in ("d1", "d2"):
        send(store, one)
    store.redis.delete(f"{P}delivery:d1")
    store.redis.zrem(f"{P}deliveries", "d1")
    assert store._run("recount_campaign", "b-1", 1, 9) == [2, 1]
    check(store)
    assert store.redis.zrange(f"{P}deliveries:campaign:b-1", 0, -1) == ["d2"]


def test_what_moves_between_two_pages_is_counted_once(store: Store) -> None:
    ids = [f"d{number:02}" for number in range(50)]
    put(store, *ids)
    for one in ids[:40]:
        send(store, one)
    times = counted(store)
    hash_of_counts, index = f"{P}campaign_counts:b-1", f"{P}deliveries:campaign:b-1"
    store.redis.hset(hash_of_counts, mapping={"failed of no call": 7, "outcome none": 3})
    # Two that are not of it: before all others, and in the place of a call of another campaign.
    store.redis.zadd(index, {"of a record that is gone": 1})
    other = ids[45]
    store.redis.zadd(index, {other: store.redis.zscore(f"{P}deliveries", other)})
    store.redis.zrem(index, ids[6], ids[38])  # two that are missing
    leases = claim(store, 10)

    def join(one: str, to: Status) -> None:
        sending = to_sending(one, leases[one], fields={"batch_id": "b-1"})
        moved = Move(id=one, to=to, lease=leases[one], attempt=(1, {"number": 1}), wait_s=None)
        assert store.move([sending, moved]) == ["ok", "ok"]

    def leave(one: str) -> None:
        move = Move(
            id=one,
            to=Status.CANCELLED,
            fields={"campaign_key": "b-2"},
            from_statuses=frozenset(Status),
        )
        assert store.move([move]) == ["ok"]

    pages = [count_page(store)]
    for one in (ids[5], ids[20], ids[6], ids[38]):
        store.keep_outcome(an_outcome(one, f"CA{one}"))
    for one in (ids[7], ids[30]):
        leave(one)
    join(ids[40], Status.UNKNOWN)

    pages.append(count_page(store))
    store.erase_deliveries([ids[8], ids[31]])
    join(ids[41], Status.DELIVERED)
    # The one that was counted last is among those that are pruned, and so are some behind it.
    assert store._run("prune", int(store.redis.zscore(index, ids[24])) + 1, 100) >= 25

    pages += [count_page(store), count_page(store)]
    assert pages == [(10, 0), (10, 0), (10, 0), (7, 1)]
    assert in_hash(store) == by_record(store)
    assert in_hash(store)["outcome none"] > 5
    assert store.redis.zrange(index, 0, -1) == [
        one.id for one in records(store) if one.batch_id == "b-1" and one.campaign_key is None
    ]
    now = counted(store)
    assert now.first_call_at == times.first_call_at
    assert now.last_call_at > times.last_call_at
    assert not store.redis.exists(f"{P}campaign_recount")


def test_a_campaign_that_is_half_counted_goes_on_first(store: Store) -> None:
    put(store, "d1", "d2", "d3", "d4")
    for one, batch_id in (("d1", "b-2"), ("d2", "b-1"), ("d3", "b-1"), ("d4", "b-1")):
        send(store, one, batch_id)
    wrong = {f"{P}campaign_counts:{of}": {"delivered call back": 9} for of in ("b-1", "b-2")}
    for key, counts in wrong.items():
        store.redis.hset(key, mapping=counts)
    assert count_page(store, "b-1", size=2) == (2, 0)
    store.keep_outcome(an_outcome("d1"))  # of the other campaign, before the place
    # The process was killed. Another one checks the campaigns in another order.
    assert count_page(store, "b-2", size=2) == (1, 0)
    assert in_hash(store) == by_record(store)
    assert counted(store, TWO).total == 9
    assert count_page(store, "b-2", size=2) == (1, 1)
    check(store)


def test_a_campaign_whose_keys_break_while_it_is_counted_stops_no_other(store: Store) -> None:
    put(store, "d1", "d2", "d3")
    for one, batch_id in (("d1", "b-1"), ("d2", "b-1"), ("d3", "b-2")):
        send(store, one, batch_id)
    store.redis.hset(f"{P}campaign_counts:b-2", "delivered call back", 9)
    assert count_page(store, "b-1", size=1) == (1, 0)
    store.redis.delete(f"{P}deliveries:campaign:b-1")
    store.redis.set(f"{P}deliveries:campaign:b-1", "of another type")
    error, is_last = count_page(store, "b-2")
    assert "WRONGTYPE" in str(error)
    assert is_last == 0
    assert count_page(store, "b-2") == (1, 1)
    assert counted(store, TWO).statuses == {"delivered": 1}
    store.redis.set(f"{P}campaign_recount", "of another type")
    put(store, "d4")
    send(store, "d4", "b-2")
    assert counted(store, TWO).statuses == {"delivered": 2}
    assert "WRONGTYPE" in str(count_page(store, "b-2")[0])
    assert count_page(store, "b-2") == (2, 1)


def test_the_audit_takes_a_large_campaign_step_by_step(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaigns, "CHECKED", 2)
    monkeypatch.setattr(campaigns, "CALLS_COUNTED", 3)
    ids = [f"d{number:02}" for number in range(14)]
    put(store, *ids)
    for one in ids:
        send(store, one)
    store.redis.hset(f"{P}campaign_counts:b-1", "failed of no call", 7)
    for _ in range(2):
        audit(store)
        assert counted(store).statuses == {"delivered": 14, "failed": 7}
    audit(store)
    check(store)


def test_the_first_round_of_the_audit_fills_an_older_store(store: Store) -> None:
    put(store, "d1", "d2", "d3")
    for one in ("d1", "d2"):
        send(store, one)
    store.keep_campaign("v2/Leads 2026-11", "b-1", {"name": "Leads 2026-11"})
    called = counted(store)
    for key in store.redis.scan_iter(f"{P}*campaign*"):
        if key.startswith((f"{P}deliveries:", f"{P}campaign_", f"{P}campaigns_")):
            store.redis.delete(key)
    store.redis.set(f"{P}indexed", 1)  # what the release before had indexed
    assert counted(store).total == 0
    assert store.count(Filters(campaign=ONE)) is None, "it is not known before the round ends"
    assert store.campaigns_called("Leads") == {}

    assert audit(store) == 0, "what an older release stored is no fault"

    assert store.is_indexed()
    check(store)
    assert counted(store) == called
    assert store.campaigns_called("Leads") == {"v2/Leads 2026-11": "b-1"}


def test_an_unindexed_call_that_changes_is_counted_once(store: Store) -> None:
    put(store, "d1")
    send(store, "d1")
    store.redis.delete(f"{P}deliveries:campaign:b-1", f"{P}campaign_counts:b-1")
    store.keep_outcome(an_outcome("d1"))
    check(store)
    assert counted(store).outcomes == {"connected": 1}


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("b-1", {"v2/Leads 2026-10"}),
        ("Leads", {"v2/Leads 2026-10", "v2/Leads 2026-11", "v2/Leads"}),
        ("Leads 2026-11", {"v2/Leads 2026-11"}),
        ("Lead", set()),
        ("Leads of Asha", {"v2/Leads of Asha"}),
        ("b-", set()),
        ("", set()),
        ("\t", set()),
    ],
)
def test_a_campaign_is_found_by_its_batch_and_by_its_name(
    store: Store, text: str, keys: set[str]
) -> None:
    names = ("Leads 2026-10", "Leads 2026-11", "Leads", "Leads of Asha")
    for number, name in enumerate(names, start=1):
        store.keep_campaign(f"v2/{name}", f"b-{number}", {"name": name})
    assert store.campaigns_called(text).keys() == keys


def test_the_times_are_those_of_the_first_and_the_last_acceptance(store: Store) -> None:
    put(store, "d1", "d2", "d3")
    send(store, "d1", to=Status.RETRYING, wait_s=3600)
    assert counted(store).first_call_at is None
    send(store, "d2")
    first = counted(store)
    send(store, "d3")
    last = counted(store)
    assert first.first_call_at == first.last_call_at == last.first_call_at
    assert first.last_call_at <= last.last_call_at


def test_a_campaign_with_more_indexes_than_one_list_merges_is_listed(store: Store) -> None:
    put(store, "d1", "d2")
    send(store, "d1")
    many = CampaignFilter(campaigns=frozenset({"b-1", *map(str, range(60))}))
    assert listed(store, many) == ["d1"]


@pytest.mark.parametrize("converted", [True, False, None])
@pytest.mark.parametrize("is_final", [True, False, None])
def test_unfinished_leaves_out_the_calls_that_ended(
    store: Store, is_final: bool | None, converted: bool | None
) -> None:
    put(store, "d1", "d2")
    send(store, "d1")
    if is_final is not None:
        store.keep_outcome(an_outcome("d1", is_final=is_final, conversion_status=converted))
    filters = Filters(campaign=ONE, unfinished=True)
    for brief in (True, False):
        found = store.deliveries(filters, before=None, limit=9, brief=brief).items
        assert [one.id for one in found] == ([] if is_final else ["d1"])


def test_what_makes_a_campaign_does_not_belong_to_it(store: Store) -> None:
    accept(store, (an_event(), [a_delivery("maker", to="campaign")]))
    send(store, "maker", batch_id="b-1")
    assert counted(store).total == 0
    assert listed(store, ONE) == []
