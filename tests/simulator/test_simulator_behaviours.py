"""The simulator misbehaves exactly as told, and remembers what it really did."""

from __future__ import annotations

import threading
import time

import pytest
import requests

from simulator import Behaviour, Simulator

AGENT = "6803fa770b666a64ab1694c1e"
CALL = {"to_number": "+919876543210", "agent_id": AGENT}


def place(client, **change):
    return client.post("/call/outbound", {**CALL, **change})


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 422, 429, 500, 503])
def test_an_error_comes_in_callkaros_own_words_and_accepts_nothing(client, state, status):
    state.behave(status, path="/call")

    answer = place(client)

    assert (answer.status_code, answer.json()["status"]) == (status, "error")
    assert state.calls == []
    assert (state.requests[0].status, state.requests[0].accepted) == (status, False)


@pytest.mark.parametrize(("status", "html"), [(500, True), (502, False), (504, False)])
def test_a_gateways_error_is_a_page(client, state, status, html):
    state.behave(status, html=html)

    answer = place(client)

    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "<html>" in answer.text
    assert state.calls == []


@pytest.mark.parametrize("value", ["7", "Wed, 21 Oct 2026 07:28:00 GMT", "soon"])
def test_retry_after_is_sent_as_it_stands(client, state, value):
    state.behave(429, retry_after=value)

    assert place(client).headers["Retry-After"] == value


def test_behaviours_with_times_are_used_up_in_their_order(client, state):
    state.behave(503, times=2)
    state.behave(429, times=1)

    assert [place(client).status_code for _ in range(5)] == [503, 503, 429, 200, 200]
    assert len(state.calls) == 2


def test_the_newest_behaviour_until_cleared_counts_once_the_others_are_used_up(client, state):
    state.behave(503)
    state.behave(401)
    state.behave(404, times=1)

    assert [place(client).status_code for _ in range(3)] == [404, 401, 401]
    state.behave_normally()
    assert place(client).status_code == 200


def test_a_behaviour_holds_only_for_its_path_and_number(client, state):
    state.behave(503, path="/call/outbound", to_number="+919876543211")

    assert place(client).status_code == 200
    assert place(client, to_number="+919876543211").status_code == 503
    assert client.post("/v2/call/campaign", {"name": "x"}).status_code == 200


def test_a_connection_cut_before_accepting_rings_nobody(client, state):
    state.behave(cut="before", times=1)

    with pytest.raises(requests.ConnectionError):
        place(client)

    assert state.calls == []
    [request] = state.requests
    assert (request.status, request.accepted, request.cut) == (None, False, "before")
    assert place(client).status_code == 200


def test_a_connection_cut_after_accepting_has_rung_a_phone(client, state):
    state.behave(cut="after", times=1)

    with pytest.raises(requests.ConnectionError):
        place(client)

    assert [call.to_number for call in state.calls] == ["+919876543210"]
    [request] = state.requests
    assert (request.status, request.accepted, request.cut) == (None, True, "after")


def test_a_call_that_breaks_a_rule_is_not_accepted_before_a_cut_either(client, state):
    state.behave(cut="after", times=1)

    with pytest.raises(requests.ConnectionError):
        place(client, priority=1000)

    assert state.calls == []
    assert not state.requests[0].accepted


def test_a_gateway_may_give_up_on_a_call_that_was_accepted(client, state):
    state.behave(504, accept=True)

    assert place(client).status_code == 504
    assert len(state.calls) == 1
    assert (state.requests[0].status, state.requests[0].accepted) == (504, True)


def test_a_body_can_be_put_in_place_of_the_answers(client, state):
    state.behave(body="{broken", accept=True, times=1)
    state.behave(200, body='{"status": "error", "message": "No balance"}', times=1)

    unreadable = place(client)
    assert (unreadable.status_code, unreadable.text) == (200, "{broken")
    assert place(client).json() == {"status": "error", "message": "No balance"}
    assert len(state.calls) == 1


def test_headers_can_be_added_so_that_an_answer_redirects(client, state):
    state.behave(307, headers={"Location": "https://elsewhere.example/"})

    answer = client.post("/call/outbound", CALL, allow_redirects=False)

    assert (answer.status_code, answer.headers["Location"]) == (307, "https://elsewhere.example/")


def test_a_slow_answer_times_out_at_the_client_although_the_call_was_accepted(client, state):
    state.behave(latency_ms=60_000)

    with pytest.raises(requests.ReadTimeout):
        client.post("/call/outbound", CALL, timeout=(60, 0.2))

    assert state.wait_for_calls(1, timeout_s=60)


@pytest.mark.parametrize("drip", [{}, {"status": 503}])
def test_a_dripping_answer_arrives_whole_but_late(client, state, drip):
    state.behave(**drip, drip_s=1.5, times=1)
    started_s = time.monotonic()

    # Every single read stays far under its own time limit.
    answer = client.post("/call/outbound", CALL, timeout=(60, 1.2))

    assert time.monotonic() - started_s >= 1
    assert answer.status_code == drip.get("status", 200)
    assert answer.json()["status"] in ("done", "error")


def test_the_general_latency_holds_unless_a_behaviour_names_another(client, state):
    state.latency_ms = 150
    started_s = time.monotonic()
    place(client)
    assert time.monotonic() - started_s >= 0.15

    state.latency_ms = 60_000
    state.behave(latency_ms=0)
    assert place(client).status_code == 200


@pytest.mark.parametrize(
    "values",
    [
        {"path": "call"},
        {"times": 0},
        {"status": 99},
        {"status": 700},
        {"cut": "now"},
        {"drip_s": -1},
        {"latency_ms": -1},
    ],
    ids=str,
)
def test_a_behaviour_that_makes_no_sense_is_an_error(values):
    with pytest.raises(ValueError, match="must"):
        Behaviour(**values)


def test_errors_of_the_crms_come_in_their_own_words(client, state):
    state.behave(429, path="/crm")

    hubspot = client.post("/crm/objects/2026-03/contacts/batch/read", {})
    zoho = client.get("/crm/v8/Leads")

    assert (hubspot.status_code, zoho.status_code) == (429, 429)
    assert hubspot.json()["errorType"] == "RATE_LIMIT"
    assert zoho.json()["code"]


def test_secrets_are_not_remembered(client, state):
    form = {"client_secret": "hidden-1", "refresh_token": "hidden-2"}
    client.call("POST", "/oauth/v2/token?client_secret=hidden-3", data=form)
    headers = {"X-API-KEY": "hidden-4", "Authorization": "hidden-5", "X-Other": "shown"}
    client.post("/call/outbound", CALL, headers=headers)

    shown = str([request.shown() for request in state.requests])
    assert "hidden" not in shown
    assert state.requests[1].headers["x-other"] == "shown"
    assert state.requests[1].body == CALL


def test_a_delivery_that_rings_twice_is_told(client, state):
    for delivery in ("d1", "d2", "d1"):
        place(client, metadata={"bridge_delivery_id": delivery})

    assert state.doubled == {"d1": 2}
    assert state.totals()["doubled"] == 1


def test_the_most_requests_at_one_time_are_counted(simulator, state):
    release = threading.Event()
    state.behave(latency_ms=60_000)

    def call() -> None:
        with requests.Session() as session:
            session.trust_env = False
            url = f"{simulator.url}/call/outbound"
            try:
                session.post(url, json=CALL, headers={"X-API-KEY": "k"}, timeout=90)
            finally:
                release.set()

    threads = [threading.Thread(target=call) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert state.wait_for_calls(5, timeout_s=60)
    assert not release.is_set()
    # Closing answers what is on its way at once.
    simulator.close()
    for thread in threads:
        thread.join(60)

    assert state.max_concurrency == 5
    assert state.totals()["in_flight"] == 0


def test_waiting_for_calls_says_when_they_did_not_come(client, state):
    place(client)

    assert state.wait_for_calls(1, timeout_s=0)
    assert not state.wait_for_calls(2, timeout_s=0.01)


def test_one_connection_serves_many_requests(client, simulator):
    from urllib3 import HTTPConnectionPool

    with HTTPConnectionPool("127.0.0.1", simulator.port) as pool:
        for _ in range(3):
            pool.request("POST", "/call/outbound", headers={"X-API-KEY": "k"}, json=CALL)
        pool.request("GET", "/crm/v8/Leads")
        assert (pool.num_connections, pool.num_requests) == (1, 4)


def test_a_closed_simulator_refuses_connections_and_may_come_back_on_its_port(client, simulator):
    place(client)
    simulator.close()
    simulator.close()

    with pytest.raises(requests.ConnectionError):
        place(client)

    with Simulator(port=simulator.port, state=simulator.state) as again:
        assert place(client).status_code == 200
        assert len(again.state.calls) == 2


@pytest.mark.parametrize("headers", [{"Content-Length": "x"}, {"Transfer-Encoding": "chunked"}])
def test_a_body_without_a_length_is_refused(simulator, headers):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=60)
    connection.putrequest("POST", "/call/outbound")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 411
    connection.close()


def test_a_request_that_breaks_off_was_never_received(simulator, state):
    import socket

    with socket.create_connection(("127.0.0.1", simulator.port)) as connection:
        connection.sendall(b"POST /call/outbound HTTP/1.1\r\nContent-Length: 500\r\n\r\n{")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""

    assert state.requests == []
