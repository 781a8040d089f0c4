"""Marked people and secrets go through all of a real bridge; then logs, errors, metrics are read.

A mark is a text that is found nowhere else, so one that is found was let out.
"""

import base64
import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from support import (
    API_TOKEN,
    LONGEST_S,
    ROOT,
    SECRETS,
    WEBSITE,
    Bridge,
    end,
    lead,
    notification,
    route,
    until,
    zoho_notification,
)

from config.settings import MAX_BODY_BYTES
from simulator import Simulator
from store import Store

StartBridge = Callable[..., Bridge]
CALL = "/call/outbound"

NAME = "Zebulonika"
EMAIL = "zq.mark@marked.example"
DIGITS = "98123405"  # all marked numbers begin so
TEXT = "Qworblefax"  # what people say or write
SECRET = "xk7marked"  # in every secret that the usual ones don't cover
MARKS = (NAME, EMAIL, DIGITS, f"{DIGITS[:5]} {DIGITS[5:]}", TEXT, SECRET, API_TOKEN)
MARKS += (*SECRETS.values(), "a-callback-token", "a-refresh-token")
LISTS = ("deliveries", "suppressions")
PLANTED = "planted-9f3c"  # a mark that is let out on purpose: a route's name is logged

VARIABLES = {
    "LOG_LEVEL": "DEBUG",
    "GUNICORN_CMD_ARGS": "--access-logfile -",
    "CALLKARO_API_KEY": f"{SECRET}-callkaro",
    "CALLKARO_TIMEOUT_S": "1",
    "HUBSPOT_ACCESS_TOKEN": f"{SECRET}-hubspot",
    "ZOHO_CLIENT_SECRET": f"{SECRET}-zoho",
    "FORM_WEBHOOK_SECRET": f"{SECRET}-form",
    "ALERT_WEBHOOK_URL": f"http://127.0.0.1:9/{SECRET}-alert",
    "ALERT_WEBHOOK_SECRET": "whsec_" + base64.b64encode(SECRET.encode()).decode(),
    "ALERT_SUMMARY_AT": "00:00",
    "SUPPRESS_WHEN": "post_call.stop == 'yes'",
}
ROUTES = (
    WEBSITE
    + '[[source]]\nname = "form"\nkind = "generic"\nauth = "token"\n\n'
    + '[[source]]\nname = "zoho"\nkind = "zoho"\n'
    + "opt_out = \"to_string(Do_Not_Call) == 'true'\"\n\n"
    + route(PLANTED)
    + route("breaks", event="breaks", when='"length(age) > `5`"')
    + route("form", source="form", event="*")
    + route("hubspot", source="hubspot", event="contact.created")
    + route("zoho", source="zoho", event="*")
    + route("held", event="flood", flood='{ over = 1, within = "1m" }')
)
# What must stand in the logs, lest something never happened.
LINES = (
    "webhook.accepted",
    "webhook.rejected",
    "delivery.attempted",
    "outcome.received",
    "outcome.rejected",
    "number.suppressed",
    "person.erased",
    "operation.many",
    "operation.call_list",
    "operation.pause",
    "request.crashed",
    "event.unreadable",
    "delivery.unreadable",
    "alert.attempted",
    "drain.done",
)


def number(last: int) -> str:
    return f"+91{DIGITS}{last:02}"


def person(last: int, **more: Any) -> dict[str, Any]:
    """Return the body of a form, of a person with marks all over."""
    return lead(number(last), name=NAME, email=EMAIL, said=f"{TEXT} {number(last)}", **more)


def found_in(text: str, marks: tuple[str, ...] = MARKS) -> list[str]:
    """Return each mark that a text has, with what stands around it."""
    folded = text.casefold()
    return [
        f"{mark}: …{text[max(place - 150, 0) : place + 60]}…"
        for mark in marks
        if (place := folded.find(mark.casefold())) >= 0
    ]


@dataclass
class World:
    """A bridge, and all that it answered with an error."""

    bridge: Bridge
    simulator: Simulator
    store: Store
    errors: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def keep(self, answer: requests.Response) -> requests.Response:
        """Keep an answer, its headers too, if it is an error."""
        self.statuses.append(answer.status_code)
        if answer.status_code >= 400:
            self.errors.append(f"{answer.status_code} {answer.headers} {answer.text}")
        return answer

    def post(self, source: str, body: object, **signing: Any) -> requests.Response:
        return self.keep(self.bridge.post(source, body, **signing))

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Ask anything of the web process, with the API's token."""
        headers = {"Authorization": f"Bearer {API_TOKEN}", **options.pop("headers", {})}
        url = self.bridge.url + path
        with requests.Session() as session:
            session.trust_env = False
            return self.keep(
                session.request(method, url, headers=headers, timeout=LONGEST_S, **options)
            )


# --- what is done to it ---------------------------------------------------------------------------


def send_webhooks(world: World) -> None:
    """Post what is good, refused, forged, unreadable, oversized and no HTTP."""
    state, post = world.simulator.state, world.post
    marked = {"firstname": NAME, "email": EMAIL, "phone": number(20)}
    state.put_record("hubspot", "contacts", "900", marked)
    state.put_record("hubspot", "contacts", "901", {**marked, "phone": f"12{DIGITS}34{NAME}"})
    state.put_record("zoho", "Leads", "910", {"Last_Name": NAME, "Phone": number(21)})
    state.put_record("zoho", "Leads", "911", {"Phone": number(22), "Do_Not_Call": True})
    post("hubspot", [notification("900"), notification("901"), {"objectId": NAME}, TEXT])
    post("zoho", zoho_notification("910", "911"))
    post("zoho", {"Phone": number(23), "Last_Name": NAME, "Do_Not_Call": "true"})
    post("website", [person(24), TEXT, 5, {"phone": {NAME: number(25)}}, person(26)])
    post("website", person(27, event_type="breaks", age=5))
    post("website", person(28, event_type={NAME: EMAIL}))
    post("website", person(29, submission_id=NAME, submitted_at=TEXT))
    for last in (30, 31, 32):
        post("website", person(last, event_type="flood"))
    post("website", person(33), secret=f"{SECRET}-wrong")
    post("hubspot", [notification("900", note=NAME)], at_ms=1)
    for _ in range(12):
        post("website", person(34), secret=f"{SECRET}-again")
    post("website", json.dumps(person(35)).encode()[:-1])
    post("website", json.dumps(person(36)).encode(), content_type=f"text/{NAME}")
    post("website", TEXT.encode() * (MAX_BODY_BYTES // len(TEXT) + 2))
    post("website", [person(37)] * 1001)
    post("website", f'{{"{NAME}": "\\ud800", "phone": "{number(38)}"}}'.encode())
    token = quote(VARIABLES["FORM_WEBHOOK_SECRET"])
    world.ask("POST", f"/webhooks/form?token={token}&who={quote(EMAIL)}", json=person(39))
    world.ask("POST", f"/webhooks/form?token={SECRET}-wrong&who={quote(NAME)}", json=person(40))
    world.ask("POST", f"/webhooks/{NAME}?token={SECRET}", json=person(41))
    world.ask("GET", f"/webhooks/website/{NAME}?phone={quote(number(42))}")
    world.ask("POST", "/webhooks/form", json=person(43), headers={"X-Request-Id": number(43)[1:]})
    say_no_http(world.bridge)


def say_no_http(bridge: Bridge) -> None:
    """Send requests that gunicorn itself refuses, or that end too soon."""
    for raw in (
        f"GET /{NAME} {EMAIL} HTTP/9.9\r\n\r\n",
        f"{NAME} {number(44)}\r\n\r\n",
        f"POST /webhooks/website HTTP/1.1\r\nHost: x\r\n{NAME} {TEXT}\r\n\r\n",
        f"POST /webhooks/{NAME}?t={SECRET} HTTP/1.1\r\nHost: x\r\nContent-Length: {NAME}\r\n\r\n",
        "POST /webhooks/website HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        f"{NAME}\r\n{TEXT}\r\n",
        "POST /webhooks/website HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + EMAIL,
    ):
        with socket.create_connection(("127.0.0.1", bridge.port), timeout=LONGEST_S) as line:
            line.sendall(raw.encode())
            line.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                while line.recv(4096):
                    pass


def call_everybody(world: World) -> list[str]:
    """Have CallKaro and HubSpot answer in every way there is; return what was delivered."""
    state, bridge = world.simulator.state, world.bridge
    said = json.dumps({"status": "error", "message": f"{NAME} {number(0)} {TEXT}"})
    for last, answer in enumerate(
        (
            {"status": 400, "body": said},
            {"status": 422, "body": said, "html": True},
            {"status": 500, "body": said},
            {"status": 500, "body": NAME},
            {"status": 502},
            {"status": 503, "body": said, "retry_after": NAME},
            {"status": 429, "body": said},
            {"status": 302, "headers": {"Location": f"http://127.0.0.1:9/{NAME}"}},
            {"body": f"{NAME} {number(7)}"},
            {"body": said},
            {"latency_ms": 3000},
            {"cut": "after"},
            {"cut": "before"},
        )
    ):
        state.behave(path=CALL, to_number=number(last), **answer)
    ids = [one for last in range(13) for one in bridge.send("website", person(last))]
    for answer in (
        {"status": 500, "body": NAME},
        {"body": f'{{"{NAME}'},
        {"body": f'{{"results": [{{"id": "{NAME}", "properties": "{EMAIL}"}}]}}'},
    ):
        state.put_record("hubspot", "contacts", "950", {"phone": number(50), "firstname": NAME})
        state.behave(path="/crm/", times=1, **answer)
        world.post("hubspot", [notification("950")])
    until(lambda: not moving(world, ids), what="every first attempt")
    good = bridge.send("website", [person(60), person(61), person(62)])
    for one in good:
        bridge.await_status(one, "delivered")
    return good


def moving(world: World, ids: list[str]) -> list[str]:
    return [one for one in ids if world.bridge.status(one) in ("queued", "sending")]


def tell_outcomes(world: World, called: list[str]) -> None:
    """Tell how calls ended, in good and in bad form."""
    to = f"{world.bridge.url}/callbacks/callkaro/a-callback-token"
    said = {
        "transcription": f"User: I am {NAME}, {number(60)}, {EMAIL}",
        "post_call": {"name": NAME, "stop": "yes"},
        "disposition_reason": TEXT,
    }
    assert world.simulator.end_call(to, delivery_id=called[0], **said) == 200
    wrong = {**said, "hangup_reason": "INVALID_PHONE_NUMBER"}
    assert world.simulator.end_call(to, delivery_id=called[1], **wrong) == 200
    data = {"callSid": f"sid-{NAME}", "to": number(63)[1:], **said}
    for path, body in (
        ("a-callback-token", json.dumps({"event": "call_ended", "data": data})),
        ("a-callback-token", json.dumps({"event": NAME, "data": {NAME: number(64)}})),
        ("a-callback-token", f'{{"{NAME}": '),
        (f"{SECRET}-wrong/{NAME}", json.dumps({"event": "call_ended", "data": data})),
    ):
        world.ask("POST", f"/callbacks/callkaro/{path}", data=body.encode())
    world.ask("GET", f"/callbacks/callkaro/a-callback-token?x={NAME}")


def use_the_api(world: World, called: list[str]) -> None:
    """Ask with numbers in URLs and bodies, rightly and wrongly."""
    ask, phone = world.ask, quote(number(60))
    for path in (
        f"/api/deliveries?phone={phone}",
        f"/api/deliveries?phone=12{DIGITS}34",
        f"/api/deliveries?since={NAME}&phone={phone}",
        f"/api/deliveries?q={quote(NAME)}",
        f"/api/deliveries?q={quote(EMAIL)}&status=failed",
        f"/api/deliveries?q={quote(NAME) * 20}",
        f"/deliveries?search={NAME}",
        f"/api/deliveries?limit={DIGITS}",
        f"/api/deliveries?cursor={EMAIL}",
        f"/api/deliveries/{NAME}",
        f"/api/deliveries/{called[0]}",
        f"/api/deliveries/{called[0]}?reveal=true",
        f"/api/deliveries.csv?phone={phone}",
        "/api/deliveries.csv?reveal=true",
        f"/api/deliveries.csv?limit={DIGITS}",
        "/api/suppressions.csv?reveal=true",
        f"/api/suppressions.csv?phone={phone}",
        f"/api/events/{NAME}",
        f"/api/events?source={NAME}",
        f"/api/suppressions/{phone}",
        f"/api/suppressions/{NAME}",
        f"/api/audit?actor={NAME}",
        f"/api/audit?cursor={phone}",
        f"/api/pauses/route:{NAME}",
        f"/{NAME}?phone={phone}",
        f"/docs?x={NAME}",
        f"/?x={NAME}",
    ):
        ask("GET", path)
        ask("GET", path, headers={"Authorization": f"Bearer {SECRET}-wrong"})
    said = f"{TEXT} {NAME} {number(60)}"
    ask("POST", "/search", data={"q": NAME})
    ask("PUT", "/api/pauses/source:zoho", json={"message": said})
    ask("PUT", f"/api/pauses/{NAME}", json={"message": said})
    ask("PUT", f"/api/suppressions/{quote(number(65))}", json={"message": said})
    ask("PUT", f"/api/suppressions/12{DIGITS}34", json={"message": said})
    ask("POST", "/api/suppressions", json={"numbers": [number(66), NAME], "message": said})
    ask("POST", "/api/suppressions", json={"numbers": said})
    ask("POST", "/api/deliveries/retry", json={"phone": number(62), "status": "delivered"})
    ask("POST", "/api/deliveries/cancel", json={"phone": NAME, "dry_run": True})
    ask("POST", f"/api/deliveries/{called[2]}/retry", json={"call_again": NAME})
    ask("POST", f"/api/deliveries/{called[2]}/retry", data=f'{{"{NAME}": '.encode())
    ask("POST", "/api/events/replay", json={"source": "website"})
    ask("POST", f"/api/routes/{PLANTED}/call-me", json={"to_number": f"12{DIGITS}34"})
    record = {"name": NAME, "email": EMAIL}
    ask("POST", f"/api/routes/{PLANTED}/call-me", json={"to_number": number(67), "record": record})
    ask("POST", f"/api/routes/{NAME}/call-me", json={"to_number": number(67), "record": record})
    call_lists(world)
    ask("POST", "/api/deliveries/cancel", json={"reason": "bulk"})
    ask("DELETE", f"/api/suppressions/{quote(number(66))}", json={})
    ask("POST", "/api/erasures", json={"phone": number(60)})
    ask("POST", "/api/erasures", json={"phone": f"12{DIGITS}34"})
    world.post("hubspot", [notification("900", subscriptionType="contact.privacyDeletion")])
    ask("DELETE", "/api/pauses/source:zoho", json={})


def call_lists(world: World) -> None:
    """Have lists called, rightly and wrongly."""
    rows = f"phone,said\n{number(80)},{NAME}\n12{DIGITS}34,{TEXT}\n{TEXT}\n"
    good = {"route": PLANTED, "name": "a list", "mapping": {"phone": "phone"}, "csv": rows}
    for changed in (
        {},
        {"dry_run": True},
        {"route": NAME},
        {"name": f"{NAME}\0"},
        {"mapping": {NAME: "phone"}},
        {"mapping": {"phone": NAME}},
        {"csv": f"{number(80)},{NAME}\n"},
        {"csv": f"{NAME},{EMAIL}\nx,y\n"},
        {"csv": f'phone\n"{TEXT}\n'},
    ):
        world.ask("POST", "/api/call-lists", json={**good, **changed})


def run_commands(world: World, called: list[str], folder: Path) -> None:
    """Run commands; what they say on stderr counts as an error answer."""
    numbers = folder / "numbers.csv"
    numbers.write_text(f"name,phone\n{NAME},{number(68)}\n{NAME},{TEXT}\n", "utf-8")
    for arguments in (
        ("status", called[2]),
        ("suppress", number(69), "--message", f"{TEXT} {NAME}"),
        ("suppress", "--import", str(numbers)),
        ("retry", "--phone", f"12{DIGITS}34", "--yes"),
        ("erase", number(61), "--yes"),
        ("call-me", number(70), "--route", PLANTED),
        ("check",),
        ("alert-test",),
    ):
        command = [sys.executable, "-m", "bridge", *arguments]
        command += [] if arguments[0] in ("check", "alert-test") else ["--url", world.bridge.url]
        done = subprocess.run(  # noqa: S603
            command,
            cwd=ROOT,
            env={**world.bridge.environment, "BRIDGE_SKIP_DOTENV": "1"},
            capture_output=True,
            text=True,
            timeout=2 * LONGEST_S,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        world.errors.append(done.stderr)


def search_index(store: Store) -> str:
    """Return all that the search index keeps, of those who were not erased."""
    redis = store.redis
    kept = [(key, redis.zrange(key, 0, -1)) for key in redis.scan_iter("bridge:find:*")]
    keys = [key for key in redis.scan_iter("bridge:delivery:*") if redis.type(key) == "hash"]
    return f"{kept} {[redis.hget(key, 'terms') for key in keys]}"


def break_records(world: World) -> None:
    """Have both processes meet records that break them, with a person in the error's text."""
    redis = world.store.redis
    [shown] = world.bridge.send("website", person(71))
    world.bridge.await_status(shown, "delivered")
    redis.hset(f"bridge:delivery:{shown}", "status", f"{NAME} {number(71)}")
    assert world.ask("GET", f"/api/deliveries/{shown}").status_code == 500
    world.ask("GET", "/api/deliveries?limit=200")

    world.store.pause("all", reason="person", message="")
    [first] = world.bridge.send("website", person(72))
    event = redis.hget(f"bridge:delivery:{first}", "event")
    redis.hset(f"bridge:event:{event}", "record", f'{{"id": "{NAME} {number(72)}"')
    [second] = world.bridge.send("website", person(73))
    redis.hset(f"bridge:delivery:{second}", "spent", f"{NAME} {number(73)}")
    world.store.resume("all")
    redis.hset("bridge:callkaro", "failed_ms", NAME)
    world.ask("GET", "/api/status")
    redis.delete("bridge:callkaro")
    world.bridge.await_status(first, "skipped", "failed")


# --- and what is read -----------------------------------------------------------------------------


@pytest.fixture
def world(start_bridge: StartBridge, simulator: Simulator, store: Store) -> World:
    return World(start_bridge(ROUTES, own_web=True, **VARIABLES), simulator, store)


@pytest.mark.slow
def test_no_log_no_error_and_no_metric_tells_of_people(world: World, tmp_path: Path) -> None:
    bridge = world.bridge
    send_webhooks(world)
    called = call_everybody(world)
    tell_outcomes(world, called)
    use_the_api(world, called)
    run_commands(world, called, tmp_path)
    break_records(world)
    until(lambda: "person.erased" in bridge.log("worker"), what="HubSpot's erasure")
    until(lambda: "alert.attempted" in bridge.log("worker"), what="an alert")
    metrics = world.ask("GET", "/metrics").text
    files = "".join(world.ask("GET", f"/api/{name}.csv").text for name in LISTS)
    messages = "\n".join(world.store.redis.hvals("bridge:alerts:out"))
    index = search_index(world.store)
    assert index.count("bridge:find:") > 10
    for process in (bridge.worker, bridge.web):
        assert process is not None
        end(process, by=signal.SIGTERM)
    logs = {name: bridge.log(name) for name in ("web", "worker")}

    both = "\n".join(logs.values())
    assert [line for line in LINES if line not in both] == []
    assert {400, 401, 404, 405, 413, 415, 500} <= set(world.statuses)
    # The marks would be found: one that is let out on purpose is, in what both processes say.
    assert found_in(logs["worker"], (PLANTED,))
    assert found_in(metrics + logs["worker"], (PLANTED,))
    assert found_in("\n".join([*world.errors, NAME.upper()]), (NAME,))
    assert files.count("\r\n") > 20
    assert found_in(files, (DIGITS, *SECRETS.values())) == []  # a person's name stands in lists
    assert "summary.daily" in messages
    read = {**logs, "errors": "\n".join(world.errors), "metrics": metrics, "alerts": messages}
    read["search index"] = index
    assert {name: found for name, text in read.items() if (found := found_in(text))} == {}


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_that_is_let_out_is_found(mark: str) -> None:
    line = json.dumps({"event": "x.y", "text": f"quoted '{mark}': 1"})
    assert len(found_in(f"{'{}'}\n{line}\n")) == 1
    assert found_in('{"event": "x.y"}') == []
