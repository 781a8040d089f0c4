"""The list of deliveries: its rows, its place in the whole, its filters and the kept views."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask, render_template
from hypothesis import given
from hypothesis import strategies as st
from support import API_TOKEN, WEBSITE, Web, each, examples, lead, route
from support.storing import a_delivery, accept, an_event
from werkzeug.datastructures import MultiDict

from bridge.dashboard import kept_views
from bridge.dashboard.deliveries import Listed, read_place
from bridge.dashboard.filters import wraps
from bridge.dashboard.kept_views import View, read_views, with_view, written
from schemas.errors import BadQuery
from schemas.settings import Settings
from schemas.visible import visible
from store import Store

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
LONG = "call-everybody-who-filled-in-the-form-of-the-trade-fair-in-pune-and-asked-for-a-call-back"


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(WEBSITE + route() + route(LONG, event="fair.visited"))


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings) -> Web:
    web = open_web(settings)
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    return web


def page(web: Web, path: str) -> str:
    answer = web.client.get(path)
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


def csrf_of(web: Web) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page(web, "/campaigns"))
    assert found
    return found[1]


def post(web: Web, path: str, fields: dict[str, Any]) -> Any:
    return web.client.post(path, data={"csrf": csrf_of(web), **fields})


# --- rows -----------------------------------------------------------------------------------------


def row(web: Web, **fields: Any) -> str:
    """Return the words of a row of a delivery that has these fields, too."""
    one = {
        "id": "d1",
        "source": "website",
        "subject": None,
        "route": "call back",
        "status": "delivered",
        "reason": None,
        "message": "CallKaro accepted it.",
        "created_at": "2026-11-28T06:30:00Z",
        "next_attempt_at": None,
        **fields,
    }
    app: Flask = web.client.application
    with app.test_request_context("/deliveries"):
        html = render_template("deliveries_part.html", listed=Listed(rows=[one]), given=MultiDict())
    assert html.count('class="row" href="/deliveries/d1"') == 1
    [found] = re.findall(r"<tbody>(.*)</tbody>", html, re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", found)).split())


ENDED = {"result": "connected", "talked_s": 299, "converted": False, "is_final": True, "tries": 1}


@each(
    ("fields", "begins"),
    [
        (
            {"name": "Asha", "phone": "••••3210", "outcome": ENDED},
            "Asha ••••3210 Connected, 4 min 59 s · interested: no delivered call back website",
        ),
        (
            {"name": None, "phone": "••••3210", "outcome": None},
            "••••3210 CallKaro accepted it. delivered call back website",
        ),
        ({"name": "Asha"}, "Asha CallKaro accepted it. delivered"),
        ({"subject": "33"}, "33 CallKaro accepted it. delivered call back website 33"),
        ({"subject": "572576700000044039"}, "572576700000044039 CallKaro"),
        ({}, "website CallKaro accepted it. delivered call back website"),
        # What is not over has both: how the last call ended, and what is next.
        (
            {
                "outcome": {**ENDED, "result": "voicemail"},
                "status": "failed",
                "message": "Refused.",
            },
            "website Voicemail, 4 min 59 s Refused. failed",
        ),
        ({"name": "<b>Asha</b>"}, "<b>Asha</b> CallKaro"),
        # A number that somebody typed as a name is masked as everywhere.
        ({"name": "Asha +91 98765 43210"}, "Asha "),
    ],
)
def test_a_row_says_who_and_how_it_ended(web: Web, fields: dict[str, Any], begins: str) -> None:
    words = row(web, **fields)
    assert words.startswith(begins)
    assert "98765" not in words
    assert "None" not in words


def test_a_list_leads_from_each_row_to_its_delivery(web: Web) -> None:
    ids = [web.send("website", lead(**more))[0] for more in ({}, {"event_type": "fair.visited"})]
    text = page(web, "/deliveries")
    for one in ids:
        assert text.count(f'class="row" href="/deliveries/{one}"') == 1
    assert LONG in text


# --- its place in the whole -----------------------------------------------------------------------


def places(web: Web, path: str) -> list[str]:
    """Return what each page of a list says of its place in the whole."""
    found = []
    while path:
        text = page(web, path)
        [place] = re.findall(r'<p class="hint place">([^<]*)</p>', text)
        found.append(place.replace("\N{EN DASH}", "-"))
        older = re.search(r'rel="next" href="([^"]+)"', text)
        path = older[1] if older else ""
    return found


@each(
    ("query", "says"),
    [
        ("", ["1-25 of 60", "26-50 of 60", "51-60 of 60"]),
        ("?status=queued", ["1-25 of 60", "26-50 of 60", "51-60 of 60"]),
        ("?status=queued&status=failed", ["1-25 of 60", "26-50 of 60", "51-60 of 60"]),
        ("?status=queued,held", ["1-25 of 60", "26-50 of 60", "51-60 of 60"]),
        ("?route=call+back", ["1-25 of 60", "26-50 of 60", "51-60 of 60"]),
        # Of several filters no index has the number.
        ("?route=call+back&status=queued", ["1-25", "26-50", "51-60"]),
        ("?subject=s7", ["1 of 1"]),
    ],
)
def test_a_page_says_its_place_in_the_list(
    web: Web, store: Store, query: str, says: list[str]
) -> None:
    if not any(store.counts().values()):
        for one in range(60):
            event = an_event(f"e{one}", subject=f"s{one}")
            accept(store, (event, [a_delivery(f"d{one}", route="call back")]))
    assert places(web, f"/deliveries{query}") == says


@each(
    ("raw", "place"),
    [
        ("26", 26),
        ("1", 1),
        ("0", 0),
        ("-5", 0),
        ("x", 0),
        ("", 0),
        (None, 0),
        ("٣", 0),
        ("9" * 10, 0),
    ],
)
def test_a_place_that_somebody_made_up_is_not_shown(raw: str | None, place: int) -> None:
    assert read_place(raw) == place


# --- filters --------------------------------------------------------------------------------------


def test_several_statuses_are_listed_at_once(web: Web, store: Store) -> None:
    first = web.send("website", lead())[0]
    for statuses, rows in (
        (["queued", "failed"], 1),
        (["failed", "unknown"], 0),
        (["held", "queued", "sending"], 1),
    ):
        answer = post(web, "/deliveries", {"status": statuses, "route": ""})
        assert parse_qs(urlsplit(answer.location).query) == {"status": statuses}
        text = page(web, answer.location)
        assert text.count(f'id="row-{first}"') == rows
        checked = re.findall(r'name="status" value="(\w+)" checked', text)
        assert set(checked) == set(statuses)
    assert set(
        re.findall(r'value="(\w+)" checked', page(web, "/deliveries?status=held,failed"))
    ) == {
        "held",
        "failed",
    }


def test_several_statuses_of_events_are_listed_at_once(web: Web) -> None:
    web.post("website", lead())
    web.post("website", lead(event_type="other"))
    web.post("website", lead(event_type={"no": "text"}))
    for query, rows, checked in (
        ("status=unrouted", 1, ["unrouted"]),
        ("status=unrouted&status=unreadable", 2, ["unrouted", "unreadable"]),
        ("status=routed,unrouted", 2, ["routed", "unrouted"]),
        ("", 3, []),
    ):
        text = page(web, f"/events?{query}")
        assert text.count('<tr id="row-') == rows
        assert text.count('class="row" href="/events/') == rows
        assert re.findall(r'name="status" value="(\w+)" checked', text) == checked
    counted = page(web, "/events/many?status=unrouted&status=unreadable")
    assert counted.count('type="hidden" name="status"') == 2


def test_the_filters_say_how_many_are_set_while_they_are_folded(web: Web) -> None:
    assert ">Filters</label>" in page(web, "/deliveries")
    query = "?status=failed&status=held&route=call+back"
    assert ">Filters (2 set)</label>" in page(web, f"/deliveries{query}")


@each(
    ("query", "offered"),
    [
        ("route=call+back", ["retry", "cancel", "release"]),
        ("status=failed", ["retry"]),
        ("status=skipped&status=cancelled", ["retry"]),
        ("status=queued", ["retry", "cancel"]),
        ("status=held", ["retry", "cancel", "release"]),
        ("status=held&reason=paused", ["retry", "cancel"]),
        ("status=held,failed&reason=bulk", ["retry", "cancel", "release"]),
        ("status=delivered", ["cancel"]),
        ("status=unknown", []),
        ("status=sending", []),
        ("status=sending&status=unknown", []),
        ("", []),
    ],
)
def test_a_command_is_offered_only_where_it_can_do_something(
    web: Web, store: Store, query: str, offered: list[str]
) -> None:
    if not any(store.counts().values()):
        web.send("website", lead())
    text = page(web, f"/deliveries?{query}")
    assert re.findall(r'href="/deliveries/many\?do=(\w+)', text) == offered


@each(
    ("name", "html"),
    [
        ("call back", "call back"),
        ("call_new_leads", "call_<wbr>new_<wbr>leads"),
        ("contact.created", "contact.<wbr>created"),
        ("a/b", "a/<wbr>b"),
        ("_", "_"),
        ("__a__", "__<wbr>a__"),
        ("", ""),
        ("572576700000044039", "572576700000044039"),
        ("<b>_x", "&lt;b&gt;_<wbr>x"),
        ("a_\u202eb", "a_<wbr>&lt;U+202E&gt;b"),
    ],
)
def test_a_long_name_may_break_between_its_parts(name: str, html: str) -> None:
    assert wraps(name) == html


@examples(200)
@given(st.text(max_size=60))
def test_a_name_that_may_break_reads_as_it_is(name: str) -> None:
    assert unescape(wraps(name).replace("<wbr>", "")) == visible(name)


# --- kept views -----------------------------------------------------------------------------------


def keep(web: Web, name: str, **fields: Any) -> Any:
    return post(web, "/deliveries/views", {"name": name, **fields})


def kept(web: Web) -> dict[str, str]:
    """Return the address of each kept view that the page shows."""
    found = re.findall(
        r'<a class="button" href="([^"]+)" (?:aria-current="true")?>([^<]+)</a><form',
        page(web, "/deliveries"),
    )
    return {name: address for address, name in found}


def test_a_view_is_kept_under_its_name_and_removed(web: Web) -> None:
    answer = keep(web, " To  call back ", status=["failed", "unknown"], route="call back")
    assert answer.status_code == 303
    address = "/deliveries?status=failed&status=unknown&route=call+back"
    assert answer.location == address
    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/deliveries"} <= set(cookie.split("; "))
    assert kept(web) == {"To call back": address}
    assert 'aria-current="true">To call back<' in page(web, address)

    keep(web, "पुणे & Pune", status="held")
    assert list(kept(web)) == ["To call back", "पुणे & Pune"]
    keep(web, "To call back", status="skipped")
    assert kept(web)["To call back"] == "/deliveries?status=skipped"

    post(web, "/deliveries/views/remove", {"name": "To call back"})
    assert list(kept(web)) == ["पुणे & Pune"]
    post(web, "/deliveries/views/remove", {"name": "पुणे & Pune"})
    assert kept(web) == {}


def test_a_view_keeps_nothing_of_one_person(web: Web) -> None:
    key = "a" * 24
    answer = keep(web, "mine", status="failed", subject="Meera", phone_key=key, q="Meera", find=key)
    assert answer.location == "/deliveries?status=failed"
    assert "Meera" not in answer.headers["Set-Cookie"]
    assert key not in answer.headers["Set-Cookie"]
    refused = keep(web, "mine, too", subject="Meera", phone="+919876543210")
    assert "Set-Cookie" not in refused.headers or "Meera" not in refused.headers["Set-Cookie"]
    assert list(kept(web)) == ["mine"]


@each("name", ["", "   ", "x" * 41, "a\x00b", "a\u202eb"])
def test_a_view_needs_a_name_that_can_be_shown(web: Web, name: str) -> None:
    text = web.client.get(keep(web, name, status="failed").location).text
    assert "Give the view a name of 1 to 40 characters." in text
    assert kept(web) == {}


def test_a_form_of_another_site_keeps_no_view(web: Web) -> None:
    for path in ("/deliveries/views", "/deliveries/views/remove"):
        answer = web.client.post(path, data={"name": "x", "status": "failed"})
        assert answer.status_code == 400
    assert kept(web) == {}


def test_there_is_room_for_twelve_views() -> None:
    views: list[View] = []
    for one in range(12):
        views = with_view(views, f"view {one}", f"status=failed&route=r{one}")
    assert read_views(written(views)) == views
    with pytest.raises(BadQuery, match="no room"):
        with_view(views, "one more", "status=held")
    assert with_view(views, "view 3", "status=held")[-1] == View("view 3", "status=held")
    with pytest.raises(BadQuery, match="no room"):
        with_view([], "long", "route=" + "x" * 4000)


def test_a_cookie_with_more_parts_than_views_holds_no_view(web: Web) -> None:
    cookie = "&".join(f"view{one}=status%3Dfailed" for one in range(30))
    web.client.set_cookie(kept_views.COOKIE, cookie, path=kept_views.PATH)
    assert web.client.get("/deliveries").status_code == 200
    assert read_views(cookie) == []


@examples(300)
@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
def test_a_cookie_of_anybody_breaks_nothing(cookie: str) -> None:
    for one in read_views(cookie):
        assert one.name.isprintable()
        assert parse_qs(one.query).keys() <= set(kept_views.NAMES)
