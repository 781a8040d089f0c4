"""10,000 calls end at once: HubSpot's limit holds in any 10 s, and new calls do not wait."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from support import CALL_BACK, lead, notification, route, until
from support.draining import MakeSettings, OpenWeb, RunDrain
from support.storing import a_delivery, accept, an_event

from schemas.delivery import Status
from schemas.outcome import Outcome, Result
from schemas.records import Move
from schemas.settings import Settings
from simulator import Simulator
from store import Store

OUTCOMES = 10_000
RATE = 90  # requests in 10 s
ROUTES = (
    route(
        "call contacts",
        source="hubspot",
        event="contact.created",
        request={"to_number": '"properties.phone"', "agent_id": '{ value = "a" }'},
    )
    + """[route.write_back]
on = ["outcome"]
[route.write_back.fields]
hs_lead_status = "outcome.result"

"""
    + CALL_BACK
)
LONGEST_WAIT_S = 5.0  # of a new call
LONGEST_S = 240.0


@pytest.fixture
def settings(make_settings: MakeSettings, store: Store) -> Settings:
    store.note_write_back_routes({"call contacts": ["outcome"]})
    return make_settings(ROUTES, crm_rates={"hubspot": RATE}, worker_threads=64)


def end_calls(store: Store, simulator: Simulator) -> None:
    """Store accepted calls of as many contacts, and let each of them end."""
    for start in range(0, OUTCOMES, 500):
        numbers = [str(1000 + n) for n in range(start, start + 500)]
        for number in numbers:
            simulator.state.put_record("hubspot", "contacts", number, {})
        events = [
            an_event(source="hubspot", subject=number, subject_type="contact") for number in numbers
        ]
        deliveries = [a_delivery(f"d{number}", route="call contacts") for number in numbers]
        accept(store, *((event, [one]) for event, one in zip(events, deliveries, strict=True)))
        leases = {
            one.delivery.id: one.delivery.lease
            for _ in range(10)
            for one in store.claim(100, lease_s=60).claims
        }
        moves = []
        for id_, lease in leases.items():
            common: dict[str, Any] = {"id": id_, "lease": lease, "attempt": (1, {"number": 1})}
            accepted = {"call_sid": f"CA-{id_}"}
            moves += [
                Move(to=Status.SENDING, **common),
                Move(to=Status.DELIVERED, fields=accepted, **common),
            ]
        assert store.move(moves) == ["ok"] * 1000
        for id_ in leases:
            store.keep_outcome(
                Outcome(
                    call_sid=f"CA-{id_}",
                    delivery_id=id_,
                    try_count=0,
                    result=Result.CONNECTED,
                    is_final=True,
                    duration_s=30,
                    ended_at=datetime.now(UTC),
                )
            )


def most_in_10_s(times: list[float]) -> int:
    """Return the largest number of requests in any 10 s."""
    times = sorted(times)
    most = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= 10:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.fixture
def workers(settings: Settings, run_drain: RunDrain) -> Iterator[None]:
    """Two workers at work."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.is_set():
            run_drain(settings, should_stop=is_over.is_set)

    threads = [threading.Thread(target=work) for _ in range(2)]
    yield from _running(threads, is_over)


def _running(threads: list[threading.Thread], is_over: threading.Event) -> Iterator[None]:
    for one in threads:
        one.start()
    yield
    is_over.set()
    for one in threads:
        one.join()


@pytest.mark.bounds
def test_hubspots_limit_holds_and_new_calls_do_not_wait(
    settings: Settings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    request: pytest.FixtureRequest,
) -> None:
    end_calls(store, simulator)
    assert store.write_back_counts()["queued"] == OUTCOMES
    web, began, waits = open_web(settings), time.monotonic(), []
    request.getfixturevalue("workers")
    while store.write_back_counts()["delivered"] < OUTCOMES:
        assert time.monotonic() - began < LONGEST_S, store.write_back_counts()
        sent_at, before = time.monotonic(), len(simulator.state.calls)
        phone = f"+9198761{len(waits):05}"
        if len(waits) % 2:
            web.send("website", lead(phone))
        else:  # HubSpot is asked for its record first
            contact = str(900_000 + len(waits))
            simulator.state.put_record("hubspot", "contacts", contact, {"phone": phone})
            web.send("hubspot", [notification(contact)])
        until(lambda before=before: len(simulator.state.calls) > before, what="the new call")
        waits.append(time.monotonic() - sent_at)
        # Leads come one by one: what is read for them has a third of the CRM's turns.
        time.sleep(0.2)
    took_s = time.monotonic() - began
    asked = [one for one in simulator.state.requests if one.path.startswith("/crm/")]
    most = most_in_10_s([one.at.timestamp() for one in asked])
    print(  # noqa: T201  (what `make bounds` is for)
        f"{OUTCOMES} outcomes told in {took_s:.0f} s by {len(asked)} requests, at most {most} in "
        f"10 s; {len(waits)} new calls meanwhile, the slowest after {max(waits):.2f} s"
    )
    assert most <= RATE
    assert max(waits) < LONGEST_WAIT_S
    assert len(simulator.state.find_records("hubspot", "calls")) == OUTCOMES
