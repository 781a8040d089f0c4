"""Records that the CRM merged: one call for the events of both, and each id finds it."""

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import API_TOKEN, Web, make_due, notification, route, until
from support.storing import claim

from schemas.delivery import Delivery
from schemas.records import Filters
from schemas.settings import Settings
from simulator import Simulator
from store import Store
from store.erasure import Eraser
from store.suppression import Suppressions
from workers import hydration
from workers.crm import ALONE_FAILURES

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
RunDrain = Callable[..., Any]

CALL = "/call/outbound"
READ = "/crm/objects/2026-03/contacts/batch/read"
ROUTE = route(source="hubspot", event="contact.*")


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(ROUTE)


def phone_of(contact: str) -> str:
    return f"+9198765{int(contact):05}"


def people(simulator: Simulator, *contacts: str) -> None:
    for one in contacts:
        simulator.state.put_record("hubspot", "contacts", one, {"phone": phone_of(one)})


def merge(simulator: Simulator, merged: str, into: str, **how: bool) -> None:
    simulator.state.merge_record("hubspot", "contacts", merged, into, **how)


def of(store: Store, delivery: str) -> Delivery:
    found = store.delivery(delivery)
    assert found is not None
    return found


def ended(store: Store, *ids: str) -> Counter[tuple[str, str | None]]:
    return Counter((str(of(store, one).status), of(store, one).reason) for one in ids)


def called(simulator: Simulator) -> list[str]:
    return sorted(call.to_number for call in simulator.state.calls)


def order(web: Web, path: str, body: object = None) -> Any:
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    answer = web.client.post(path, json=body or {}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json


ONE_CALL = {("delivered", None): 1, ("skipped", "duplicate"): 1}
# What is merged into what, and the two ids whose events came in.
MERGES = [
    ([("1", "3"), ("2", "3")], ["1", "2"]),
    ([("1", "3"), ("2", "3")], ["2", "1"]),
    ([("1", "2")], ["1", "2"]),
    ([("1", "2")], ["2", "1"]),
    ([("1", "2"), ("2", "3")], ["1", "3"]),
    ([("1", "2"), ("2", "3")], ["2", "1"]),
]


# --- one call -----------------------------------------------------------------------------------


@pytest.mark.parametrize("in_batch", [True, False], ids=["new id", "left out"])
@pytest.mark.parametrize(("merges", "ids"), MERGES, ids=str)
def test_two_merged_records_are_one_call(
    settings: Settings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    merges: list[tuple[str, str]],
    ids: list[str],
    in_batch: bool,
) -> None:
    people(simulator, "1", "2", "3")
    sent = open_web(settings).send("hubspot", [notification(one) for one in ids])
    for merged, into in merges:
        merge(simulator, merged, into, in_batch=in_batch)

    run_drain(settings)

    assert ended(store, *sent) == ONE_CALL
    last = merges[-1][1]
    assert called(simulator) == [phone_of(last)]
    assert {of(store, one).subject for one in sent} == {last}
    [first] = [one for one in sent if of(store, one).status == "delivered"]
    [second] = set(sent) - {first}
    assert of(store, second).message == (
        f"The CRM merged the records of this delivery and of {first}, which calls the person for "
        "both."
    )


def test_a_later_drain_knows_the_call_of_the_merged_record(
    settings: Settings, open_web: OpenWeb, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    web = open_web(settings)
    people(simulator, "1", "2", "3")
    merge(simulator, "1", "3")
    merge(simulator, "2", "3")
    for contact in ("1", "2", "1"):
        web.send("hubspot", notification(contact))
        run_drain(settings)

    assert called(simulator) == [phone_of("3")]


def test_a_record_that_was_called_is_not_called_for_one_that_is_merged_into_it_later(
    settings: Settings, open_web: OpenWeb, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    web = open_web(settings)
    people(simulator, "1", "2")
    first = web.send("hubspot", notification("2"))
    run_drain(settings)
    merge(simulator, "1", "2")
    second = web.send("hubspot", notification("1"))
    run_drain(settings)

    assert ended(store, *first, *second) == ONE_CALL


def test_eight_workers_at_once_call_each_merged_person_once(
    settings: Settings, open_web: OpenWeb, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    web = open_web(settings)
    people(simulator, *map(str, range(100, 140)))
    for contact in range(100, 120):
        merge(simulator, str(contact), str(contact + 20), in_batch=contact % 2 == 0)
    ids = [one for at in range(100, 140) for one in web.send("hubspot", notification(str(at)))]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: run_drain(settings), range(8)))
    # Those that waited for the answer to the other call.
    make_due(store, *(one for one in ids if of(store, one).status == "queued"))
    run_drain(settings)

    assert ended(store, *ids) == {("delivered", None): 20, ("skipped", "duplicate"): 20}
    assert called(simulator) == [phone_of(str(at)) for at in range(120, 140)]


@pytest.mark.parametrize("seed", range(4))
def test_no_record_is_given_to_the_wrong_event(
    settings: Settings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    seed: int,
) -> None:
    chance = random.Random(seed)  # noqa: S311
    left = [str(one) for one in range(10, 30)]
    people(simulator, *left)
    became = {one: one for one in left}
    for one in chance.sample(left, 8):
        into = chance.choice([other for other in set(became.values()) if other != became[one]])
        merge(simulator, became[one], into, in_batch=chance.random() < 0.5)
        became |= {name: into for name, now in became.items() if now == became[one]}
    gone = chance.sample(sorted(set(became.values())), 3)
    for one in gone:
        simulator.state.drop_record("hubspot", "contacts", one)
    asked = chance.sample(left, 15)

    sent = open_web(settings).send("hubspot", [notification(one) for one in asked])
    run_drain(settings)

    for contact, delivery in zip(asked, sent, strict=True):
        kept = of(store, delivery)
        if became[contact] in gone:
            assert (kept.status, kept.message) == (
                "queued",
                "The CRM does not have the record yet.",
            )
            continue
        assert kept.subject == became[contact]
        assert kept.request is not None
        assert kept.request["to_number"] == phone_of(became[contact])
    assert called(simulator) == sorted(
        {phone_of(became[one]) for one in asked if became[one] not in gone}
    )


# --- what stays two calls -----------------------------------------------------------------------


def test_two_updates_of_one_record_stay_two_calls(
    settings: Settings, open_web: OpenWeb, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    people(simulator, "1")
    sent = open_web(settings).send("hubspot", [notification("1"), notification("1")])
    run_drain(settings)
    assert ended(store, *sent) == {("delivered", None): 2}


def test_an_update_after_the_call_of_a_merged_record_is_a_call(
    settings: Settings, open_web: OpenWeb, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    web = open_web(settings)
    people(simulator, "1", "2")
    merge(simulator, "1", "2")
    web.send("hubspot", notification("1"))
    run_drain(settings)
    sent = web.send("hubspot", notification("2"))
    run_drain(settings)
    assert ended(store, *sent) == {("delivered", None): 1}


def test_two_routes_each_call_a_merged_record(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(ROUTE + route("call too", source="hubspot", event="contact.*"))
    people(simulator, "1", "3")
    merge(simulator, "1", "3")
    sent = open_web(settings).send("hubspot", notification("1"))
    run_drain(settings)
    assert ended(store, *sent) == {("delivered", None): 2}
    assert {of(store, one).merged_from for one in sent} == {("1",)}


def test_a_call_counts_for_the_sources_id_window(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(ROUTE)
    web = open_web(settings)
    people(simulator, "1", "3")
    merge(simulator, "1", "3")
    web.send("hubspot", notification("1"))
    run_drain(settings)
    [key] = store.redis.keys("bridge:record_calls:*")
    assert 86_000 < store.redis.ttl(key) <= 86_400
    [(call, value)] = store.redis.hgetall(key).items()
    sent_ms, keep_ms, rest = value.split(" ", 2)
    day = 86_400_000
    store.redis.hset(key, call, f"{int(sent_ms) - day} {int(keep_ms) - day} {rest}")

    sent = web.send("hubspot", notification("1"))
    run_drain(settings)

    assert ended(store, *sent) == {("delivered", None): 1}


def test_a_person_may_call_again(
    settings: Settings, open_web: OpenWeb, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    web = open_web(settings)
    people(simulator, "1", "2", "3")
    merge(simulator, "1", "3")
    merge(simulator, "2", "3")
    sent = web.send("hubspot", [notification("1"), notification("2")])
    run_drain(settings)
    [second] = [one for one in sent if of(store, one).reason == "duplicate"]

    order(web, f"/api/deliveries/{second}/retry")
    run_drain(settings)
    assert of(store, second).reason == "duplicate"
    order(web, f"/api/deliveries/{second}/retry", {"call_again": True})
    run_drain(settings)

    assert ended(store, *sent) == {("delivered", None): 2}


# --- what becomes of the second -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "first", "second"),
    [
        ({"status": 400}, ("failed", "refused"), ("delivered", None)),
        ({"status": 429}, ("retrying", "busy"), ("delivered", None)),
        ({"status": 502}, ("unknown", "no_answer"), ("skipped", "duplicate")),
        ({"cut": "after"}, ("unknown", "no_answer"), ("skipped", "duplicate")),
    ],
    ids=str,
)
def test_only_a_call_that_may_have_been_accepted_stands_for_both(
    settings: Settings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    answer: dict[str, Any],
    first: tuple[str, str | None],
    second: tuple[str, str | None],
) -> None:
    web = open_web(settings)
    people(simulator, "1", "2", "3")
    merge(simulator, "1", "3")
    merge(simulator, "2", "3")
    [one] = web.send("hubspot", notification("1"))
    simulator.state.behave(path=CALL, times=1, **answer)
    run_drain(settings)
    [other] = web.send("hubspot", notification("2"))
    run_drain(settings)

    assert [(of(store, it).status, of(store, it).reason) for it in (one, other)] == [first, second]


def test_the_first_goes_on_if_its_call_was_surely_not_accepted(
    settings: Settings, open_web: OpenWeb, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    people(simulator, "1", "2", "3")
    merge(simulator, "1", "3")
    merge(simulator, "2", "3")
    simulator.state.behave(429, path=CALL, times=1)
    sent = open_web(settings).send("hubspot", [notification("1"), notification("2")])
    run_drain(settings)
    make_due(store, *(one for one in sent if of(store, one).status == "retrying"))
    run_drain(settings)

    assert ended(store, *sent) == ONE_CALL
    assert called(simulator) == [phone_of("3")]


@pytest.mark.parametrize(
    ("answer", "first"),
    [
        ({"status": 400}, ("failed", "refused")),
        ({"status": 404}, ("failed", "refused")),
        ({"status": 503}, ("retrying", "busy")),
    ],
    ids=str,
)
def test_the_second_of_a_drain_waits_for_the_answer_to_the_first(
    settings: Settings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    answer: dict[str, Any],
    first: tuple[str, str],
) -> None:
    people(simulator, "1", "2", "3")
    merge(simulator, "1", "3")
    merge(simulator, "2", "3")
    simulator.state.behave(path=CALL, times=1, **answer)
    sent = open_web(settings).send("hubspot", [notification("1"), notification("2")])

    run_drain(settings)

    assert ended(store, *sent) == {first: 1, ("delivered", None): 1}
    assert called(simulator) == [phone_of("3")]


@pytest.mark.parametrize(
    ("answer", "first", "second"),
    [
        ({}, ("delivered", None), ("skipped", "duplicate")),
        ({"status": 502}, ("unknown", "no_answer"), ("skipped", "duplicate")),
        ({"status": 400}, ("failed", "refused"), ("delivered", None)),
        ({"status": 429}, ("retrying", "busy"), ("delivered", None)),
    ],
    ids=str,
)
def test_a_second_call_waits_while_another_worker_makes_the_first(
    settings: Settings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    answer: dict[str, Any],
    first: tuple[str, str | None],
    second: tuple[str, str | None],
) -> None:
    web = open_web(settings)
    people(simulator, "1", "2", "3")
    merge(simulator, "1", "3")
    merge(simulator, "2", "3")
    simulator.state.behave(path=CALL, times=1, latency_ms=3000, **answer)
    [one] = web.send("hubspot", notification("1"))

    def is_sending() -> bool:
        return of(store, one).status == "sending"

    with ThreadPoolExecutor(1) as pool:
        # The first worker claims nothing more once its call is on the wire.
        running = pool.submit(run_drain, settings, should_stop=is_sending)
        until(is_sending, what="the first call")
        until(lambda: simulator.state.requests_to(CALL), what="the request")
        [other] = web.send("hubspot", notification("2"))
        run_drain(settings, slice_s=30.0)
        assert (of(store, one).status, of(store, other).status) == ("sending", "queued")
        assert "on the wire" in (of(store, other).message or "")
        running.result()
    make_due(store, other)
    run_drain(settings)

    assert [(of(store, it).status, of(store, it).reason) for it in (one, other)] == [first, second]
    assert len(called(simulator)) <= 1


def test_a_worker_that_dies_in_the_call_of_a_merged_record_leaves_no_second_call(
    settings: Settings, open_web: OpenWeb, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    web = open_web(settings)
    people(simulator, "1", "2", "3")
    merge(simulator, "1", "3")
    merge(simulator, "2", "3")
    [first] = web.send("hubspot", notification("1"))
    with pytest.raises(KeyboardInterrupt):
        # `sending` is recorded, and the worker dies before it remembers that.
        run_drain(settings, remember=_die)
    store.redis.zadd("bridge:leased", {first: 1})
    store.sweep()
    [second] = web.send("hubspot", notification("2"))
    run_drain(settings)

    assert (of(store, first).status, of(store, second).reason) == ("unknown", "duplicate")
    assert called(simulator) == []


def _die(moves: object) -> None:
    raise KeyboardInterrupt


def test_a_worker_that_dies_after_it_followed_a_merge_loses_nothing(
    settings: Settings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    people(simulator, "1", "2", "3")
    merge(simulator, "1", "3")
    merge(simulator, "2", "3")
    sent = open_web(settings).send("hubspot", [notification("1"), notification("2")])
    follow = Store.follow_merge

    def follow_and_die(self: Store, *what: Any) -> None:
        follow(self, *what)
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "follow_merge", follow_and_die)
    with pytest.raises(KeyboardInterrupt):
        run_drain(settings)
    monkeypatch.setattr(Store, "follow_merge", follow)
    for one in sent:
        store.redis.zadd("bridge:leased", {one: 1})
    store.sweep()
    run_drain(settings)

    assert ended(store, *sent) == ONE_CALL


# --- reading one record -------------------------------------------------------------------------


def test_a_crm_that_asks_for_a_pause_is_asked_nothing_more(
    settings: Settings, open_web: OpenWeb, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    people(simulator, "1", "2", "3", "4")
    merge(simulator, "1", "3")
    merge(simulator, "2", "4")
    path = "/crm/objects/2026-03/contacts/1"
    simulator.state.behave(path=path, times=1, status=429, retry_after="20")
    sent = open_web(settings).send("hubspot", [notification(one) for one in ("1", "2")])

    run_drain(settings)

    assert [of(store, one).status for one in sent] == ["queued", "queued"]
    assert "as often as it may be" in (of(store, sent[1]).message or "")


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"status": 503}, "HubSpot answered 503 when asked for the record."),
        ({"status": 429}, "HubSpot answered 429 when asked for the record."),
        ({"status": 400}, "HubSpot answered 400 when asked for the record."),
        ({"cut": "before"}, "HubSpot did not answer"),
        ({"body": "[]"}, "HubSpot's answer can't be read."),
        ({"body": '{"id": null}'}, "HubSpot's answer can't be read."),
    ],
    ids=str,
)
def test_a_read_of_one_record_that_fails_costs_that_id_alone_a_retry(
    settings: Settings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    answers: dict[str, Any],
    told: str,
) -> None:
    people(simulator, "1", "2", "3", "4")
    merge(simulator, "1", "3")
    merge(simulator, "2", "4")
    simulator.state.behave(path="/crm/objects/2026-03/contacts/1", times=1, **answers)
    first, second, third = open_web(settings).send(
        "hubspot", [notification(one) for one in ("1", "2", "101")]
    )

    run_drain(settings)

    assert (of(store, first).status, of(store, first).attempts) == ("queued", ())
    assert (of(store, first).message or "").startswith(told)
    assert ended(store, second, third) == {("delivered", None): 2}
    make_due(store, first)
    run_drain(settings)
    assert of(store, first).status == "delivered"


def test_a_drain_asks_for_a_limited_number_of_records_one_by_one(
    settings: Settings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hydration, "MOST_ALONE", 5)
    ids = [str(one) for one in range(900, 910)]
    sent = open_web(settings).send("hubspot", [notification(one) for one in ids])

    run_drain(settings, slice_s=30.0)

    assert len(simulator.state.requests_to("/crm/objects/2026-03/contacts/9")) == 5
    told = Counter(of(store, one).message for one in sent)
    assert told == {
        "The CRM does not have the record yet.": 5,
        "HubSpot left the record out of its answer. The bridge asks for it again.": 5,
    }
    assert {of(store, one).status for one in sent} == {"queued"}


def test_ids_that_hubspot_refuses_do_not_stop_the_ids_after_them(
    settings: Settings, open_web: OpenWeb, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    people(simulator, "999")
    merge(simulator, "998", "999")
    simulator.state.behave(400, path="/crm/objects/2026-03/contacts/90")
    ids = [str(one) for one in range(900, 900 + 2 * ALONE_FAILURES)]
    sent = open_web(settings).send("hubspot", [notification(one) for one in [*ids, "998"]])

    run_drain(settings)

    assert {of(store, one).status for one in sent[:-1]} == {"queued"}
    assert of(store, sent[-1]).status == "delivered"


def test_reads_that_fail_in_a_row_end_the_reading_one_by_one(
    settings: Settings, open_web: OpenWeb, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(429, path="/crm/objects/2026-03/contacts/9")
    ids = [str(one) for one in range(900, 910)]
    sent = open_web(settings).send("hubspot", [notification(one) for one in ids])

    run_drain(settings)

    assert len(simulator.state.requests_to("/crm/objects/2026-03/contacts/9")) == ALONE_FAILURES
    assert {of(store, one).status for one in sent} == {"queued"}


@pytest.mark.parametrize("contact", ["900", "18446744073709551616"])
def test_an_id_without_a_record_is_gone_after_two_minutes(
    settings: Settings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    contact: str,
) -> None:
    [delivery] = open_web(settings).send("hubspot", notification(contact))
    run_drain(settings)
    assert of(store, delivery).status == "queued"
    since = int(store.redis.hget(f"bridge:delivery:{delivery}", "waiting_since_ms") or 0)
    store.redis.hset(f"bridge:delivery:{delivery}", "waiting_since_ms", since - 120_000)
    make_due(store, delivery)
    run_drain(settings)
    assert (of(store, delivery).status, of(store, delivery).reason) == ("skipped", "record_gone")


# --- both ids -----------------------------------------------------------------------------------


@pytest.fixture
def merged(
    settings: Settings, open_web: OpenWeb, simulator: Simulator, run_drain: RunDrain
) -> tuple[Web, str]:
    """The web process, and a delivery that was called as record 3; its event named record 1."""
    web = open_web(settings)
    people(simulator, "1", "3")
    merge(simulator, "1", "3")
    [delivery] = web.send("hubspot", notification("1"))
    run_drain(settings)
    return web, delivery


@pytest.mark.parametrize("subject", ["1", "3"])
@pytest.mark.parametrize("more", ["", "&status=delivered", "&source=hubspot&limit=1"])
def test_both_ids_find_the_delivery(merged: tuple[Web, str], subject: str, more: str) -> None:
    web, delivery = merged
    found = web.get(f"/api/deliveries?subject={subject}{more}").json["items"]
    assert [one["id"] for one in found] == [delivery]


def test_another_id_does_not_find_it(merged: tuple[Web, str], store: Store) -> None:
    page = store.deliveries(Filters(subject="2"), before=None, limit=10)
    assert page.items == ()


def test_the_event_follows_and_keeps_the_rest_of_its_record(
    merged: tuple[Web, str], store: Store
) -> None:
    seen = store.event(of(store, merged[1]).event_id)
    assert seen is not None
    assert seen.event.records == (("hubspot", "contact", "3"), ("hubspot", "contact", "1"))
    assert seen.event.data["objectId"] == 1


@pytest.mark.parametrize("contact", ["1", "3"])
def test_a_suppression_of_either_record_forbids_the_call(
    settings: Settings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    contact: str,
) -> None:
    people(simulator, "1", "3")
    merge(simulator, "1", "3")
    web = open_web(settings)
    web.send("hubspot", notification(contact, subscriptionType="contact.privacyDeletion"))
    sent = web.send("hubspot", notification("1"))
    run_drain(settings)
    assert {of(store, one).status for one in sent} <= {"skipped", "cancelled"}
    assert called(simulator) == []


@pytest.mark.parametrize("contact", ["1", "3"])
def test_an_erasure_of_either_record_leaves_nothing(
    merged: tuple[Web, str],
    settings: Settings,
    store: Store,
    run_drain: RunDrain,
    contact: str,
) -> None:
    web, delivery = merged
    web.send("hubspot", notification(contact, subscriptionType="contact.privacyDeletion"))
    run_drain(settings)

    kept = of(store, delivery)
    assert kept.erased_at is not None
    assert (kept.subject, kept.merged_from, kept.request) == (None, (), None)
    seen = store.event(kept.event_id)
    assert seen is not None
    assert (seen.event.data, seen.event.records) == (None, ())
    assert store.redis.keys("bridge:record_calls:*") == []
    assert delivery not in store.ids_by_subject("1") + store.ids_by_subject("3")


def test_an_erasure_by_number_finds_the_events_of_both_records(
    merged: tuple[Web, str], store: Store
) -> None:
    web, delivery = merged
    web.send("hubspot", notification("3", subscriptionType="contact.deletion"))
    assert Eraser(store=store).erase(phone_of("3")).events >= 1
    assert of(store, delivery).erased_at is not None
    assert Suppressions(store=store).ids_of(("hubspot", "contact", "1")) == []
    assert store.redis.keys("bridge:record_calls:*") == []


def test_what_was_erased_meanwhile_does_not_come_back(
    settings: Settings, open_web: OpenWeb, store: Store, simulator: Simulator
) -> None:
    [delivery] = open_web(settings).send("hubspot", notification("1"))
    [claimed] = store.claim(1, lease_s=60).claims
    assert claimed.event is not None
    store.erase_deliveries([delivery])
    store.follow_merge(claimed.delivery, claimed.event, claimed.event.followed("3"))
    assert (of(store, delivery).subject, store.ids_by_subject("3")) == (None, [])


def test_a_forgotten_delivery_is_in_no_index(
    merged: tuple[Web, str], store: Store, settings: Settings
) -> None:
    assert claim(store) == {}
    store.prune(datetime.now(UTC) + timedelta(days=1))
    assert store.ids_by_subject("1") + store.ids_by_subject("3") == []


def test_a_record_of_an_older_release_is_one_call_with_the_other_too(
    settings: Settings, open_web: OpenWeb, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    web = open_web(settings)
    people(simulator, "1", "2", "3")
    merge(simulator, "1", "3")
    merge(simulator, "2", "3")
    [one] = web.send("hubspot", notification("1"))
    key = f"bridge:event:{of(store, one).event_id}"
    record = str(store.redis.hget(key, "record"))
    # Its event's record has other words, so that it can't be rewritten to say what it became.
    store.redis.hset(key, "record", record.replace('"subject_type"', '"thing"'))
    simulator.state.behave(429, path=CALL, times=1)
    run_drain(settings)
    [other] = web.send("hubspot", notification("2"))
    run_drain(settings)
    make_due(store, one)
    run_drain(settings)

    assert ended(store, one, other) == ONE_CALL
    assert called(simulator) == [phone_of("3")]
