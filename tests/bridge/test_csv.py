"""Lists as CSV files, from the API and from the pages."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from support import API_TOKEN, CALL_BACK, Web, lead
from support.storing import put

from bridge import exports
from schemas.errors import StoreUnavailable
from schemas.records import Suppression
from schemas.settings import Settings
from store import Store

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
RunDrain = Callable[..., Any]

ONE, OTHER = "+919876543210", "+919812345678"
BEARER = {"Authorization": f"Bearer {API_TOKEN}"}


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(CALL_BACK)


def rows_of(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    text = answer.data.decode()
    answer.close()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def sign_in(web: Web) -> None:
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [line for line in caplog.text.splitlines() if "number.revealed" in line]
    caplog.clear()
    return found


# --- deliveries ---------------------------------------------------------------------------------


def test_a_file_has_what_the_list_has_of_each_delivery(
    web: Web, settings: Settings, run_drain: RunDrain
) -> None:
    [delivered] = web.send("website", lead(ONE))
    run_drain(settings)
    [waiting] = web.send("website", lead(OTHER))
    answer = web.get("/api/deliveries.csv")
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="deliveries-{day}.csv"'
    rows = rows_of(answer)

    assert [row["id"] for row in rows] == [waiting, delivered]
    listed = web.get("/api/deliveries").json["items"]
    for row, item in zip(rows, listed, strict=True):
        for name, value in item.items():
            if name in row:  # an object has a column for each of its fields
                assert row[name].removeprefix("'") == ("" if value is None else str(value))
    assert {"outcome.result", "links.call"} <= rows[0].keys()
    assert [row["phone"] for row in rows] == ["", "'+91••••••3210"]


def test_the_filters_of_the_list_are_those_of_the_file(
    web: Web, settings: Settings, run_drain: RunDrain
) -> None:
    [one] = web.send("website", lead(ONE))
    [other] = web.send("website", lead(OTHER))
    run_drain(settings)
    [waiting] = web.send("website", lead(ONE))
    for query, found in (
        ("status=queued", [waiting]),
        ("status=delivered,failed", [other, one]),
        ("phone=%2B919812345678", [other]),
        ("since=2100-01-01", []),
        ("route=call%20back&until=2100-01-01", [waiting, other, one]),
    ):
        assert [row["id"] for row in rows_of(web.get(f"/api/deliveries.csv?{query}"))] == found


@pytest.mark.parametrize(
    "query", ["status=lost", "limit=5", "cursor=5", "reveal=yes", "route=no", "formula=1"]
)
def test_a_wrong_query_is_refused_as_in_the_list(web: Web, query: str) -> None:
    answer = web.get(f"/api/deliveries.csv?{query}")
    assert (answer.status_code, answer.json["error"]) == (400, "bad_query")


def test_a_file_needs_the_token(web: Web) -> None:
    for path in ("/api/deliveries.csv", "/api/suppressions.csv"):
        assert web.client.get(path).status_code == 401
    for path in ("/deliveries.csv", "/suppressions.csv"):
        assert web.client.get(path).status_code == 302


def test_whole_numbers_are_shown_on_request_and_logged(
    web: Web, settings: Settings, run_drain: RunDrain, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [web.send("website", lead(number))[0] for number in (ONE, OTHER)]
    run_drain(settings)
    logged(caplog)
    assert ONE not in str(rows_of(web.get("/api/deliveries.csv")))
    assert logged(caplog) == []

    rows = rows_of(web.get("/api/deliveries.csv?reveal=true"))
    assert [row["phone"] for row in rows] == [f"'{OTHER}", f"'{ONE}"]
    [line] = logged(caplog)
    assert all(one in line for one in ids)
    assert "request_id" in line
    assert ONE not in line


def test_a_file_is_read_in_pages_and_misses_nothing(
    web: Web, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exports, "ROWS", 7)
    put(store, *(f"d{number:02}" for number in range(30)))
    rows = rows_of(web.get("/api/deliveries.csv?reveal=true"))
    assert [row["id"] for row in rows] == [f"d{number:02}" for number in reversed(range(30))]
    assert len(logged(caplog)) == 5


def test_one_piece_of_a_file_is_a_page_however_long_the_file_is(
    web: Web, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "ROWS", 10)
    put(store, *(f"d{number:02}" for number in range(40)))
    asked: list[int | None] = []
    deliveries = Store.deliveries

    def note(self: Store, *args: Any, **more: Any) -> Any:
        asked.append(more["before"])
        return deliveries(self, *args, **more)

    monkeypatch.setattr(Store, "deliveries", note)
    answer = web.client.get("/api/deliveries.csv", headers=BEARER)
    pieces = iter(answer.response)
    next(pieces)
    next(pieces)
    assert len(asked) == 1  # the rest is read as its reader takes it
    answer.close()


def test_a_store_that_is_away_is_an_error_and_no_short_file(
    web: Web, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(exports, "ROWS", 2)
    put(store, "d1", "d2", "d3")
    answer = web.client.get("/api/deliveries.csv", headers=BEARER)
    monkeypatch.setattr(Store, "deliveries", away)
    with pytest.raises(StoreUnavailable):  # gunicorn cuts the connection
        _ = answer.data
    answer.close()
    for _ in range(exports.MOST + 1):  # and no place is lost
        assert web.get("/api/deliveries.csv").status_code == 503


def test_only_a_few_files_are_written_at_a_time(web: Web, store: Store) -> None:
    put(store, "d1")
    begun = [web.client.get("/api/deliveries.csv", headers=BEARER) for _ in range(exports.MOST)]
    refused = web.get("/api/suppressions.csv")
    assert (refused.status_code, refused.json["error"]) == (503, "busy")
    for answer in begun:
        answer.close()  # a client that went away
    for _ in range(exports.MOST + 1):
        answer = web.client.head("/api/deliveries.csv", headers=BEARER)
        assert (answer.status_code, answer.data) == (200, b"")
        answer.close()
    assert len(rows_of(web.get("/api/deliveries.csv"))) == 1


def test_a_lead_writes_no_formula(web: Web, store: Store) -> None:
    texts = ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "\uff1d1", "x;=1"]
    put(store, *(f"d{number}" for number in range(len(texts))))
    for number, text in enumerate(texts):
        store.redis.hset(f"bridge:delivery:d{number}", mapping={"message": text, "subject": text})
    for row in rows_of(web.get("/api/deliveries.csv")):
        for cell in row.values():
            assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r", "\uff1d")
            assert ";=" not in cell


# --- suppressions -------------------------------------------------------------------------------


def test_suppressions_are_written_with_all_that_the_list_has(
    web: Web, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exports, "ROWS", 2)
    for last in range(5):
        number = f"+9198765432{last:02}"
        message = {"message": "=HYPERLINK(1)"} if last == 4 else {}
        path = f"/api/suppressions/{number}"
        assert web.client.put(path, json=message, headers=BEARER).status_code == 200
    person = Suppression(key="a" * 24, reason="by_crm", since=datetime.now(UTC), source="zoho")
    store.suppress(person)
    logged(caplog)

    rows = rows_of(web.get("/api/suppressions.csv"))
    assert [row["phone"] for row in rows] == [
        "",
        *(f"'+91••••••320{at}" for at in range(4, -1, -1)),
    ]
    assert (rows[0]["source"], rows[0]["reason"]) == ("zoho", "by_crm")
    assert rows[1]["message"] == "'=HYPERLINK(1)"
    assert set(rows[0]) == set(web.get("/api/suppressions").json["items"][0])
    assert logged(caplog) == []
    shown = rows_of(web.get("/api/suppressions.csv?reveal=true"))
    assert shown[1]["phone"] == "'+919876543204"
    assert len(logged(caplog)) == 3


def test_what_is_exported_can_be_imported(web: Web, store: Store) -> None:
    numbers = [ONE, OTHER]
    web.client.post("/api/suppressions", json={"numbers": numbers}, headers=BEARER)
    answer = web.get("/api/suppressions.csv?reveal=true")
    exported = answer.data
    answer.close()
    for number in numbers:
        assert web.client.delete(f"/api/suppressions/{number}", headers=BEARER).status_code == 200
    sign_in(web)
    form = {"file": (io.BytesIO(exported), "list.csv"), "csrf": csrf_of(web)}
    assert web.client.post("/suppressions/import", data=form).status_code == 302
    assert all(store.suppression_of(number) for number in numbers)


# --- the pages ----------------------------------------------------------------------------------


def csrf_of(web: Web) -> str:
    return str(web.client.get("/suppressions").text.split('name="csrf" value="')[1].split('"')[0])


def test_the_pages_lead_to_files_with_their_filters(web: Web, store: Store) -> None:
    put(store, "d1", "d2")
    sign_in(web)
    page = web.client.get("/deliveries?status=queued&status=held").text
    assert 'href="/deliveries.csv?status=queued&amp;status=held"' in page
    assert "/suppressions.csv" not in page
    web.client.put(f"/api/suppressions/{ONE}", json={}, headers=BEARER)
    assert 'href="/suppressions.csv"' in web.client.get("/suppressions").text


def test_a_file_of_a_page_opens_in_excel_with_local_times(
    web: Web, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, "d1", "d2")
    store.redis.hset("bridge:delivery:d1", "created_ms", 1_769_850_000_000)  # 09:00 UTC
    sign_in(web)
    text = web.client.get("/deliveries.csv?status=queued").data.decode()
    assert text.startswith("\ufeffcreated_at,")
    assert "2026-01-31 14:30:00" in text  # Asia/Kolkata
    assert web.client.get("/deliveries.csv?status=failed").data.decode().count("\r\n") == 1
    caplog.clear()
    _ = web.client.get("/deliveries.csv?reveal=1").data
    assert len(logged(caplog)) == 1
    assert web.client.get("/deliveries.csv?status=lost").status_code == 400


def test_a_file_with_whole_numbers_is_one_entry_of_the_audit_and_not_one_a_row(
    web: Web, store: Store
) -> None:
    put(store, *(f"d{number}" for number in range(30)))
    rows_of(web.get("/api/deliveries.csv?reveal=true"))
    found = store.acts(limit=100, keep_days=400).items
    assert [(one.action, one.kind, one.target, one.count) for one in found] == [
        ("reveal", "delivery", None, 30)
    ]


def test_a_number_in_the_address_of_a_file_filters(web: Web, store: Store) -> None:
    put(store, "d1")
    sign_in(web)
    answer = web.client.get("/deliveries.csv?phone=%2B919876543210")
    assert answer.status_code == 303
    assert f"phone_key={store.phone_key(ONE)}" in answer.headers["Location"]
    assert rows_of(web.client.get(answer.headers["Location"])) == []
