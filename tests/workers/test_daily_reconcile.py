"""The daily reconcile begins once a day at three, where a source asks for it."""

from datetime import UTC, datetime, timedelta

from support import route
from support.draining import MakeSettings

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
        assert (run.started_at, run.since) == (THREE, THREE - timedelta(hours=24))
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
