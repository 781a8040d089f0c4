"""Refused requests: what is kept of a body that proved its source and could not be parsed."""

import base64
import gzip
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support import API_TOKEN, CALL_BACK, SECRETS, WEBSITE, Valkey, Web, each, lead, route, until
from support import notification as hubspot_notification

from schemas.settings import Settings
from store import Store, connect
from store.erasure import Eraser
from store.refused import KEPT_BYTES
from workers.journal import Journal
from workers.ticker import Ticker

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]

BROKEN = b'{"submission_id": "f1", "phone": "+91 98765-43210", "note": "one\nline"}'
FORM = "application/x-www-form-urlencoded"
MONTH = timedelta(days=30)
TOKEN_SOURCE = '[[source]]\nname = "leads"\nkind = "generic"\nauth = "token"\n'


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(CALL_BACK)


def refused(web: Web, **query: Any) -> list[Any]:
    words = "&".join(f"{name}={value}" for name, value in query.items())
    items: list[Any] = web.get(f"/api/refused?{words}").json["items"]
    return items


def one(web: Web) -> Any:
    """Return the only refused request, in full."""
    [brief] = refused(web)
    return web.get(f"/api/refused/{brief['id']}").json


# --- what is kept ---------------------------------------------------------------------------------


def test_a_body_that_proved_its_source_and_is_broken_is_kept(web: Web, store: Store) -> None:
    answer = web.post("website", BROKEN)
    assert (answer.status_code, answer.json["error"]) == (400, "bad_payload")

    found = one(web)

    assert found.pop("id")
    assert found.pop("at").endswith("Z")
    assert found == {
        "source": "website",
        "content_type": "application/json",
        "bytes": len(BROKEN),
        "problem": answer.json["message"],
        "place": "line 1, column 65",
        "body": '{"submission_id": "f1", "phone": "+91••••••3210", "note": "one\nline"}',
    }
    assert found["place"] in found["problem"]
    assert not store.redis.exists("bridge:events")


@each(
    ("body", "content_type", "status", "shown"),
    [
        (b'{"note": "say "hi""}', "application/json", 400, 'say "hi"'),
        (b"", "application/json", 400, ""),
        (b"[" * 100 + b"]" * 100, "application/json", 400, "[[["),
        (b"[" + b"1," * 40_001 + b"1]", "application/json", 413, "[1,1,"),
        (json.dumps([{"a": n} for n in range(1001)]).encode(), "application/json", 413, '"a": 1}'),
        (b"name,phone\nAsha,1\n", "text/csv", 415, "name,phone"),
        (b"<lead><name>Asha</name></lead>", "application/xml", 415, "<lead>"),
        (b'{"name": "Jos\xe9"}', "application/json", 400, "Jos\\xe9"),
        (b"name=Jos%E9&x=1", FORM, 400, "name=Jos%E9"),
        (b'{"name": Asha}', FORM, 400, '{"name": Asha}'),
        (b"&".join(b"a=1" for _ in range(2001)), FORM, 400, "a=1&a=1"),
        (b"--B\r\nnothing", "multipart/form-data; boundary=B", 400, "--B"),
        ('{"name": "é}'.encode("utf-16"), "application/json; charset=utf-16", 400, '"é}'),
        ('{"name": Asha}'.encode("utf-16-le"), "application/json", 400, '{"name": Asha}'),
        ('{"name": "José}'.encode("latin-1"), "application/json; charset=latin1", 400, "José"),
    ],
)
def test_every_refusal_after_the_proof_is_kept(
    web: Web, store: Store, body: bytes, content_type: str, status: int, shown: str
) -> None:
    store.prune_refused(keep=0, retention=MONTH)
    answer = web.post("website", body, content_type=content_type)
    assert answer.status_code == status

    found = one(web)

    assert shown in found["body"]
    assert (found["bytes"], found["content_type"]) == (len(body), content_type)
    assert found["problem"] == answer.json["message"]


def test_a_compressed_body_is_kept_as_text(web: Web) -> None:
    def post(body: bytes, encoding: str) -> int:
        headers = {"X-Signature": "sha256=" + sign(body), "Content-Encoding": encoding}
        answer = web.client.post(
            "/webhooks/website", data=body, headers=headers, content_type="application/json"
        )
        status: int = answer.status_code
        return status

    squeezed = gzip.compress(b'{"name": "Asha' * 900)
    assert post(squeezed, "gzip") == 400
    assert post(squeezed[:-20], "gzip") == 400  # it did not arrive whole
    assert post(squeezed, "br") == 415  # nobody can read it
    assert post(b"no gzip at all", "gzip") == 400
    assert post(gzip.compress(b"[" + b" " * 5_000_000), "gzip") == 413

    bodies = [web.get(f"/api/refused/{each['id']}").json["body"] for each in refused(web)]
    assert [body[:15].strip() for body in bodies] == ["[", "", "", *['{"name": "Asha{'] * 2]
    assert len(bodies[0]) <= KEPT_BYTES


def sign(body: bytes) -> str:
    return hmac.new(SECRETS["website"].encode(), body, hashlib.sha256).hexdigest()


def test_what_nobody_can_read_is_named_without_its_bytes(web: Web) -> None:
    files = [gzip.compress(b"9876543210" * 50), b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9]
    for file in files:
        assert web.post("website", file, content_type="image/png").status_code == 415
    web.post("website", b"{", content_type="application/json; charset=ebcdic-cp-us")
    assert [(each["body"], each["bytes"]) for each in refused(web)] == [
        ("", 1),
        ("", len(files[1])),
        ("", len(files[0])),
    ]


def test_nothing_is_kept_without_proof(web: Web, store: Store) -> None:
    assert web.post("website", BROKEN, secret="another-secret").status_code == 401
    assert web.post("zoho", BROKEN, secret="another-token").status_code == 401
    assert web.client.post("/webhooks/zoho", data=b'{"token": "a-zoho-token", ').status_code == 401
    assert web.post("nowhere", BROKEN, secret="x" * 20).status_code == 404
    assert web.client.post("/webhooks/website", data=BROKEN).status_code == 401
    assert refused(web) == []
    assert not list(store.redis.scan_iter("bridge:refused_request*"))
    assert not store.redis.exists("bridge:alerts:unparsed")


@each("version", ["v1", "v2"])
@each("body", [b"[{", b"", b"x=1", b'[{"a": "\xff"}]'])
def test_nothing_is_kept_under_a_signature_that_can_be_extended(
    web: Web, store: Store, version: str, body: bytes
) -> None:
    about = b"POST" + b"http://localhost/webhooks/hubspot" if version == "v2" else b""
    digest = hashlib.sha256(SECRETS["hubspot"].encode() + about + body).hexdigest()
    headers = {"X-HubSpot-Signature-Version": version, "X-HubSpot-Signature": digest}

    answer = web.client.post("/webhooks/hubspot", data=body, headers=headers)

    assert answer.status_code == 400, answer.text
    assert not list(store.redis.scan_iter("bridge:refused_request*"))
    assert not store.redis.exists("bridge:alerts:unparsed")


def test_a_body_under_hubspots_signature_v3_is_kept(web: Web) -> None:
    good = json.dumps([hubspot_notification()]).encode()
    assert web.post("hubspot", good[:-1]).status_code == 400
    assert web.post("hubspot", good, content_type=FORM).status_code == 415
    assert [one["source"] for one in refused(web)] == ["hubspot", "hubspot"]


SESSION = "00D000000000001!AQcAQMadeUp_Session.ofTheTests"


@each(
    "written",
    [
        f"<SessionId>{SESSION}</SessionId>",
        f'<out:sessionId xsi:type="xsd:string">\n {SESSION}\n</out:sessionId>',
        f"<SessionId><![CDATA[{SESSION}]]></SessionId>",
        f"<SessionId>{SESSION}",  # the body ends here
        f"&lt;SessionId&gt;{SESSION}&lt;/SessionId&gt;",
        f"%3CSessionId%3E{SESSION}%3C/SessionId%3E",
        f"\\u003cSessionId\\u003e{SESSION}\\u003c/SessionId\\u003e",
        f'"session_id": "{SESSION}"',
        f"<wsse:Password>{SESSION}</wsse:Password>",
        f"<refreshToken >{SESSION}</refreshToken>",
    ],
)
def test_a_credential_in_an_element_is_not_kept(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, written: str
) -> None:
    store.prune_refused(keep=0, retention=MONTH)
    routes = route(source="salesforce", request={"to_number": '"Phone"', "agent_id": '"a"'})
    web = open_web(make_settings(routes, secrets={"salesforce": ("a-long-token",)}))
    body = f'<a><b xsi:nil="true"/><SessionId xsi:nil="true"/><Id>04l</Id>{written}'.encode()
    path = "/webhooks/salesforce?token=a-long-token"
    assert web.client.post(path, data=body, content_type="text/xml").status_code == 400

    kept = one(web)

    assert SESSION not in kept["body"]
    assert "[secret]" in kept["body"]
    assert '<SessionId xsi:nil="true"/><Id>04l</Id>' in kept["body"]


# --- how much, and for how long -------------------------------------------------------------------


def test_the_newest_of_each_source_are_kept(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    web = open_web(make_settings(CALL_BACK, refused_keep=3))
    for n in range(5):
        web.post("website", b'{"n": %d' % n)
    for n in range(2):
        web.post("zoho", b'{"z": %d' % n)

    assert [one["body"] for one in refused(web, source="website")] == [
        '{"n": 4',
        '{"n": 3',
        '{"n": 2',
    ]
    assert [one["body"] for one in refused(web)][:2] == ['{"z": 1', '{"z": 0']
    assert len(list(store.redis.scan_iter("bridge:refused_request:*"))) == 5


@each("body", [BROKEN, b"", b"<a/>"])
def test_with_refused_keep_0_none_is_kept(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, body: bytes
) -> None:
    web = open_web(make_settings(CALL_BACK, refused_keep=0))
    assert web.post("website", body).status_code == 400
    assert not list(store.redis.scan_iter("bridge:refused_request*"))


def test_a_long_body_is_cut_before_the_number_at_its_end(web: Web) -> None:
    start = b'{"note": "' + b"x" * (KEPT_BYTES - 30) + b'", "phone": "'
    body = start + b"9876543210" + b'", "more": "' + b"y" * 300_000

    assert web.post("website", body).status_code == 400

    found = one(web)
    assert found["bytes"] == len(body)
    assert found["body"] == start.decode()
    [brief] = refused(web)
    assert 700 < len(brief["body"]) <= 1000


@each("length", [1, 65_535, 65_536, 65_537, 200_000])
def test_no_more_than_64_kb_of_a_body_are_kept(web: Web, store: Store, length: int) -> None:
    store.prune_refused(keep=0, retention=MONTH)
    web.post("website", "é,".encode() * (length // 3) + b"{" * (length % 3))
    assert min(length, KEPT_BYTES) - 3 <= len(one(web)["body"].encode()) <= KEPT_BYTES


def test_a_refused_request_expires_with_the_retention(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    web = open_web(make_settings(CALL_BACK, retention_days=7))
    web.post("website", BROKEN)
    week_ms = 7 * 86_400_000
    [key] = store.redis.scan_iter("bridge:refused_request:*")
    for name in (key, "bridge:refused_requests:website"):
        assert week_ms - 60_000 < int(store.redis.pttl(name)) <= week_ms


def test_pruning_deletes_what_is_too_old_or_too_much(web: Web, store: Store) -> None:
    for n in range(4):
        web.post("website", b'{"n": %d' % n)
    index = "bridge:refused_requests:website"
    [oldest] = store.redis.zrange(index, 0, 0)
    store.redis.zadd(index, {oldest: (time.time() - 31 * 86_400) * 1e6})

    assert store.prune_refused(keep=100, retention=MONTH) == 1
    assert store.prune_refused(keep=2, retention=MONTH) == 1
    assert [one["body"] for one in refused(web)] == ['{"n": 3', '{"n": 2']
    assert store.prune_refused(keep=0, retention=MONTH) == 2
    assert not list(store.redis.scan_iter("bridge:refused_request*"))


# --- the sender's answer --------------------------------------------------------------------------


def test_the_sender_gets_its_400_also_if_redis_is_away(
    make_settings: MakeSettings, open_web: OpenWeb
) -> None:
    web = open_web(make_settings(CALL_BACK, redis_url="redis://127.0.0.1:1/0"))
    for _ in range(3):
        assert web.post("website", BROKEN).status_code == 400


def test_a_nearly_full_redis_keeps_nothing(
    web: Web, store: Store, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    def used() -> int:
        return int(store.redis.info("memory")["used_memory"])

    before = used()  # the server has served other tests
    store.redis.set("filler", "x" * 20_000_000)  # so that 10 % are much
    until(lambda: used() < before + 25_000_000, what="the end of the buffers of this command")
    with connect(valkey.url) as client:
        client.config_set("maxmemory", int(used() / 0.9))
        assert web.post("website", BROKEN).status_code == 400
        client.config_set("maxmemory", 0)
    assert not list(store.redis.scan_iter("bridge:refused_request*"))
    assert store.redis.hget("bridge:alerts:unparsed", "website") == "1"
    assert "98765" not in caplog.text


def test_a_mistake_of_ours_costs_the_sender_nothing(
    web: Web, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> str:
        raise ValueError("98765")

    monkeypatch.setattr("bridge.refused.read_beginning", fail)
    assert web.post("website", BROKEN).status_code == 400
    [line] = [one.msg for one in caplog.records if one.msg.get("event") == "refused.unkept"]
    assert (line["source"], line["error"]) == ("website", "ValueError")
    assert "98765" not in caplog.text


# --- what is shown --------------------------------------------------------------------------------


@each(
    "written",
    [
        "9876543210",
        "+91 98765-43210",
        "098765 43210",
        "%2B91+98765+43210",
        "\\u002b91\\u00a098765 43210",
        "&#43;91&nbsp;98765 43210",
        "\\n9876543210",
        "a9876543210b",
        "98765\n43210",
        "%39%38%37%36%35%34%33%32%31%30",
    ],
)
def test_numbers_are_masked_whatever_their_escapes_are(
    web: Web, store: Store, written: str
) -> None:
    store.prune_refused(keep=0, retention=MONTH)
    web.post("website", b'{"phone": "%b", "n": }' % written.encode())
    [brief] = refused(web)
    for shown in (brief["body"], one(web)["body"]):
        assert shown.startswith('{"phone": "')
        assert shown.endswith('3210", "n": }') or shown.endswith('3210b", "n": }')
        assert "•••••" in shown
        assert "9876" not in shown
        assert "%39%38" not in shown


@each(
    ("body", "hidden"),
    [
        (b'{"token": "a-zoho-token", "x": }', "a-zoho-token"),
        (b'{"token": "an-old-zoho-token", "x": }', "an-old-zoho-token"),
        (b'{"x": "a-website-secret', "a-website-secret"),
        (b'{"key": "a-key", "x": "%b' % API_TOKEN.encode(), API_TOKEN),
        (b'{"Authorization": "Bearer abc.def-ghi", ', "abc.def-ghi"),
        (b'{"password":"p\xc3\xa4ss", ', "päss"),
        (b'"{\\"api_key\\":\\"k1k2k3\\"', "k1k2k3"),
        (b"<token>x</token> token%3D%22t0k%22 client_secret=hush%2Bhush&b", "hush"),
    ],
)
def test_no_secret_is_kept(web: Web, store: Store, body: bytes, hidden: str) -> None:
    store.prune_refused(keep=0, retention=MONTH)
    assert web.post("zoho", body).status_code == 400
    [key] = store.redis.scan_iter("bridge:refused_request:*")
    kept = store.redis.hgetall(key)
    assert hidden not in json.dumps(kept, ensure_ascii=False)
    assert "[secret]" in kept["body"]


def test_the_password_of_basic_auth_is_a_secret(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    source = '[[source]]\nname = "shop"\nkind = "generic"\nauth = "basic"\n'
    settings = make_settings(WEBSITE + source + route(), secrets={"shop": ("crm:hunter-two",)})
    login = base64.b64encode(b"crm:hunter-two").decode()
    answer = open_web(settings).client.post(
        "/webhooks/shop",
        data=b'{"pw": "hunter-two',
        headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
    )
    assert answer.status_code == 400
    [key] = store.redis.scan_iter("bridge:refused_request:*")
    assert store.redis.hget(key, "body") == '{"pw": "[secret]'


def test_the_list_is_read_in_pages_and_by_source(web: Web) -> None:
    for n in range(5):
        web.post("website", b'{"n": %d' % n)
        web.post("zoho", b'{"z": %d' % n)

    found, cursor = [], ""
    while True:
        page = web.get(f"/api/refused?limit=3{cursor}").json
        found += [one["body"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    expected = [f'{{"{name}": {n}' for n in reversed(range(5)) for name in "zn"]
    assert found == expected
    assert len(refused(web, source="zoho")) == 5


@each(
    ("query", "status"),
    [
        ("source=nowhere", 400),
        ("cursor=x", 400),
        ("limit=0", 400),
        ("limit=201", 400),
        ("status=x", 400),
        ("reveal=true", 400),
        ("source=website", 200),
        ("", 200),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(web: Web, query: str, status: int) -> None:
    assert web.get(f"/api/refused?{query}").status_code == status


def test_reading_needs_the_token_and_an_id_that_exists(web: Web) -> None:
    for path in ("/api/refused", "/api/refused/x"):
        assert web.client.get(path).status_code == 401
    answer = web.get("/api/refused/0123456789abcdef")
    assert (answer.status_code, answer.json["error"]) == (404, "not_found")
    assert "REFUSED_KEEP" in answer.json["message"]


def test_what_a_good_request_sends_is_not_refused(web: Web) -> None:
    web.send("website", lead())
    web.send("hubspot", [hubspot_notification()])
    assert refused(web) == []


# --- erasing --------------------------------------------------------------------------------------

ONE, OTHER = "+919876543210", "+919812345678"


def erase(web: Web, number: str) -> Any:
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    answer = web.client.post("/api/erasures", json={"phone": number}, headers=headers)
    assert answer.status_code in (200, 202), answer.text
    return answer.json


def bodies(web: Web) -> list[str]:
    return [one["body"] for one in refused(web)]


def test_erasing_a_person_deletes_the_refused_requests_that_mention_them(
    web: Web, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    mine = [
        BROKEN,
        b'{"phone": "098765 43210", ',
        b"p=%2B91+98765+43210&x=\xff",
        b'{"phone": "98765\n43210"}',
        '{"phone": "+91 98765\u201143210}'.encode("utf-16"),
    ]
    theirs = [b'{"phone": "98765 43211", ', b'{"name": "Ravi", "order": ', b'{"phone": "9812345678']
    for body in (*mine, *theirs):
        assert web.post("website", body).status_code == 400
    web.post("zoho", b'{"Phone": "+91 (98765) 43210", ')
    assert len(refused(web)) == 9

    assert erase(web, ONE)["done"]

    assert [one["bytes"] for one in refused(web)] == [len(body) for body in reversed(theirs)]
    keys = store.redis.scan_iter("bridge:refused_request:*")
    assert len(list(keys)) == 3
    assert store.redis.zcard("bridge:refused_requests:zoho") == 0
    [line] = [one.msg for one in caplog.records if one.msg.get("event") == "person.erased"]
    assert line["refused"] == 6


def test_erasing_finds_the_persons_records_in_refused_requests_of_their_source(
    make_settings: MakeSettings, open_web: OpenWeb, run_drain: Callable[..., Any], store: Store
) -> None:
    settings = make_settings()
    web = open_web(settings)
    web.post("hubspot", [hubspot_notification("777001")])
    deletion = hubspot_notification("777001", subscriptionType="contact.privacyDeletion")
    web.post("hubspot", b'[{"objectId": 777001, ')
    web.post("hubspot", b'[{"objectId": 7770012, ')
    web.post("hubspot", b'[{"objectId": "101", ')
    web.post("website", b'{"objectId": 777001, ')

    web.post("hubspot", [deletion])
    run_drain(settings)

    assert sorted(refused_bodies(store)) == [
        '[{"objectId": "101", ',
        '[{"objectId": 7770012, ',
        '{"objectId": 777001, ',
    ]


def refused_bodies(store: Store) -> list[str]:
    return [one.body for one in store.refused_requests(store.refused_ids())]


def test_erasing_searches_refused_requests_in_slices_of_time(
    web: Web, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(20):
        web.post("website", b'{"n": %d, "phone": "98765 43210' % n)
        web.post("website", b'{"n": %d, "phone": "98123 45678' % n)
    search = Eraser._search_refused

    def until_its_end(eraser: Eraser, task: Any, records: Any, ends: float) -> Any:
        for _ in range(2):
            task = search(eraser, task, records, 0.0)  # its time is over: nothing is forgotten
            assert len(task.state["refused"]) == 40
        return search(eraser, task, records, ends)

    monkeypatch.setattr(Eraser, "_search_refused", until_its_end)
    assert erase(web, ONE)["done"]
    assert len(refused(web, limit=200)) == 20
    assert all("98765" not in body for body in refused_bodies(store))


def test_a_person_can_be_erased_again_for_what_came_later(web: Web, store: Store) -> None:
    web.post("website", BROKEN)
    erase(web, OTHER)
    assert len(refused(web)) == 1
    erase(web, ONE)
    assert refused(web) == []
    web.post("website", BROKEN)  # it comes later, as an event may
    erase(web, ONE)
    assert refused(web) == []


def test_the_ticker_deletes_what_settings_no_longer_keep(
    web: Web, make_settings: MakeSettings, store: Store
) -> None:
    for n in range(3):
        web.post("website", b'{"n": %d' % n)
    for keep, left in ((2, 2), (0, 0)):
        Ticker(make_settings(CALL_BACK, refused_keep=keep), Journal()).tick()
        assert len(refused(web)) == left
    assert not list(store.redis.scan_iter("bridge:refused_request*"))
