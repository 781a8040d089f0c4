"""The page of figures: periods, the funnel, the heat map, and the lists behind the numbers."""

import html
import re
import secrets
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from support import API_TOKEN, WEBSITE, Web, route

from bridge.dashboard.charts import HEIGHT, WIDTH
from bridge.dashboard.reports import (
    DIALLED,
    FUNNEL,
    Wanted,
    columns,
    funnel,
    heat_map,
    read_wanted,
)
from rules.figures import WEEKDAYS, hour_of
from schemas.errors import BadQuery
from schemas.figures import By, Figures, FigureTable
from schemas.requests import DeliveriesQuery
from schemas.settings import Settings
from store import Store
from store.base import P

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
ZONE = ZoneInfo("Asia/Kolkata")
TODAY = date(2026, 11, 28)
WEEK = Wanted(period="7", first=TODAY - timedelta(days=6), last=TODAY)
HOSTILE = "<script>alert(1)</script>"
#      events accepted skipped failed unknown dialled ended connected vm  nr wn other conv talk
SUMS = "40,    30,      6,      3,     1,      20,     19,   8,        4,  5, 1, 1,    2,   1500"


@pytest.fixture
def web(open_web: OpenWeb, make_settings: MakeSettings) -> Web:
    web = open_web(make_settings(WEBSITE + route()))
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    return web


def today() -> date:
    return datetime.now(ZONE).date()


def plant(store: Store, sums: str = SUMS, *, ago_days: int = 0, **names: str) -> None:
    """Have the store count these figures."""
    day, _ = hour_of(datetime.now(UTC) - timedelta(days=ago_days), ZONE)
    of = {"source": "website", "route": "call back", "campaign": "", "agent": "a1", "version": "v1"}
    found = {**of, "hour": "09", **names}
    places = ("hour", "source", "route", "campaign", "agent", "version")
    cell = "\t".join(found[one] for one in places)
    store.redis.hset(f"{P}figures:{day}", cell, sums.replace(" ", ""))
    store.redis.hset(f"{P}figures:changed", str(day), secrets.token_hex(4))


def page(web: Web, query: str = "", status: int = 200) -> str:
    answer = web.client.get(f"/reports{query}")
    assert answer.status_code == status, answer.text
    assert HOSTILE not in answer.text
    text: str = answer.text
    return text


def words_of(text: str) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", text).split()))


def links(text: str) -> list[dict[str, Any]]:
    """Return the filters of each link to the list of deliveries."""
    found = re.findall(r'href="(/deliveries\?[^"]+)"', text)
    return [
        {name: value for name, [value] in parse_qs(urlsplit(html.unescape(one)).query).items()}
        for one in found
    ]


# --- what is wanted -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "first", "last"),
    [
        ({}, date(2026, 11, 22), TODAY),
        ({"period": ""}, date(2026, 11, 22), TODAY),
        ({"period": "today"}, TODAY, TODAY),
        ({"period": "30"}, date(2026, 10, 30), TODAY),
        # The days count only for a period of one's own.
        ({"period": "today", "since": "2026-01-01", "until": "x"}, TODAY, TODAY),
        (
            {"period": "own", "since": "2026-02-27", "until": "2026-03-01"},
            date(2026, 2, 27),
            date(2026, 3, 1),
        ),
        ({"period": "own", "since": "2026-11-28", "until": "2026-11-28"}, TODAY, TODAY),
    ],
)
def test_a_period_has_whole_days(args: dict[str, str], first: date, last: date) -> None:
    found = read_wanted(args, TODAY)
    assert (found.first, found.last, found.only) == (first, last, None)


@pytest.mark.parametrize(
    ("given", "only"),
    [
        ("route:call back", (By.ROUTE, "call back")),
        ("campaign:b:1", (By.CAMPAIGN, "b:1")),
        ("source:website", (By.SOURCE, "website")),
    ],
)
def test_figures_are_of_one_route_source_or_campaign(given: str, only: tuple[By, str]) -> None:
    assert read_wanted({"of": given}, TODAY).only == only


@pytest.mark.parametrize(
    ("args", "part"),
    [
        ({"period": "8"}, "Choose today"),
        ({"period": "own"}, "Enter the first day"),
        ({"period": "own", "since": "2026-11-28"}, "Enter the last day"),
        ({"period": "own", "since": "28.11.2026", "until": "2026-11-28"}, "Enter the first day"),
        ({"period": "own", "since": "2026-11-29", "until": "2026-11-28"}, "must not be after"),
        ({"period": "own", "since": "0001-01-01", "until": "2026-11-28"}, "of this century"),
        ({"period": "own", "since": "2026-11-28", "until": "9999-12-31"}, "of this century"),
        ({"of": "agent:a1"}, "Choose a route"),
        ({"of": "route:"}, "Choose a route"),
        ({"of": "everything"}, "Choose a route"),
    ],
)
def test_what_makes_no_sense_is_refused_and_the_page_says_so(
    web: Web, args: dict[str, str], part: str
) -> None:
    with pytest.raises(BadQuery, match=part):
        read_wanted(args, TODAY)
    answer = web.client.get("/reports", query_string=args)
    assert answer.status_code == 400
    assert part in words_of(answer.text)


# --- the figures ----------------------------------------------------------------------------------


def test_the_funnel_has_each_step_as_a_share_of_the_step_before() -> None:
    total = Figures(events=40, accepted=30, dialled=20, connected=8, converted=2)
    steps = funnel(total)
    assert [one.name for one in steps] == list(FUNNEL)
    assert [one.count for one in steps] == [40, 30, 20, 8, 2]
    assert [one.share for one in steps] == [None, 0.75, 2 / 3, 0.4, 0.25]
    assert [one.width for one in steps] == [1, 0.75, 0.5, 0.2, 0.05]


def test_the_funnel_of_nothing_has_no_shares() -> None:
    assert [(one.share, one.width) for one in funnel(Figures())] == [(None, 0)] * 5
    assert [one.share for one in funnel(Figures(events=3))] == [None, 0, None, None, None]


def test_the_heat_map_goes_from_the_first_dialled_hour_to_the_last() -> None:
    rows = (
        ("mon 09", Figures(events=9, dialled=4, connected=1)),
        ("mon 23", Figures(events=9)),  # nobody was dialled
        ("sun 11", Figures(dialled=2, connected=1)),
    )
    found = dict(heat_map(FigureTable(items=rows, total=Figures()), WEEK))
    assert list(found) == ["09:00", "10:00", "11:00"]
    assert all(len(cells) == len(WEEKDAYS) for cells in found.values())
    monday, sunday = found["09:00"][0], found["11:00"][6]
    assert (monday.rate, monday.level) == (0.25, 2)  # half of the best rate
    assert monday.title == "Mon 09:00: 1 of 4 connected"
    assert (sunday.rate, sunday.level) == (0.5, 5)
    assert found["10:00"][3].title == "Thu 10:00: nobody was dialled"
    assert (found["10:00"][3].rate, found["10:00"][3].level) == (None, 0)


def test_a_heat_map_of_nothing_is_empty_and_one_without_answers_has_no_colour() -> None:
    assert list(heat_map(FigureTable(items=(), total=Figures()), WEEK)) == []
    rows = (("tue 08", Figures(dialled=3)),)
    [(_, cells)] = heat_map(FigureTable(items=rows, total=Figures()), WEEK)
    assert (cells[1].rate, cells[1].level) == (0, 0)


@pytest.mark.parametrize("count", [2, 7, 30])
def test_the_chart_has_a_column_for_each_day_and_none_for_a_call_that_was_not_dialled(
    count: int,
) -> None:
    first = TODAY - timedelta(days=count - 1)
    wanted = Wanted(period="own", first=first, last=TODAY)
    rows = (
        (str(first), Figures(events=9, dialled=4, connected=1)),
        (str(TODAY), Figures(events=9, dialled=8, connected=8)),
    )
    made = columns(wanted, FigureTable(items=rows, total=Figures()))
    assert len(made) == count
    assert (made[0].x, made[0].dialled, made[0].connected) == (0, HEIGHT / 2, HEIGHT / 8)
    assert (made[-1].dialled, made[-1].connected) == (HEIGHT, HEIGHT)
    assert made[-1].x + made[-1].width <= WIDTH
    assert made[0].title == f"{first}: 1 of 4 connected"
    assert sum(one.dialled > 0 for one in made) == 2
    nothing = ((str(TODAY), Figures(events=3)),)
    assert columns(wanted, FigureTable(items=nothing, total=Figures())) == []


# --- the page -------------------------------------------------------------------------------------


def test_without_a_call_the_page_says_so(web: Web) -> None:
    assert "No call in this time" in page(web)
    assert 'aria-current="page">Reports' in page(web)


def test_the_page_has_the_figures(web: Web, store: Store) -> None:
    plant(store)
    found = words_of(page(web))
    assert "events 40" in found
    assert "accepted by CallKaro 30 75 %" in found
    assert "dialled 20 67 %" in found
    assert "Answer rate 40 % of those dialled" in found
    assert "Conversion rate 25 % of those connected" in found
    assert "Calls a conversion 10.0 dialled" in found
    assert "Talk time 25 min" in found
    assert "Talk a connected call 3 min 8 s" in found
    assert "5 not reached, 4 voicemail, 1 wrong number, 1 other" in found
    assert "6 skipped, 3 failed, 1 unknown" in found
    assert "40 % of 20" in found  # the heat map
    for heading in ("route", "source", "campaign", "agent", "version of the agent", "day"):
        assert f"By {heading}" in found


@pytest.mark.parametrize(
    ("query", "events"),
    [
        ("?period=today", "1"),
        ("", "11"),
        ("?period=30", "111"),
        ("?period=own&since={29}&until={6}", "110"),
        ("?period=own&since={29}&until={7}", "100"),
        ("?period=30&of=route:other", "100"),
        ("?period=30&of=source:website", "111"),
    ],
)
def test_the_figures_are_of_the_period_and_of_what_was_chosen(
    web: Web, store: Store, query: str, events: str
) -> None:
    plant(store, "1")
    plant(store, "10", ago_days=6)
    plant(store, "100", ago_days=29, route="other")
    days = {f"{{{one}}}": str(today() - timedelta(days=one)) for one in (6, 7, 29)}
    for word, day in days.items():
        query = query.replace(word, day)
    assert f" events {events} " in words_of(page(web, query))


def test_each_number_leads_to_the_list_behind_it(web: Web, store: Store) -> None:
    plant(store)
    first, after = today() - timedelta(days=6), today() + timedelta(days=1)
    times = {"since": f"{first}T00:00", "until": f"{after}T00:00"}
    found = links(page(web))
    for filters in (
        {},
        {"status": "delivered"},
        {"outcome": DIALLED},
        {"outcome": "connected"},
        {"outcome": "voicemail"},
        {"status": "skipped"},
        {"route": "call back", "outcome": "connected"},
        {"source": "website", "status": "delivered"},
    ):
        assert {**filters, **times} in found, filters
    of_day = {"since": f"{today()}T00:00", "until": f"{after}T00:00", "outcome": "connected"}
    assert of_day in found
    of_route = links(page(web, "?of=route:call+back"))
    assert {"route": "call back", "outcome": "voicemail", **times} in of_route
    assert all(one["route"] == "call back" for one in of_route)


def test_a_list_that_can_not_be_filtered_by_that_has_no_link(web: Web, store: Store) -> None:
    plant(store)
    text = page(web)
    by_agent = text[text.index("By agent") : text.index("By day")]
    assert links(by_agent) == []
    converted = text[text.index('scope="row">converted') :].split("</tr>")[0]
    assert links(converted) == []
    assert not {"cancelled", "not_dialled"} & set(DIALLED.split(","))
    plant(store, campaign="b-1")
    of_campaign = links(page(web, "?of=campaign:b-1"))
    known = set(DeliveriesQuery().fields)
    assert all(one.keys() <= known for one in [*links(page(web)), *of_campaign])


def test_a_name_out_of_an_event_is_only_text(web: Web, store: Store) -> None:
    plant(store, route=HOSTILE, version="v\u202e1")
    text = page(web)
    assert "&lt;script&gt;" in text
    assert "\u202e" not in text


def test_a_campaign_has_its_name_and_what_is_missing_has_words(web: Web, store: Store) -> None:
    plant(store, campaign="")
    plant(store, campaign="(other)")
    found = words_of(page(web))
    by_campaign = found[found.index("By campaign") : found.index("By agent")]
    assert "without 40 30" in by_campaign
    assert "all others 40 30" in by_campaign


def test_nobody_sees_figures_without_signing_in(
    open_web: OpenWeb, make_settings: MakeSettings
) -> None:
    answer = open_web(make_settings(WEBSITE + route())).client.get("/reports")
    assert answer.status_code == 302


def test_an_hour_of_a_week_leads_to_its_list(web: Web, store: Store) -> None:
    plant(store)
    hours = [one for one in links(page(web)) if not one["since"].endswith("T00:00")]
    [filters] = [one for one in hours if one["outcome"] == DIALLED]
    begin, end = (datetime.fromisoformat(filters[name]) for name in ("since", "until"))
    assert (begin.date(), end - begin) == (today(), timedelta(hours=1))
    text = page(web, "?period=30")
    heat = text[text.index('class="heat"') : text.index("By route")]
    assert "40 %" in heat
    assert links(heat) == []  # the hour is of several days


def test_calls_without_a_campaign_have_figures_and_no_list(web: Web, store: Store) -> None:
    plant(store, campaign="")
    text = page(web, "?of=campaign:none")
    assert "40 % of 20" in words_of(text)
    assert links(text) == []
