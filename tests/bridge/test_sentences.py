"""Sentences that tell a person why: each is true for the case in which it is shown."""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from support import API_TOKEN, WEBSITE, Web, each, route, signed
from support.storing import a_delivery, accept, an_event, status

from schemas.nearest import did_you_mean
from schemas.outcome import Outcome, Result
from schemas.settings import Settings
from store import Store
from store.suppression import Suppressions

MakeSettings = Callable[..., Settings]
NUMBER = "+919876543210"


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    slow = route("call slowly", event="slow", delay='"3h"')
    return make_settings(WEBSITE + route() + slow)


@each(
    ("path", "what", "name"),
    [
        ("/api/deliveries?route=call+new+leed", "route", "call new leed"),
        ("/api/deliveries?source=web-site", "source", "web-site"),
        ("/api/events?source=hub+spot", "source", "hub spot"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_names(
    web: Web, path: str, what: str, name: str
) -> None:
    answer = web.get(path)
    assert answer.status_code == 400
    nearest = {"call new leed": "", "web-site": "Did you mean 'website'? "}.get(name)
    near = "Did you mean 'hubspot'? " if nearest is None else nearest
    assert answer.json["message"].startswith(f"There is no {what} with this name. {near}Known: ")
    assert name not in answer.json["message"]
    assert ("'website'" if what == "source" else "'call slowly'") in answer.json["message"]


@each("what", ["retry", "cancel", "release"])
def test_a_misspelt_route_is_no_empty_success_of_a_command(web: Web, what: str) -> None:
    body = {"route": "call new leed", "dry_run": True}
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    answer = web.client.post(f"/api/deliveries/{what}", json=body, headers=headers)
    assert answer.status_code == 400
    assert "'call back'" in answer.json["message"]


def test_a_route_that_is_gone_is_listed_while_it_has_deliveries(web: Web, store: Store) -> None:
    accept(store, (an_event(), [a_delivery("d1", route="gone")]))
    answer = web.get("/api/deliveries?route=gone")
    assert [one["id"] for one in answer.json["items"]] == ["d1"]


@each(("wait_s", "says"), [(10_800, True), (60, True), (0, False)])
def test_a_new_delivery_that_waits_says_why(store: Store, wait_s: int, says: bool) -> None:
    accept(store, (an_event(), [a_delivery(f"d{wait_s}", wait_s=wait_s)]))
    assert status(store, f"d{wait_s}") == "queued"
    found = store.delivery(f"d{wait_s}")
    assert found is not None
    assert found.message == ("The delivery waits for the delay of its route." if says else None)


@each(
    ("result", "reason", "message"),
    [
        (
            Result.CONNECTED,
            "CLIENT_INITIATED",
            "SUPPRESS_WHEN was true for the outcome of a call (connected).",
        ),
        (Result.VOICEMAIL, None, "SUPPRESS_WHEN was true for the outcome of a call (voicemail)."),
        (
            Result.NOT_DIALLED,
            "DND_NUMBER",
            "CallKaro reported that the number is on the do-not-disturb list (DND_NUMBER).",
        ),
        (
            Result.WRONG_NUMBER,
            "INVALID_PHONE_NUMBER",
            "CallKaro reported that there is no such number (INVALID_PHONE_NUMBER).",
        ),
    ],
)
def test_a_suppression_by_an_outcome_says_what_did_it(
    store: Store, result: Result, reason: str | None, message: str
) -> None:
    suppressions = Suppressions(store=store)
    outcome = Outcome(call_sid="c", delivery_id=None, result=result, hangup_reason=reason)
    suppressions.suppress_called(outcome, NUMBER)
    kept = store.suppression(store.phone_key(NUMBER))
    assert kept is not None
    assert kept.message == message
    suppressions.unsuppress(kept.key)


# --- refused webhooks: the sender reads a sentence, our log has a word ----------------------------

LOGIN = """
[[source]]
name = "partner"
kind = "generic"
auth = "basic"
"""
STANDARD = """
[[source]]
name = "shop"
kind = "generic"
auth = "standard"
"""
BODY = b'{"a": 1}'


def hubspot(**more: object) -> dict[str, str]:
    found: dict[str, str] = signed("hubspot", BODY, "http://localhost/webhooks/hubspot", **more)
    return found


def basic(login: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def now_ms(seconds: float) -> int:
    return int((time.time() + seconds) * 1000)


@each(
    ("source", "headers", "why", "says"),
    [
        ("zoho", {"X-Webhook-Token": "another"}, "wrong_token", "The token is wrong."),
        ("zoho?token=another", {}, "wrong_token", "The token is wrong."),
        ("zoho", {}, "missing", "The request has no token."),
        ("gohighlevel?token=another", {}, "wrong_token", "The token is wrong."),
        ("partner", {}, "missing", "The request has no user and password."),
        ("partner", basic("me:guessed"), "wrong_login", "The user or the password is wrong."),
        ("website", {}, "missing", "The request has no signature of a kind"),
        ("website", {"X-Signature": "sha256=00"}, "wrong_signature", "The signature is wrong."),
        (
            "hubspot",
            lambda: hubspot(secret="another-one"),
            "wrong_signature",
            "The signature is wrong.",
        ),
        (
            "hubspot",
            lambda: hubspot(at_ms=now_ms(-400)),
            "stale",
            "The request's timestamp is more than",
        ),
        (
            "hubspot",
            lambda: hubspot(at_ms=now_ms(900)),
            "stale",
            "The request's timestamp is more than",
        ),
        ("shop", {"webhook-signature": "v1,x"}, "no_time", "The request's timestamp is missing"),
        (
            "shop",
            lambda: {"webhook-signature": "v1,x", "webhook-timestamp": str(int(time.time()))},
            "missing",
            "The request has no message id.",
        ),
    ],
)
def test_a_refused_webhook_is_explained_to_its_sender_and_named_in_the_log(
    make_settings: MakeSettings,
    open_web: Callable[[Settings], Web],
    capsys: pytest.CaptureFixture[str],
    source: str,
    headers: dict[str, str] | Callable[[], dict[str, str]],
    why: str,
    says: str,
) -> None:
    secrets = {
        "gohighlevel": ("a-long-token",),
        "partner": ("me:a-long-password",),
        "shop": ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",),
    }
    made = make_settings(WEBSITE + LOGIN + STANDARD + route())
    web = open_web(replace(made, secrets={**made.secrets, **secrets}))
    capsys.readouterr()
    # A time of the moment at which the test was collected would be stale now.
    headers = headers() if callable(headers) else headers
    headers = {"Content-Type": "application/json", **headers}
    answer = web.client.post(f"/webhooks/{source}", data=BODY, headers=headers)
    assert (answer.status_code, answer.json["error"]) == (401, "bad_signature")
    assert answer.json["message"].startswith(says)
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    [line] = [one for one in lines if one["event"] == "webhook.rejected"]
    assert line["why"] == why


# --- misspelt names -------------------------------------------------------------------------------

NAMES = ("call back", "call slowly", "Renewals: Pune / Mumbai")


@each(
    ("given", "meant"),
    [
        ("call bak", "call back"),
        ("Call Back", "call back"),
        ("call-back", "call back"),
        ("callback", "call back"),
        ("call slow", "call slowly"),
        ("renewals pune/mumbai", "Renewals: Pune / Mumbai"),
        ("Asha Rao", None),
        ("", None),
        ("x" * 5000, None),
    ],
)
def test_the_nearest_name_is_meant(given: str, meant: str | None) -> None:
    assert did_you_mean(given, NAMES) == (f"Did you mean {meant!r}? " if meant else "")
    assert did_you_mean(given, ()) == ""


@each(
    ("path", "says"),
    [
        ("/api/deliveries?route=call+slowley", "Did you mean 'call slowly'? Known: "),
        ("/api/deliveries?source=websit", "Did you mean 'website'? Known: "),
        ("/api/events?source=hubspott", "Did you mean 'hubspot'? Known: "),
        ("/api/deliveries?status=faild", "Did you mean 'failed'? Known: "),
        ("/api/events?status=unreadible", "Did you mean 'unreadable'? Known: "),
        ("/api/deliveries?reason=surpressed", "Did you mean 'suppressed'? Known: "),
        ("/api/deliveries?rout=x", "Did you mean 'route'? Known: "),
    ],
)
def test_the_api_names_what_was_meant(web: Web, path: str, says: str) -> None:
    answer = web.get(path)
    assert answer.status_code == 400
    assert says in answer.json["message"]


@each(
    ("method", "path", "body", "status", "says"),
    [
        ("PUT", "/pauses/route:call bak", {}, 400, "Did you mean 'route:call back'? You can"),
        ("PUT", "/pauses/source:websit", {}, 400, "Did you mean 'source:website'? You can"),
        ("DELETE", "/pauses/route:call bak", {}, 404, "Did you mean 'route:call back'?"),
        (
            "DELETE",
            "/pauses/route:call bak",
            {"dry_run": True},
            404,
            "Did you mean 'route:call back'?",
        ),
        (
            "POST",
            "/routes/call bak/call-me",
            {"to_number": NUMBER},
            404,
            "Did you mean 'call back'? Known: 'call back', 'call slowly'.",
        ),
        ("POST", "/deliveries/retry", {"route": "call bak"}, 400, "Did you mean 'call back'?"),
        ("POST", "/deliveries/cancel", {"statuss": "held"}, 400, "Did you mean 'status'?"),
        ("POST", "/events/replay", {"source": "websit"}, 400, "Did you mean 'website'?"),
    ],
)
def test_a_command_names_what_was_meant(
    web: Web, store: Store, method: str, path: str, body: dict[str, object], status: int, says: str
) -> None:
    store.pause("route:call back", reason="person", message="")
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    answer = web.client.open(f"/api{path}", method=method, json=body, headers=headers)
    assert (answer.status_code, says in answer.json["message"]) == (status, True), answer.text


@each(
    ("path", "says"),
    [
        ("/deliveries?route=call+bak", "There is no route with this name. Did you mean"),
        ("/deliveries/part?route=call+bak", "There is no route with this name. Did you mean"),
        ("/deliveries?source=websit", "There is no source with this name. Did you mean"),
        ("/deliveries?status=faild", "Unknown status: faild. Did you mean"),
        ("/deliveries?reason=paussed", "Unknown reason: paussed. Did you mean"),
        ("/events?source=websit", "There is no source with this name. Did you mean"),
        ("/events?status=routd", "Unknown status: routd. Did you mean"),
    ],
)
def test_a_page_names_what_was_meant(web: Web, path: str, says: str) -> None:
    web.client.post("/sign-in", data={"token": API_TOKEN})
    text = web.client.get(path).text
    assert says in text
    assert "No delivery matches" not in text


def test_a_page_of_many_refuses_a_misspelt_route(web: Web) -> None:
    web.client.post("/sign-in", data={"token": API_TOKEN})
    answer = web.client.get("/deliveries/many?do=retry&route=call+bak")
    assert answer.status_code == 400
    assert "Did you mean &#39;call back&#39;?" in answer.text
