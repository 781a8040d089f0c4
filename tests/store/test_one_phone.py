"""A phone that its country writes in two ways is one person: for all that guards people."""

from collections.abc import Callable
from typing import Any

import pytest
from support import API_TOKEN, WEBSITE, Web, lead, route

from rules.erasing import mentions
from schemas.settings import Settings
from simulator import Simulator
from store import Store
from store.suppression import Suppressions

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
RunDrain = Callable[..., Any]

ABROAD, AT_HOME = "+5491123456789", "+541123456789"  # both can be called
BOTH_WAYS = pytest.mark.parametrize(
    ("first", "second"), [(ABROAD, AT_HOME), (AT_HOME, ABROAD)], ids=["9 first", "9 second"]
)
ROUTES = WEBSITE + route(countries='"any"')


def reasons(store: Store, ids: list[str]) -> list[tuple[str, str | None]]:
    found = [store.delivery(one) for one in ids]
    return [(one.status, one.reason) for one in found if one]


@BOTH_WAYS
def test_the_second_spelling_is_not_called_again(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    first: str,
    second: str,
) -> None:
    settings = make_settings(WEBSITE + route(countries='"any"', again_after='"24h"'))
    web = open_web(settings)
    ids = []
    for number in (first, second, "+541123456780"):
        ids += web.send("website", lead(phone=number))
        run_drain(settings)

    assert reasons(store, ids) == [
        ("delivered", None),
        ("skipped", "called_recently"),
        ("delivered", None),
    ]
    assert len(simulator.state.calls_to(first)) == 1
    assert simulator.state.calls_to(second) == []


@BOTH_WAYS
def test_both_spellings_share_the_numbers_daily_limit(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    run_drain: RunDrain,
    first: str,
    second: str,
) -> None:
    settings = make_settings(ROUTES, max_per_number=2)
    web = open_web(settings)
    ids = []
    for number in (first, second, first, second):
        ids += web.send("website", lead(phone=number))
        run_drain(settings)

    assert reasons(store, ids)[2:] == [("skipped", "day_cap")] * 2


@BOTH_WAYS
def test_a_suppression_cancels_what_waits_under_the_other_spelling(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    first: str,
    second: str,
) -> None:
    settings = make_settings(ROUTES)
    web = open_web(settings)
    simulator.state.behave(path="/call/outbound", status=503)
    ids = web.send("website", lead(phone=first))
    run_drain(settings)

    off = Suppressions(store=store).suppress(second).called_off
    ids += web.send("website", lead(phone=first))
    run_drain(settings)

    assert off.cancelled == 1
    assert reasons(store, ids) == [("cancelled", "suppressed"), ("skipped", "suppressed")]


def test_old_spellings_of_a_do_not_call_list_suppress_the_person(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(ROUTES)
    web = open_web(settings)
    answer = web.client.post(
        "/api/suppressions",
        json={"numbers": ["+52 1 55 1234 5678", "+55 11 8765-4321", "+22997123456", "+541"]},
        headers={"Authorization": f"Bearer {API_TOKEN}"},
    )
    assert (answer.json["suppressed"], len(answer.json["refused"])) == (3, 1)

    phones = ["+525512345678", "+5511987654321", "+2290197123456"]
    ids = [one for phone in phones for one in web.send("website", lead(phone=phone))]
    run_drain(settings)

    assert reasons(store, ids) == [("skipped", "suppressed")] * 3
    assert simulator.state.calls == []


@BOTH_WAYS
def test_a_list_by_number_has_the_calls_to_both_spellings(
    make_settings: MakeSettings, open_web: OpenWeb, run_drain: RunDrain, first: str, second: str
) -> None:
    settings = make_settings(ROUTES)
    web = open_web(settings)
    ids = {*web.send("website", lead(phone=first)), *web.send("website", lead(phone=second))}
    run_drain(settings)

    found = web.get(f"/api/deliveries?phone=%2B{second[1:]}").json

    assert {one["id"] for one in found["items"]} == ids


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("+5491123456789", "llamar al 011 15-2345-6789"),
        ("+5491123456789", "+54 11 2345 6789"),
        ("+541123456789", "+54 9 11 2345 6789"),
        ("+525512345678", "044 55 1234 5678"),
        ("+525512345678", "+52 1 55 1234 5678"),
        ("+5511987654321", "0 15 11 98765-4321"),
        ("+5511987654321", "(11) 8765-4321"),
        ("+24166123456", "06 12 34 56"),
    ],
)
def test_erasing_finds_a_number_as_its_country_dials_it(number: str, text: str) -> None:
    assert mentions({"note": text}, number)
    assert not mentions({"note": text.replace("6", "7").replace("8", "1")}, number)
