"""What earlier releases kept of a number in one spelling applies to all its spellings.

They stored each spelling under a keyed hash of its own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import API_TOKEN, WEBSITE, Web, lead, route

from schemas.settings import Settings
from simulator import Simulator
from store import Store
from store.erasure import Eraser
from store.suppression import Suppressions

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
RunDrain = Callable[..., Any]

# The spelling that an earlier release stored, and one that a lead has today.
PHONES = [
    pytest.param("+5491123456789", "+541123456789", id="Argentina"),
    pytest.param("+542214567890", "+5492214567890", id="Argentina, without 9"),
    pytest.param("+5215512345678", "+525512345678", id="Mexico"),
    pytest.param("+551187654321", "+5511987654321", id="Brazil"),
    pytest.param("+22997123456", "+2290197123456", id="Benin"),
    pytest.param("+22507123456", "+2250707123456", id="Ivory Coast"),
    pytest.param("+24106123456", "+24166123456", id="Gabon"),
    pytest.param("+2417123456", "+24177123456", id="Gabon, 7 digits"),
    pytest.param("+5712345678", "+576012345678", id="Colombia"),
]
ROUTES = WEBSITE + route(countries='"any"')
AGAIN = WEBSITE + route(countries='"any"', again_after='"24h"')


@contextmanager
def earlier_release(patched: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the store know one spelling of each number, as earlier releases did."""
    with patched.context() as within:
        within.setattr("store.base.spellings", lambda number: (number,))
        yield


def called(store: Store, delivery: str) -> tuple[str, str | None]:
    found = store.delivery(delivery)
    assert found
    return found.status, found.reason


def ask(web: Web, method: str, path: str, *, status: int = 200) -> Any:
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    answer = web.client.open(path, method=method, json={}, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json


@pytest.mark.parametrize(("old", "new"), PHONES)
def test_a_suppressed_number_stays_suppressed(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
    old: str,
    new: str,
) -> None:
    settings = make_settings(ROUTES)
    web = open_web(settings)
    with earlier_release(monkeypatch):
        Suppressions(store=store).suppress(old, message="asked")

    [skipped] = web.send("website", lead(phone=new))
    run_drain(settings)

    assert called(store, skipped) == ("skipped", "suppressed")
    assert simulator.state.calls == []
    again = ask(web, "PUT", f"/api/suppressions/{new}")
    assert (again["message"], store.suppression_count()) == ("asked", 1), "the first one stays"
    assert ask(web, "GET", f"/api/suppressions/{old}")["message"] == "asked"
    ask(web, "DELETE", f"/api/suppressions/{new}")
    assert store.suppression_count() == 0
    [sent] = web.send("website", lead(phone=new))
    run_drain(settings)
    assert called(store, sent)[0] == "delivered"
    assert len(simulator.state.calls_to(new)) == 1, "it is dialled as the record has it"


@pytest.mark.parametrize(("old", "new"), PHONES)
def test_an_erased_person_is_not_called(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
    old: str,
    new: str,
) -> None:
    settings = make_settings(ROUTES)
    web = open_web(settings)
    with earlier_release(monkeypatch):
        Eraser(store=store).erase(old)

    [skipped] = web.send("website", lead(phone=new))
    run_drain(settings)

    assert called(store, skipped) == ("skipped", "suppressed")
    assert simulator.state.calls == []


@pytest.mark.parametrize(("old", "new"), PHONES)
def test_a_number_called_recently_is_not_called_again(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    old: str,
    new: str,
) -> None:
    settings = make_settings(AGAIN)
    web = open_web(settings)
    now = datetime.now(UTC)
    at_ms = int((now - timedelta(minutes=5)).timestamp() * 1000)
    claim = f"{at_ms} {at_ms + 2 * 86_400_000} {now:%Y-%m-%d} call back"
    store.redis.hset(f"bridge:number:{store._keyed(old)}", "another:1", claim)

    [skipped] = web.send("website", lead(phone=new))
    run_drain(settings)

    assert called(store, skipped) == ("skipped", "called_recently")
    assert simulator.state.calls == []


@pytest.mark.parametrize(("old", "new"), PHONES)
def test_erasing_finds_what_was_stored_under_the_other_spelling(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
    old: str,
    new: str,
) -> None:
    settings = make_settings(ROUTES, dry_run=True)
    web = open_web(settings)
    with earlier_release(monkeypatch):
        Suppressions(store=store).suppress(old, message="asked")
        [theirs] = web.send("website", lead(phone=new, note=f"call {old[1:]} after six"))
        [others] = web.send("website", lead(phone="+919876543210"))
        run_drain(settings)

    done = Eraser(store=store).erase(new)

    assert done.is_done
    kept = store.delivery(theirs)
    assert kept
    assert kept.erased_at
    assert kept.request is None
    assert {one.number for one in store.suppressions(before=None, limit=9).items} == {None}
    for key in store.redis.scan_iter("bridge:*"):
        found = {"hash": store.redis.hgetall, "string": store.redis.get}.get(store.redis.type(key))
        for phone in (old, new) if found else ():
            assert phone[1:] not in str(found(key)), key
    other = store.delivery(others)
    assert other
    assert other.erased_at is None
