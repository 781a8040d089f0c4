"""A store that an earlier release filled is migrated, read, worked off, repaired and pruned."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from old_store import CALLBACK_TOKEN, RELEASES, ROUTES, Old
from support import API_TOKEN, Web, end_lease, make_due

from rules.search import found_again
from schemas.delivery import Status
from schemas.records import Move, Repaired
from schemas.settings import Settings
from simulator import Simulator
from store import Store
from store.migration import migrate

MENDED = """
[[route]]
name   = "call what is mended"
source = "website"
event  = "mended.later"
to     = "call"
[route.request]
to_number = "phone"
agent_id  = { value = "6803fa770b666a64ab1694c1e" }
"""
# What a drain sends at once. A worker's death is no reason not to, until a request was on the way.
DUE = {"queued", "leased", "known by its bytes", "retrying"}
RunDrain = Callable[..., Any]
MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]


@pytest.fixture(params=RELEASES, ids=lambda file: file.stem)
def old(request: pytest.FixtureRequest, store: Store, simulator: Simulator) -> Old:
    found = Old(request.param)
    found.load(store)
    assert migrate(store)
    found.keep_campaigns(store, simulator)
    return found


@pytest.fixture
def settings(make_settings: MakeSettings, simulator: Simulator) -> Settings:
    simulator.state.put_record("hubspot", "contacts", "101", {"phone": "+919876599101"})
    return make_settings(ROUTES, callkaro_webhook_tokens=(CALLBACK_TOKEN,))


def ask(web: Web, method: str, path: str, body: object = None) -> Any:
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    answer = web.client.open(path, method=method, json=body or {}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json


def stands(web: Web, delivery_id: str) -> tuple[str, str | None]:
    found = web.get(f"/api/deliveries/{delivery_id}").json
    return found["status"], found["reason"]


def all_of(web: Web, path: str) -> list[dict[str, Any]]:
    """Return the items of all pages of a list."""
    items, cursor = [], ""
    while cursor is not None:
        page = ask(web, "GET", f"{path}{'&' if '?' in path else '?'}limit=7{cursor}")
        items += page["items"]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    return items


def audit(store: Store) -> Repaired:
    """Go once round all deliveries."""
    place, found = store.audit((0, 0), lease_s=60)
    assert place == (0, 0), "so few fit into one page"
    return found


def metrics(web: Web) -> dict[str, float]:
    """Return the gauges and counters without their prefix, by name and labels."""
    lines = [line for line in web.get("/metrics").text.splitlines() if not line.startswith("#")]
    split = (line.rpartition(" ") for line in lines)
    return {name.removeprefix("callkaro_bridge_"): float(value) for name, _, value in split}


# --- reading --------------------------------------------------------------------------------


def test_every_delivery_is_read_as_it_was_written(old: Old, web: Web) -> None:
    for name, made in old.made.items():
        found = web.get(f"/api/deliveries/{made['id']}")
        assert found.status_code == 200, name
        assert (found.json["status"], found.json["reason"]) == (made["status"], made["reason"]), (
            name
        )
        assert found.json["timeline"], name
    called = web.get(f"/api/deliveries/{old.id('delivered')}").json
    assert [one["status_code"] for one in called["attempts"]] == [503, 200]
    assert called["outcomes"][0]["result"] == "connected"
    assert called["request"]["metadata"]["name"] == "Sample Lead"
    assert called["consent"]


def test_every_list_has_them(old: Old, web: Web) -> None:
    ids = {made["id"] for made in old.made.values()}
    assert {one["id"] for one in all_of(web, "/api/deliveries")} == ids
    for status in Status:
        of_status = {made["id"] for made in old.made.values() if made["status"] == status}
        listed = all_of(web, f"/api/deliveries?status={status}")
        assert {one["id"] for one in listed} == of_status, status
    number = old.numbers["delivered"].replace("+", "%2B")
    by_number = {one["id"] for one in all_of(web, f"/api/deliveries?phone={number}")}
    assert old.id("delivered") in by_number
    assert old.id("hubspot") in {
        one["id"] for one in all_of(web, "/api/deliveries?route=call%20new%20leads&source=hubspot")
    }


def test_every_event_is_read_and_found_by_its_source(old: Old, web: Web, store: Store) -> None:
    kept = {key.removeprefix("bridge:event:") for key in store.redis.scan_iter("bridge:event:*")}
    assert {one["id"] for one in all_of(web, "/api/events")} == kept
    by_source = {
        source: {one["id"] for one in all_of(web, f"/api/events?source={source}")}
        for source in ("website", "hubspot")
    }
    assert by_source["website"] | by_source["hubspot"] == kept
    assert old.events["hubspot"] in by_source["hubspot"]
    assert not by_source["website"] & by_source["hubspot"]
    unreadable = all_of(web, "/api/events?status=unreadable&source=website")
    assert {one["id"] for one in unreadable} == {
        old.events["unreadable"],
        old.events["unreadable too"],
    }
    [found] = all_of(web, "/api/events?source_event_id=form%20delivered")
    assert found["id"] == old.events["delivered"]
    for event_id in kept:
        assert web.get(f"/api/events/{event_id}").status_code == 200


def test_the_overview_counts_them(old: Old, web: Web) -> None:
    found = ask(web, "GET", "/api/status")
    counts = Counter(made["status"] for made in old.made.values())
    assert {name: n for name, n in found["deliveries"].items() if n} == counts
    assert found["bulk"] == 1
    assert found["suppressions"] == 3  # two numbers, and the contact of a privacy deletion
    assert [one["scope"] for one in ask(web, "GET", "/api/pauses")["items"]] == [
        "route:call in pauses"
    ]
    assert {one["name"][:7] for one in ask(web, "GET", "/api/campaigns")["items"]} >= {"Website"}
    messages = {one["message"] for one in all_of(web, "/api/suppressions")}
    assert "asked by mail" in messages


def test_what_stands_where_is_counted_from_the_first_audit_on(
    old: Old, web: Web, store: Store
) -> None:
    audit(store)
    told = metrics(web)
    for status, count in Counter(made["status"] for made in old.made.values()).items():
        named = [n for name, n in told.items() if re.match(rf'deliveries{{.*"{status}"', name)]
        assert sum(named) == count, status
    assert told["suppressions"] == 3
    assert told['paused{reason="person",scope="route:call in pauses"}'] == 1


def test_there_is_nothing_to_repair(old: Old, store: Store) -> None:
    assert audit(store) == Repaired()
    assert store.sweep() == (0, 0), "leases hold on"


# --- working off ----------------------------------------------------------------------------


def test_what_is_due_is_called_once_and_what_was_on_the_wire_never(
    old: Old, web: Web, store: Store, settings: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    # The old workers are gone: their leases run out.
    end_lease(store, old.id("leased"), old.id("sending"), old.id("sending, suppressed"))
    assert store.sweep() == (2, 1)
    make_due(store, old.id("retrying"))

    run_drain(settings)
    run_drain(settings)

    called = Counter(call.to_number for call in simulator.state.calls)
    assert called == {old.numbers[name]: 1 for name in DUE}
    for name in DUE:
        assert stands(web, old.id(name)) == ("delivered", None), name
    for name in ("sending", "sending, suppressed"):
        assert stands(web, old.id(name)) == ("unknown", "worker_died")
    assert simulator.state.doubled == {}


def test_the_pending_answer_of_an_old_worker_settles_its_delivery(
    old: Old, web: Web, store: Store
) -> None:
    """An old worker that is still at it says so to the new scripts."""
    delivery = store.delivery(old.id("sending"))
    assert delivery is not None
    answered = Move(
        id=delivery.id,
        to=Status.DELIVERED,
        lease=delivery.lease,
        attempt=(1, {"number": 1, "status_code": 200}),
        fields={"call_sid": "sid-1"},
        callkaro_ok=True,
    )
    assert store.move([answered]) == ["ok"]
    assert stands(web, delivery.id) == ("delivered", None)


def test_what_was_held_goes_when_its_time_or_its_release_comes(
    old: Old, web: Web, store: Store, settings: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    make_due(store, old.id("outside hours"), old.id("route missing"))
    assert ask(web, "DELETE", "/api/pauses/route:call%20in%20pauses")["released"] == 1
    assert ask(web, "POST", "/api/deliveries/release", {"route": "call floods"})["released"] == 1
    web.send(
        "website",
        {"submission_id": "7", "event_type": "campaign.started", "campaign": "7", "title": "May"},
    )
    run_drain(settings)

    make_due(store, old.id("call later"))
    run_drain(settings)

    held = ("outside hours", "route missing", "paused", "bulk", "awaiting campaign", "call later")
    for name in held:
        assert stands(web, old.id(name)) == ("delivered", None), name
        assert len(simulator.state.calls_to(old.numbers[name])) == 1, name


def test_what_was_unknown_is_resolved_by_a_person_and_by_an_outcome(old: Old, web: Web) -> None:
    for name, found in (("unknown", "delivered"), ("unknown, not called", "failed")):
        ask(web, "POST", f"/api/deliveries/{old.id(name)}/resolve", {"as": found})
        assert stands(web, old.id(name))[0] == found
    told_of = old.id("unknown, told of later")
    ended = {"callSid": "sid-9", "hangup_reason": "CLIENT_INITIATED", "try_count": 0}
    ended["call_metadata"] = {"bridge_delivery_id": told_of}
    answer = web.client.post(
        f"/callbacks/callkaro/{CALLBACK_TOKEN}", json={"event": "call_ended", "data": ended}
    )
    assert answer.status_code == 200
    assert stands(web, told_of)[0] == "delivered"


def test_an_outcome_that_came_too_early_is_still_kept(old: Old, store: Store) -> None:
    kept = old.keys["bridge:orphan:of-nobody"]
    assert store.redis.hgetall("bridge:early_outcome:of-nobody") == kept["value"]
    left_ms = store.redis.pttl("bridge:early_outcome:of-nobody")
    assert kept["ttl_ms"] - 60_000 < left_ms <= kept["ttl_ms"]


def test_a_person_retries_cancels_and_replays(
    old: Old,
    make_settings: MakeSettings,
    open_web: OpenWeb,
    settings: Settings,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    mended = make_settings(ROUTES + MENDED, callkaro_webhook_tokens=(CALLBACK_TOKEN,))
    web = open_web(mended)
    refused = web.client.post(
        f"/api/deliveries/{old.id('delivered')}/retry",
        headers={"Authorization": f"Bearer {API_TOKEN}"},
    )
    assert refused.status_code == 409, "it rang"
    ask(web, "POST", f"/api/deliveries/{old.id('failed')}/retry")
    ask(web, "POST", f"/api/deliveries/{old.id('queued')}/cancel")
    [new] = ask(web, "POST", f"/api/events/{old.events['unrouted']}/replay")["deliveries"]
    again = ask(web, "POST", f"/api/events/{old.events['failed, to be replayed']}/replay")
    assert again["deliveries"] == [], "it had its delivery"

    run_drain(mended)

    assert stands(web, old.id("failed"))[0] == "delivered"
    assert stands(web, old.id("queued")) == ("cancelled", "by_person")
    assert stands(web, new["id"])[0] == "delivered"
    assert len(simulator.state.calls_to(old.numbers["unrouted"])) == 1
    assert simulator.state.calls_to(old.numbers["queued"]) == []


def test_what_a_person_asked_to_drop_is_dropped(
    old: Old, web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    run_drain(settings)
    [asked] = simulator.state.requests_to("/call/delete-schedule-call")
    assert asked.body["to_number"] == old.numbers["to be dropped"]
    assert stands(web, old.id("to be dropped")) == ("cancelled", "by_person")


def test_background_tasks_are_done(
    old: Old, web: Web, store: Store, settings: Settings, run_drain: RunDrain
) -> None:
    before = ask(web, "GET", "/api/status")["suppressions"]
    end_lease(store, old.id("sending"), old.id("sending, suppressed"), old.id("leased"))
    store.sweep()
    tasks = store.redis.hkeys("bridge:background_tasks")
    store.redis.zadd("bridge:due:background_task", dict.fromkeys(tasks, 1))

    run_drain(settings)

    assert store.redis.hlen("bridge:background_tasks") == 0
    assert ask(web, "GET", "/api/status")["suppressions"] == before + 1, "the number that opted out"


# --- dedupe and retention -------------------------------------------------------------------


def test_what_the_old_release_took_in_is_a_duplicate(old: Old, web: Web) -> None:
    for name, posted in old.posted.items():
        answer = web.post(posted["source"], posted["body"].encode())
        assert answer.status_code == 202
        assert answer.json["accepted"] == 0, name
        assert answer.json["duplicates"] == len(answer.json["events"]), name
        first = answer.json["events"][0]
        assert first["id"] == old.events[name]
        if name in old.made:
            assert [one["id"] for one in first["deliveries"]] == [old.id(name)]
    assert len(all_of(web, "/api/deliveries")) == len(old.made)


def test_a_number_that_was_called_lately_is_still_known(
    old: Old, web: Web, settings: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    lead = {"submission_id": "new", "event_type": "form.submitted", "agreed": True}
    [again] = web.send("website", {**lead, "phone": old.numbers["delivered"]})
    run_drain(settings)
    assert stands(web, again) == ("skipped", "called_recently")
    assert simulator.state.calls_to(old.numbers["delivered"]) == []


def test_what_has_ended_is_pruned_without_a_trace(old: Old, web: Web, store: Store) -> None:
    audit(store)
    ended = {"delivered", "skipped", "failed", "cancelled"}
    gone = [made["id"] for made in old.made.values() if made["status"] in ended]

    store.prune(datetime.now(UTC) + timedelta(days=1))

    stay = {made["id"] for made in old.made.values()} - set(gone)
    assert {one["id"] for one in all_of(web, "/api/deliveries")} == stay
    for key in store.redis.scan_iter("bridge:deliveries*"):
        assert not set(store.redis.zrange(key, 0, -1)) & set(gone), key
    assert store._run("recount", 9) == [-1, 1], "what stands where was counted down"
    assert audit(store) == Repaired()


def test_a_search_finds_what_was_stored_after_the_first_audit(
    old: Old, web: Web, store: Store, settings: Settings
) -> None:
    number = old.numbers["delivered"]

    def found(typed: str) -> set[str]:
        return {one["id"] for one in all_of(web, f"/api/deliveries?q={typed}")}

    assert found(number[-5:]) == found("sample%20lead") == set()
    place, _ = store.audit((0, 0), lease_s=60, found_by=partial(found_again, settings.routes))
    assert place == (0, 0)
    assert old.id("delivered") in found(number[-5:]) & found("sample%20lead") & found("sample")
    assert old.id("hubspot") in found("101")
    assert found("1") == found("sample%20nobody") == set()
    for made in old.made.values():
        assert found(made["id"]) == {made["id"]}
    erased = {made["id"] for name, made in old.made.items() if "erased" in name}
    assert not erased & (found("sample") | found("lead"))
