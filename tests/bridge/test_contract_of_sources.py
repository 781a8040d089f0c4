"""The contract of every source at the web process, from its samples and its module alone.

Every source gets a route for all of its events, and two secrets, as while one is replaced. A new
source needs no test of its own here.
"""

import contextlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from support import API_TOKEN, Web, each, keys_of, route, simulated_crms
from support.draining import OpenWeb
from support.samples import content_of, expected, kind_of, label, samples, source_of
from support.sending import proofs, proved, sent_of, untimely

from config.settings import load_settings
from schemas.crm import kinds
from schemas.settings import Settings
from schemas.source import Kind, Signatures, Token, proof_headers, secret_of
from simulator import Simulator
from store import Store

KINDS = sorted(kinds().values(), key=lambda kind: kind.name)
# The first sample of each kind in each format.
FIRST = [*{(path.parent, path.suffix): path for path in reversed(samples())}.values()]
# The endings of types for which nobody is called by a route for all events.
GUARDED = frozenset({"archived", "canceled", "deleted", "merged", "privacy_deleted", "test"})
HALF = "\ud83d"
OTHER_MEDIA = ("text/csv", "application/pdf", "image/png")
UNREACHABLE = "redis://127.0.0.1:1/0"


def secrets(kind: Kind) -> tuple[str, str]:
    """Return the webhook secrets of a kind: the new one and the old one."""
    return secret_of(kind.auth, "the-new-secret-of-these-tests"), secret_of(
        kind.auth, "the-old-secret-of-these-tests"
    )


def wrong(kind: Kind) -> str:
    return secret_of(kind.auth, "another-secret-of-these-tests")


def variable(kind: Kind, suffix: str) -> str:
    return source_of(kind).variable_prefix + suffix


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def environment(
    monkeypatch: pytest.MonkeyPatch, redis_url: str, simulator: Simulator
) -> dict[str, str]:
    """Set the environment of a bridge with every source, as a person would."""
    routes = "".join(
        route(
            f"call {kind.name}",
            source=kind.name,
            event="*",
            request={"to_number": '"phone"', "agent_id": '{ value = "an-agent" }'},
        )
        for kind in KINDS
    )
    found = {
        "REDIS_URL": redis_url,
        "API_TOKEN": API_TOKEN,
        "CALLKARO_API_KEY": "a-key",
        "CALLKARO_BASE_URL": simulator.url,
        "ROUTES_TOML": routes,
        "LOG_LEVEL": "ERROR",
        **simulated_crms(simulator.url),
    }
    for kind in KINDS:
        found[variable(kind, "WEBHOOK_SECRET")] = ",".join(secrets(kind))
        for one in kind.variables:
            # What narrows down the requests that are accepted; it is not needed.
            if one.choices or (kind.account_check and one.suffix == kind.account_check.variable):
                del found[variable(kind, one.suffix)]
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load_settings()


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings) -> Web:
    return open_web(settings)


def send(web: Web, sample: Path, body: bytes | None = None) -> Any:
    """Post a sample with its source's strongest proof."""
    kind = kind_of(sample)
    return proved(sent_of(sample, body), kind.auth, secrets(kind)[0], now()).to(web.client)


def status_of(item: dict[str, Any]) -> str:
    """Return what becomes of an item in a bridge with a route for all events."""
    if item["problem"]:
        return "unreadable"
    is_guarded = item.get("is_test") or item["type"].rpartition(".")[2] in GUARDED
    return "unrouted" if is_guarded else "routed"


def stored(web: Web) -> set[tuple[str, str]]:
    """Return type and status of the events that are stored."""
    items = web.get("/api/events?limit=100").json["items"]
    return {(one["type"], one["status"]) for one in items}


def check_answer(kind: Kind, answer: Any, status: int | None = None) -> None:
    """Assert that this is the answer that a vendor waits for."""
    assert answer.status_code == (status or kind.reply.status), answer.text
    if kind.reply.body is not None:
        assert (answer.text, answer.mimetype) == (kind.reply.body, kind.reply.media_type)


def empty(store: Store) -> None:
    store.redis.flushdb()


# --- proofs -----------------------------------------------------------------------------------


@each("sample", samples(), ids=label)
def test_each_proof_by_the_new_and_the_old_secret_is_accepted_and_a_resend_adds_nothing(
    web: Web, store: Store, sample: Path
) -> None:
    empty(store)
    kind = kind_of(sample)
    kept: set[str] | None = None
    for secret in secrets(kind):
        for sent in proofs(sent_of(sample), kind.auth, secret, now()):
            check_answer(kind, sent.to(web.client))
            keys = keys_of(store)
            assert kept in (None, keys), "it was stored once more"
            kept = keys
    items = expected(sample)
    assert stored(web) == {(item["type"], status_of(item)) for item in items}
    text = web.get("/api/events?limit=100").text
    assert not any(secret in text for secret in secrets(kind))


@each("sample", FIRST, ids=label)
def test_without_the_proof_and_with_a_wrong_one_a_request_is_refused(
    web: Web, store: Store, sample: Path
) -> None:
    kind, sent = kind_of(sample), sent_of(sample)
    refused = [sent, *proofs(sent, kind.auth, wrong(kind), now())]
    refused += [sent.with_headers(**{name: ""}) for name in proof_headers(kind.auth)]
    if isinstance(kind.auth, Signatures):
        good = proofs(sent, kind.auth, secrets(kind)[0], now())
        refused += [replace(one, body=one.body + b" ") for one in good]
    if isinstance(kind.auth, Token):
        good_one = proved(sent, kind.auth, secrets(kind)[0], now())
        refused += [good_one.with_headers(**{one.header: "AAAA"}) for one in kind.auth.beside]
    for one in refused:
        answer = one.to(web.client)
        assert (answer.status_code, answer.json["error"]) == (401, "bad_signature")
    assert keys_of(store) == set()
    assert web.get("/api/refused").json["items"] == []


@each("sample", FIRST, ids=label)
def test_a_request_that_is_too_old_or_too_far_ahead_is_refused(
    web: Web, store: Store, sample: Path
) -> None:
    kind = kind_of(sample)
    for sent in untimely(sent_of(sample), kind.auth, secrets(kind)[0], now()):
        assert sent.to(web.client).status_code == 401
    assert keys_of(store) == set()


def test_of_each_way_of_proof_with_a_time_there_is_a_source() -> None:
    timed = {
        type(kind_of(sample).auth)
        for sample in FIRST
        if list(untimely(sent_of(sample), kind_of(sample).auth, wrong(kind_of(sample)), now()))
    }
    assert len(timed) == 2  # signatures and JWTs


@each("kind", [kind for kind in KINDS if kind.account_check], ids=lambda kind: kind.name)
def test_beside_the_right_token_a_body_of_another_account_is_refused(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    open_web: OpenWeb,
    store: Store,
    kind: Kind,
) -> None:
    assert kind.account_check is not None
    suffix = kind.account_check.variable
    ours = next(one.sample for one in kind.variables if one.suffix == suffix)
    answers = []
    for account in (ours[::-1], ours):
        monkeypatch.setenv(variable(kind, suffix), account)
        web = open_web(load_settings())
        with_items = (one for one in samples() if kind_of(one) is kind and expected(one))
        answers.append({send(web, sample).status_code for sample in with_items})
        assert bool(keys_of(store)) is (account == ours)
    assert answers[0] == {401}
    assert kind.reply.status in answers[1], "the samples are to be of the variable's sample"


# --- bodies -----------------------------------------------------------------------------------


@each("sample", FIRST, ids=label)
@each("media_type", OTHER_MEDIA)
def test_another_media_type_is_refused_and_kept_for_people(
    web: Web, store: Store, sample: Path, media_type: str
) -> None:
    empty(store)
    kind = kind_of(sample)
    sent = replace(sent_of(sample), content_type=media_type)
    answer = proved(sent, kind.auth, secrets(kind)[0], now()).to(web.client)
    if kind.reply.is_always:
        check_answer(kind, answer)
    else:
        assert (answer.status_code, answer.json["error"]) == (415, "unsupported_media")
    assert keys_of(store) == set()
    kept = web.get("/api/refused").json["items"]
    assert [one["source"] for one in kept] == [kind.name]


def odd(value: Any) -> Any:
    """Return a body with half an emoji in a new key of each object, also within a text of JSON."""
    if isinstance(value, list):
        return [odd(one) for one in value]
    if isinstance(value, dict):
        return {name: odd(child) for name, child in value.items()} | {"aKeyOfNextYear": HALF}
    if isinstance(value, str) and value.startswith("{"):
        with contextlib.suppress(ValueError):
            return json.dumps(odd(json.loads(value)))
    return value


def odd_body(sample: Path) -> bytes:
    """Return a sample with new keys and half an emoji, as programs write it in each format."""
    raw = sample.read_bytes()
    match sample.suffix:
        case ".json":
            return json.dumps(odd(json.loads(raw))).encode()
        case ".form":
            fields = [(name, odd(text)) for name, text in parse_qsl(raw.decode(), True)]
            return urlencode([*fields, ("aKeyOfNextYear", "?")]).encode()
        case _:
            # Behind each element but the outermost: there its parent has elements, too.
            return re.sub(
                rb"(</[^>]+>)(?=.*</)",
                rb"\1<aKeyOfNextYear>&#55357;</aKeyOfNextYear>",
                raw,
                flags=re.S,
            )


@each("sample", samples(), ids=label)
def test_half_an_emoji_in_a_key_that_nobody_knows_costs_nothing(
    web: Web, store: Store, sample: Path
) -> None:
    empty(store)
    body = odd_body(sample)
    assert b"aKeyOfNextYear" in body or not isinstance(content_of(sample), dict)
    check_answer(kind_of(sample), send(web, sample, body))
    assert stored(web) == {(item["type"], status_of(item)) for item in expected(sample)}


@each("sample", samples(), ids=label)
def test_ids_stay_the_same_in_a_new_store(web: Web, store: Store, sample: Path) -> None:
    seen: list[set[str]] = []
    for _ in range(2):
        empty(store)
        send(web, sample)
        items = web.get("/api/events?limit=100").json["items"]
        seen.append({one["id"] for one in items})
    given = {item["source_event_id"] for item in expected(sample)} - {None}
    assert len(seen[0] & seen[1]) == len(given), "an event without an id is a new one each time"


# --- questions, and leads in a query ----------------------------------------------------------


@each("kind", KINDS, ids=lambda kind: kind.name)
def test_a_head_is_answered_and_a_get_is_a_lead_a_question_or_refused(
    web: Web, store: Store, kind: Kind
) -> None:
    path = f"/webhooks/{kind.name}"
    assert web.client.head(path).status_code == 200
    answer = web.client.get(path)
    assert answer.status_code == (401 if kind.takes_get else 405)
    is_get = kind.takes_get or (kind.challenge is not None and kind.challenge.method == "GET")
    assert web.client.put(path).headers["Allow"] == ("GET, " if is_get else "") + "HEAD, POST"
    assert keys_of(store) == set()


GETTING = [path for path in FIRST if kind_of(path).takes_get and path.suffix == ".form"]


@each("sample", GETTING, ids=label)
def test_a_lead_of_a_query_is_that_of_the_form_and_needs_its_token(
    web: Web, store: Store, sample: Path
) -> None:
    kind = kind_of(sample)
    assert isinstance(kind.auth, Token)
    path, query = f"/webhooks/{kind.name}", sample.read_text("utf-8").strip()
    for token in ("", f"&{kind.auth.query}=", f"&{kind.auth.query}={wrong(kind)}"):
        assert web.client.get(f"{path}?{query}{token}").status_code == 401
    assert keys_of(store) == set()
    kept: set[str] | None = None
    for secret in secrets(kind):
        check_answer(kind, web.client.get(f"{path}?{query}&{kind.auth.query}={secret}"))
        keys = keys_of(store)
        assert keys
        assert kept in (None, keys)
        kept = keys
    check_answer(kind, send(web, sample))
    assert kept == keys_of(store)


ASKING = [kind for kind in KINDS if kind.challenge]


@each("kind", ASKING, ids=lambda kind: kind.name)
def test_a_question_is_answered_if_its_token_is_right(
    web: Web, store: Store, environment: dict[str, str], kind: Kind
) -> None:
    challenge = kind.challenge
    assert challenge is not None
    path, text = f"/webhooks/{kind.name}", "a made-up text <b>"
    named = dict(challenge.only_with)
    tokens: list[dict[str, str]] = [{}]
    if challenge.token:
        argument, suffix = challenge.token
        tokens = [{argument: environment[variable(kind, suffix)]}, {argument: "another"}, {}]
    answers = []
    for token in tokens:
        if challenge.method == "GET":
            asked = {**named, **token, challenge.echo: text}
            answers.append(web.client.get(path, query_string=asked))
        else:
            body = {challenge.echo: text}
            answers.append(web.client.post(path, json=body, query_string={**named, **token}))
    assert [one.status_code for one in answers] == [200, *[401] * (len(tokens) - 1)]
    assert (
        (answers[0].json == {challenge.echo: text})
        if challenge.as_json
        else ((answers[0].text, answers[0].mimetype) == (text, "text/plain"))
    )
    assert keys_of(store) == set()


# --- without a store --------------------------------------------------------------------------


def check_away(web: Web) -> None:
    """Assert that no source says that a request is stored, and that each may be sent again."""
    for sample in FIRST:
        kind = kind_of(sample)
        bodies = [None, b"{"] if kind.reply.is_always else [None]
        for body in bodies:
            answer = send(web, sample, body)
            assert answer.status_code == kind.full_status, kind.name
            assert answer.json["error"] == "store_unavailable"
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.text != kind.reply.body
        sent = proved(sent_of(sample), kind.auth, wrong(kind), now())
        assert sent.to(web.client).status_code == 401, kind.name


def test_while_redis_is_away_each_vendor_hears_what_makes_it_send_again(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, open_web: OpenWeb
) -> None:
    monkeypatch.setenv("REDIS_URL", UNREACHABLE)
    check_away(open_web(load_settings()))


def test_while_redis_is_full_each_vendor_hears_what_makes_it_send_again(
    web: Web, store: Store
) -> None:
    store.redis.config_set("maxmemory", 1)
    check_away(web)
    assert keys_of(store) == set()
