"""The search index: what finds a delivery, what it keeps, and what no longer finds it."""

import base64
import random
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from support import each
from support.storing import NOW, a_delivery, accept, an_event, claim

from rules.search import found_again, found_by
from schemas.crm import kinds
from schemas.delivery import Status
from schemas.errors import StoreUnavailable
from schemas.event import derive_id
from schemas.outcome import Outcome, Result
from schemas.records import Filters, Move
from schemas.search import TERM, FoundBy, Search, read_search
from store import Store, leases
from store import search as searching
from store.base import P
from store.erasure import Eraser
from store.records import fits

GENERIC = kinds()["generic"]
MEERA = {"name": "Meera Nair", "email": "meera@example.in", "phone": "+919876543210"}
ASHA = {"name": "Asha Nair", "email": "asha@example.in", "phone": "+919812343210"}


def keep(store: Store, name: str, data: Any, **of_event: Any) -> str:
    """Store a delivery of an event with this data; return the delivery's id."""
    event = an_event(derive_id(name), data=data, **of_event)
    made = derive_id("delivery", name)
    kept = found_by(event, GENERIC, None, request={"to_number": data["phone"]})
    accept(store, (event, [a_delivery(made, found_by=kept)]))
    return made


def found(store: Store, typed: str, *, limit: int = 50, **filters: Any) -> list[str]:
    """Return the ids of all pages that a search lists."""
    search = store.search(typed, ["website"])
    ids: list[str] = []
    before = None
    while True:
        page = store.deliveries(
            Filters(search=search, **filters), before=before, limit=limit, brief=True
        )
        ids += [one.id for one in page.items]
        if page.next_cursor is None:
            return ids
        before = int(page.next_cursor)


def index(store: Store) -> dict[str, list[str]]:
    """Return the entries of all search indexes by key: the orders of deliveries."""
    keys = store.redis.scan_iter(f"{P}find:*")
    return {str(key): store.redis.zrange(key, 0, -1) for key in keys}  # type: ignore[misc]


def entries_of(store: Store, delivery_id: str) -> int:
    """Return how many search indexes have an entry of a delivery."""
    order = store.redis.hget(f"{P}delivery:{delivery_id}", "order")
    return sum(order in members for members in index(store).values())


@pytest.fixture
def two(store: Store) -> Store:
    keep(store, "meera", {**MEERA, "phone": "9876543210"}, subject="501")
    keep(store, "asha", {**ASHA, "phone": "9812343210"}, subject="0502")
    return store


MEERAS, ASHAS = derive_id("delivery", "meera"), derive_id("delivery", "asha")


@each(
    ("typed", "ids"),
    [
        ("meera", [MEERAS]),
        ("NAIR", [ASHAS, MEERAS]),
        ("nair asha", [ASHAS]),
        ("nair ravi", []),
        ("3210", [ASHAS, MEERAS]),
        ("43210", [ASHAS, MEERAS]),
        ("543210", [MEERAS]),
        ("343210", [ASHAS]),
        ("nair 3210", [ASHAS, MEERAS]),
        ("asha 98123 43210", [ASHAS]),
        ("asha@example.in", [ASHAS]),
        ("501", [MEERAS]),
        ("0502", [ASHAS]),
        ("50", []),
        (MEERAS, [MEERAS]),
        (f" {ASHAS} ", [ASHAS]),
        (derive_id("delivery", "nobody"), []),
        ("theirs", []),
        ("*", []),
        ("[a-z]*", []),
        ("x" * 200, []),
    ],
)
@each("limit", [1, 50])
def test_a_search_finds_the_newest_first(
    two: Store, typed: str, ids: list[str], limit: int
) -> None:
    assert found(two, typed, limit=limit) == ids


def test_a_search_goes_with_other_filters(two: Store) -> None:
    lease = claim(two)[ASHAS]
    two.move([Move(id=ASHAS, to=Status.SKIPPED, lease=lease)])
    assert found(two, "nair", status=("skipped",)) == [ASHAS]
    assert found(two, "nair", status=("delivered",)) == []
    assert found(two, "nair", source="website", subject="501") == [MEERAS]
    assert found(two, ASHAS, subject="501") == []
    assert found(two, "nair", source="zoho") == []
    assert found(two, MEERAS, status=("skipped",)) == []
    newest = two.deliveries(Filters(), before=None, limit=1).items[0]
    assert newest.id == ASHAS
    page = two.deliveries(
        Filters(search=two.search("nair", [])), before=newest.order, limit=9, brief=True
    )
    assert [one.id for one in page.items] == [MEERAS]


def test_an_index_that_can_not_be_read_leaves_nothing_out(two: Store) -> None:
    lease = claim(two)[ASHAS]
    two.move([Move(id=ASHAS, to=Status.SKIPPED, lease=lease)])
    two.redis.set(f"{P}deliveries:status:skipped", "no index")
    assert found(two, "nair", status=("skipped",)) == [ASHAS]


def test_the_crms_own_ids_find_an_event_of_several_routes(store: Store) -> None:
    ids = [derive_id("delivery", str(number)) for number in range(3)]
    event = an_event(derive_id("event", "website", "90000076"), source_event_id="90000076")
    accept(store, (event, [a_delivery(one) for one in ids]))
    assert found(store, "90000076") == ids[::-1]
    assert found(store, "90000077") == []
    other = keep(store, "other", {"phone": "9890000076"})  # its last digits
    assert found(store, "90000076") == [other, *ids[::-1]]


def test_a_call_sid_finds_its_delivery(two: Store) -> None:
    lease = claim(two)[MEERAS]
    sent = Move(id=MEERAS, to=Status.SENDING, lease=lease, attempt=(1, {"number": 1}))
    two.move([sent])
    two.move(
        [
            Move(
                id=MEERAS,
                to=Status.DELIVERED,
                lease=lease,
                attempt=(1, {"number": 1}),
                fields={"call_sid": "CA-77 x"},
            )
        ]
    )
    assert found(two, "CA-77 x") == [MEERAS]
    two.keep_outcome(
        Outcome(
            call_sid="3210",  # another call of the same delivery, and the end of two numbers
            delivery_id=MEERAS,
            try_count=1,
            result=Result.CONNECTED,
            is_final=True,
            batch_id=None,
        )
    )
    assert found(two, "3210") == [ASHAS, MEERAS]


def test_a_move_replaces_what_a_delivery_is_found_by(two: Store) -> None:
    leases = claim(two)
    now = two.terms_of(FoundBy(indexed=("ravi", "6789"), compared=("N56789",)))
    two.move([Move(id=MEERAS, to=Status.SKIPPED, lease=leases[MEERAS], fields={"terms": now})])
    assert found(two, "meera") == found(two, "501") == []
    assert found(two, "ravi") == found(two, "56789") == [MEERAS]
    assert found(two, "46789") == []
    assert found(two, "nair") == [ASHAS]
    assert entries_of(two, MEERAS) == 2


def test_a_refused_move_replaces_nothing(two: Store) -> None:
    stale = claim(two)[MEERAS] + 7
    terms = two.terms_of(FoundBy(indexed=("ravi",)))
    [answer] = two.move([Move(id=MEERAS, to=Status.SKIPPED, lease=stale, fields={"terms": terms})])
    assert answer == "stale"
    assert (found(two, "ravi"), found(two, "meera")) == ([], [MEERAS])


# --- what it keeps --------------------------------------------------------------------------------


def test_nothing_of_a_person_is_in_the_index(two: Store) -> None:
    records = [two.redis.hgetall(f"{P}delivery:{one}") for one in (MEERAS, ASHAS)]
    entries = index(two)
    assert {order for found in entries.values() for order in found} == {
        record["order"] for record in records
    }
    kept = f"{[*entries]} {[record['terms'] for record in records]}".lower()
    for text in ("meera", "nair", "asha", "example", "9876", "43210", "501", "502"):
        # Ids of deliveries and hashes may have any three digits.
        assert text not in kept or text in f"{MEERAS}{ASHAS}" or len(text) < 4


def test_another_bridge_has_other_terms(two: Store) -> None:
    mine = two.search("meera", [])
    two.redis.set(f"{P}pepper", "another")
    assert Store(two.redis).search("meera", []) != mine


def test_an_entry_of_a_delivery_that_is_gone_finds_nothing(two: Store) -> None:
    order = int(two.redis.hget(f"{P}delivery:{ASHAS}", "order") or 0)
    for key in index(two):
        two.redis.zadd(key, {str(order + 1): order + 1})
    assert found(two, "nair", limit=1) == [ASHAS, MEERAS]


@each("text", ["+919876543210", "meera", "website\0contact\0501"])
def test_a_term_is_no_hash_that_the_store_keeps_elsewhere(store: Store, text: str) -> None:
    elsewhere = bytes.fromhex(store.phone_key(text))
    assert store.terms_of(FoundBy(indexed=(text,))) not in (
        base64.b32encode(elsewhere).decode().lower(),
        base64.b32encode(elsewhere).decode().lower()[:TERM],
    )


def test_an_erased_person_is_not_found(two: Store) -> None:
    two.erase_deliveries([MEERAS])
    for typed in ("meera", "501", "543210", "meera@example.in"):
        assert found(two, typed) == [], typed
    assert found(two, "nair") == [ASHAS]
    assert entries_of(two, MEERAS) == 0
    assert two.redis.hget(f"{P}delivery:{MEERAS}", "terms") is None
    assert found(two, MEERAS) == [MEERAS]  # its own id is not the person's


def test_a_move_of_an_erased_delivery_brings_nothing_back(two: Store) -> None:
    lease = claim(two)[MEERAS]
    two.erase_deliveries([MEERAS])
    terms = two.terms_of(FoundBy(indexed=("meera",)))
    two.move([Move(id=MEERAS, to=Status.SKIPPED, lease=lease, fields={"terms": terms})])
    assert found(two, "meera") == []
    assert entries_of(two, MEERAS) == 0
    assert two.redis.hget(f"{P}delivery:{MEERAS}", "terms") is None


def test_an_erased_number_does_not_find_the_other_person_who_named_it(store: Store) -> None:
    referral = {"name": "Ravi", "phone": "9811111111", "friend": "+919876543210"}
    other = keep(store, "referral", referral)
    both = store.terms_of(
        FoundBy(indexed=("ravi", "1111", "3210"), compared=("N11111", "N43210", "N9876543210"))
    )
    lease = claim(store)[other]
    phone = store.phone_key("+919811111111")
    store.move(
        [Move(id=other, to=Status.SKIPPED, lease=lease, phone=phone, fields={"terms": both})]
    )
    assert found(store, "3210") == found(store, "9876543210") == [other]
    Eraser(store=store).erase("+919876543210")
    assert found(store, "3210") == found(store, "9876543210") == found(store, "43210") == []
    assert found(store, "ravi 1111") == found(store, "11111") == [other]


def test_an_index_that_can_not_be_written_refuses_no_event(store: Store) -> None:
    first = keep(store, "first", MEERA)
    keys = list(index(store))
    for key in keys:
        store.redis.delete(key)
        store.redis.set(key, "of another type")
    second = keep(store, "second", MEERA)
    assert [delivery.status for delivery in map(store.delivery, (first, second)) if delivery] == [
        Status.QUEUED,
        Status.QUEUED,
    ]
    assert set(claim(store, 5)) == {first, second}


def test_what_is_pruned_leaves_no_entry(two: Store) -> None:
    leases = claim(two)
    two.move([Move(id=one, to=Status.SKIPPED, lease=leases[one]) for one in (MEERAS, ASHAS)])
    assert index(two)
    two.prune(NOW + timedelta(days=9000))
    assert index(two) == {}


# --- repairs, and what an older release stored ----------------------------------------------------


@pytest.fixture
def again(make_settings: Callable[..., Any]) -> Any:
    return partial(found_again, make_settings().routes)


def audited(store: Store, again: Any) -> None:
    place = store.audit((0, 0), lease_s=60, found_by=again)[0]
    while place != (0, 0):
        place = store.audit(place, lease_s=60, found_by=again)[0]


def test_a_round_that_redis_broke_off_is_made_again_whole(two: Store, again: Any) -> None:
    two.redis.hdel(f"{P}delivery:{MEERAS}", "terms")
    two.redis.delete(f"{P}indexed")
    two.redis.rpush(f"{P}indexed", "of another type")
    with pytest.raises(StoreUnavailable):
        two.audit((0, 0), lease_s=60, found_by=again)
    two.redis.delete(f"{P}indexed")

    audited(two, again)

    assert two.redis.hexists(f"{P}delivery:{MEERAS}", "terms")
    assert found(two, "meera") == [MEERAS]


def test_the_audit_fills_what_an_older_release_stored(two: Store, again: Any) -> None:
    before = index(two)
    for one in (MEERAS, ASHAS):
        two.redis.hdel(f"{P}delivery:{one}", "terms")
    two.redis.delete(*before)
    assert found(two, "meera") == []
    audited(two, again)
    assert found(two, "meera nair") == found(two, "501") == [MEERAS]
    audited(two, again)
    assert found(two, "nair") == [ASHAS, MEERAS]


def test_the_audit_repairs_lost_entries_and_those_of_the_erased(
    two: Store, again: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "SEARCH_CHECK_S", 0)  # in each round
    whole = index(two)
    two.redis.delete(*list(whole)[::2])
    audited(two, again)
    assert index(two) == whole
    two.redis.hset(f"{P}delivery:{ASHAS}", "erased_ms", "1")  # by a release without this index
    audited(two, again)
    assert found(two, "nair") == [MEERAS]
    assert two.redis.hget(f"{P}delivery:{ASHAS}", "terms") is None


def test_the_entries_are_checked_some_time_after_the_start_and_after_each_check(
    two: Store, again: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_repaired(store: Store) -> bool:
        store.redis.delete(*whole)
        audited(store, again)
        return index(store) == whole

    audited(two, again)  # the first round of all, which checks them, too
    whole = index(two)
    now, often = [time.monotonic()], 1_000_000
    monkeypatch.setattr(leases.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(leases, "SEARCH_CHECK_S", often)
    started = Store(two.redis)
    assert not is_repaired(started)
    now[0] += often + 1
    assert is_repaired(started)
    assert not is_repaired(started)
    now[0] += often + 1
    assert is_repaired(started)
    two.redis.delete(f"{P}indexed")
    assert is_repaired(started)


def test_each_round_fills_what_an_older_release_stored_since(two: Store, again: Any) -> None:
    whole = index(two)
    audited(two, again)
    for one in (MEERAS, ASHAS):
        two.redis.hdel(f"{P}delivery:{one}", "terms")
    two.redis.delete(*whole)
    audited(two, again)
    assert index(two) == whole


def test_a_broken_record_stops_no_other(two: Store, again: Any) -> None:
    for one in (MEERAS, ASHAS):
        two.redis.hdel(f"{P}delivery:{one}", "terms")
    two.redis.hset(f"{P}delivery:{ASHAS}", "request", "{broken")
    two.redis.delete(*index(two))
    two.redis.set(f"{P}delivery:{derive_id('wrong type')}", "text")
    two.redis.hset(f"{P}delivery:{derive_id('no number')}", "order", "x")
    audited(two, again)
    assert found(two, "nair") == [MEERAS]


def test_entries_older_than_every_delivery_are_removed(
    two: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "STALE_AT_ONCE", 32**3 // 2 + 1)
    whole = index(two)
    two.redis.zadd(f"{P}find:aaa", {"gone": 5})
    two.redis.zadd(f"{P}find:777", {"gone": 5})
    assert two.forget_stale_terms(two.forget_stale_terms(0)) > 0
    assert index(two) == whole


# --- growth ---------------------------------------------------------------------------------------


def test_a_search_equals_a_comparison_of_all_deliveries(store: Store) -> None:
    chance = random.Random(15)  # noqa: S311  # nosec B311  # no secret
    words = ["asha", "ravi", "meera", "nair", "4321", "ld-7", "x@y.in"]
    leads = {
        derive_id("d", str(number)): chance.sample(words, chance.randint(0, 4))
        for number in range(60)
    }
    for one, texts in leads.items():
        accept(store, (an_event(), [a_delivery(one, found_by=FoundBy(indexed=tuple(texts)))]))
    for _ in range(60):
        typed = chance.sample(words, chance.randint(1, 3))
        expected = [one for one, texts in leads.items() if {*typed} <= {*texts}]
        if "ld-7" not in typed or len(typed) == 1:  # in a search of several words it is two of them
            assert found(store, " ".join(typed), limit=chance.randint(1, 9)) == expected[::-1]


@pytest.fixture
def leads(store: Store) -> Store:
    """240 deliveries: "nair" finds two of three, "asha" one in 30; one in 40 is skipped."""
    for number in range(240):
        texts = ("nair",) if number % 3 else ()
        texts += ("asha",) if number % 30 == 7 else ()
        of = {"source": "partner" if number % 50 == 1 else "website"}
        delivery = a_delivery(
            f"d{number:03}", found_by=FoundBy(indexed=texts), route=ROUTES[number % 2]
        )
        accept(store, (an_event(**of), [delivery]))
    leases = claim(store, limit=240)
    rare = [one for one in leases if int(one[1:]) % 40 == 7]
    store.move([Move(id=one, to=Status.SKIPPED, lease=leases[one]) for one in rare])
    return store


ROUTES = ("call late", "call back")


@each("typed", ["nair", "asha", "nair asha"])
def test_a_search_with_filters_equals_a_comparison_of_what_it_finds(
    leads: Store, typed: str
) -> None:
    chance = random.Random(29)  # noqa: S311  # nosec B311  # no secret
    every = leads.deliveries(Filters(search=leads.search(typed, [])), before=None, limit=240).items
    assert len(every) == {"nair": 160, "asha": 8, "nair asha": 8}[typed]
    for _ in range(40):
        chosen: dict[str, Any] = {
            "status": tuple(chance.sample(("queued", "skipped", "held"), chance.randint(1, 2))),
            "route": chance.choice((*ROUTES, "nobody")),
            "source": chance.choice(("website", "partner")),
        }
        for name in chance.sample([*chosen], chance.randint(0, 3)):
            del chosen[name]
        listed = found(leads, typed, limit=chance.choice((1, 7, 100)), **chosen)
        assert listed == [one.id for one in every if fits(one, Filters(**chosen), ())], chosen


def commands_of(store: Store, typed: str, **filters: Any) -> dict[str, int]:
    """Return how often the list of a search runs each command."""
    store.redis.config_resetstat()
    found(store, typed, **filters)
    return {
        name.removeprefix("cmdstat_"): stats["calls"]
        for name, stats in store.redis.info("commandstats").items()
    }


def test_a_search_looks_up_no_order_that_the_index_of_a_filter_has(leads: Store) -> None:
    rare = commands_of(leads, "nair", status=("skipped",))
    assert rare["zrange"] < 10
    often = commands_of(leads, "asha", status=("queued",))
    assert 8 < often["zrange"] < 20  # the index has 30 entries for each order


def test_a_search_finds_the_same_with_a_filter_that_all_match(two: Store) -> None:
    two.redis.zrem(f"{P}deliveries", MEERAS)  # as after a crash, until the audit
    for filters in ({}, {"source": "website"}, {"route": "call back"}):
        assert found(two, "nair", **filters) == [ASHAS], filters


def test_a_search_reads_few_records(two: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(300):
        keep(two, f"lead {number}", {"name": f"Lead n{number}", "phone": f"98765{number:05}"})
    keys = {key: len(members) for key, members in index(two).items()}
    needs = two.search("meera nair 43210", []).any_of
    assert len(needs) == 1
    assert min(keys[f"{P}find:{index_[:3]}"] for index_, _ in needs[0]) <= 2
    asked: list[Any] = []
    plain = two._run
    monkeypatch.setattr(two, "_run", lambda *args: asked.append(args) or plain(*args))
    assert found(two, "meera nair 43210") == [MEERAS]
    assert [one[0] for one in asked] == ["list"]


def test_the_key_of_a_search_finds_the_same(two: Store) -> None:
    for typed in ("meera", "nair 3210", MEERAS, "501", "meera@example.in", "+91 98765 43210"):
        search = two.search(typed, ["website"])
        assert read_search(search.key()) == search
        assert typed not in search.key() or typed == MEERAS
    assert two.search(" ", []) == Search()
