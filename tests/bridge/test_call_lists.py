"""Call a list: by the API and on the pages, until phones ring."""

import base64
import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from support import AGENT, API_TOKEN, WEBSITE, Web, each, lead
from support.draining import RunDrain

from schemas.access import NamedToken, Role
from schemas.settings import Settings
from simulator import Simulator
from store import Store
from store.suppression import Suppressions

OpenWeb = Callable[[Settings], Web]
MakeSettings = Callable[..., Settings]
OPERATOR = NamedToken(name="bela", role=Role.OPERATOR, token="bela-calls-and-cancels")
ROUTE = "call visitors"
ROUTES = f"""{WEBSITE}
[[route]]
name   = "{ROUTE}"
source = "website"
event  = "form.submitted"
match  = "kind == 'new'"
when   = "stage != 'lost'"
to     = "call"
[route.request]
to_number = "person.phone || person.mobile"
agent_id  = {{ value = "{AGENT}" }}
[route.request.metadata]
name = "person.name"

[[route]]
name   = "call everybody"
source = "website"
event  = "*"
to     = "call"
[route.request]
to_number = "person.phone"
agent_id  = {{ value = "{AGENT}" }}
"""
MAPPING = {"person.phone": "Phone", "person.name": "Name"}
SUPPRESSED = "+919876500029"


def number(row: int) -> str:
    return f"98765{row:05}"


def thirty_rows() -> str:
    """30 rows: 3 duplicates, 2 bad numbers, 1 suppressed."""
    rows = [f"{number(row)},Person {row}" for row in range(24)]
    rows += [f"+91 {number(row)[:5]} {number(row)[5:]},Again" for row in (3, 4, 5)]
    rows += ["9.19E+11,Bad", "hello,Bad", f"{SUPPRESSED},Off"]
    return "\n".join(["Phone,Name", *rows, ""])


def csv_of(*rows: str, header: str = "Phone,Name") -> str:
    return "\n".join([header, *rows, ""])


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(ROUTES, named_tokens=(OPERATOR,))


@pytest.fixture
def post(web: Web) -> Callable[..., Any]:
    """Send a list to the API, as the operator."""

    def post(csv: str, *, token: str = OPERATOR.token, **more: Any) -> Any:
        body = {"route": ROUTE, "name": "Diwali", "mapping": MAPPING, "csv": csv, **more}
        headers = {"Authorization": f"Bearer {token}"}
        return web.client.post("/api/call-lists", json=body, headers=headers)

    return post


def deliveries(web: Web, **filters: str) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in {"limit": "200", **filters}.items())
    items: list[dict[str, Any]] = web.get(f"/api/deliveries?{query}").json["items"]
    return items


def counts(answer: Any) -> tuple[int, ...]:
    assert answer.status_code == 200, answer.text
    found = answer.json
    left = len(found["unreadable"])
    assert found["rows"] == found["accepted"] + found["duplicates"] + found["suppressed"] + left
    return found["rows"], found["accepted"], found["duplicates"], found["suppressed"], left


def suppress(store: Store, number: str = SUPPRESSED) -> None:
    Suppressions(store=store).suppress(number)


# --- the API ------------------------------------------------------------------------------------


def test_a_list_is_counted_held_and_called_as_far_as_it_is_released(
    web: Web, post: Any, store: Store, settings: Settings, run_drain: RunDrain, simulator: Simulator
) -> None:
    suppress(store)
    wanted = (30, 24, 3, 1, 2)
    assert counts(post(thirty_rows(), dry_run=True)) == wanted
    assert deliveries(web) == []
    answer = post(thirty_rows())
    assert counts(answer) == wanted
    assert [one["line"] for one in answer.json["unreadable"]] == [29, 30]
    held = deliveries(web, status="held", reason="bulk")
    assert len(held) == 24
    # The first row of the list comes first.
    assert held[0]["message"].startswith('Row of the list "Diwali".')
    assert (held[0]["name"], held[0]["phone"]) == ("Person 0", "+91••••••0000")
    run_drain(settings)
    assert simulator.state.calls == []
    released = web.client.post(
        "/api/deliveries/release",
        json={"route": ROUTE, "limit": 5},
        headers={"Authorization": f"Bearer {OPERATOR.token}"},
    )
    assert released.json["released"] == 5
    run_drain(settings)
    called = [call.to_number for call in simulator.state.calls]
    assert sorted(called) == [f"+91{number(row)}" for row in range(5)]
    assert {call.body["metadata"]["name"] for call in simulator.state.calls} == {
        f"Person {row}" for row in range(5)
    }
    assert len(deliveries(web, status="held")) == 19
    assert len(deliveries(web, route="call%20everybody")) == 0


def test_a_list_once_more_adds_nothing_and_another_name_adds_all(web: Web, post: Any) -> None:
    rows = csv_of(*(f"{number(row)},x" for row in range(4)))
    assert counts(post(rows)) == (4, 4, 0, 0, 0)
    assert counts(post(rows, dry_run=True)) == (4, 0, 4, 0, 0)
    assert counts(post(rows, name=" Diwali ")) == (4, 0, 4, 0, 0)
    more = csv_of(*(f"+91{number(row)},y" for row in range(6)))
    assert counts(post(more, dry_run=True)) == counts(post(more)) == (6, 2, 4, 0, 0)
    assert counts(post(rows, name="Holi")) == (4, 4, 0, 0, 0)
    assert len(deliveries(web)) == 10


def test_a_list_that_was_stored_in_part_is_completed(
    web: Web, post: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = csv_of(*(f"{number(row)},x" for row in range(7)))
    monkeypatch.setattr("bridge.operations.call_lists.AT_ONCE", 3)
    # The web process has gone after the first step: its rows are those of a shorter list.
    assert counts(post(csv_of(*rows.splitlines()[5:]))) == (3, 3, 0, 0, 0)
    assert counts(post(rows)) == (7, 4, 3, 0, 0)
    assert len(deliveries(web)) == 7
    assert store.redis.zcard("bridge:bulk") == 7


def test_the_routes_when_and_the_guards_go_on_to_hold(
    web: Web, post: Any, settings: Settings, run_drain: RunDrain, simulator: Simulator
) -> None:
    csv = csv_of(f"{number(1)},a,lost", f"{number(2)},b,new", header="Phone,Name,Stage of the lead")
    mapping = {**MAPPING, "stage": "Stage of the lead"}
    assert counts(post(csv, mapping=mapping)) == (2, 2, 0, 0, 0)
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    web.client.post("/api/deliveries/release", json={"route": ROUTE}, headers=headers)
    run_drain(settings)
    assert [call.to_number for call in simulator.state.calls] == [f"+91{number(2)}"]
    assert [one["reason"] for one in deliveries(web, status="skipped")] == ["when_false"]


def test_a_number_that_is_suppressed_after_the_upload_does_not_ring(
    web: Web, post: Any, store: Store, settings: Settings, run_drain: RunDrain, simulator: Simulator
) -> None:
    assert counts(post(csv_of(f"{SUPPRESSED},x"))) == (1, 1, 0, 0, 0)
    suppress(store)
    assert [one["status"] for one in deliveries(web)] == ["cancelled"]
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    web.client.post("/api/deliveries/release", json={"route": ROUTE}, headers=headers)
    run_drain(settings)
    assert simulator.state.calls == []
    assert [one["reason"] for one in deliveries(web)] == ["suppressed"]


def test_a_person_of_a_list_is_erased_like_any_other(web: Web, post: Any, store: Store) -> None:
    assert counts(post(csv_of(f"{number(1)},Meera", f"{number(2)},Asha"))) == (2, 2, 0, 0, 0)
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    body = {"phone": f"+91{number(1)}"}
    assert web.client.post("/api/erasures", json=body, headers=headers).json["done"]
    kept = str(
        [store.redis.hgetall(key) for key in store.redis.scan_iter("bridge:*", _type="hash")]
    )
    assert number(2) in kept
    assert "Asha" in kept
    assert number(1) not in kept
    assert "Meera" not in kept
    assert [one["status"] for one in deliveries(web)] == ["cancelled", "held"]


def test_neither_a_webhook_nor_a_replay_makes_more_of_a_row(
    web: Web, post: Any, settings: Settings
) -> None:
    assert counts(post(csv_of(f"{number(1)},x"))) == (1, 1, 0, 0, 0)
    (made,) = deliveries(web)
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    replayed = web.client.post(
        f"/api/events/{made['event_id']}/replay", json={}, headers=headers
    ).json
    assert (replayed["deliveries"], replayed["status"]) == ([], "routed")
    assert web.send("website", lead(event_type="list.row", person={"phone": number(2)})) == []
    assert len(deliveries(web)) == 1


def test_a_replay_makes_no_more_of_a_test_call(web: Web) -> None:
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    body = {"to_number": f"+91{number(1)}", "record": {"person": {"phone": number(1)}}}
    made = web.client.post(f"/api/routes/{ROUTE}/call-me", json=body, headers=headers).json
    replayed = web.client.post(f"/api/events/{made['event_id']}/replay", json={}, headers=headers)
    assert replayed.json["deliveries"] == []
    assert len(deliveries(web)) == 1


@each(
    ("more", "status", "why"),
    [
        ({"route": "call visitor"}, 404, "Did you mean 'call visitors'?"),
        ({"mapping": {}}, 400, "No column leads to the number."),
        ({"mapping": {"person.fone": "Phone"}}, 400, "The route reads no such path."),
        ({"mapping": {"person.phone": "Fone"}}, 400, "no such column for person.phone"),
        ({"mapping": {"person.phone": 1}}, 400, "mapping"),
        ({"name": "  "}, 400, "Give the list a name"),
        ({"name": "x" * 81}, 400, "Give the list a name"),
        ({"csv": ""}, 400, "The list is empty."),
        ({"csv": "9876543210,Meera\n9876543211,Asha\n"}, 400, "name of a column"),
        ({"csv": "Phone,Name\n" + "1,2\n" * 10_001}, 400, "more than 10,000 rows"),
        ({"csv": "Phone\n" + "1" * 4 * 1024 * 1024}, 413, "kB"),
        ({"rows": 1}, 400, "rows"),
    ],
)
def test_what_can_not_be_called_is_refused_in_a_sentence(
    web: Web, post: Any, more: dict[str, Any], status: int, why: str
) -> None:
    answer = post(**{"csv": csv_of(f"{number(1)},x"), **more})
    assert (answer.status_code, why in answer.json["message"]) == (status, True), answer.text
    assert deliveries(web) == []


def test_a_list_leaves_no_number_and_no_name_where_they_need_not_be(
    web: Web, post: Any, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    answer = post(csv_of(f"{number(1)},Meera", f"{number(1)},Meera", "12345,Meera"))
    assert counts(answer) == (3, 1, 1, 0, 1)
    (made,) = deliveries(web)
    event = web.get(f"/api/events/{made['event_id']}").json
    assert (event["type"], event["source"]) == ("list.row", "website")
    assert event["source_event_id"].startswith("list/Diwali/")
    (act,) = [one for one in store.acts(limit=9, keep_days=1).items if one.action == "call_list"]
    assert (act.actor, act.count) == ("bela", 1)
    assert web.get(f"/api/deliveries/{made['id']}").json["timeline"][0]["actor"] == "bela"
    told = f"{answer.text}{event['source_event_id']}{made['message']}{act}{caplog.text}"
    assert "Meera" not in told
    assert number(1)[-5:] not in told
    assert "12345" not in told
    keys = " ".join(map(str, store.redis.scan_iter("*")))
    assert number(1)[-5:] not in keys


# --- the pages ----------------------------------------------------------------------------------


@pytest.fixture
def page(web: Web) -> Web:
    assert web.client.post("/sign-in", data={"token": OPERATOR.token}).status_code == 302
    return web


def csrf(web: Web) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', web.client.get("/call-lists").text)
    assert found
    return found[1]


def send(web: Web, path: str, **fields: Any) -> Any:
    form = {"csrf": csrf(web), "route": ROUTE, "name": "", **fields}
    return web.client.post(f"/call-lists/{path}", data=form)


def file(text: str, name: str = "Diwali leads.csv") -> tuple[BytesIO, str]:
    return BytesIO(text.encode("utf-16")), name


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def chosen(text: str) -> dict[str, str]:
    """Return what the selects of a page say."""
    selects = re.findall(r'<select name="column:([^"]+)".*?</select>', text, re.DOTALL)
    parts = re.findall(r'<select name="column:[^"]+".*?</select>', text, re.DOTALL)
    found = [re.search(r"<option selected>([^<]*)<", part) for part in parts]
    return {name: one[1] for name, one in zip(selects, found, strict=True) if one}


def test_a_person_uploads_maps_sees_stores_and_releases(
    page: Web, store: Store, settings: Settings, run_drain: RunDrain, simulator: Simulator
) -> None:
    suppress(store)
    seen = send(page, "columns", file=file(thirty_rows()))
    assert seen.status_code == 200, seen.text
    assert chosen(seen.text) == MAPPING
    for name, count in (("Rows", 30), ("To be held", 24), ("Duplicates", 3), ("Suppressed", 1)):
        assert f"<dt>{name}</dt><dd>{count}</dd>" in seen.text
    assert "<dt>Unreadable</dt><dd>2</dd>" in seen.text
    assert "Line 29: The phone number can&#39;t be called: a spreadsheet" in seen.text
    assert "+91••••••0000" in seen.text
    assert f"+91{number(0)}" not in seen.text
    assert "would be sent" in seen.text
    assert 'value="Diwali leads"' in seen.text

    carried = re.search(r'name="csv" value="([^"]+)"', seen.text)
    assert carried
    columns = {f"column:{path}": column for path, column in MAPPING.items()}
    stored = send(page, "store", name="Diwali leads", csv=carried[1], **columns)
    assert stored.status_code == 302
    assert stored.location == "/deliveries?status=held&reason=bulk&route=call+visitors"
    held = page.client.get(stored.location).text
    assert "Held until you release them: 24 of 30 rows. Duplicates: 3. Suppressed: 1." in held
    assert "They are 29, 30." in held
    asked = page.client.get(f"/deliveries/many?do=release&reason=bulk&route={ROUTE}").text
    assert "24 phones will ring" in asked
    form = {"csrf": csrf(page), "do": "release", "reason": "bulk", "route": ROUTE, "most": "5"}
    assert page.client.post("/deliveries/many", data=form).status_code == 303
    run_drain(settings)
    assert len(simulator.state.calls) == 5


def test_the_columns_of_the_latest_list_are_kept_for_the_route(page: Web) -> None:
    text = csv_of(f"{number(1)},x", header="Cell,Who")
    guessed = send(page, "columns", file=file(text))
    assert guessed.status_code == 200  # it is for the person to choose now
    assert "No column leads to the number." in guessed.text
    columns = {"column:person.phone": "Cell", "column:person.name": "Who", "column:stage": ""}
    assert send(page, "store", name="a", csv=packed(text), **columns).status_code == 302
    again = send(page, "columns", name="b", csv=packed(text))
    assert chosen(again.text) == {"person.phone": "Cell", "person.name": "Who"}
    other = csv_of(f"{number(2)},x", header="Phone,Who")
    kept = send(page, "columns", name="c", csv=packed(other))
    assert chosen(kept.text) == {"person.phone": "Phone", "person.name": "Who"}


def test_the_preview_says_what_each_guard_decides(page: Web, store: Store) -> None:
    suppress(store)
    text = csv_of(f"{number(1)},Meera,lost", f"{SUPPRESSED},Off,new", header="Phone,Name,Stage")
    seen = send(page, "columns", file=file(text)).text
    assert "when_false" in seen
    assert "The number is suppressed. The row is left out." in seen
    assert "<td><code>ALLOW_NUMBERS</code></td>" in seen


@each(
    ("fields", "why"),
    [
        ({}, "Choose a file first."),
        ({"csv": "%%%"}, "The list did not arrive whole."),
        ({"csv": packed("Phone\n"), "name": "a"}, "no row below"),
        ({"csv": packed("Phone\n1\n")}, "Give the list a name"),
        ({"csv": packed("Phone\n1\n"), "name": "a", "route": ""}, "No route with to"),
        ({"csv": packed("Phone\n" + "1" * 2 * 1024 * 1024), "name": "a"}, "over 2 MB"),
    ],
)
def test_what_the_pages_can_not_use_is_said_above_the_form(
    page: Web, fields: dict[str, str], why: str
) -> None:
    for path in ("columns", "store"):
        answer = send(page, path, **fields)
        assert answer.status_code == 400
        assert why in answer.text
        assert 'name="file"' in answer.text


def test_signs_that_can_not_be_seen_pass_the_pages_unchanged(page: Web) -> None:
    name = "क्\u200dष =SUM(A1)"
    text = csv_of(f"{number(1)},{name}")
    seen = send(page, "columns", file=file(text))
    carried = re.search(r'name="csv" value="([^"]+)"', seen.text)
    assert carried
    assert base64.b64decode(carried[1]).decode() == text


def test_addresses_that_only_take_a_form_lead_back(page: Web) -> None:
    for path in ("columns", "store"):
        assert page.client.get(f"/call-lists/{path}").location == "/call-lists"
    assert f"<option selected>{ROUTE}<" in page.client.get(f"/call-lists?route={ROUTE}").text
