"""Sentences that tell a person why: each is true for the case in which it is shown."""

from collections.abc import Callable

import pytest
from support import API_TOKEN, WEBSITE, Web, each, route
from support.storing import a_delivery, accept, an_event, status

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
    assert answer.json["message"].startswith(f"There is no {what} with this name. Known: ")
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
        (Result.CONNECTED, "CLIENT_INITIATED", "SUPPRESS_WHEN was true for the outcome of a call."),
        (Result.VOICEMAIL, None, "SUPPRESS_WHEN was true for the outcome of a call."),
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
