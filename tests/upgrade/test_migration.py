"""The migration: nothing is lost if it is killed or doubled, or if webhooks come meanwhile."""

import contextlib
import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from old_store import CALLBACK_TOKEN, RELEASES, ROUTES, Old, old_names
from support import LONGEST_S, ROOT, Bridge, Web, end_lease, make_due
from support.storing import a_delivery, accept, an_event

from schemas.delivery import Status
from schemas.records import BackgroundTask, Move
from schemas.settings import Settings
from simulator import Simulator
from store import Store, connect
from store.migration import PAGE, Migration, migrate

RunDrain = Callable[..., Any]
OpenWeb = Callable[[Settings], Web]
MakeSettings = Callable[..., Settings]
StartBridge = Callable[..., Bridge]

# Moves pages until it is killed; says a line after each.
MIGRATE = """
import sys
from store import Store, connect
from store.migration import Migration
for page in Migration(Store(connect(sys.argv[1])), page=int(sys.argv[2])).pages():
    print(page.moved, flush=True)
    if sys.argv[3:]:
        sys.stdin.readline()
"""


@pytest.fixture(params=RELEASES, ids=lambda file: file.stem)
def old(request: pytest.FixtureRequest, store: Store, simulator: Simulator) -> Old:
    """What an earlier release left, not migrated yet."""
    found = Old(request.param)
    found.load(store)
    found.keep_campaigns(store, simulator)
    return found


@pytest.fixture
def unmarked(store: Store) -> Store:
    """A store that nothing has looked at yet."""
    store.redis.flushall()
    return store


@pytest.fixture
def settings(make_settings: MakeSettings, simulator: Simulator) -> Settings:
    simulator.state.put_record("hubspot", "contacts", "101", {"phone": "+919876599101"})
    return make_settings(ROUTES, callkaro_webhook_tokens=(CALLBACK_TOKEN,))


def fill(store: Store, **strings: str) -> None:
    for name, value in strings.items():
        store.redis.set(f"bridge:{name}", value)


def everything(store: Store) -> dict[str, Any]:
    """Return all that there is, by key.

    What a migration keeps for itself is left out, and so is the wakeup, which is gone in a second.
    """
    read: dict[str, Callable[[str], Any]] = {
        "string": store.redis.get,
        "hash": store.redis.hgetall,
        "set": store.redis.smembers,
        "zset": lambda key: store.redis.zrange(key, 0, -1, withscores=True),
    }
    aside = ("bridge:migration", "bridge:schema", "bridge:nothing", "bridge:bell", "bridge:wakeup")
    keys = [key for key in store.redis.scan_iter("bridge:*") if not key.startswith(aside)]
    return {key: read[store.redis.type(key)](key) for key in keys}


def start(url: str, page: int, *, in_steps: bool = False) -> "subprocess.Popen[str]":
    """Start a migration; in_steps: after each page it waits for a line."""
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", MIGRATE, url, str(page), *(["in steps"] if in_steps else [])],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


# --- nothing is lost ------------------------------------------------------------------------------


def test_what_is_stored_has_the_new_names_and_the_same_values(old: Old, store: Store) -> None:
    before = everything(store)

    assert migrate(store)

    after = everything(store)
    assert old_names(store) == set()
    assert after["bridge:background_tasks"] == before["bridge:errands"]
    assert after["bridge:due:background_task"] == before["bridge:due:errand"]
    assert after["bridge:early_outcome:of-nobody"] == before["bridge:orphan:of-nobody"]
    for key, value in before.items():
        if key.startswith(("bridge:number:", "bridge:event:", "bridge:suppress", "bridge:seen:")):
            assert after[key] == value
    claims = {key: kept["rings"] for key, kept in before.items() if "rings" in kept}
    assert claims
    assert {key: after[key]["number_claim"] for key in claims} == claims
    if "bridge:standing" in before:
        assert after["bridge:status_counts"] == before["bridge:standing"]
        assert before["bridge:measured"].keys() <= after["bridge:metrics"].keys()
    for key, value in before.items():
        if key.startswith(("bridge:minute:", "bridge:ten:", "bridge:hour:")):
            new = key.replace("bridge:", "bridge:bucket:")
            assert after[new] == value
            assert store.redis.ttl(new) > 0


@pytest.mark.slow
def test_a_migration_that_is_killed_is_ended_by_the_next_start(
    old: Old,
    store: Store,
    redis_url: str,
    settings: Settings,
    open_web: OpenWeb,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    seed = random.randrange(10**6)  # noqa: S311
    print(f"seed {seed}")  # noqa: T201
    rng, killed = random.Random(seed), 0  # noqa: S311
    for _ in range(4):
        with start(redis_url, page=rng.choice([3, 7, 20]), in_steps=True) as process:
            assert process.stdin
            assert process.stdout
            for _ in range(rng.randrange(1, 6)):
                # It is killed while it is at the page after the last one that was read.
                if process.stdout.readline():
                    with contextlib.suppress(BrokenPipeError):
                        process.stdin.write("\n")
                        process.stdin.flush()
            process.send_signal(signal.SIGKILL)
            killed += process.wait(LONGEST_S) == -signal.SIGKILL
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        assert store.redis.pttl("bridge:migration-lock") <= 5000, "a dead process loses it"
        store.redis.delete("bridge:migration-lock")
    assert killed, f"seed {seed}: nothing was tested"

    assert migrate(store)

    assert old_names(store) == set()
    guards_hold(old, store, settings, open_web(settings), simulator, run_drain)


def guards_hold(
    old: Old,
    store: Store,
    settings: Settings,
    web: Web,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    """An erasure, an opt-out, an early outcome, a number claim and a pause do what they should."""
    assert store.redis.hlen("bridge:early_outcome:of-nobody") == 1
    tasks = store.redis.hkeys("bridge:background_tasks")
    assert {task.partition(":")[0] for task in tasks} == {"call_off", "erase", "opt_out"}
    # The old workers are gone: their leases run out.
    end_lease(store, old.id("leased"), old.id("sending"), old.id("sending, suppressed"))
    store.sweep()
    store.redis.zadd("bridge:due:background_task", dict.fromkeys(tasks, 1))
    lead = {"submission_id": "new", "event_type": "form.submitted", "agreed": True}
    [again] = web.send("website", {**lead, "phone": old.numbers["delivered"]})
    run_drain(settings)

    assert store.redis.hlen("bridge:background_tasks") == 0
    assert store.suppression(store.phone_key("+919876598002")), "the number that opted out"
    found = store.delivery(again)
    assert found
    assert (found.status, found.reason) == ("skipped", "called_recently")
    assert simulator.state.calls_to(old.numbers["delivered"]) == []
    erased = [key for key in tasks if key.startswith("erase:")]
    [event_id] = [key.partition(":")[2] for key in erased]
    seen = store.event(event_id)
    assert seen
    assert seen.event.data is None
    paused = store.delivery(old.id("paused"))
    assert paused
    assert (paused.status, paused.reason) == ("held", "paused")
    assert store.resume("route:call in pauses") == 1
    run_drain(settings)
    assert len(simulator.state.calls_to(old.numbers["paused"])) == 1
    assert simulator.state.doubled == {}


def test_two_processes_migrate_at_once(old: Old, store: Store, redis_url: str) -> None:
    before = everything(store)
    processes = [start(redis_url, page=1) for _ in range(2)]
    stores = [Store(connect(redis_url)) for _ in range(2)]
    threads = [threading.Thread(target=migrate, args=(one,)) for one in stores]
    for thread in threads:
        thread.start()
    for process in processes:
        process.communicate(timeout=LONGEST_S)
    for thread in threads:
        thread.join(LONGEST_S)
    assert migrate(store)
    assert [process.returncode for process in processes] == [0, 0]
    assert old_names(store) == set()
    after = everything(store)
    assert after["bridge:background_tasks"] == before["bridge:errands"]
    assert after["bridge:early_outcome:of-nobody"] == before["bridge:orphan:of-nobody"]
    kept = [key for key in before if key.startswith(("bridge:deliver", "bridge:event"))]
    assert set(kept) <= after.keys()


def test_a_second_process_waits_for_the_lock_of_the_first(store: Store, old: Old) -> None:
    first, second = Migration(store, page=5), Migration(store, page=5)
    assert not next(first.pages()).is_locked
    assert next(second.pages()).is_locked
    assert not second.advance(for_s=1)
    store.redis.delete("bridge:migration-lock")  # the first one died
    assert second.advance(for_s=60)
    assert first.advance(for_s=60), "there is nothing left to do"


def test_another_start_of_redis_begins_with_the_first_page(store: Store, old: Old) -> None:
    pages = Migration(store, page=5).pages()
    next(pages)
    assert store.redis.hget("bridge:migration", "cursor") != "0"
    store.redis.hset("bridge:migration", mapping={"run": "another", "cursor": "never valid here"})
    assert Migration(store).advance(for_s=60) is False, "the lock of the first one"
    store.redis.delete("bridge:migration-lock")
    assert migrate(store)
    assert old_names(store) == set()


# --- it is bounded --------------------------------------------------------------------------------


def test_a_page_has_a_limited_number_of_keys_however_many_there_are(unmarked: Store) -> None:
    store = unmarked
    outcome = json.dumps({"sid": "s", "try": "0", "record": "{}", "message": "m"})
    pipe = store.redis.pipeline(transaction=False)
    for number in range(5000):
        pipe.hset(f"bridge:orphan:{number}", "s:0", outcome)
        pipe.expire(f"bridge:orphan:{number}", 1000 + number)
    pipe.execute()
    pipe.hset("bridge:errands", mapping={f"erase:{number}": "{}" for number in range(2000)})
    pipe.zadd("bridge:due:errand", {f"erase:{number}": number for number in range(2000)})
    pipe.hset("bridge:background_tasks", "erase:7", "new")  # so that they can't just be renamed
    pipe.zadd("bridge:due:background_task", {"erase:7": 10**12})
    pipe.execute()
    store.redis.config_set("slowlog-log-slower-than", 0)
    store.redis.slowlog_reset()

    pages = list(Migration(store).pages())

    store.redis.config_set("slowlog-log-slower-than", 10_000)
    assert max(page.keys for page in pages) <= 2 * PAGE, "a scan may return somewhat more"
    assert len(pages) >= 5000 / (2 * PAGE)
    assert sum(page.failed for page in pages) == 0
    assert old_names(store) == set()
    assert store.redis.hlen("bridge:background_tasks") == 2000
    assert store.redis.hget("bridge:background_tasks", "erase:7") == "new"
    assert store.redis.zscore("bridge:due:background_task", "erase:7") == 10**12
    assert store.redis.zscore("bridge:due:background_task", "erase:8") == 8
    for number in (0, 2500, 4999):
        key = f"bridge:early_outcome:{number}"
        assert store.redis.hget(key, "s:0") == outcome
        assert 900 + number < store.redis.ttl(key) <= 1000 + number
    assert len(list(store.redis.scan_iter("bridge:early_outcome:*", count=1000))) == 5000


def test_a_key_of_another_type_does_not_stop_the_others(unmarked: Store) -> None:
    store = unmarked
    fill(store, measured="no hash", metrics="no hash")
    store.redis.hset("bridge:orphan:CA1", "s:0", "{}")
    page = list(Migration(store).pages())[-1]
    assert (page.is_done, page.failed) == (True, 1)
    assert store.redis.exists("bridge:early_outcome:CA1")


# --- what this release stores in the meantime -----------------------------------------------------


def test_old_and_new_are_merged(unmarked: Store) -> None:
    store = unmarked
    redis = store.redis
    redis.hset("bridge:orphan:CA1", mapping={"s:0": "old", "s:1": "old"})
    redis.expire("bridge:orphan:CA1", 5000)
    redis.hset("bridge:early_outcome:CA1", mapping={"s:1": "new", "s:2": "new"})
    redis.expire("bridge:early_outcome:CA1", 100)
    redis.hset("bridge:standing", mapping={"queued a": 3, "failed a": 1})
    redis.hset("bridge:status_counts", mapping={"queued a": 2, "held a": 1})
    redis.hset("bridge:minute:7", "to failed a", 4)
    redis.expire("bridge:minute:7", 50)
    redis.hset("bridge:bucket:minute:7", "to failed a", 1)
    redis.expire("bridge:bucket:minute:7", 500)
    redis.set("bridge:tries:x", 4, ex=60)
    redis.set("bridge:sign_in_attempts:x", 2, ex=30)

    assert migrate(store)

    assert redis.hgetall("bridge:early_outcome:CA1") == {"s:0": "old", "s:1": "new", "s:2": "new"}
    assert redis.ttl("bridge:early_outcome:CA1") > 4000
    counts = redis.hgetall("bridge:status_counts")
    assert counts == {"queued a": "5", "failed a": "1", "held a": "1"}
    assert redis.hgetall("bridge:bucket:minute:7") == {"to failed a": "5"}
    assert redis.ttl("bridge:bucket:minute:7") > 400
    assert redis.get("bridge:sign_in_attempts:x") == "6"
    assert redis.ttl("bridge:sign_in_attempts:x") > 30
    assert old_names(store) == set()


def test_an_outcome_that_proves_nothing_but_doubt_is_still_found(unmarked: Store) -> None:
    store = unmarked
    message = "Redis lost this delivery while its request was on the way; a phone may have rung."
    doubt = json.dumps({"doubt": True, "message": message})
    store.redis.hset("bridge:orphan:d1", "doubt", doubt)
    assert migrate(store)
    accept(store, (an_event(), [a_delivery("d1")]))
    assert store.claim(1, lease_s=60).claims == ()
    found = store.delivery("d1")
    assert found
    assert (found.status, found.message) == ("unknown", message)


def test_webhooks_and_outcomes_are_taken_in_and_nothing_is_claimed_before_it_is_done(
    old: Old, store: Store, settings: Settings, open_web: OpenWeb, run_drain: RunDrain
) -> None:
    store.redis.set("bridge:migration-lock", "another process", px=60_000)
    web = open_web(settings)

    not_ready = web.client.get("/readyz")
    lead = {"submission_id": "n", "event_type": "form.submitted", "agreed": True}
    [new] = web.send("website", {**lead, "phone": "+919876511111"})
    run_drain(settings, should_stop=lambda: False, slice_s=0.3)

    assert not_ready.status_code == 503
    assert not_ready.json["error"] == "migrating"
    assert "earlier release" in not_ready.json["message"]
    found = store.delivery(new)
    assert found
    assert (found.status, found.lease) == ("queued", 0)
    assert old_names(store), "the other process is still at it"

    store.redis.delete("bridge:migration-lock")
    assert migrate(store)
    assert web.client.get("/readyz").status_code == 200
    run_drain(settings)
    found = store.delivery(new)
    assert found
    assert found.status == "delivered"


def test_a_script_that_reads_a_delivery_renames_its_fields_first(old: Old, store: Store) -> None:
    """Else an answer in the midst of a migration would not know what it had claimed."""
    key = f"bridge:delivery:{old.id('unknown')}"
    claim = store.redis.hget(key, "rings")
    assert claim
    number = f"bridge:number:{json.loads(claim)['phone']}"
    assert store.redis.exists(number)
    move = Move(id=old.id("unknown"), to=Status.FAILED, from_statuses=frozenset({Status.UNKNOWN}))
    assert store.move([move]) == ["ok"]
    assert store.redis.hget(key, "rings") is None
    assert store.redis.hget(key, "number_claim") == claim
    assert not store.redis.exists(number), "it was not called, so its number is free"


def test_an_erased_delivery_keeps_no_field_of_an_old_name(old: Old, store: Store) -> None:
    store.erase_deliveries([old.id("delivered")])
    kept = store.redis.hgetall(f"bridge:delivery:{old.id('delivered')}")
    assert not {"rings", "number_claim", "phone"} & kept.keys()


def test_a_task_that_was_kept_again_is_not_replaced(old: Old, store: Store) -> None:
    [erase] = [key for key in store.redis.hkeys("bridge:errands") if key.startswith("erase:")]
    task = BackgroundTask(id=erase, what="erase", event_id="e", state={"place": 7})
    store.put_background_task(task, in_s=1000)
    assert migrate(store)
    assert json.loads(store.redis.hget("bridge:background_tasks", erase) or "")["state"]
    assert store.redis.hlen("bridge:background_tasks") == 3
    assert store.redis.zcard("bridge:due:background_task") == 3


# --- a store that needs none ----------------------------------------------------------------------


def test_a_new_store_is_ready_at_once(unmarked: Store, web: Web) -> None:
    store = unmarked
    assert store.is_migrated()
    assert store.redis.get("bridge:schema") == "2"
    assert web.client.get("/readyz").status_code == 200
    assert Migration(store).advance(for_s=0)


def test_a_store_of_this_release_is_ready_at_once(unmarked: Store) -> None:
    store = unmarked
    accept(store, (an_event(), [a_delivery("d1")]))
    assert store.is_migrated()


def test_whether_it_is_done_is_read_once(unmarked: Store) -> None:
    store = unmarked
    assert store.is_migrated()
    store.redis.delete("bridge:schema")
    assert store.is_migrated()


def test_a_large_store_without_old_names_needs_its_pages(unmarked: Store) -> None:
    store = unmarked
    accept(store, *((an_event(), [a_delivery(f"d{number}")]) for number in range(200)))
    assert not store.is_migrated()
    assert store.claim(10, lease_s=60).claims == ()
    assert migrate(store)
    assert store.is_migrated()
    assert len(store.claim(10, lease_s=60).claims) == 10


def test_a_person_is_not_kept_waiting_by_it(old: Old, store: Store) -> None:
    """What waits in the old release's due sets is where it was, and can be cancelled meanwhile."""
    move = Move(id=old.id("queued"), to=Status.CANCELLED, from_statuses=frozenset({Status.QUEUED}))
    assert store.move([move]) == ["ok"]
    assert migrate(store)
    with pytest.raises(AssertionError):
        make_due(store, old.id("queued"))


# --- the processes --------------------------------------------------------------------------------


def test_web_and_worker_migrate_at_their_start_and_then_deliver(
    old: Old, store: Store, settings: Settings, start_bridge: StartBridge, simulator: Simulator
) -> None:
    end_lease(store, old.id("leased"))
    store.redis.set("bridge:migration-lock", "a process that died", px=1500)

    bridge = start_bridge(ROUTES, own_web=True, web_processes=1)

    assert old_names(store) == set()
    assert bridge.session.get(f"{bridge.url}/readyz", timeout=LONGEST_S).status_code == 200
    bridge.await_status(old.id("queued"), "delivered")
    bridge.await_status(old.id("leased"), "delivered")
    assert simulator.state.doubled == {}


def test_what_an_old_process_writes_behind_the_end_is_moved_too(old: Old, store: Store) -> None:
    assert migrate(store)
    # A process of the older release that nobody has stopped:
    store.redis.hset("bridge:errands", "call_off:late", '{"what":"call_off","key":"late"}')
    store.redis.zadd("bridge:due:errand", {"call_off:late": 1})
    store.redis.hset("bridge:orphan:late", "late:0", "{}")
    store._migrated_until = 0.0
    assert not store.is_migrated()

    pages = list(Migration(store).pages())

    assert pages[0].is_old_process
    assert pages[-1].is_last
    assert store.is_migrated()
    assert old_names(store) == set()
    assert store.redis.hexists("bridge:background_tasks", "call_off:late")
    assert store.redis.zscore("bridge:due:background_task", "call_off:late") == 1
    assert store.redis.hlen("bridge:early_outcome:late") == 1


def test_what_cannot_be_moved_is_put_aside_and_told_once(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.redis.delete("bridge:schema")
    store.redis.set("bridge:errands", "not a hash")
    store.redis.hset("bridge:background_tasks", "a", "{}")
    store.redis.hset("bridge:orphan:d1", mapping={"doubt": "no JSON", "c1:0": "{}"})

    assert migrate(store)

    assert store.redis.get("bridge:unmoved:errands") == "not a hash"
    assert store.redis.hget("bridge:early_outcome:d1", "c1:0") == "{}"
    assert [one for one in caplog.text.splitlines() if "migration_skipped" in one]
    assert next(Migration(store).pages()).is_done, "and it is not looked at again"
