"""A drain whose requests hang, or wait for others: nobody else pays for it."""

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import LONGEST_S, WEBSITE, lead, make_due, route
from support.draining import MakeSettings, OpenWeb, RunDrain

from simulator import Simulator
from store import Store
from workers import sending

CALLS, CAMPAIGNS = "/call/outbound", "/call/campaign"


@pytest.fixture
def names_hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Have every look-up of a name hang; returns how to let go of them."""
    resolved = threading.Event()
    look_up = socket.getaddrinfo

    def hang(host: str, *args: Any, **kwargs: Any) -> Any:
        if host == "callkaro.example":
            resolved.wait(LONGEST_S)
            raise socket.gaierror("no such name")
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    yield resolved.set
    resolved.set()


def test_a_name_that_does_not_resolve_in_time_is_no_call_in_doubt(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    run_drain: RunDrain,
    names_hang: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "MARGIN_S", 0.2)
    monkeypatch.setattr(sending, "CONNECT_S", 0.2)
    url = "http://callkaro.example"
    settings = make_settings(WEBSITE + route(), callkaro_base_url=url, worker_threads=2)
    [delivery] = open_web(settings).send("website", lead())
    settled = threading.Event()

    def is_settled() -> bool:
        found = store.delivery(delivery)
        if found is not None and found.status == "retrying":
            settled.set()
            names_hang()  # the thread may go on, and finds that nobody waits for it
        return settled.is_set()

    run_drain(settings, should_stop=is_settled)

    found = store.delivery(delivery)
    assert found is not None
    assert (found.status, found.reason) == ("retrying", "unreachable")
    assert [one["error"] for one in found.attempts] == ["TooLateError"]
    assert not store.redis.hexists("bridge:breaker", "failures"), "it was our own slowness"


def test_a_call_that_gets_no_thread_is_no_call_in_doubt(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The drain has nothing else to do, but must not end before it has settled the attempt."""
    monkeypatch.setattr(sending, "MARGIN_S", 0.5)
    monkeypatch.setattr(sending, "CONNECT_S", 0.5)
    settings = make_settings(WEBSITE + route())
    [delivery] = open_web(settings).send("website", lead())

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    run_drain(settings)

    found = store.delivery(delivery)
    assert found is not None
    assert found.status == "retrying"


def test_calls_that_wait_for_anothers_campaign_keep_no_other_from_going_out(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    routes = (
        WEBSITE
        + route("in a campaign", campaign='{ name = "Website" }', match="\"kind == 'a'\"")
        + route("plain", match="\"kind == 'b'\"")
    )
    settings = make_settings(routes, worker_threads=1)
    web = open_web(settings)
    waiting = [web.send("website", lead(kind="a"))[0] for _ in range(8)]
    [plain] = web.send("website", lead(kind="b"))
    key = f"v1/{settings.routes.routes[0].request['agent_id'].search(None)}/Website"
    assert store.may_create_campaign(key), "a worker that died has it"

    def is_sent() -> bool:
        found = store.delivery(plain)
        return found is not None and found.status == "delivered"

    run_drain(settings, should_stop=is_sent)

    assert is_sent()
    assert {store.delivery(one).status for one in waiting} == {"queued"}
    store.give_up_campaign(key)
    make_due(store, *waiting)
    run_drain(settings)
    assert len(simulator.state.calls) == 9


def test_a_delivery_that_makes_a_campaign_shows_the_one_that_is_kept(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: RunDrain
) -> None:
    routes = WEBSITE + route(
        "make", to="campaign", campaign='{ key = "list" }', request={"name": '"title"'}
    )
    settings = make_settings(routes)
    [delivery] = open_web(settings).send("website", lead(title="A", list="7"))
    store.keep_campaign("key/7", "the-first", {"name": "A"})  # its worker died after this

    run_drain(settings)

    found = store.delivery(delivery)
    assert found is not None
    assert (found.status, found.batch_id) == ("delivered", "the-first")


def test_callkaros_own_words_stay_off_the_pages_that_need_no_token(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(WEBSITE + route())
    web = open_web(settings)
    body = '{"status": "error", "message": "could not queue asha@example.in"}'
    simulator.state.behave(500, path=CALLS, body=body)
    [delivery] = web.send("website", lead())

    run_drain(settings)

    assert "asha@example.in" in web.get(f"/api/deliveries/{delivery}").json["message"]
    for path in ("/readyz", "/api/status"):
        shown = web.get(path)
        assert "CallKaro failed (500)" in shown.text
        assert "asha" not in shown.text


def test_a_skipped_or_held_delivery_can_be_found_by_its_number(
    make_settings: MakeSettings, open_web: OpenWeb, run_drain: RunDrain
) -> None:
    settings = make_settings(WEBSITE + route(), allow_numbers=frozenset({"+919876543219"}))
    web = open_web(settings)
    [delivery] = web.send("website", lead("+919876543210"))

    run_drain(settings)

    found = web.get("/api/deliveries?phone=%2B919876543210").json["items"]
    assert [(one["id"], one["reason"]) for one in found] == [(delivery, "not_allowed")]
