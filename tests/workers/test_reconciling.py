"""Reconcile: what never arrived is found in the CRM, counted, and called once."""

import hashlib
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import API_TOKEN, Web, notification, route, zoho_notification
from support.draining import MakeSettings, OpenWeb, RunDrain, counts

from schemas.crm import hubspot, zoho
from schemas.errors import StoreUnavailable
from schemas.reconcile import ReconcileRun, ReconcileStatus
from schemas.records import BackgroundTask
from schemas.settings import Settings
from simulator import Simulator
from simulator.zoho import USER
from store import Store

NOW = datetime.now(UTC).replace(microsecond=0)
ROUTES = (
    route(
        "new contacts",
        source="hubspot",
        event="contact.created",
        match="\"changeSource != 'IMPORT'\"",
    )
    + route("changed contacts", source="hubspot", event="contact.updated")
    + route("new leads", source="zoho", event="lead.created")
    + route("changed leads", source="zoho", event="lead.updated")
)


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(ROUTES)


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings) -> Web:
    return open_web(settings)


@pytest.fixture(autouse=True)
def _nobody_else(simulator: Simulator) -> None:
    """Let the CRMs have the records of the test alone."""
    for records in simulator.state.records.values():
        records.clear()


def put_contact(simulator: Simulator, contact: int, *, ago: timedelta, **more: str) -> None:
    """Put a contact that was created so long ago and not changed since."""
    at = (NOW - ago).isoformat()
    fields = {"phone": phone_of(contact), "createdate": at, "lastmodifieddate": at, **more}
    simulator.state.put_record("hubspot", "contacts", str(contact), fields)


def put_lead(
    simulator: Simulator, lead: int, *, created: timedelta, changed: timedelta, **more: Any
) -> None:
    """Put a lead that was created and changed so long ago."""
    times = {"Created_Time": NOW - created, "Modified_Time": NOW - changed}
    fields = {name: at.isoformat() for name, at in times.items()}
    simulator.state.put_record(
        "zoho", "Leads", str(lead), {"Phone": phone_of(lead), **fields, **more}
    )


def phone_of(record: int) -> str:
    return f"+9198765{record % 100_000:05}"


def called(simulator: Simulator) -> Counter[str]:
    return Counter(call.to_number for call in simulator.state.calls)


def _with_kind(settings: Settings, **more: Any) -> Settings:
    """Return settings whose Zoho is another one."""
    sources = settings.routes.sources
    other = replace(sources["zoho"], kind=replace(sources["zoho"].kind, **more))
    return replace(settings, routes=replace(settings.routes, sources={**sources, "zoho": other}))


class Reconcile:
    """Runs reconciles of a source."""

    def __init__(self, store: Store, settings: Settings, run_drain: RunDrain) -> None:
        self.store = store
        self.settings = settings
        self.run_drain = run_drain

    def __call__(self, source: str, **more: Any) -> ReconcileRun:
        run = ReconcileRun(source=source, since=NOW - timedelta(days=1), started_at=NOW, **more)
        assert self.store.start_reconcile(run)
        assert not self.store.start_reconcile(run), "one at a time"
        self.run_drain(self.settings)
        found = self.store.reconcile(source)
        assert found is not None
        return found


@pytest.fixture
def reconcile(store: Store, settings: Settings, run_drain: RunDrain) -> Reconcile:
    return Reconcile(store, settings, run_drain)


def release(web: Web, route_name: str) -> None:
    answer = web.client.post(
        "/api/deliveries/release",
        json={"route": route_name},
        headers={"Authorization": f"Bearer {API_TOKEN}"},
    )
    assert answer.status_code == 200, answer.text


def test_of_fifty_leads_the_seven_that_never_arrived_are_called_once(
    settings: Settings,
    web: Web,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    reconcile: Reconcile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hubspot, "SEARCH_PAGE", 20)  # so that there are three pages
    for number in range(50):
        put_contact(simulator, 100 + number, ago=timedelta(hours=1, minutes=number))
    put_contact(simulator, 99, ago=timedelta(days=2))  # from before
    hooks = {number: notification(str(100 + number)) for number in range(50)}
    dropped = [hooks.pop(number) for number in (0, 7, 19, 20, 33, 48, 49)]
    web.send("hubspot", list(hooks.values()))
    run_drain(settings)
    assert called(simulator).total() == 43

    counted = reconcile("hubspot", dry_run=True)

    assert (counted.status, counted.known, counted.missed) == (ReconcileStatus.DONE, 43, 7)
    assert (counted.taken, counts(store)) == (0, {"delivered": 43})
    assert [one["type"] for one in counted.examples] == ["contact.created"] * 5

    done = reconcile("hubspot")

    assert (done.known, done.missed, done.taken, done.is_held) == (43, 7, 7, True)
    assert counts(store) == {"delivered": 43, "held": 7}
    release(web, "new contacts")
    run_drain(settings)
    everybody = Counter(phone_of(100 + number) for number in range(50))
    assert called(simulator) == everybody
    again = reconcile("hubspot")
    assert (again.known, again.missed, again.taken) == (50, 0, 0)
    # Now the webhooks come after all.
    answer = web.post("hubspot", dropped)
    assert answer.json["duplicates"] == 7
    first = web.get("/api/deliveries?reason=&limit=50").json["items"]
    assert {one["id"] for one in answer.json["events"]} <= {one["event_id"] for one in first}
    run_drain(settings)
    assert called(simulator) == everybody


def test_an_erased_person_is_not_called_by_a_reconcile(
    settings: Settings,
    web: Web,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    reconcile: Reconcile,
) -> None:
    for contact in (101, 102):
        put_contact(simulator, contact, ago=timedelta(hours=1))
    web.send("hubspot", notification("101"))
    run_drain(settings)
    for contact in (101, 102):  # of the second one the bridge knows nothing yet
        answer = web.client.post(
            "/api/erasures",
            json={"phone": phone_of(contact)},
            headers={"Authorization": f"Bearer {API_TOKEN}"},
        )
        assert answer.status_code in (200, 202), answer.text
    run_drain(settings)

    done = reconcile("hubspot")

    assert (done.known, done.taken) == (1, 1)
    assert called(simulator) == {phone_of(101): 1}, "the call before it was erased"
    assert counts(store)["skipped"] == 1


def test_a_handful_is_called_at_once_and_an_import_is_not(
    store: Store, simulator: Simulator, reconcile: Reconcile
) -> None:
    for number in range(5):
        put_contact(simulator, 100 + number, ago=timedelta(hours=1))
    put_contact(simulator, 200, ago=timedelta(hours=1), hs_object_source="IMPORT")

    done = reconcile("hubspot")

    assert (done.missed, done.left_out, done.taken, done.is_held) == (5, 1, 5, False)
    assert called(simulator).total() == 5


def test_changes_are_taken_and_those_that_the_bridge_may_have_made_are_not(
    store: Store, simulator: Simulator, reconcile: Reconcile
) -> None:
    old, lately = timedelta(days=30), (NOW - timedelta(hours=1)).isoformat()
    for contact in (101, 102):
        put_contact(simulator, contact, ago=old, lastmodifieddate=lately)
    # The bridge told HubSpot of a call to the second one.
    name = hashlib.sha1(b"hubspot\n\n102", usedforsecurity=False).hexdigest()
    store.redis.hset(f"bridge:write_back_record:{name}", "newest:city", "1 a-call a-write-back")

    done = reconcile("hubspot")

    assert (done.missed, done.own, done.taken) == (1, 1, 1)
    assert called(simulator) == {phone_of(101): 1}


def test_of_zoho_too_where_our_user_is_not_known(
    store: Store, simulator: Simulator, reconcile: Reconcile
) -> None:
    hour, old = timedelta(hours=1), timedelta(days=9)
    for lead in (1, 2):
        put_lead(simulator, lead, created=old, changed=hour)
    simulator.state.behave(
        401, path="/crm/v8/users", body='{"code": "OAUTH_SCOPE_MISMATCH", "message": "m"}'
    )
    name = hashlib.sha1(b"zoho\n\n2", usedforsecurity=False).hexdigest()
    store.redis.hset(f"bridge:write_back_record:{name}", "newest:city", "1 a-call a-write-back")

    done = reconcile("zoho")

    assert (done.missed, done.own) == (1, 1)
    assert called(simulator) == {phone_of(1): 1}


def test_a_module_that_zoho_does_not_know_is_named(
    simulator: Simulator, reconcile: Reconcile
) -> None:
    simulator.state.behave(
        400, path="/crm/v8/Leads", body='{"code": "INVALID_MODULE", "message": "m"}'
    )
    done = reconcile("zoho")
    assert (done.status, done.message) == (
        ReconcileStatus.FAILED,
        "Zoho CRM answered 400 (INVALID_MODULE). It was asked for Leads.",
    )


def test_a_changed_record_is_not_taken_for_a_route_that_reads_the_notification(
    make_settings: MakeSettings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    settings = make_settings(
        route(source="hubspot", event="contact.updated", match="\"propertyName == 'phone'\"")
    )
    lately = (NOW - timedelta(hours=1)).isoformat()
    put_contact(simulator, 101, ago=timedelta(days=30), lastmodifieddate=lately)

    done = Reconcile(store, settings, run_drain)("hubspot")

    assert (done.missed, done.left_out, done.taken) == (0, 1, 0)
    assert counts(store) == {}


def test_zoho_is_asked_for_what_was_created_and_changed(
    settings: Settings,
    web: Web,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    reconcile: Reconcile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zoho, "SEARCH_PAGE", 2)
    hour, old = timedelta(hours=1), timedelta(days=9)
    ours = {"Modified_By": {"id": USER["id"], "name": "Ours"}}
    put_lead(simulator, 1, created=hour, changed=hour)
    put_lead(simulator, 2, created=old, changed=hour)
    put_lead(simulator, 3, created=old, changed=hour, **ours)
    put_lead(simulator, 4, created=old, changed=old)
    put_lead(simulator, 5, created=hour, changed=hour - timedelta(minutes=5))
    arrived = zoho_notification("5")
    web.send("zoho", arrived)
    run_drain(settings)

    done = reconcile("zoho")

    assert (done.known, done.missed, done.taken) == (1, 3, 3)
    assert called(simulator) == {phone_of(number): 1 for number in (1, 2, 5)}
    assert counts(store)["skipped"] == 1, "our own user's change"
    assert reconcile("zoho").missed == 0


def test_a_crm_that_is_away_is_asked_again_and_one_that_refuses_ends_it(
    settings: Settings, store: Store, simulator: Simulator, reconcile: Reconcile
) -> None:
    put_contact(simulator, 101, ago=timedelta(hours=1))
    simulator.state.hubspot_token = "another"
    done = reconcile("hubspot")
    assert (done.status, done.message) == (
        ReconcileStatus.FAILED,
        "HubSpot answered 401 (INVALID_AUTHENTICATION). It was asked for contacts.",
    )
    simulator.state.hubspot_token = None
    away = replace(settings, variables={"hubspot": {**settings.variables["hubspot"]}})
    away.variables["hubspot"]["API_URL"] = "http://127.0.0.1:9"  # type: ignore[index]
    waits = Reconcile(store, away, reconcile.run_drain)("hubspot")
    assert waits.status is ReconcileStatus.COUNTING
    assert "did not answer" in str(waits.message)
    store.put_background_task(
        BackgroundTask(id="reconcile:hubspot", what="reconcile", key="hubspot")
    )
    reconcile.run_drain(settings)
    assert called(simulator) == {phone_of(101): 1}


def test_a_crm_that_answers_with_the_same_page_forever_ends_it(
    simulator: Simulator, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_lead(simulator, 1, created=timedelta(hours=1), changed=timedelta(hours=1))
    how = zoho.KIND.reconcile
    assert how is not None
    stuck = replace(how, page=lambda *of: replace(how.page(*of), cursor="1"))
    monkeypatch.setattr("workers.reconcile.STEP_S", 2.0)
    reconcile.settings = _with_kind(reconcile.settings, reconcile=stuck)
    done = reconcile("zoho")
    assert done.status is ReconcileStatus.FAILED
    assert done.message == "Zoho CRM answered with the same page again."


def test_what_an_older_release_may_have_taken_is_not_taken_again(
    store: Store, simulator: Simulator, reconcile: Reconcile
) -> None:
    store.redis.set("bridge:order", 1)  # an older release was here
    store.note_happenings(NOW - timedelta(hours=1, minutes=10))
    store.note_happenings(NOW)  # by another worker, or after a restart
    put_contact(simulator, 101, ago=timedelta(minutes=61))
    put_contact(simulator, 102, ago=timedelta(minutes=59))
    assert reconcile("hubspot").taken == 1
    assert called(simulator) == {phone_of(102): 1}


def test_a_new_store_knows_everything(
    store: Store, web: Web, simulator: Simulator, reconcile: Reconcile
) -> None:
    web.send("hubspot", notification("7"))  # before the first worker started
    store.note_happenings(NOW)
    put_contact(simulator, 101, ago=timedelta(hours=20))
    assert reconcile("hubspot").taken == 1


def test_what_was_forgotten_while_it_waited_is_not_taken(
    make_settings: MakeSettings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    settings = make_settings(ROUTES, dedupe_days=1, retention_days=1)
    put_contact(simulator, 101, ago=timedelta(hours=23, minutes=50))
    put_contact(simulator, 102, ago=timedelta(hours=23, minutes=30))
    assert Reconcile(store, settings, run_drain)("hubspot").taken == 1
    assert called(simulator) == {phone_of(102): 1}


def test_if_more_is_missing_than_was_counted_it_is_held(
    store: Store, simulator: Simulator, reconcile: Reconcile
) -> None:
    for number in range(6):
        put_contact(simulator, 101 + number, ago=timedelta(hours=1))
    done = reconcile("hubspot", status=ReconcileStatus.TAKING, missed=1)
    assert (done.taken, done.is_held, counts(store)) == (6, True, {"held": 6})


def test_a_route_that_takes_workflows_too_takes_nothing_from_a_reconcile(
    make_settings: MakeSettings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    # A workflow may have told of the same contacts, and its body does not say so.
    every = route("everything", source="hubspot", event="*")
    put_contact(simulator, 101, ago=timedelta(hours=1))
    alone = Reconcile(store, make_settings(every), run_drain)("hubspot")
    assert (alone.missed, alone.left_out) == (0, 0)
    named = make_settings(every + route("new", source="hubspot", event="contact.created"))
    assert Reconcile(store, named, run_drain)("hubspot").taken == 1
    assert called(simulator) == {phone_of(101): 1}


def test_one_whose_task_was_lost_keeps_no_other_from_beginning(store: Store) -> None:
    run = ReconcileRun(source="hubspot", since=NOW, started_at=NOW)
    assert store.start_reconcile(run)
    assert not store.start_reconcile(run)
    # The worker ended the task of the run before, just when this one began.
    store.end_background_task("reconcile:hubspot")
    assert store.start_reconcile(run)
    assert [one.id for one in store.claim_background_tasks(9)] == ["reconcile:hubspot"]


@pytest.mark.parametrize("step", ["keep_reconcile", "accept"])
def test_one_that_is_cut_off_goes_on_and_calls_nobody_twice(
    store: Store,
    settings: Settings,
    simulator: Simulator,
    reconcile: Reconcile,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    monkeypatch.setattr(hubspot, "SEARCH_PAGE", 2)
    for number in range(5):
        put_contact(simulator, 101 + number, ago=timedelta(hours=1))
    whole, steps = getattr(Store, step), []

    def cut_off(self: Store, *arguments: Any, **more: Any) -> Any:
        """Do it, and let Redis go away once, so that the worker does not hear of it."""
        answer = whole(self, *arguments, **more)
        steps.append(answer)
        if len(steps) == 2:
            raise StoreUnavailable("made up")
        return answer

    monkeypatch.setattr(Store, step, cut_off)
    assert reconcile("hubspot").is_running
    store.put_background_task(
        BackgroundTask(id="reconcile:hubspot", what="reconcile", key="hubspot")
    )
    reconcile.run_drain(settings)
    found = store.reconcile("hubspot")
    assert found is not None
    assert (found.status, found.missed) == (ReconcileStatus.DONE, 5)
    assert called(simulator) == {phone_of(101 + number): 1 for number in range(5)}


def test_one_that_is_slowed_down_waits_and_goes_on_where_it_was(
    store: Store,
    settings: Settings,
    simulator: Simulator,
    reconcile: Reconcile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hubspot, "SEARCH_PAGE", 1)
    for number in range(3):
        put_contact(simulator, 101 + number, ago=timedelta(hours=1))
    search = "/crm/objects/2026-03/contacts/search"
    simulator.state.behave(path=search, times=1)
    simulator.state.behave(429, path=search, times=1, retry_after="77")
    waits = reconcile("hubspot")
    assert (waits.status, waits.missed) == (ReconcileStatus.COUNTING, 1)
    due_ms = store.redis.zscore("bridge:due:background_task", "reconcile:hubspot")
    assert due_ms is not None
    assert 70 < due_ms / 1000 - store.redis.time()[0] <= 78
    store.redis.delete("bridge:crm_slow:hubspot")  # as after that time
    store.put_background_task(
        BackgroundTask(id="reconcile:hubspot", what="reconcile", key="hubspot")
    )
    reconcile.run_drain(settings)
    found = store.reconcile("hubspot")
    assert found is not None
    assert (found.status, found.missed, found.taken) == (ReconcileStatus.DONE, 3, 3)


def test_one_begins_again_if_the_routes_are_others(
    make_settings: MakeSettings,
    store: Store,
    settings: Settings,
    simulator: Simulator,
    reconcile: Reconcile,
) -> None:
    put_contact(simulator, 101, ago=timedelta(hours=1))
    simulator.state.put_record(
        "hubspot", "companies", "7", {"createdate": (NOW - timedelta(hours=1)).isoformat()}
    )
    more = route("new companies", source="hubspot", event="company.created")
    both = make_settings(ROUTES + more)
    # Another worker had come to contacts beyond the id 500, where this one's first object is.
    reconcile.settings = both
    done = reconcile("hubspot", routes=settings.routes.digest, place=(0, "500"), known=9)
    assert (done.status, done.routes) == (ReconcileStatus.DONE, both.routes.digest)
    assert (done.known, done.missed, done.taken) == (0, 2, 2)


def test_an_error_of_ours_ends_it(
    settings: Settings, store: Store, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("made up")

    monkeypatch.setattr("workers.reconcile.as_event", crash)
    monkeypatch.setattr("workers.reconcile.items_of", crash)
    monkeypatch.setattr("workers.reconcile.wanted_of", crash)
    done = reconcile("hubspot")
    assert done.status is ReconcileStatus.FAILED
    assert "error in the bridge" in str(done.message)
