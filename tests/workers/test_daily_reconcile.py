"""The daily reconcile begins once a day at three, where a source asks for it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from support import route
from support.draining import MakeSettings

from schemas.reconcile import ReconcileRun, ReconcileStatus
from store import Store
from workers.daily_reconcile import DailyReconcile

SOURCE = '[[source]]\nname = "hubspot"\nreconcile = "24h"\n\n'
THREE = datetime(2026, 1, 31, 21, 30, tzinfo=UTC)  # 03:00 in Asia/Kolkata


def test_it_begins_once_a_day_over_all_workers(make_settings: MakeSettings, store: Store) -> None:
    settings = make_settings(SOURCE + route(source="hubspot", event="contact.created"))
    workers = [DailyReconcile(settings, store) for _ in range(2)]
    for worker in workers:
        worker.look(THREE - timedelta(seconds=1))
        assert store.reconcile("hubspot") is None
    for at in (THREE, THREE + timedelta(hours=1)):
        for worker in (*workers, DailyReconcile(settings, store)):
            worker.look(at)
        run = store.reconcile("hubspot")
        assert run is not None
        assert (run.started_at, run.since) == (THREE, THREE - timedelta(hours=25))
    assert store.reconcile("zoho") is None, "it does not ask for it"
    assert [one.id for one in store.claim_background_tasks(9)] == ["reconcile:hubspot"]


def test_a_worker_that_starts_by_day_leaves_it(make_settings: MakeSettings, store: Store) -> None:
    settings = make_settings(SOURCE + route(source="hubspot", event="contact.created"))
    DailyReconcile(settings, store).look(THREE + timedelta(hours=5))
    assert store.reconcile("hubspot") is None


def test_it_looks_back_no_further_than_what_is_known(
    make_settings: MakeSettings, store: Store
) -> None:
    routes = SOURCE.replace("24h", "9d") + route(source="hubspot", event="contact.created")
    DailyReconcile(make_settings(routes, dedupe_days=7), store).look(THREE)
    run = store.reconcile("hubspot")
    assert run is not None
    assert run.since == THREE - timedelta(days=7) + timedelta(hours=1)


def began(store: Store) -> ReconcileRun:
    """Return the latest reconcile, and end it."""
    run = store.reconcile("hubspot")
    assert run is not None
    store.keep_reconcile(replace(run, status=ReconcileStatus.DONE))
    return run


def test_a_worker_that_was_down_at_three_does_it_later_and_leaves_no_gap(
    make_settings: MakeSettings, store: Store
) -> None:
    settings = make_settings(SOURCE + route(source="hubspot", event="contact.created"))
    DailyReconcile(settings, store).look(THREE)
    began(store)
    three_days_later = THREE + timedelta(days=3, hours=9)
    DailyReconcile(settings, store).look(three_days_later)
    run = began(store)
    assert (run.started_at, run.since) == (three_days_later, THREE - timedelta(hours=1))


def test_a_day_of_25_hours_has_no_gap(make_settings: MakeSettings, store: Store) -> None:
    settings = make_settings(
        SOURCE + route(source="hubspot", event="contact.created"),
        callkaro_timezone="America/New_York",
    )
    saturday = datetime(2026, 10, 31, 7, 0, 30, tzinfo=UTC)  # 03:00 in daylight saving time
    sunday = datetime(2026, 11, 1, 8, 0, 59, tzinfo=UTC)  # 03:00 in standard time
    worker = DailyReconcile(settings, store)
    worker.look(saturday)
    assert began(store).started_at == saturday
    worker.look(sunday - timedelta(hours=1))
    assert began(store).started_at == saturday, "it is two o'clock for the second time"
    worker.look(sunday)
    assert began(store).since < saturday


def test_one_that_failed_is_made_up_for_and_one_that_runs_is_waited_for(
    make_settings: MakeSettings, store: Store
) -> None:
    settings = make_settings(SOURCE + route(source="hubspot", event="contact.created"))
    worker = DailyReconcile(settings, store)
    by_a_person = ReconcileRun(source="hubspot", since=THREE, started_at=THREE, dry_run=True)
    assert store.start_reconcile(by_a_person)
    worker.look(THREE)
    assert store.reconcile("hubspot") == by_a_person
    store.keep_reconcile(
        replace(by_a_person, status=ReconcileStatus.FAILED, since=THREE - timedelta(days=2))
    )
    worker.look(THREE + timedelta(minutes=1))
    assert began(store).since == THREE - timedelta(days=2, hours=1)
