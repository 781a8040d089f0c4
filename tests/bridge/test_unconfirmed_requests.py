"""REDIS_ACKS, and no replica that confirms: each sender and person is told, nothing is dropped."""

import json
import re
from typing import Any

import pytest
from support import API_TOKEN, CALL_BACK, Web, lead
from support.draining import MakeSettings, OpenWeb, counts

from schemas.expression import Expression
from store import Store, base

BEARER = {"Authorization": f"Bearer {API_TOKEN}"}
TOKEN, NUMBER = "a-callback-token", "+919876543210"


@pytest.fixture
def alone(make_settings: MakeSettings, open_web: OpenWeb, monkeypatch: pytest.MonkeyPatch) -> Web:
    """A web process whose Redis has no replica, though one must confirm."""
    monkeypatch.setattr(base, "ACKS_S", 0.01)
    return open_web(
        make_settings(
            CALL_BACK,
            redis_acks=1,
            callkaro_webhook_tokens=(TOKEN,),
            suppress_when=Expression.of("disposition_reason == 'never again'"),
        )
    )


def is_refused(answer: Any) -> bool:
    assert answer.status_code == 503, answer.text
    assert answer.headers["Retry-After"]
    return "Too few replicas" in answer.json["message"]


def test_people_are_suppressed_and_calls_paused_all_the_same(alone: Web, store: Store) -> None:
    put = alone.client.put
    assert is_refused(put(f"/api/suppressions/{NUMBER}", json={}, headers=BEARER))
    assert is_refused(put("/api/pauses/all", json={}, headers=BEARER))
    assert store.suppression_of(NUMBER) is not None
    assert [pause.scope for pause in store.pauses()] == ["all"]


@pytest.mark.parametrize("reason", ["never again", "busy"])
def test_an_outcome_that_is_not_confirmed_is_kept(alone: Web, store: Store, reason: str) -> None:
    said = {"callSid": "a-sid", "disposition_reason": reason, "to": NUMBER}
    body = json.dumps({"event": "call_ended", "data": {"try_count": 0, **said}})
    path = f"/callbacks/callkaro/{TOKEN}"
    answer = alone.client.post(path, data=body, content_type="application/json")
    assert is_refused(answer)
    assert (store.suppression_of(NUMBER) is not None) == (reason == "never again")
    assert store.redis.keys("bridge:early_outcome:*") == ["bridge:early_outcome:a-sid"]


def test_a_page_says_what_happened(alone: Web, store: Store) -> None:
    alone.client.post("/sign-in", data={"token": API_TOKEN})
    [csrf] = set(re.findall(r'name="csrf" value="([^"]+)"', alone.client.get("/").text))
    answer = alone.client.post("/suppressions", data={"csrf": csrf, "phone": NUMBER})
    assert answer.status_code == 503
    assert "Too few replicas" in answer.text
    assert store.suppression_of(NUMBER) is not None


def test_what_was_stored_is_due_though_its_sender_got_503(alone: Web, store: Store) -> None:
    assert is_refused(alone.post("website", lead()))
    assert counts(store) == {"queued": 1}
    assert store.next_due_s() is not None


def test_a_test_call_that_is_refused_does_not_ring_later(alone: Web, store: Store) -> None:
    path = "/api/routes/call back/call-me"
    answer = alone.client.post(path, json={"to_number": NUMBER}, headers=BEARER)
    assert is_refused(answer)
    assert counts(store) == {"cancelled": 1}


def test_the_audit_has_a_pause_that_is_not_confirmed(alone: Web) -> None:
    assert is_refused(alone.client.put("/api/pauses/all", json={}, headers=BEARER))
    acts = alone.client.get("/api/audit", headers=BEARER).json["items"]
    assert [act["action"] for act in acts] == ["pause"]
