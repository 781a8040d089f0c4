"""The dashboard: who gets in, what its forms do, and what its pages show and hide."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from support import API_TOKEN, WEBSITE, Web, lead, route

from bridge.settings import Settings
from bridge.store import Store
from simulator import Simulator

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
RunDrain = Callable[..., Any]

CALL = "/call/outbound"
ONE, OTHER = "+919876543210", "+919812345678"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(WEBSITE + route(request={"to_number": '"phone"', "agent_id": '"agent"'}))


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings) -> Web:
    return open_web(settings)


def sign_in(web: Web, token: str = API_TOKEN, **more: str) -> Any:
    return web.client.post("/sign-in", data={"token": token, **more})


def csrf_of(web: Web) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', web.client.get("/").text)
    assert found
    return found[1]


def do(web: Web, path: str, **fields: str) -> str:
    """Post a form as its page would, and return what the next page says."""
    answer = web.client.post(path, data={"csrf": csrf_of(web), **fields}, follow_redirects=True)
    assert answer.status_code == 200, answer.text
    return answer.text


def failed_lead(web: Web, simulator: Simulator, **more: Any) -> str:
    refusal = '{"status": "error"}'
    simulator.state.behave(path=CALL, times=1, status=400, body=refusal, to_number=ONE)
    return web.send("website", lead(phone=ONE, agent="6803fa77", **more))[0]


# --- who gets in ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/overview/part", "/deliveries", "/deliveries/many?do=retry", "/deliveries/x"]
)
def test_nothing_is_shown_to_who_is_not_signed_in(web: Web, path: str) -> None:
    answer = web.client.get(path)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/sign-in?next=")
    part = web.client.get(path, headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["HX-Redirect"]) == (401, "/sign-in")


def test_the_token_opens_and_signing_out_closes(web: Web) -> None:
    assert sign_in(web, "wrong").status_code == 401
    assert sign_in(web, "").status_code == 401
    opened = sign_in(web)
    assert (opened.status_code, opened.headers["Location"]) == (302, "/")
    assert API_TOKEN not in opened.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Lax"} <= set(opened.headers["Set-Cookie"].split("; "))
    assert web.client.get("/").status_code == 200

    do(web, "/sign-out")

    assert web.client.get("/").status_code == 302


def test_the_cookie_goes_over_https_alone_where_the_bridge_is_there(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    web = open_web(make_settings(public_url="https://bridge.example"))
    assert "Secure" in sign_in(web).headers["Set-Cookie"]


def test_a_token_that_is_taken_away_ends_its_sessions(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    web = open_web(make_settings())
    sign_in(web)
    cookie = web.client.get_cookie("callkaro_bridge")
    assert cookie is not None
    for tokens, status in ((("new", API_TOKEN), 200), (("new",), 302)):
        later = open_web(make_settings(api_tokens=tokens))
        later.client.set_cookie("callkaro_bridge", cookie.value)
        assert later.client.get("/").status_code == status


@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [
        ("/deliveries?status=failed", "/deliveries?status=failed"),
        ("https://elsewhere.example/", "/"),
        ("//elsewhere.example/", "/"),
        ("/\\elsewhere.example", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_signing_in_leads_to_pages_of_ours_alone(web: Web, wanted: str, leads_to: str) -> None:
    assert sign_in(web, next=wanted).headers["Location"] == leads_to


def test_guessing_is_slow(web: Web) -> None:
    answers = [sign_in(web, f"guess {number}").status_code for number in range(12)]
    assert answers == [401] * 10 + [429] * 2
    assert sign_in(web).status_code == 429, "nor with the right one, for a minute"


def test_a_form_that_is_not_ours_does_nothing(
    web: Web, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    failed = failed_lead(web, simulator)
    run_drain(settings)
    sign_in(web)
    for fields in ({}, {"csrf": ""}, {"csrf": "guessed"}):
        answer = web.client.post(f"/deliveries/{failed}/retry", data=fields)
        assert answer.status_code == 400
    found = store.delivery(failed)
    assert found is not None
    assert found.status == "failed"


def test_pages_load_nothing_from_elsewhere_and_are_in_nobodys_frame(web: Web) -> None:
    sign_in(web)
    for path in ("/", "/deliveries", "/nothing-here"):
        answer = web.client.get(path)
        assert not re.search(r'(src|href)="(https?:)?//', answer.text)
        assert not re.search(r"<(script|style)>|style=|onclick=", answer.text)
    headers = web.client.get("/").headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    with web.client.get("/dashboard/static/style.css") as sheet:
        assert sheet.status_code == 200


# --- what it shows --------------------------------------------------------------------------------


def test_numbers_are_masked_until_somebody_asks_and_that_is_logged(
    web: Web,
    settings: Settings,
    simulator: Simulator,
    run_drain: RunDrain,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    failed = failed_lead(web, simulator, name=HOSTILE)
    run_drain(settings)
    sign_in(web)
    for path in ("/", "/deliveries", f"/deliveries/{failed}", f"/deliveries/{failed}/part"):
        page = web.client.get(path).text
        assert ONE[3:] not in page
        assert HOSTILE not in page
    assert "person.revealed" not in caplog.text

    page = web.client.get(f"/deliveries/{failed}?reveal=1").text

    assert ONE in page
    assert "person.revealed" in caplog.text
    assert ONE[3:] not in caplog.text


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "Nothing has come yet"),
        ("phone=12", "That is no valid number."),
        ("since=yesterday", "since must be a time"),
        ("status=odd", "status"),
    ],
)
def test_an_empty_list_says_why(web: Web, query: str, says: str) -> None:
    sign_in(web)
    answer = web.client.get(f"/deliveries?{query}")
    assert answer.status_code == 200
    assert says in answer.text


def test_no_match_is_another_emptiness_than_nothing_at_all(web: Web) -> None:
    web.send("website", lead(phone=ONE))
    sign_in(web)
    assert "No delivery matches" in web.client.get("/deliveries?status=failed").text


def test_what_is_not_there_is_a_page(web: Web) -> None:
    sign_in(web)
    answer = web.client.get("/deliveries/nope")
    assert answer.status_code == 404
    assert "There is no delivery with that id" in answer.text
    assert answer.mimetype == "text/html"


# --- what its forms do ----------------------------------------------------------------------------


def test_one_is_retried_cancelled_resolved_and_suppressed(
    web: Web, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    failed = failed_lead(web, simulator)
    simulator.state.behave(path=CALL, times=1, status=502, to_number=OTHER)
    [unknown] = web.send("website", lead(phone=OTHER, agent="6803fa77"))
    run_drain(settings)
    sign_in(web)

    assert "It is tried now." in do(web, f"/deliveries/{failed}/retry")
    assert "It is cancelled." in do(web, f"/deliveries/{failed}/cancel")
    assert "Say how you found it" in do(web, f"/deliveries/{unknown}/resolve", **{"as": "odd"})
    assert "a phone rang, or may have" in do(web, f"/deliveries/{unknown}/retry")
    assert "It is failed, as you found it." in do(
        web, f"/deliveries/{unknown}/resolve", **{"as": "failed"}
    )
    assert "not called any more" in do(web, f"/deliveries/{failed}/suppress")
    assert store.suppression(store.phone_key(ONE))
    assert (
        web.client.post(f"/deliveries/{failed}/odd", data={"csrf": csrf_of(web)}).status_code == 404
    )


def test_many_are_counted_before_anything_is_done(
    web: Web, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    for _ in range(3):
        failed_lead(web, simulator)
    run_drain(settings)
    sign_in(web)

    counted = web.client.get("/deliveries/many?do=retry&status=failed").text
    assert "<strong>3</strong> would be tried again" in counted
    assert store.counts()["failed"] == 3
    said = do(web, "/deliveries/many", do="retry", status="failed")

    assert "3 tried again, 0 could not be." in said
    assert store.counts()["failed"] == 0
    everything = web.client.get("/deliveries/many?do=cancel")
    assert everything.status_code == 400
    assert "Set at least one filter first" in everything.text


def test_everything_is_paused_and_resumed(web: Web, store: Store) -> None:
    sign_in(web)
    assert "Paused: all." in do(web, "/pause", scope="all")
    assert [pause.scope for pause in store.pauses()] == ["all"]
    assert "Resumed: all." in do(web, "/resume", scope="all")
    assert not store.pauses()
