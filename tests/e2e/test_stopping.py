"""Stops under load, as a platform does it that gives 30 s and then kills."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import pytest
import requests
from faults.load import ROUTES, Crms, Leads
from faults.report import CALLS, ENDS, judge
from faults.told import environment
from support import API_TOKEN, LONGEST_S, WEBSITE, Bridge, children, lead, route, until
from support.receiver import Receiver, serving

from bridge.api.long_poll import MOST_WAITING
from simulator import Simulator
from store import Store

StartBridge = Callable[..., Bridge]
LATENCY_MS = 300
PER_S = 40.0  # webhooks, of two or three leads each


def stop_all(process: "subprocess.Popen[bytes] | None", what: str, *forked: int | None) -> None:
    """Ask a process and what it forked to stop, as Heroku does; it has to end well."""
    assert process is not None
    began = time.monotonic()
    for pid in (process.pid, *filter(None, forked)):
        os.kill(pid, signal.SIGTERM)
    assert process.wait(LONGEST_S) == 0
    sys.stdout.write(f"{what} stopped within {time.monotonic() - began:.1f} s\n")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Whoever gets the website's signed webhooks."""
    with serving() as receiver:
        yield receiver


@pytest.fixture
def busy(start_bridge: StartBridge, simulator: Simulator, receiver: Receiver) -> Bridge:
    """A bridge with a web process of its own, whose CallKaro and CRMs are slow."""
    told = environment(receiver)
    bridge = start_bridge(ROUTES, own_web=True, WORKER_THREADS="32", **told)
    simulator.state.latency_ms = LATENCY_MS
    return bridge


@pytest.fixture
def crm_client(busy: Bridge) -> Iterator[Crms]:
    crm_client = Crms(busy, per_s=PER_S)
    yield crm_client
    crm_client.close()


@pytest.mark.slow
def test_web_and_worker_stop_in_time_under_load_and_nothing_is_lost_or_doubled(
    busy: Bridge, crm_client: Crms, store: Store, simulator: Simulator
) -> None:
    state = simulator.state
    leads = Leads(state, random.Random(1), lists=False)  # noqa: S311  (dice, no secrets)

    def go_on(name: str) -> None:
        """Have more posted than one step of this test takes, and calls on the wire."""
        crm_client.post(leads.webhooks(80, of=name))
        until(lambda: state.totals()["in_flight"] > 1, what=f"{name}: requests on the wire")
        wanted = crm_client.counts["webhooks"] + 10
        until(lambda: crm_client.counts["webhooks"] >= wanted, what=f"{name}: webhooks taken in")

    crm_client.post(leads.one_of_each(of="the start"))
    until(lambda: len(state.campaigns) == 2, what="the campaigns")

    go_on("web")
    assert busy.web is not None
    stop_all(busy.web, "web", *children(busy.web.pid))
    lost = crm_client.failures["connection lost"]
    until(lambda: crm_client.failures["connection lost"] > lost, what="a webhook that nobody takes")
    assert crm_client.waiting
    busy.start_web()

    go_on("worker")
    stop_all(busy.worker, "worker", busy.rq_worker(), busy.horse())
    assert store.counts()["sending"] == 0
    taken_in = crm_client.counts["webhooks"]
    crm_client.post(leads.webhooks(10, of="nobody works"))
    until(
        lambda: crm_client.counts["webhooks"] > taken_in, what="a webhook that waits for a worker"
    )
    until(lambda: store.counts()["queued"], what="a lead that waits for a worker")
    state.latency_ms = 0
    busy.start_worker()

    def is_over() -> bool:
        waiting = (*store.counts().items(), *store.write_back_counts().items())
        return not crm_client.waiting and not sum(
            count for status, count in waiting if status not in ENDS
        )

    until(is_over, what="the end of every delivery")
    broken, ends = judge(store, state, crm_client.acknowledged, crm_client.wrong, None)
    assert not broken, "\n".join(broken.lines())
    assert {end.partition(" ")[0] for end in ends} == {"delivered", "skipped", "failed"}, ends
    assert len(state.requests_to(CALLS)) == ends["delivered"]
    assert state.doubled == {}
    told = {status: count for status, count in store.write_back_counts().items() if count}
    assert told.keys() <= {"delivered", "skipped"}, told
    sys.stdout.write(f"{crm_client.counts['webhooks']} webhooks, {dict(ends)}\n")


def test_a_request_that_waits_is_answered_when_the_web_process_is_asked_to_stop(
    start_bridge: StartBridge,
) -> None:
    # With less than a wait takes, gunicorn would kill the process under those that still wait.
    bridge = start_bridge(
        WEBSITE + route(delay='"1h"'),
        own_web=True,
        web_processes=1,
        GUNICORN_CMD_ARGS="--graceful-timeout 10",
    )
    web = bridge.web
    assert web is not None
    bridge.session.close()  # a stop waits 2 s for what may still come on it
    [delivery] = bridge.send("website", lead())

    def ask() -> requests.Response:
        return requests.get(
            f"{bridge.url}/api/deliveries/{delivery}?wait=25",
            headers={"Authorization": f"Bearer {API_TOKEN}"},
            timeout=LONGEST_S,
            proxies={"no_proxy": "*"},
        )

    with ThreadPoolExecutor(MOST_WAITING + 1) as pool:
        asked = [pool.submit(ask) for _ in range(MOST_WAITING + 1)]
        # Who finds no place is answered at once: then all the others are waiting.
        turned_away, waiting = wait(asked, return_when=FIRST_COMPLETED)
        assert ["Retry-After" in one.result().headers for one in turned_away] == [True]

        stop_all(web, "web, with requests that wait,", *children(web.pid))

        answers = [one.result() for one in waiting]
    assert [one.status_code for one in answers] == [200] * MOST_WAITING
    assert {one.json()["status"] for one in answers} == {"queued"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "begun",
    [
        b"POST /webhooks/website HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
        b"POST /webhooks/website HTTP/1.1\r\nHost: loc",
        b"POST /webhooks/website HTTP/1.1\r\nHost: localhost\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
    ids=["half a body", "half a head", "half a chunk"],
)
def test_a_request_that_never_becomes_whole_does_not_keep_a_stopping_web_process(
    start_bridge: StartBridge, begun: bytes
) -> None:
    timeout = f"--graceful-timeout {int(10 * LONGEST_S)}"
    bridge = start_bridge(WEBSITE + route(), own_web=True, GUNICORN_CMD_ARGS=timeout)
    web = bridge.web
    assert web is not None
    bridge.session.close()
    with socket.create_connection(("127.0.0.1", bridge.port), timeout=LONGEST_S) as client:
        client.sendall(begun)
        # What was sent first is read first: the half has arrived.
        answer = requests.get(f"{bridge.url}/healthz", timeout=LONGEST_S, proxies={"no_proxy": "*"})
        assert answer.status_code == 200

        stop_all(web, "web, with half a request,", *children(web.pid))

        assert client.recv(1000).startswith(b"HTTP/1.1 503 ")
