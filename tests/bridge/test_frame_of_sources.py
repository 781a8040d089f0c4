"""What vendors ask of the web process: another answer, a challenge, GET, HEAD, tests."""

import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support import API_TOKEN, CALL_BACK, SECRETS, Web, lead, until
from support.draining import MakeSettings, OpenWeb

from schemas.event import Item
from schemas.settings import Settings
from schemas.source import Challenge, Incoming, Reply, Signature, Signatures, Source, Token
from store import Store

Frame = Callable[..., Web]
TOKEN = {"X-Webhook-Token": SECRETS["website"]}
PATH = "/webhooks/website"


@pytest.fixture
def frame(make_settings: MakeSettings, open_web: OpenWeb) -> Frame:
    """Open the web process of a source `website` of a made-up kind."""

    def made(*, source: dict[str, Any] | None = None, **kind: Any) -> Web:
        return open_web(settings_with(make_settings(CALL_BACK), source or {}, kind))

    return made


def settings_with(settings: Settings, of_source: dict[str, Any], kind: dict[str, Any]) -> Settings:
    sources = settings.routes.sources
    website = sources["website"]
    of_kind = replace(website.kind, **kind)
    changed = replace(website, kind=of_kind, auth=of_kind.auth, **of_source)
    routes = replace(settings.routes, sources={**sources, "website": changed})
    variables = {**settings.variables, "website": {"VERIFY_TOKEN": "a-verify-token"}}
    return replace(settings, routes=routes, variables=variables)


def stored(store: Store) -> int:
    return sum(store.counts().values())


# --- the answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "reply", "answer"),
    [
        ({}, Reply(), (202, "application/json")),
        ({"answer": 200}, Reply(), (200, "application/json")),
        ({}, Reply(status=200, body="ok", media_type="text/plain"), (200, "text/plain")),
        ({"answer": 201}, Reply(status=200, body="ok"), (201, "application/json")),
    ],
)
def test_what_is_stored_is_answered_as_its_vendor_needs_it(
    frame: Frame, store: Store, source: dict[str, Any], reply: Reply, answer: tuple[int, str]
) -> None:
    got = frame(source=source, reply=reply).client.post(PATH, json=lead(), headers=TOKEN)
    assert (got.status_code, got.mimetype) == answer
    assert got.text == reply.body or got.json["accepted"] == 1
    assert stored(store) == 1


def test_the_answer_of_a_source_may_be_set_in_routes_toml(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    web = open_web(make_settings(CALL_BACK.replace("[[source]]\n", "[[source]]\nanswer = 200\n")))
    assert web.post("website", lead()).status_code == 200


def test_always_holds_for_what_proved_itself_alone(frame: Frame, store: Store) -> None:
    web = frame(reply=Reply(status=200, body="ok", is_always=True))
    broken = {"data": b"{", "content_type": "application/json"}
    assert web.client.post(PATH, headers=TOKEN, **broken).status_code == 200
    assert web.client.post(PATH, **broken).status_code == 401
    assert web.client.post("/webhooks/nobody", headers=TOKEN, **broken).status_code == 404
    assert stored(store) == 0
    assert len(web.get("/api/refused").json["items"]) == 1, "it is kept for people to see"


def test_always_does_not_hold_while_the_store_is_away(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    always = {"reply": Reply(status=200, body="ok", is_always=True)}
    away = settings_with(make_settings(CALL_BACK, redis_url="redis://127.0.0.1:1/0"), {}, always)
    broken = {"data": b"{", "content_type": "application/json"}
    got = open_web(away).client.post(PATH, headers=TOKEN, **broken)
    assert got.status_code == 503, "it is kept nowhere, so its sender has to send it again"


# --- challenges -----------------------------------------------------------------------------------

META = Challenge(
    method="GET",
    echo="hub.challenge",
    only_with={"hub.mode": "subscribe"},
    token=("hub.verify_token", "VERIFY_TOKEN"),
)
ASKED = {
    "hub.mode": "subscribe",
    "hub.verify_token": "a-verify-token",
    "hub.challenge": "<b>1158201444</b>",
}


def test_a_question_with_the_right_token_gets_its_text_back(frame: Frame, store: Store) -> None:
    got = frame(challenge=META).client.get(PATH, query_string=ASKED)
    assert (got.status_code, got.mimetype) == (200, "text/plain")
    assert got.text == ASKED["hub.challenge"]
    assert stored(store) == 0


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"hub.verify_token": "another"}, 401),
        ({"hub.verify_token": ""}, 401),
        ({"hub.mode": "unsubscribe"}, 405),
        ({"hub.challenge": "1" * 1001}, 405),
    ],
)
def test_any_other_question_gets_nothing_back(
    frame: Frame, changed: dict[str, str], status: int
) -> None:
    web = frame(challenge=META)
    got = web.client.get(PATH, query_string={**ASKED, **changed})
    assert got.status_code == status
    assert ASKED["hub.challenge"] not in got.text


def test_a_wrong_token_of_a_question_counts_for_the_alert(frame: Frame, store: Store) -> None:
    web = frame(challenge=META)
    web.client.get(PATH, query_string={**ASKED, "hub.verify_token": "another"})
    until(lambda: store.redis.hexists("bridge:alerts:refused", "website"), what="the count")


def test_a_question_in_a_body_is_answered_before_its_proof_and_stored_nowhere(
    frame: Frame, store: Store
) -> None:
    web = frame(challenge=Challenge(method="POST", echo="challenge", as_json=True))
    got = web.client.post(PATH, json={"challenge": "3eZbrw1aBm2rZgRNFdxV2595"})
    assert (got.status_code, got.json) == (200, {"challenge": "3eZbrw1aBm2rZgRNFdxV2595"})
    for no_question in ({"challenge": 5}, {"challenge": "x", "event": {}}, ["challenge"]):
        assert web.client.post(PATH, json=no_question).status_code == 401
    assert stored(store) == 0


# --- GET and HEAD ---------------------------------------------------------------------------------


def test_a_lead_may_come_in_the_query_without_its_token_among_the_data(
    frame: Frame, store: Store
) -> None:
    web = frame(takes_get=True, auth=Token(query="key"))
    query = {"phone": "+919876543210", "city": "Pune", "key": SECRETS["website"]}
    assert web.client.get(PATH, query_string=query).json["accepted"] == 1
    again = web.client.get(PATH, query_string=query)
    assert again.json["duplicates"] == 1
    (event,) = again.json["events"]
    kept = store.event(event["id"])
    assert kept is not None
    assert kept.event.data == {"phone": "+919876543210", "city": "Pune"}
    assert web.client.get(PATH, query_string={**query, "key": "wrong"}).status_code == 401


def test_a_get_of_any_other_source_is_refused_and_says_what_is_allowed(frame: Frame) -> None:
    got = frame().client.get(PATH, query_string={"token": SECRETS["website"]})
    assert (got.status_code, got.headers["Allow"]) == (405, "HEAD, POST")
    assert got.json["error"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        ({}, "HEAD, POST"),
        ({"takes_get": True}, "GET, HEAD, POST"),
        ({"challenge": META}, "GET, HEAD, POST"),
        ({"challenge": Challenge(method="POST", echo="challenge")}, "HEAD, POST"),
    ],
)
def test_what_is_allowed_is_what_the_source_takes(
    frame: Frame, kind: dict[str, Any], allowed: str
) -> None:
    web = frame(**kind)
    for path in (PATH, f"{PATH}/"):
        got = web.client.put(path, json=lead(), headers=TOKEN)
        assert (got.status_code, got.headers["Allow"]) == (405, allowed)
    assert web.client.put("/webhooks/nobody").headers["Allow"] == "HEAD, POST"


def test_a_signature_of_a_body_proves_no_query(frame: Frame, store: Store) -> None:
    auth = Signatures(schemes=(Signature(header="X-Signature"),))
    web = frame(takes_get=True, auth=auth)
    of_no_body = hmac.digest(SECRETS["website"].encode(), b"", "sha256").hex()
    query = {"phone": "+919876543210"}
    got = web.client.get(PATH, query_string=query, headers={"X-Signature": of_no_body})
    assert (got.status_code, stored(store)) == (405, 0)


def test_a_head_is_answered_for_a_source_that_is_there(frame: Frame) -> None:
    web = frame()
    assert web.client.head(PATH).status_code == 200
    assert web.client.head("/webhooks/nobody").status_code == 404


# --- tests, and types that no proof covers --------------------------------------------------------


def of_header(content: Any, request: Incoming, source: Source) -> list[Item]:
    topic = request.headers.get("X-Topic") or "nothing"
    is_test = content.get("test", False)
    return [Item(type=topic, data=content, is_type_proved=False, is_test=is_test)]


def test_equal_bytes_under_another_type_of_an_unsigned_header_are_a_duplicate(
    frame: Frame,
) -> None:
    web, body = frame(parse=of_header), lead()
    topics = ("form.submitted", "form.submitted", "checkout.created")
    answers = [
        web.client.post(PATH, json=body, headers={**TOKEN, "X-Topic": topic}).json
        for topic in topics
    ]
    assert [one["duplicates"] for one in answers] == [0, 1, 1]
    assert len({one["events"][0]["id"] for one in answers}) == 1


def test_a_vendors_test_rings_nobody_also_after_a_replay(frame: Frame, store: Store) -> None:
    web = frame(parse=of_header)
    headers = {**TOKEN, "X-Topic": "form.submitted"}
    got = web.client.post(PATH, json={**lead(), "test": True}, headers=headers)
    assert (got.status_code, got.json["unrouted"]) == (202, 1)
    (event,) = got.json["events"]
    path = f"/api/events/{event['id']}/replay"
    again = web.client.post(path, headers={"Authorization": f"Bearer {API_TOKEN}"})
    assert again.status_code == 200
    assert stored(store) == 0
