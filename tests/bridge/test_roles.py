"""Roles: what each token may do at the API and on the dashboard, and what its pages show."""

import re
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

import flask
import pytest
import redis
from support import API_TOKEN, CALL_BACK, Web, each, lead

from bridge.access import CHOSEN, ENDPOINTS, OPEN, role_of
from schemas.access import ACTS, NEEDS, Action, NamedToken, Role
from schemas.settings import Settings
from store import Store

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
RunDrain = Callable[..., Any]

ONE = "+919876543210"
TOKENS = {
    Role.VIEWER: NamedToken(name="asha", role=Role.VIEWER, token="asha-looks-at-everything"),
    Role.OPERATOR: NamedToken(name="bela", role=Role.OPERATOR, token="bela-calls:and,cancels"),
    Role.ADMIN: NamedToken(name="chitra", role=Role.ADMIN, token="chitra-may-do-it-all"),
}
# What a role may do, from the lowest that may: the API's operations as their users know them.
VIEWER, OPERATOR, ADMIN = Role
API = [
    ("GET", "/api/status", VIEWER),
    ("GET", "/api/events", VIEWER),
    ("GET", "/api/events/x", VIEWER),
    ("GET", "/api/events/x?reveal=true", OPERATOR),
    ("GET", "/api/deliveries", VIEWER),
    ("GET", "/api/deliveries/x", VIEWER),
    ("GET", "/api/deliveries/x?reveal=true", OPERATOR),
    ("GET", "/api/deliveries/x?reveal=false", VIEWER),
    ("GET", "/api/deliveries/x?reveal=false&reveal=true", OPERATOR),
    ("GET", "/api/campaigns", VIEWER),
    ("GET", "/api/campaigns/x", VIEWER),
    ("GET", "/api/suppressions", VIEWER),
    ("GET", "/api/suppressions?reveal=true", OPERATOR),
    ("GET", f"/api/suppressions/{ONE}", VIEWER),
    ("GET", f"/api/suppressions/{ONE}?reveal=true", OPERATOR),
    ("GET", "/api/pauses", VIEWER),
    ("GET", "/api/pauses/all", VIEWER),
    ("GET", "/api/sources/zoho/reconcile", VIEWER),
    ("POST", "/api/sources/zoho/reconcile", ADMIN),
    ("GET", "/api/sources/zoho/channel", VIEWER),
    ("POST", "/api/sources/zoho/channel", ADMIN),
    ("DELETE", "/api/sources/zoho/channel", ADMIN),
    ("GET", "/metrics", VIEWER),
    ("GET", "/openapi.json", VIEWER),
    ("GET", "/api/refused", OPERATOR),
    ("GET", "/api/refused/x", OPERATOR),
    ("POST", "/api/deliveries/x/retry", OPERATOR),
    ("POST", "/api/deliveries/x/cancel", OPERATOR),
    ("POST", "/api/deliveries/x/resolve", OPERATOR),
    ("POST", "/api/deliveries/retry", OPERATOR),
    ("POST", "/api/deliveries/cancel", OPERATOR),
    ("POST", "/api/deliveries/release", OPERATOR),
    ("POST", "/api/events/x/replay", OPERATOR),
    ("POST", "/api/events/replay", OPERATOR),
    ("POST", "/api/routes/x/call-me", OPERATOR),
    ("POST", "/api/call-lists", OPERATOR),
    ("PUT", "/api/pauses/all", OPERATOR),
    ("DELETE", "/api/pauses/all", OPERATOR),
    ("PUT", f"/api/suppressions/{ONE}", OPERATOR),
    ("DELETE", f"/api/suppressions/{ONE}", ADMIN),
    ("POST", "/api/suppressions", ADMIN),
    ("POST", "/api/erasures", ADMIN),
    ("GET", "/api/audit", ADMIN),
]
# A form without the word of its session is refused with 400, and with 403 before that.
PAGES = [
    ("GET", "/", VIEWER),
    ("GET", "/deliveries", VIEWER),
    ("GET", "/deliveries/x", VIEWER),
    ("GET", "/deliveries/x?reveal=1", OPERATOR),
    ("GET", "/deliveries/x/part?reveal=1", OPERATOR),
    ("GET", "/events", VIEWER),
    ("GET", "/events/x?reveal=1", OPERATOR),
    ("GET", "/events/x/part?reveal=1", OPERATOR),
    ("GET", "/events/refused", OPERATOR),
    ("GET", "/events/refused/x", OPERATOR),
    ("GET", "/events/many?status=unrouted", OPERATOR),
    ("GET", "/deliveries/many?do=retry&status=failed", OPERATOR),
    ("GET", "/deliveries/many?do=odd", OPERATOR),
    ("GET", "/campaigns", VIEWER),
    ("GET", "/campaigns/x", VIEWER),
    ("GET", "/call-lists", OPERATOR),
    ("GET", "/suppressions", VIEWER),
    ("GET", "/routes", VIEWER),
    ("GET", "/routes/connect", OPERATOR),
    ("GET", "/audit", ADMIN),
    ("POST", "/deliveries", VIEWER),
    ("POST", "/deliveries/many", OPERATOR),
    ("POST", "/deliveries/x/retry", OPERATOR),
    ("POST", "/deliveries/x/cancel", OPERATOR),
    ("POST", "/deliveries/x/resolve", OPERATOR),
    ("POST", "/deliveries/x/suppress", OPERATOR),
    ("POST", "/deliveries/x/odd", OPERATOR),
    ("POST", "/events/many", OPERATOR),
    ("POST", "/events/x/replay", OPERATOR),
    ("POST", "/pause", OPERATOR),
    ("POST", "/resume", OPERATOR),
    ("POST", "/campaigns/pause", OPERATOR),
    ("POST", "/campaigns/resume", OPERATOR),
    ("POST", "/routes/pause", OPERATOR),
    ("POST", "/routes/resume", OPERATOR),
    ("POST", "/routes/try", VIEWER),
    ("POST", "/call-lists/columns", OPERATOR),
    ("POST", "/call-lists/store", OPERATOR),
    ("POST", "/suppressions", OPERATOR),
    ("POST", "/suppressions/look-up", VIEWER),
    ("POST", "/suppressions/x/remove", ADMIN),
    ("POST", "/suppressions/import", ADMIN),
    ("POST", "/erasures", ADMIN),
    ("POST", "/sign-out", VIEWER),
]


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(CALL_BACK, named_tokens=tuple(TOKENS.values()))


def bearer(role: Role) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[role].token}"}


def sign_in(web: Web, token: str) -> None:
    assert web.client.post("/sign-in", data={"token": token}).status_code == 302


def rank(role: Role) -> int:
    return list(Role).index(role)


# --- the table --------------------------------------------------------------------------------


def test_every_endpoint_says_what_it_does_or_that_it_needs_no_token(web: Web) -> None:
    served = {rule.endpoint for rule in web.client.application.url_map.iter_rules()}
    assert served - ENDPOINTS.keys() - CHOSEN.keys() == OPEN
    assert (ENDPOINTS.keys() | CHOSEN.keys()) - served == set()
    assert NEEDS.keys() == set(Action)
    looks = {Action.READ, Action.READ_REFUSED, Action.CONNECT, Action.READ_AUDIT}
    assert set(ACTS) == set(Action) - looks


def test_the_tables_of_this_file_have_every_endpoint_with_a_role(web: Web) -> None:
    adapter = web.client.application.url_map.bind("")
    tried = {
        adapter.match(path.partition("?")[0], method=method)[0] for method, path, _ in API + PAGES
    }
    # These answer as another one does: a part that refreshes itself, or a redirect.
    others = ENDPOINTS.keys() | CHOSEN.keys()
    assert {ENDPOINTS[name] for name in others - tried} == {Action.READ}


@each(("method", "path", "needed"), API)
def test_the_api_does_what_the_role_of_its_token_allows(
    web: Web, store: Store, method: str, path: str, needed: Role
) -> None:
    for role in Role:
        answer = web.client.open(path, method=method, headers=bearer(role))
        if rank(role) >= rank(needed):
            assert answer.status_code not in (401, 403), answer.text
        else:
            assert (answer.status_code, answer.json["error"]) == (403, "forbidden")
            assert needed in answer.json["message"]
            assert TOKENS[role].token not in answer.text
    as_api_token = {"Authorization": f"Bearer {API_TOKEN}"}
    assert web.client.open(path, method=method, headers=as_api_token).status_code not in (401, 403)


@each(("method", "path", "needed"), PAGES)
def test_the_dashboard_does_what_the_role_of_its_token_allows(
    web: Web, method: str, path: str, needed: Role
) -> None:
    for role in Role:
        mine = Web(web.client.application.test_client())
        sign_in(mine, TOKENS[role].token)
        answer = mine.client.open(path, method=method)
        if rank(role) >= rank(needed):
            assert answer.status_code in ((400,) if method == "POST" else (200, 400, 404))
        else:
            assert answer.status_code == 403
            assert f"needs the role {needed}" in answer.text


def test_an_endpoint_that_says_nothing_needs_the_highest_role() -> None:
    assert {role_of(name) for name in ("api.new", "dashboard.new", "static.new", "")} == {ADMIN}


# --- what is shown ------------------------------------------------------------------------------


def shown_forms(text: str, here: str) -> Iterator[str]:
    for form in re.findall(r"<form[^>]*>", text):
        if 'method="post"' in form:
            found = re.search(r'action="([^"]+)"', form)
            yield unescape(found[1]) if found else here


def shown_links(text: str) -> Iterator[str]:
    yield from (unescape(one) for one in re.findall(r'href="(/[^"]*)"', text))


def walk(web: Web) -> tuple[set[str], set[str]]:
    """Return the forms and the links of all pages that links lead to from the first."""
    forms: set[str] = set()
    seen: set[str] = set()
    left = ["/"]
    while left:
        path = left.pop()
        if path in seen or path.startswith("/dashboard/static"):
            continue
        seen.add(path)
        answer = web.client.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        forms |= set(shown_forms(answer.text, path))
        # Lists lead to endless other lists: one filter of each kind is enough.
        left += [
            one.partition("#")[0]
            for one in shown_links(answer.text)
            if one.count("?") == 0 or "reveal" in one or "many" in one or "status=failed" in one
        ]
    return forms, seen


def test_pages_show_what_the_role_may_do_and_nothing_else(
    open_web: OpenWeb, settings: Settings, run_drain: RunDrain, store: Store
) -> None:
    web = open_web(settings)
    web.send("website", lead(ONE))
    run_drain(settings)
    web.client.put(f"/api/suppressions/{ONE}", json={}, headers=bearer(Role.ADMIN))
    for path in ("/api/pauses/source:website", "/api/pauses/all"):
        assert web.client.put(path, json={}, headers=bearer(Role.ADMIN)).status_code == 200
    waits = web.send("website", lead("+919876500001"))[0]
    assert web.post("website", b"{").status_code == 400
    found = {}
    for role in Role:
        mine = open_web(settings)
        sign_in(mine, TOKENS[role].token)
        forms, pages = walk(mine)
        for form in forms:
            assert mine.client.post(form).status_code == 400, form  # without its word; not 403
        found[role] = ({re.sub(r"[0-9a-f]{20,}", "ID", one) for one in forms}, pages)
    viewer, operator, admin = (found[role][0] for role in Role)
    looks = {"/deliveries", "/deliveries/views", "/routes/try", "/search", "/suppressions/look-up"}
    assert viewer == {"/sign-out"} | looks
    assert {"/resume", "/suppressions", "/routes/pause", "/deliveries/ID/cancel"} <= operator
    assert not any("remove" in one or "eras" in one or "import" in one for one in operator)
    assert {"/suppressions/ID/remove", "/erasures", "/suppressions/import"} <= admin
    assert f"/deliveries/{waits}" in found[Role.VIEWER][1]
    assert "/audit" in found[Role.ADMIN][1]
    assert "/audit" not in found[Role.OPERATOR][1]
    assert "/events/refused" in found[Role.OPERATOR][1]
    assert not any("refused" in one or "reveal" in one for one in found[Role.VIEWER][1])


# --- 401 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/status", "/api/audit", "/metrics", "/openapi.json"])
@pytest.mark.parametrize("given", [None, "Bearer", "Bearer wrong", f"Basic {API_TOKEN}", API_TOKEN])
def test_a_request_without_a_token_learns_how_to_send_one(
    web: Web, path: str, given: str | None
) -> None:
    headers = {"Authorization": given} if given else {}
    answer = web.client.get(path, headers=headers)
    assert (answer.status_code, answer.json["error"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_401s_of_the_dashboard_name_the_scheme_and_those_of_webhooks_do_not(web: Web) -> None:
    part = web.client.get("/overview/part", headers={"HX-Request": "true"})
    wrong = web.client.post("/sign-in", data={"token": "wrong"})
    forged = web.client.post("/webhooks/website", json=lead(ONE))
    assert [one.status_code for one in (part, wrong, forged)] == [401, 401, 401]
    assert "WWW-Authenticate" in part.headers
    assert "WWW-Authenticate" in wrong.headers
    assert "WWW-Authenticate" not in forged.headers  # no scheme of HTTP is a signature


# --- sessions ---------------------------------------------------------------------------------


def cookie_of(web: Web) -> str:
    found = web.client.get_cookie("callkaro_bridge")
    assert found is not None
    return str(found.value)


def opens(open_web: OpenWeb, settings: Settings, cookie: str, path: str = "/") -> int:
    other = open_web(settings)
    other.client.set_cookie("callkaro_bridge", cookie)
    return int(other.client.get(path).status_code)


@pytest.mark.parametrize("role", Role)
def test_signing_out_ends_the_session_wherever_its_cookie_is(
    open_web: OpenWeb, settings: Settings, store: Store, role: Role
) -> None:
    web, other = open_web(settings), open_web(settings)
    sign_in(web, TOKENS[role].token)
    sign_in(other, TOKENS[role].token)
    copied = cookie_of(web)
    assert opens(open_web, settings, copied) == 200

    page = web.client.get("/campaigns").text
    word = re.search(r'name="csrf" value="([^"]+)"', page)
    assert word
    web.client.post("/sign-out", data={"csrf": word[1]})

    for path in ("/", "/banners", "/deliveries"):
        assert opens(open_web, settings, copied, path) == 302
    lost = open_web(settings)
    lost.client.set_cookie("callkaro_bridge", copied)
    nowhere = lost.client.get("/nonsense", headers={"Accept": "text/html"})
    assert nowhere.status_code == 404
    assert "Sign out" not in nowhere.text
    assert other.client.get("/").status_code == 200  # another session of the same token goes on


def test_a_token_that_is_removed_changed_or_demoted_counts_at_once(
    make_settings: MakeSettings, open_web: OpenWeb, settings: Settings
) -> None:
    web = open_web(settings)
    sign_in(web, TOKENS[Role.ADMIN].token)
    cookie = cookie_of(web)

    def now_with(*named: NamedToken) -> Settings:
        return make_settings(CALL_BACK, named_tokens=named)

    chitra = TOKENS[Role.ADMIN]
    other = NamedToken(name="chitra", role=Role.ADMIN, token="another-value-of-it")
    demoted = NamedToken(name="chitra", role=Role.VIEWER, token=chitra.token)
    renamed = NamedToken(name="dipa", role=Role.ADMIN, token=chitra.token)
    assert opens(open_web, now_with(chitra, other), cookie, "/audit") == 200  # rotation
    assert opens(open_web, now_with(other), cookie, "/audit") == 302
    assert opens(open_web, now_with(), cookie, "/audit") == 302
    assert opens(open_web, now_with(renamed), cookie, "/audit") == 302
    assert opens(open_web, now_with(demoted), cookie, "/audit") == 403
    assert opens(open_web, now_with(demoted), cookie) == 200


def test_a_session_of_an_earlier_release_signs_in_again(web: Web) -> None:
    with web.client.session_transaction() as kept:
        kept["since"], kept["csrf"] = 32503680000, "a-word"
    assert web.client.get("/").status_code == 302
    page = web.client.get("/nonsense", headers={"Accept": "text/html"})
    assert "Sign out" not in page.text


def test_signing_in_again_ends_the_session_before(
    open_web: OpenWeb, settings: Settings, store: Store
) -> None:
    web = open_web(settings)
    sign_in(web, TOKENS[Role.VIEWER].token)
    copied = cookie_of(web)
    sign_in(web, TOKENS[Role.OPERATOR].token)
    assert opens(open_web, settings, copied) == 302
    assert opens(open_web, settings, cookie_of(web)) == 200
    assert len(store.redis.keys("bridge:session:*")) == 1


def test_redis_has_neither_the_cookie_nor_the_token_of_a_session(
    web: Web, settings: Settings, store: Store
) -> None:
    sign_in(web, TOKENS[Role.OPERATOR].token)
    with web.client.session_transaction() as kept:
        session_id = kept["id"]
    [key] = store.redis.keys("bridge:session:*")
    assert session_id not in key
    assert TOKENS[Role.OPERATOR].token not in str(store.redis.get(key))
    assert 0 < store.redis.ttl(key) <= 12 * 3600
    # A token of API_TOKENS signs no cookie: who has it could write one for another name.
    app = web.client.application
    keys = [app.secret_key, *app.config["SECRET_KEY_FALLBACKS"]]
    assert len(keys) == len(settings.api_tokens)


def test_people_get_in_and_act_while_redis_is_full(
    open_web: OpenWeb, settings: Settings, store: Store
) -> None:
    web = open_web(settings)
    web.client.get("/sign-in")
    assert store.phone_key(ONE)  # the key of the hashes is made before
    store.redis.config_set("maxmemory", 1)
    with pytest.raises(redis.OutOfMemoryError):
        store.redis.set("bridge:one-more", "1")
    sign_in(web, TOKENS[Role.ADMIN].token)
    audit = web.client.get("/audit")
    assert audit.status_code == 200
    assert "<td>chitra</td><td>sign in</td>" in audit.text


# --- forms ------------------------------------------------------------------------------------


def word_of(web: Web) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', web.client.get("/campaigns").text)
    assert found
    return found[1]


def test_a_form_needs_the_word_of_its_own_session(
    open_web: OpenWeb, settings: Settings, store: Store
) -> None:
    web, other = open_web(settings), open_web(settings)
    sign_in(web, TOKENS[Role.OPERATOR].token)
    sign_in(other, TOKENS[Role.OPERATOR].token)
    mine, theirs = word_of(web), word_of(other)
    raw = mine.partition(".")[0]
    for word in (theirs, "", raw, mine[:-1], mine + "x", "é", "a.b.c"):
        answer = web.client.post("/pause", data={"csrf": word, "scope": "all"})
        assert answer.status_code == 400, word
        assert "This page is out of date." in answer.text
    in_a_header = {"X-CSRFToken": mine, "X-CSRF-Token": mine}
    answer = web.client.post("/pause", data={"scope": "all"}, headers=in_a_header)
    assert answer.status_code == 400
    assert store.pauses() == []
    sign_in(web, TOKENS[Role.OPERATOR].token)
    old = web.client.post("/pause", data={"csrf": mine, "scope": "all"})
    assert old.status_code == 400  # that session has ended
    answer = web.client.post("/pause", data={"csrf": word_of(web), "scope": "all"})
    assert answer.status_code == 302
    assert [one.scope for one in store.pauses()] == ["all"]


def test_over_https_a_form_needs_no_referer(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    web = open_web(make_settings(proxy_hops=1))
    https = {"X-Forwarded-Proto": "https"}
    web.client.post("/sign-in", data={"token": API_TOKEN}, base_url="https://localhost")
    page = web.client.get("/campaigns", base_url="https://localhost").text
    word = re.search(r'name="csrf" value="([^"]+)"', page)
    assert word
    data = {"csrf": word[1], "scope": "all"}
    answer = web.client.post("/pause", data=data, headers=https, base_url="https://localhost")
    assert answer.status_code == 302


@pytest.mark.parametrize("path", ["/webhooks/website", "/callbacks/callkaro/a-token", "/api/x"])
def test_only_the_dashboard_asks_a_form_for_a_word(
    web: Web, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def read(request: object) -> None:
        raise AssertionError("the form was read")

    monkeypatch.setattr(flask.Request, "form", property(read))
    answer = web.client.post(path, data={"phone": ONE})
    assert answer.status_code in (401, 404)


def test_a_page_without_a_session_gets_no_cookie(web: Web) -> None:
    for path in ("/sign-in", "/docs", "/healthz", "/nonsense"):
        assert "Set-Cookie" not in web.client.get(path, headers={"Accept": "text/html"}).headers
