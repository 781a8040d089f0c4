"""What answers' headers forbid, under which names we are asked, and what a request may weigh."""

import re
from collections.abc import Callable

import pytest
from gunicorn.config import LimitRequestFields, LimitRequestFieldSize, LimitRequestLine
from support import API_TOKEN, ROOT, Web, as_bytes, each, lead, signed
from werkzeug.test import encode_multipart

from bridge.dashboard.call_lists import MOST_BYTES as MOST_OF_A_LIST
from bridge.dashboard.session import MOST_BYTES
from bridge.dashboard.suppressions import MOST_BYTES as MOST_OF_A_FILE
from bridge.http.arriving import HEAD_BYTES, MAX_CHUNKS
from bridge.http.body import (
    MAX_FIELDS,
    MAX_HEADER_BYTES,
    MAX_PART_HEADER_BYTES,
    MAX_PART_HEADERS,
)
from bridge.http.security import host_check
from bridge.web_worker import HELD_BYTES
from config.settings import MAX_BODY_BYTES
from schemas.csv_table import MOST_ROWS
from schemas.depth import MAX_DEPTH
from schemas.json_body import MAX_VALUES
from schemas.requests import LIMIT_MAX, LONGEST_WAIT_S
from schemas.settings import Settings
from schemas.source import MAX_ITEMS

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
BEARER = {"Authorization": f"Bearer {API_TOKEN}"}
PUBLIC = "https://bridge.example.com"
DEEP = b"[" * 100_000 + b"]" * 100_000

# --- headers --------------------------------------------------------------------------------------


@each(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/api/status", 200),
        ("GET", "/api/deliveries/none", 404),
        ("GET", "/openapi.json", 200),
        ("GET", "/nothing-here", 404),
        ("GET", "/webhooks/website", 405),
        ("POST", "/webhooks/website", 401),
        ("POST", "/webhooks/nobody", 404),
        ("POST", "/callbacks/callkaro/wrong", 404),
    ],
)
def test_what_programs_read_is_no_page(web: Web, method: str, path: str, status: int) -> None:
    answer = web.client.open(path, method=method, headers=BEARER)
    assert answer.status_code == status
    policy = answer.headers.getlist("Content-Security-Policy")
    assert policy == ["default-src 'none'; base-uri 'none'; frame-ancestors 'none'"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Strict-Transport-Security" not in answer.headers


def test_a_webhook_that_is_taken_has_the_headers_too(web: Web) -> None:
    answer = web.post("website", lead())
    assert (answer.status_code, answer.headers["X-Content-Type-Options"]) == (202, "nosniff")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/sign-in", "script-src 'self'"), ("/", "script-src 'self'"), ("/docs", "'unsafe-inline'")],
)
def test_a_page_may_do_what_it_needs_and_stand_in_nobodys_frame(
    web: Web, path: str, allowed: str
) -> None:
    answer = web.client.get(path)
    [policy] = answer.headers.getlist("Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    assert allowed in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "camera=()" in answer.headers["Permissions-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_scripts_and_styles_may_be_kept(web: Web) -> None:
    with web.client.get("/dashboard/static/style.css") as sheet:
        assert sheet.headers["X-Content-Type-Options"] == "nosniff"
        assert sheet.headers["Cache-Control"] == "no-cache"  # kept, and asked for by its ETag


def test_https_is_for_good_only_where_it_is_our_address(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    for public_url, said in ((PUBLIC, "max-age=31536000"), ("http://bridge.example.com", None)):
        web = open_web(make_settings(public_url=public_url))
        for path in ("/healthz", "/sign-in", "/docs"):
            assert web.client.get(path).headers.get("Strict-Transport-Security") == said


# --- hosts ----------------------------------------------------------------------------------------

ASKED_BY_NAME = ["/", "/sign-in", "/dashboard/static/style.css", "/api/status", "/docs"]
ASKED_BY_NAME += ["/openapi.json", "/nothing-here", "//api/status", "/api/../webhooks/website"]
OURS = ["bridge.example.com", "BRIDGE.example.com:8443", "localhost", "localhost:8000"]
OURS += ["bridge.example.com.", "bridge.example.com.:443", "0.0.0.0:8000"]
OURS += ["127.0.0.1:8000", "[::1]", "[::1]:8000", "api.example.org", "a.b.crm.example", "10.0.0.5"]
THEIRS = ["evil.example", "bridge.example.com.evil.example", "evilbridge.example.com", "", "a b"]
THEIRS += ["example.org", "x.api.example.org", "crm.example.evil", "127.0.0.2", "[::2]", "a..b"]
THEIRS += ["[::1]evil.example", "[::1]:x", "localhost@evil.example", "é"]


@pytest.fixture
def named(make_settings: MakeSettings, open_web: OpenWeb) -> Web:
    """The web process of a bridge that has a name."""
    return open_web(make_settings(public_url=PUBLIC, callkaro_webhook_tokens=("a-token",)))


@each("path", ASKED_BY_NAME)
def test_another_host_name_gets_no_page_and_no_answer_of_the_api(named: Web, path: str) -> None:
    answer = named.client.get(path, headers={**BEARER, "Host": "evil.example"})
    assert (answer.status_code, answer.json["error"]) == (400, "unknown_host")
    assert "ALLOWED_HOSTS" in answer.json["message"]
    assert "evil" not in answer.text + str(answer.headers)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("host", ["bridge.example.com", "localhost:8000", "127.0.0.1", "[::1]"])
def test_our_own_names_are_let_in(named: Web, host: str) -> None:
    for path in ("/api/status", "/sign-in", "/docs", "/openapi.json"):
        assert named.client.get(path, headers={**BEARER, "Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "10.1.2.3:8000", ""])
def test_no_lead_outcome_or_health_check_is_lost_for_a_host_name(named: Web, host: str) -> None:
    raw = as_bytes(lead())
    headers = {**signed("website", raw, ""), "Host": host}
    taken = named.client.post("/webhooks/website", data=raw, headers=headers)
    assert taken.status_code == 202
    outcome = {"event": "call_ended", "data": {"callSid": "c1"}}
    answer = named.client.post("/callbacks/callkaro/a-token", json=outcome, headers={"Host": host})
    assert answer.status_code == 200
    for path in ("/healthz", "/readyz", "/metrics"):
        assert named.client.get(path, headers={**BEARER, "Host": host}).status_code == 200


def test_without_a_name_of_its_own_a_bridge_is_asked_under_any(web: Web) -> None:
    for path in ("/api/status", "/sign-in"):
        answer = web.client.get(path, headers={**BEARER, "Host": "whatever.example"})
        assert answer.status_code == 200


def test_the_host_that_a_trusted_proxy_names_counts(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    for hops, status in ((1, 200), (0, 400)):
        web = open_web(make_settings(public_url=PUBLIC, proxy_hops=hops))
        headers = {**BEARER, "Host": "10.0.0.7", "X-Forwarded-Host": "bridge.example.com"}
        assert web.client.get("/api/status", headers=headers).status_code == status


@each("host", ["evil.example", "evil.example:8000", "bridge.example.com.evil.example", "evil.com."])
@each("forwarded", ["bridge.example.com", "evil.example, bridge.example.com", "localhost"])
def test_a_client_can_not_name_another_host_than_the_one_it_called(
    make_settings: MakeSettings, open_web: OpenWeb, host: str, forwarded: str
) -> None:
    for hops in (0, 1, 2):
        web = open_web(make_settings(public_url=PUBLIC, proxy_hops=hops))
        headers = {**BEARER, "Host": host, "X-Forwarded-Host": forwarded}
        answer = web.client.get("/api/status", headers=headers)
        assert (answer.status_code, answer.json["error"]) == (400, "unknown_host")


@each(
    ("host", "forwarded", "status"),
    [
        ("bridge.example.com", "", 200),
        ("bridge.example.com", "bridge.example.com", 200),
        ("bridge.example.com", "evil.example", 400),
        ("10.0.0.7:8000", "bridge.example.com", 200),
        ("[fd00::1]:8000", "bridge.example.com", 200),
        ("web:8000", "bridge.example.com", 200),
        ("web:8000", "evil.example", 400),
        ("web:8000", "", 400),
        ("10.0.0.7.evil.example", "bridge.example.com", 400),
    ],
)
def test_behind_a_proxy_both_names_are_checked(
    make_settings: MakeSettings, open_web: OpenWeb, host: str, forwarded: str, status: int
) -> None:
    web = open_web(make_settings(public_url=PUBLIC, proxy_hops=1))
    headers = {**BEARER, "Host": host, "X-Forwarded-Host": forwarded}
    assert web.client.get("/api/status", headers=headers).status_code == status


@each("host", [*OURS, *THEIRS])
def test_a_host_is_ours_by_its_whole_name(make_settings: MakeSettings, host: str) -> None:
    allowed = frozenset({"api.example.org", ".crm.example", "10.0.0.5"})
    is_ours = host_check(make_settings(public_url=PUBLIC, allowed_hosts=allowed))
    assert is_ours(host) == (host in OURS)


@pytest.mark.parametrize(
    "public_url", ["http://a..b", f"http://{'a' * 64}.example", "http://[::7]"]
)
def test_a_public_url_that_no_header_can_name_locks_nobody_out(
    make_settings: MakeSettings, public_url: str
) -> None:
    is_ours = host_check(make_settings(public_url=public_url))
    assert is_ours("localhost")
    assert is_ours("[::7]:80") == (public_url == "http://[::7]")
    assert not is_ours("evil.example")


def test_the_description_says_400_of_what_is_asked_by_name_and_only_of_that(web: Web) -> None:
    paths = web.get("/openapi.json").json["paths"]
    reads = {path: one["get"] for path, one in paths.items() if "get" in one}
    says = {path for path, one in reads.items() if "400" in one["responses"]}
    assert says >= {"/api/status", "/openapi.json", "/docs"}
    assert not says & {"/healthz", "/readyz", "/metrics"}


# --- what a request may weigh ---------------------------------------------------------------------


@each(
    "path",
    [
        "/webhooks/website",
        "/callbacks/callkaro/a-token",
        "/api/deliveries/retry",
        "/api/suppressions",
        "/api/erasures",
    ],
)
def test_json_that_is_nested_without_end_is_a_bad_request_and_no_crash(
    named: Web, path: str
) -> None:
    headers = {**signed("website", DEEP, ""), **BEARER}
    answer = named.client.post(path, data=DEEP, headers=headers)
    assert answer.status_code == 400
    assert answer.json["error"] in ("bad_payload", "bad_query")


def test_the_form_to_sign_in_is_refused_before_it_is_read_if_it_is_long(web: Web) -> None:
    boundary, parts = encode_multipart({f"field-{number}": "" for number in range(2000)})
    multipart = f"multipart/form-data; boundary={boundary}"
    form = "application/x-www-form-urlencoded"
    for body, kind, status in (
        (b"token=" + b"x" * 2000, form, 401),
        (b"&a" * 2_000_000, form, 413),
        (parts, multipart, 413),
    ):
        answer = web.client.post("/sign-in", data=body, content_type=kind)
        assert answer.status_code == status


def test_a_form_of_who_is_not_signed_in_is_not_read(web: Web) -> None:
    """It may be longer there, and bodies that can't be forms show that nobody looks."""
    for path in ("/routes/try", "/suppressions/import", "/call-lists/columns"):
        answer = web.client.post(path, data=b"&a" * 100_000, content_type="multipart/form-data")
        assert (answer.status_code, answer.headers["Location"]) == (302, "/sign-in")


def test_the_page_on_security_names_the_limits_that_there_are() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    [table] = re.findall(r"^## Limits\n\n((?:^\|.*\n)+)", text, re.MULTILINE)
    for limit in (
        f"| {MAX_BODY_BYTES // 1024**2} MB | 413 |",
        f"| {MAX_ITEMS:,} | 413 |",
        f"| {MAX_VALUES:,} | 413 |",
        f"| {MAX_DEPTH} levels | 400 |",
        f"| {MAX_FIELDS:,} | 400 |",
        f"| {MAX_PART_HEADERS}, {MAX_PART_HEADER_BYTES:,} bytes; "
        f"{MAX_HEADER_BYTES // 1024} kB | 400 |",
        f"| {MAX_CHUNKS:,} | 400 |",
        f"| {MOST_BYTES // 1024} kB | 413 |",
        f"| {MAX_BODY_BYTES // 1024**2} MB, {MOST_OF_A_FILE // 1024**2} MB, "
        f"{MOST_OF_A_LIST // 1024**2} MB, ",
        f"| {MOST_ROWS:,} | 400 |",
        f"| {LimitRequestLine.default:,} bytes, {LimitRequestFields.default}, "
        f"{LimitRequestFieldSize.default:,} bytes |",
        f"| {LIMIT_MAX} | 400 |",
        f", {LONGEST_WAIT_S} s |",
        f"| {HEAD_BYTES // 1024} kB | 431 |",
        f"; {HELD_BYTES // 1024**2} MB |",
    ):
        assert limit in table
