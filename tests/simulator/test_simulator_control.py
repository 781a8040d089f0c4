"""The control API, the page, the outcome sender and the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import requests
from support import each

CALL = {
    "to_number": "+919876543210",
    "agent_id": "6803fa770b666a64ab1694c1e",
    "metadata": {"name": "Asha", "bridge_delivery_id": "d1"},
}

DOCUMENTED = {
    "callSid", "name", "agent", "versionId", "from", "to", "recordingUrl", "call_duration",
    "time", "transcription", "batchId", "hangup_reason", "call_metadata", "try_count",
    "post_call", "post_call_detail", "functions_called", "disposition_reason",
    "conversion_status", "next_call_scheduled", "call_link",
}  # fmt: skip


@pytest.fixture
def callback() -> Iterator[Any]:
    """Return a server that keeps the outcomes it gets in .bodies and answers 200."""
    bodies: list[Any] = []

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(202)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Keep) as server:
        server.bodies = bodies  # type: ignore[attr-defined]
        server.url = f"http://127.0.0.1:{server.server_port}/callbacks/x"  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_behaviours_are_taken_listed_and_dropped(client, state):
    wish = {"path": "/call/outbound", "status": 503, "times": 2, "retry_after": "1", "body": None}

    made = client.post("/simulator/behave", wish)

    assert made.status_code == 201
    assert client.post("/call/outbound", CALL).status_code == 503
    [entry] = client.get("/simulator/behave").json()["items"]
    assert entry == {
        "path": "/call/outbound",
        "status": 503,
        "times": 2,
        "retry_after": "1",
        "left": 1,
    }
    assert client.call("DELETE", "/simulator/behave").status_code == 204
    assert client.post("/call/outbound", CALL).status_code == 200
    assert state.behaviours == []


@each(
    "body",
    [
        [],
        None,
        {"stauts": 503},
        {"status": "503"},
        {"times": True},
        {"times": 0},
        {"html": 1},
        {"cut": "later"},
        {"headers": {"X": 1}},
        {"path": "call"},
    ],
    ids=str,
)
def test_a_behaviour_that_cannot_be_read_is_refused(client, state, body):
    answer = client.post("/simulator/behave", body)

    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert state.behaviours == []


def test_a_behaviour_never_hits_the_control_api_itself(client, state):
    state.behave(503)

    assert client.get("/simulator/status").status_code == 200
    assert state.requests == []


def test_what_was_received_is_shown_and_forgotten(client):
    client.post("/v2/call/campaign", {"name": "x"})
    client.post("/call/outbound", CALL)
    client.post("/call/outbound", {**CALL, "to_number": "+919876543211"})
    client.post("/call/outbound", {})

    calls = client.get("/simulator/calls").json()
    assert [call["to_number"] for call in calls["items"]] == ["+919876543210", "+919876543211"]
    assert calls["items"][0]["body"] == CALL
    assert calls["items"][0]["delivery_id"] == "d1"
    last = client.get("/simulator/calls?limit=1").json()
    assert (last["total"], last["items"]) == (2, calls["items"][1:])
    one = client.get("/simulator/calls", params={"to_number": "+919876543211"}).json()
    assert one["items"] == calls["items"][1:]
    [campaign] = client.get("/simulator/campaigns").json()["items"]
    assert (campaign["name"], campaign["version"]) == ("x", 2)
    requests = client.get("/simulator/requests?path=/call/outbound").json()["items"]
    assert [(r["status"], r["accepted"]) for r in requests] == [
        (200, True),
        (200, True),
        (400, False),
    ]
    assert "x-api-key" not in requests[0]["headers"]
    status = client.get("/simulator/status").json()
    assert (status["requests"], status["calls"], status["campaigns"]) == (4, 2, 1)
    # The same delivery rang twice: that is what everybody looks for.
    assert status["doubled"] == 1

    assert client.call("DELETE", "/simulator/requests").status_code == 204
    assert client.get("/simulator/calls").json() == {"items": [], "total": 0}
    assert client.get("/simulator/requests").json()["items"] == []
    assert client.get("/simulator/status").json()["calls"] == 0


def test_a_limit_must_be_a_number(client):
    assert client.get("/simulator/calls?limit=-1").status_code == 400


def test_a_record_is_put_and_dropped(client, state):
    path = "/simulator/records/hubspot/contacts/9"

    assert client.call("PUT", path, json={"phone": "+919876543210"}).status_code == 204
    assert state.records["hubspot", "contacts"]["9"] == {"phone": "+919876543210"}
    assert client.call("PUT", f"{path}?visible_after_s=x", json={}).status_code == 400
    assert client.call("PUT", path, data="x").status_code == 400
    assert client.call("DELETE", path).status_code == 204
    assert state.find_record("hubspot", "contacts", "9") is None


def test_what_was_written_to_a_crm_is_shown(client):
    headers = {"Authorization": "Bearer t"}
    body = {"properties": {"hs_timestamp": "2026-01-01T00:00:00Z"}}
    client.post("/crm/objects/2026-03/calls", body, headers=headers)

    [written] = client.get("/simulator/written").json()["items"]
    assert (written["crm"], written["object"], written["body"]) == ("hubspot", "calls", body)


def test_the_page_shows_what_was_received_and_escapes_it(client, state):
    nasty = "<script>alert(1)</script>"
    client.post("/v2/call/campaign", {"name": nasty})
    client.post("/call/outbound", {**CALL, "metadata": {"name": nasty}})
    client.post("/call/outbound", {nasty: 1})
    state.behave(503, times=1)

    page = client.get("/simulator")

    assert page.headers["Content-Type"].startswith("text/html")
    assert "+919876543210" in page.text
    assert "503" in page.text
    assert nasty not in page.text
    assert "<script" not in page.text
    assert "http://" not in page.text.replace(client.url, "")


@pytest.mark.parametrize("by", ["call_sid", "delivery_id"])
def test_the_end_of_a_call_is_told_in_callkaros_shape(client, callback, by):
    call_sid = client.post("/call/outbound", CALL).json()["call_sid"]
    key = {"call_sid": call_sid, "delivery_id": "d1"}[by]

    answer = client.post("/simulator/call-ended", {"to": callback.url, by: key})

    assert (answer.status_code, answer.json()["status"]) == (200, 202)
    [body] = callback.bodies
    assert body["event"] == "call_ended"
    data = body["data"]
    assert set(data) == DOCUMENTED
    assert data["callSid"] == call_sid
    assert data["to"] == "919876543210"
    assert data["call_metadata"] == CALL["metadata"]
    assert data["try_count"] == 0


def test_every_field_of_an_outcome_can_be_overridden(client, callback):
    client.post("/call/outbound", CALL)
    wish = {
        "to": callback.url,
        "delivery_id": "d1",
        "hangup_reason": "USER_REJECTED",
        "try_count": 1,
        "next_call_scheduled": True,
    }

    assert client.post("/simulator/call-ended", wish).status_code == 200

    data = callback.bodies[0]["data"]
    assert (data["hangup_reason"], data["try_count"], data["next_call_scheduled"]) == (
        "USER_REJECTED",
        1,
        True,
    )
    assert (data["call_duration"], data["conversion_status"]) == (0, False)


def test_an_outcome_can_be_sent_from_python(client, simulator, callback):
    client.post("/call/outbound", CALL)

    assert simulator.end_call(callback.url, delivery_id="d1", try_count=2) == 202
    assert callback.bodies[0]["data"]["try_count"] == 2
    with pytest.raises(LookupError):
        simulator.end_call(callback.url, delivery_id="d2")


@each(
    "url",
    [
        "http://example.com/x",
        "https://127.0.0.1/x",
        "ftp://127.0.0.1/x",
        "http://192.168.0.1/",
        "http://127.0.0.1@example.com/",
        "http://localhost.example.com/",
        "http://127.0.0.1:x/",
        "file:///etc/passwd",
        "",
    ],
)
def test_outcomes_go_nowhere_but_to_this_machine(client, url):
    client.post("/call/outbound", CALL)

    answer = client.post("/simulator/call-ended", {"to": url, "delivery_id": "d1"})

    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"delivery_id": "nobody"}, 404),
        ({"call_sid": "x"}, 400),
        ({"delivery_id": None}, 400),
        ({"delivery_id": 1}, 400),
        ({"to": 1}, 400),
        ({"nonsense": 1}, 400),
        ({"to": "http://127.0.0.1:1/"}, 502),
    ],
    ids=str,
)
def test_an_outcome_that_cannot_be_sent_is_an_error(client, callback, change, status):
    client.post("/call/outbound", CALL)
    wish = {"to": callback.url, "delivery_id": "d1", **change}

    assert client.post("/simulator/call-ended", wish).status_code == status
    assert callback.bodies == []


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 our own module
        [sys.executable, "-m", "simulator", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_it_is_stopped(number):
    with start("--port", "0") as process:
        assert process.stdout
        assert "http://127.0.0.1:" in process.stdout.readline()
        process.send_signal(number)
        assert process.wait(60) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def test_the_only_key_is_given_in_the_environment(monkeypatch):
    monkeypatch.setenv("SIMULATOR_API_KEY", "the-key")
    with start("--port", "0") as process:
        assert process.stdout
        address = process.stdout.readline().split()[-1]
        with requests.Session() as session:
            session.trust_env = False
            answers = [
                session.post(
                    f"{address}/call/outbound", json=CALL, headers={"X-API-KEY": key}, timeout=60
                ).status_code
                for key in ("another", "the-key")
            ]
        process.terminate()
        process.communicate(timeout=60)

    assert answers == [403, 200]


@pytest.mark.parametrize("port", ["taken", "99999"])
def test_a_port_that_cannot_be_had_is_told_in_one_sentence(simulator, port):
    port = str(simulator.port) if port == "taken" else port
    with start("--port", port) as process:
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert port in errors
    assert errors.count("\n") == 1
