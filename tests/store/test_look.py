"""A supervisor's look: what there is to do, and how little it costs where nothing waits."""

import pytest
from support.storing import claim, put

from schemas.records import Look
from store import Store
from store.base import P

NOTHING = Look(is_migrated=True, has_pauses=False, due_s=None, lease_ends_s=None, alert_s=None)


@pytest.fixture
def migrated(store: Store) -> Store:
    assert store.is_migrated()
    return store


def test_before_the_migration_nothing_is_migrated(store: Store) -> None:
    store.redis.delete(f"{P}schema")
    assert not store.look().is_migrated


def test_an_empty_store_has_nothing_to_do_and_costs_four_commands(migrated: Store) -> None:
    assert migrated.look() == NOTHING
    migrated.redis.config_resetstat()
    migrated.look()
    stats = migrated.redis.info("commandstats")
    calls = {name: one["calls"] for name, one in stats.items() if "config" not in name}
    assert sum(calls.values()) == 4, calls


def test_what_is_kept_and_settled_costs_no_more(migrated: Store) -> None:
    put(migrated, "a")
    assert not migrated.is_empty()
    migrated.redis.delete(f"{P}due")
    assert migrated.look() == NOTHING


def test_it_says_when_what_waits_is_due_and_when_a_lease_ends(migrated: Store) -> None:
    assert migrated.is_empty()
    put(migrated, "a")
    found = migrated.look()
    assert found.due_s is not None
    assert found.due_s <= 0
    assert found.lease_ends_s is None
    claim(migrated, lease_s=60)
    found = migrated.look()
    assert found.due_s is None
    assert found.lease_ends_s is not None
    assert 0 < found.lease_ends_s <= 60


def test_it_says_that_something_is_paused_and_that_an_alert_waits(migrated: Store) -> None:
    migrated.pause("all", reason="person", message="a break")
    assert migrated.look().has_pauses
    migrated.look_for_alerts(backlog_age_s=60, sources=())
    alert_s = migrated.look().alert_s
    assert alert_s is not None
    assert alert_s <= 0


@pytest.mark.parametrize("name", ["leased", "due:alert"])
def test_a_list_of_another_type_hides_nothing_else(migrated: Store, name: str) -> None:
    put(migrated, "a")
    migrated.redis.delete(f"{P}{name}")
    migrated.redis.set(f"{P}{name}", "no list")

    found = migrated.look()

    assert found.due_s is not None
    assert found.due_s <= 0
    assert {"leased": found.lease_ends_s, "due:alert": found.alert_s}[name] == 0


def test_a_name_of_an_older_release_is_seen_also_where_nothing_waits(migrated: Store) -> None:
    migrated.redis.hset(f"{P}standing", "queued a", "1")
    assert not migrated.look().is_migrated
