"""What the command line shows of write-backs."""

from collections.abc import Callable

import pytest
from support import WEBSITE, route
from support.commandline import Run
from support.storing import claim, put

from schemas.delivery import Status
from schemas.records import Move
from schemas.settings import Settings
from store import Store


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(WEBSITE + route("call back"))


@pytest.fixture
def told(store: Store) -> str:
    store.note_write_back_routes({"call back": ["failed"]})
    put(store, "d1", subject="101")
    store.move([Move(id="d1", to=Status.FAILED, lease=claim(store)["d1"])])
    [found] = store.write_backs_of("d1")
    return found.id


def test_a_call_names_what_its_crm_was_told(run: Run, told: str) -> None:
    assert told in run("status", "d1").output
    assert "d1 (failed)" in run("status", told).output
    assert "queued: 1" in run("status").output


def test_lists_and_commands_on_many_take_the_filters(run: Run, told: str) -> None:
    assert told not in run("deliveries").output
    assert told in run("deliveries", "--of", "d1", "--json").output
    assert told in run("deliveries", "--to", "write_back", "--json").output
    run("cancel", "--to", "write_back", "--yes")
    assert "cancelled" in run("status", told).output
