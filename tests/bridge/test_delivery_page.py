"""The page of one delivery: how its call ended comes first, and where a recording may play."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from support import API_TOKEN, WEBSITE, Web, route
from support.storing import a_delivery, accept, an_event

from bridge.dashboard.words import outcome_words
from schemas.access import NamedToken, Role
from schemas.delivery import Status
from schemas.outcome import Outcome, Result
from schemas.records import Move
from schemas.settings import Settings
from store import Store
from store.erasure import Eraser

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
NUMBER = "+919876543210"
HOSTILE = "<script>alert(1)</script>"
RECORDING = "https://recordings.example/c-1.mp3"
POLICY = "Content-Security-Policy"


@pytest.fixture
def web(open_web: OpenWeb, make_settings: MakeSettings) -> Web:
    return signed_in(open_web(make_settings(WEBSITE + route())))


def signed_in(web: Web) -> Web:
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    return web


def put(store: Store, *outcomes: Outcome, status: Status = Status.DELIVERED) -> None:
    accept(store, (an_event(), [a_delivery("d1")]))
    fields = {"request": json.dumps({"to_number": NUMBER}), "call_sid": "c1"}
    move = Move(
        id="d1",
        to=status,
        from_statuses=frozenset({Status.QUEUED}),
        fields=fields,
        message="CallKaro accepted it.",
        phone=store.phone_key(NUMBER),
    )
    assert store.move([move]) == ["ok"]
    for outcome in outcomes:
        store.keep_outcome(outcome)


def an_outcome(**more: Any) -> Outcome:
    made: dict[str, Any] = {
        "call_sid": "c1",
        "delivery_id": "d1",
        "result": Result.CONNECTED,
        "duration_s": 299,
        **more,
    }
    return Outcome(**made)


def page(web: Web, query: str = "") -> str:
    answer = web.client.get(f"/deliveries/d1{query}")
    assert answer.status_code == 200
    assert HOSTILE not in answer.text
    text: str = answer.text
    return text


def words_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def headline(html: str) -> str:
    found = re.search(r"<h1.*?</h1>", html, re.DOTALL)
    assert found
    return words_of(found[0])


def test_how_the_call_ended_is_the_headline_and_the_status_stands_below(
    web: Web, store: Store
) -> None:
    put(store, an_outcome(post_call={"interested": "no"}))
    html = page(web)
    assert headline(html) == "Connected, 4 min 59 s · interested: no"
    assert "delivered CallKaro accepted it. d1" in words_of(html)


@pytest.mark.parametrize("status", [Status.DELIVERED, Status.SKIPPED, Status.FAILED])
def test_without_an_outcome_the_status_is_the_headline(
    web: Web, store: Store, status: Status
) -> None:
    put(store, status=status)
    assert headline(page(web)) == f"{status} d1"


def test_what_was_said_comes_before_what_happened_and_json_last(web: Web, store: Store) -> None:
    said = "Agent: Hello!\nUser: Call me after 5."
    put(store, an_outcome(transcription=said, post_call={"a": HOSTILE, "b": {"deep": [1]}}))
    html = page(web)
    places = [
        html.index(one)
        for one in (
            "<h1",
            "What the agent noted",
            "Transcript",
            "What happened",
            "Sent to CallKaro",
        )
    ]
    assert places == sorted(places)
    assert '<li class="agent">' in html
    assert '<li class="person">' in html
    assert "Call me after 5." in html


def test_a_text_that_is_no_conversation_is_shown_as_it_is(web: Web, store: Store) -> None:
    put(store, an_outcome(transcription=f"It went well.\n{HOSTILE}"))
    html = page(web)
    assert "It went well.\n&lt;script&gt;" in html
    assert 'class="talk"' not in html


def test_hidden_characters_of_what_was_said_are_shown_as_their_codes(
    web: Web, store: Store
) -> None:
    put(store, an_outcome(transcription="Agent: a\u202eb\nUser: c", post_call={"a": "x\u202ey"}))
    html = page(web)
    assert "\u202e" not in html
    assert html.count("&lt;U+202E&gt;") >= 2


def test_show_numbers_shows_those_in_what_was_said(web: Web, store: Store) -> None:
    put(store, an_outcome(transcription=f"User: My number is {NUMBER}."))
    assert NUMBER not in page(web)
    assert f"My number is {NUMBER}." in page(web, "?reveal=1")


def test_other_dials_have_their_own_transcripts(web: Web, store: Store) -> None:
    put(
        store,
        an_outcome(result=Result.NOT_REACHED, is_final=False, transcription="User: first"),
        an_outcome(try_count=1, transcription="User: second"),
    )
    html = page(web)
    assert headline(html) == "Connected, 4 min 59 s, 2 dials"
    newest, other = html.split("Other dials")
    assert ("second" in newest, "first" in newest) == (True, False)
    assert "Not reached, 4 min 59 s · CallKaro redials · first dial" in words_of(other)


@pytest.mark.parametrize("result", [Result.CONNECTED, Result.NOT_REACHED, Result.VOICEMAIL])
def test_of_an_erased_person_only_the_result_is_shown(
    web: Web, store: Store, result: Result
) -> None:
    said = {"transcription": "User: I am Asha.", "post_call": {"name": "Asha"}}
    link = {"recording_url": RECORDING, "call_link": "https://callkaro.example/c-1"}
    put(store, an_outcome(result=result, **said, **link))
    assert "Asha" in page(web)
    Eraser(store=store).erase(NUMBER)
    html = page(web)
    assert headline(html).startswith(outcome_words({"result": str(result)}))
    assert "What was said was erased." in html
    for gone in ("Asha", "<audio", "recordings.example", "callkaro.example", "media-src"):
        assert gone not in html
    assert "media-src" not in policy(web)


# --- the recording --------------------------------------------------------------------------------


def policy(web: Web, path: str = "/deliveries/d1") -> str:
    [found] = web.client.get(path).headers.getlist(POLICY)
    return str(found)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        (RECORDING, "https://recordings.example"),
        ("https://s3.example:8443/a;b?c='d'", "https://s3.example:8443"),
        ("http://127.0.0.1:9000/c.wav", "http://127.0.0.1:9000"),
    ],
)
def test_the_page_plays_the_recording_of_its_host_alone(
    web: Web, store: Store, url: str, origin: str
) -> None:
    put(store, an_outcome(recording_url=url))
    assert policy(web).endswith(f"; base-uri 'none'; media-src {origin}")
    html = page(web)
    assert html.count("<audio") == 1
    assert "Play the recording here" not in html
    for other in ("/", "/deliveries", "/routes"):
        assert "media-src" not in policy(web, other)


@pytest.mark.parametrize(
    "url", [None, "https://*/x", "https://a.example;script-src/x", "https://u@a.example/x"]
)
def test_a_page_plays_nothing_of_a_host_that_its_policy_can_not_name(
    web: Web, store: Store, url: str | None
) -> None:
    put(store, an_outcome(recording_url=url))
    assert "media-src" not in policy(web)
    html = page(web)
    assert "<audio" not in html
    assert "Open the recording" not in html


def test_a_page_by_https_links_to_a_recording_by_http(
    open_web: OpenWeb, make_settings: MakeSettings, store: Store
) -> None:
    web = signed_in(open_web(make_settings(WEBSITE + route())))
    put(store, an_outcome(recording_url="http://recordings.example/c-1.mp3"))
    answer = web.client.get("/deliveries/d1", base_url="https://localhost")
    if answer.status_code == 302:  # the cookie is one of http
        web.client.post("/sign-in", data={"token": API_TOKEN}, base_url="https://localhost")
        answer = web.client.get("/deliveries/d1", base_url="https://localhost")
    assert "media-src" not in answer.headers[POLICY]
    assert "<audio" not in answer.text
    assert "Open the recording" in answer.text


@pytest.mark.parametrize(
    ("query", "plays"),
    [
        ("?plays=https://recordings.example", True),
        ("", False),
        ("?plays=https://other.example", False),
    ],
)
def test_a_part_plays_only_what_its_page_was_permitted_to_play(
    web: Web, store: Store, query: str, plays: bool
) -> None:
    put(store, an_outcome(recording_url=RECORDING))
    part = web.client.get(f"/deliveries/d1/part{query}").text
    assert ("<audio" in part) is plays
    assert ("Play the recording here" in part) is not plays
    assert ("plays=https" in part) is plays  # and the next refresh asks for the same


# --- unknown --------------------------------------------------------------------------------------


def test_an_unknown_delivery_says_what_to_look_up_where(web: Web, store: Store) -> None:
    put(store, status=Status.UNKNOWN)
    html = page(web)
    assert "https://callkaro.ai/dashboard/call-history" in html
    assert "The number is masked" in html
    assert NUMBER[1:] not in html
    shown = page(web, "?reveal=1")
    assert re.search(r"ck calls list --to 919876543210 --start \d{4}-\d\d-\d\d --json", shown)
    assert "The number is masked" not in shown


def test_a_viewer_is_not_sent_to_a_page_that_is_refused(
    open_web: OpenWeb, make_settings: MakeSettings, store: Store
) -> None:
    viewer = NamedToken(name="asha", role=Role.VIEWER, token="asha-looks-at-everything")
    web = open_web(make_settings(WEBSITE + route(), named_tokens=(viewer,)))
    assert web.client.post("/sign-in", data={"token": viewer.token}).status_code == 302
    put(store, status=Status.UNKNOWN)
    html = page(web)
    assert "call-history" in html
    assert "reveal=" not in html


@pytest.mark.parametrize("status", [Status.DELIVERED, Status.FAILED, Status.SKIPPED])
def test_another_delivery_needs_no_look_up(web: Web, store: Store, status: Status) -> None:
    put(store, status=status)
    assert "call-history" not in page(web)
