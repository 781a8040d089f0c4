"""Mutated requests against the web process on a real Valkey: `python tests/faults/fuzz.py`.

Half of the webhooks are signed over the mutated bytes, so that the parser is reached; the other
half have broken signatures, headers, methods or URLs. Each case depends on (seed, number) alone,
and on the routes that the app has: `--seed S --case N` runs one again.
"""

import argparse
import base64
import contextlib
import copy
import gzip
import json
import logging
import random
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote_to_bytes, urlencode

from store.base import P

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # a script's own path is its directory

import redis  # noqa: E402
from gunicorn.util import split_request_uri  # noqa: E402
from support import API_TOKEN, Valkey, route  # noqa: E402
from werkzeug.wrappers import Request  # noqa: E402

from bridge.app import create_app  # noqa: E402
from config.settings import MAX_BODY_BYTES  # noqa: E402
from schemas.callkaro import METADATA_ID  # noqa: E402
from schemas.crm import kinds  # noqa: E402
from schemas.routes_toml import load_routes  # noqa: E402
from schemas.settings import Settings  # noqa: E402
from schemas.signatures import check_secret, sign  # noqa: E402
from schemas.source import Auth, Incoming, Signatures, Source, Token, secret_of  # noqa: E402
from store import Store, counters  # noqa: E402

PAYLOADS = ROOT / "tests" / "payloads"
BASE = "http://localhost"
CALLBACK_TOKEN = "a-callback-token"
SLOW_S = 30.0  # far more than the slowest takes, even on a machine that is kept busy
FLUSH_EVERY = 10_000
CASES = 100_000

OWN_SOURCES = """
[[source]]
name = "by-token"
kind = "generic"
auth = "token"
header = "X-Lead-Token"
event = "event_type"

[[source]]
name = "by-basic"
kind = "generic"
auth = "basic"
id = "submission.id"

[[source]]
name = "by-hmac"
kind = "generic"
auth = "hmac"
header = "X-Signature"
prefix = "sha256="
event = "event_type"
id = "submission_id"
time = "submitted_at"

[[source]]
name = "by-sha1"
kind = "generic"
auth = "hmac"
header = "X-Hub-Signature"
hash = "sha1"
encoding = "base64"

[[source]]
name = "by-standard"
kind = "generic"
auth = "standard"
event = "type"
time = "timestamp"
"""
SECRETS = ("user:a-made-up-secret", "whsec_" + base64.b64encode(b"a-made-up-secret").decode())


@dataclass(frozen=True)
class Sample:
    """What a source sends: JSON, XML, or a form, written as a JSON object of texts."""

    text: str
    is_xml: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """One request. target is path and query as they stand in the request line.

    expects: "taken" is surely signed right, "refused" surely not, "hidden" must not be 2xx.
    auth: what the body is signed with, once it has its final shape; None: headers are final.
    breaks_off: its sender goes away amid the body.
    """

    number: int
    method: str = "POST"
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    breaks_off: bool = False
    source: str | None = None
    expects: str = "any"
    auth: Auth | None = None
    note: str = ""


# --- values -------------------------------------------------------------------------------------


class Raw(str):
    """A piece of JSON text, written as it is: what no honest encoder would write."""

    __slots__ = ()


# fmt: off
ODD: Sequence[Any] = (
    None, True, False, 0, -1, 1.5, "", " ", [], {}, [None], [[]], [{}], {"": None}, {"a": {}},
    2**53 + 1, -(2**63), 1e300, 253402300800000, -62135596800001, 10**18, 9876543210,
    "+91 98765 43210", "919876543210", "tel:+919876543210", "Phone: none", "0" * 30, "1e5",
    "\0", "a\0b", "a\nb", "a b", "\r\n", "\u202e", "\u200b", "٣", "é" * 300, "🎉", "\ufb00",
    "\ufffe", "__proto__", "{{7*7}}", "%s%n", "../../etc/passwd", "'; --", "now", "*", "?",
    "null", "-1", "2026-01-01T00:00:00Z", "0000-00-00", "9999-12-31T23:59:59.999999999-14:00",
    "0001-01-01T00:00:00+14:00", "99999999999999", "-62135596800001", "9" * 400,
    *(Raw("1" + "0" * n) for n in (18, 19, 20, 308, 309, 5000)),
    *map(Raw, ("NaN", "Infinity", "-Infinity", "1e400", "-1e-400", "-0", "00", "0x1", "1.", "+1")),
    *map(Raw, ("-9223372036854775809", "18446744073709551616", "1.0000000000000000000001")),
    *map(Raw, (r'"\ud800"', r'"\udc00\ud800"', r'"\ud83d\ude00"', r'"\u0000"', r'"\x41"', '"\t"')),
    *(Raw("[" * n + "]" * n) for n in (10, 63, 64, 65, 250, 260, 1000, 1025, 20_000)),
    *(Raw('{"a":' * n + "1" + "}" * n) for n in (10, 63, 64, 65, 260, 1000, 1025)),
    *("x" * n for n in (100, 1000, 10_000)),
)
ODD_TEXTS = [str(value) for value in ODD if isinstance(value, str)]
ODD_KEYS = (
    "", " ", "\0", "token", "id", "ids", "properties", "a.b", "a b", "é", "+919876543210", "phone",
    "event_type", "submission_id", "submission", "submitted_at", "type", "timestamp", "city",
)
TOKENS = (
    b"\x00", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x1a", b"\r\n", b"\\u",
    b",", b"[", b"]", b"{", b"}", b'"', b"'", b":", b"&", b"=", b"%", b"+", b";", b"//", b"--",
    b"null", b"1e999", b"/* */", b"%00", b"%zz", b"%ff", b"&&&&", b"&a=1&a=2", b"[]=1",
)
XML_TOKENS = (
    b"<", b">", b"/>", b"</", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?xml version='1.1'?>", b"&",
    b"&amp;", b"&#0;", b"&#xD800;", b"&#55357;", b"&no-such;", b"<a>", b"</a>", b"<a/>", b" a='1'",
    b"<!DOCTYPE a>", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'>",
    b" xmlns=''", b" xmlns:a='b'", b"<a:b/>", b" xsi:nil='true'", b"<Id></Id>", b"<a>" * 300,
    b"<?xml version='1.0' encoding='utf-16'?>", b"<?xml version='1.0' encoding='no-such'?>",
)
BODIES = (
    b"", b" ", b"null", b"[]", b'""', b"\xef\xbb\xbf", b"[" * 5000, b'{"a":' * 5000, b"\0" * 100,
    b"&" * 3000, b"=", b"--x--",
)
CONTENT_TYPES = (
    "", " ", ";", "/", "application/json;", 'application/json; charset="', "APPLICATION/JSON",
    *(f"application/json; charset={name}" for name in ("utf-16", "utf-7", "latin-1", "no-such")),
    "text/json", "text/plain", "text/csv", "application/xml", "application/vnd.api+json", "*/*",
    "application/+json", "application/x-www-form-urlencoded; charset=utf-16", "\xff\xfe",
    "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=x",
    'multipart/form-data; boundary="x', "multipart/form-data; boundary*=utf-8''%ff", "multipart/",
    "multipart/form-data; boundary=" + "x" * 300, "multipart/mixed; boundary=x",
    "application/json, text/csv", "application/json; a=b; a=c; a*0=d; a*1=e", "json" * 500,
)
METHODS = (
    "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "BREW",
    "POST2", "M-SEARCH",
)
PIECES = (
    "%00", "%", "%zz", "%ff", "%2F", "%2e%2e", "%252F", "%3F", "%0d%0a", "%E2%82%AC", "%ed%a0%80",
    "/", "//", "..", ";", "?", "&", "=", "+", "&&", "a=b", "[", "]", "|", "\\", "~", "%C3",
    "%F0%9F%8E%89", "%u1234",
)
FILTERS = ("status", "route", "source", "subject", "phone", "since", "until", "cursor", "limit")
FILTER_VALUES = (
    "queued", "queued,held", "delivered,", "no-such", "call by-hmac", "by-hmac", "101", "1", "200",
    "201", "0", "-1", "99999999999999999", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00+05:30",
    "2026-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "T", "2026-W01-1",
    "+919876543210", "%2B919876543210", "9876543210", "911", "1700000000000000",
)
HEADERS: Mapping[str, Sequence[str]] = {
    "X-Forwarded-For": ("", "1.2.3.4", ", ,", "x" * 500, "\xff", "::1, 1.2.3.4"),
    "X-Forwarded-Proto": ("https", "", "javascript", "http,https", "\xff", "ht tp"),
    "X-Forwarded-Host": ("bridge.example", "", "[", "[::1", "a b", "\xff", "h:99999", "h:x", "a@b"),
    "Host": ("", "[", "[::1", "bridge.example:x", "\xff", "a b", "a/b", "x" * 500, "h:99999", ":"),
    "Transfer-Encoding": ("chunked", "gzip", "chunked, chunked", ""),
    "Content-Length": ("0", "1", "7", "100000", "99999999999"),
    "Content-Encoding": ("gzip", "br", "\xff"),
    "Expect": ("100-continue",),
    "Cookie": ("a=b", "session=" + "x" * 500, "\xff=\xff", ";;;", '"'),
    "Accept": ("text/html", "*/*;q=x", "\xff", "application/json;q=0"),
    "If-None-Match": ("*", '"'),
    "Range": ("bytes=0-", "bytes=x", "bytes=5-1"),
}
ID_HEADERS = ("webhook-id", "Idempotency-Key", "X-HubSpot-Signature-Version", "User-Agent")
# fmt: on
LEAD = {  # what the sources of OWN_SOURCES look for
    "event_type": "form.submitted",
    "submission_id": "1767250800001",
    "submission": {"id": 1767250},
    "submitted_at": 1767250,
    "type": "contact.created",
    "timestamp": "2026-01-01T07:00:00Z",
    "phone": "+919876543210",
    "city": "Pune",
}
CALL_ENDED = {
    "event": "call_ended",
    "data": {
        "callSid": "c-1",
        "to": "919876543210",
        "recordingUrl": "https://recordings.example/c-1.mp3",
        "call_duration": 42,
        "time": "2025-12-19 16:01:07",
        "transcription": "Agent: Hello!\nUser: Hello.",
        "batchId": "b-1",
        "hangup_reason": "CLIENT_INITIATED",
        "call_metadata": {METADATA_ID: "d-1"},
        "try_count": 0,
        "post_call": {"interested": "yes"},
        "disposition_reason": "",
        "conversion_status": True,
        "next_call_scheduled": False,
        "call_link": "https://dashboard.example/calls/c-1",
    },
}

# --- mutated bodies -----------------------------------------------------------------------------


def written(value: Any, *, ascii_only: bool) -> str:
    """Return a value as JSON text, its Raw pieces as they are."""
    match value:
        case Raw():
            return str(value)
        case dict():
            pairs = (
                f"{json.dumps(key, ensure_ascii=ascii_only)}:{written(item, ascii_only=ascii_only)}"
                for key, item in value.items()
            )
            return "{" + ",".join(pairs) + "}"
        case list():
            return "[" + ",".join(written(item, ascii_only=ascii_only) for item in value) + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of everything that stands in a value."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in list(keys):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def freshen(rng: random.Random, tree: Any) -> None:
    """Give ids new digits, so that not every case is a duplicate."""
    for container, key in places(tree):
        value = container[key]
        if isinstance(value, int) and not isinstance(value, bool) and 100 < value < 10**9:
            container[key] = rng.randrange(100, 10**9)
        elif isinstance(value, str) and re.fullmatch(r"[0-9]{10,19}", value):
            container[key] = str(rng.randrange(10**9, 10**18))


def odd(rng: random.Random) -> Any:
    """Return an odd value, a copy: it may be changed further."""
    return copy.deepcopy(rng.choice(ODD))


def put_odd(rng: random.Random, container: Any, key: Any) -> None:
    container[key] = odd(rng)


def delete(rng: random.Random, container: Any, key: Any) -> None:
    del container[key]


def rename(rng: random.Random, container: Any, key: Any) -> None:
    if isinstance(container, dict):
        new = rng.choice((*ODD_KEYS, key.upper(), key + " ", key[:-1], key * 50))
        container[new] = container.pop(key)


def double_key(rng: random.Random, container: Any, key: Any) -> None:
    if isinstance(container, dict):
        again = written(odd(rng), ascii_only=True)
        first = written(container[key], ascii_only=True)
        container[key] = Raw(f"{first},{json.dumps(key)}:{again}")


def add_key(rng: random.Random, container: Any, key: Any) -> None:
    if isinstance(container, dict):
        container[rng.choice(ODD_KEYS)] = odd(rng)


def repeat(rng: random.Random, container: Any, key: Any) -> None:
    if isinstance(container, list):
        times = rng.choice((1, 2, 2, 5, 20, 1001 if rng.random() < 0.05 else 3))
        container.extend([container[key]] * times)


def wrap(rng: random.Random, container: Any, key: Any) -> None:
    value = container[key]
    container[key] = rng.choice(([value], {"value": value}, [value, value], {"": [value]}))


def unwrap(rng: random.Random, container: Any, key: Any) -> None:
    value = container[key]
    if isinstance(value, dict | list) and value:
        container[key] = rng.choice(list(value.values()) if isinstance(value, dict) else value)


def stringify(rng: random.Random, container: Any, key: Any) -> None:
    container[key] = written(container[key], ascii_only=True)


def mangle_text(rng: random.Random, container: Any, key: Any) -> None:
    if isinstance(container[key], str) and not isinstance(container[key], Raw):
        container[key] = spliced(rng, container[key], rng.choice(ODD_TEXTS))


def swap(rng: random.Random, container: Any, key: Any) -> None:
    other = rng.choice(list(container) if isinstance(container, dict) else range(len(container)))
    container[key], container[other] = container[other], container[key]


# fmt: off
CHANGES: Sequence[Callable[[random.Random, Any, Any], None]] = (
    put_odd, put_odd, put_odd, delete, rename, double_key, add_key, repeat, wrap, unwrap, stringify,
    mangle_text, swap,
)
# fmt: on


def spliced(rng: random.Random, text: Any, piece: Any) -> Any:
    """Return text with a piece put in somewhere, in addition to or instead of what stood there."""
    start = rng.randint(0, len(text))
    return text[:start] + piece + text[start + rng.choice((0, 0, 1, 3)) :]


def changed_tree(rng: random.Random, tree: Any) -> Any:
    """Return a value with some of it changed; it has no Raw pieces yet."""
    root = [tree]
    if rng.random() < 0.7:
        freshen(rng, root)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 8))):
        found = list(places(root))
        if found and root:
            rng.choice(CHANGES)(rng, *rng.choice(found))
    return root[0] if root else None


def flip(rng: random.Random, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(rng.choice((1, 1, 3, 20)) if body else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: random.Random, body: bytes) -> bytes:
    return body[: rng.randint(0, len(body))]


def drop_slice(rng: random.Random, body: bytes) -> bytes:
    start = rng.randint(0, len(body))
    return body[:start] + body[start + rng.randint(1, 20) :]


def double_slice(rng: random.Random, body: bytes) -> bytes:
    start = rng.randint(0, len(body))
    end = start + rng.randint(1, 50)
    return body[:end] + body[start:]


def put_token(rng: random.Random, body: bytes) -> bytes:
    changed: bytes = spliced(rng, body, rng.choice(TOKENS))
    return changed


def put_noise(rng: random.Random, body: bytes) -> bytes:
    changed: bytes = spliced(rng, body, rng.randbytes(rng.choice((1, 4, 100))))
    return changed


def recode(rng: random.Random, body: bytes) -> bytes:
    encoding = rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-7", "cp1252", "utf-8-sig"))
    return body.decode("utf-8", "replace").encode(encoding, "replace")


def replace_all(rng: random.Random, body: bytes) -> bytes:
    made = (*BODIES, gzip.compress(body, mtime=0), body * 2, body[::-1], b"a=" + body)
    return rng.choice(made)


def huge(rng: random.Random, body: bytes) -> bytes:
    """Return a body around the limit, once in a while: each costs as much as a hundred others."""
    if rng.random() > 0.02:
        return body
    return body + b" " * (MAX_BODY_BYTES - len(body) + rng.choice((-1, 0, 1, 2)))


# fmt: off
BYTE_CHANGES: Sequence[Callable[[random.Random, bytes], bytes]] = (
    flip, flip, cut, drop_slice, double_slice, put_token, put_token, put_noise, recode, replace_all,
    huge,
)
# fmt: on


def as_form(rng: random.Random, tree: Any) -> tuple[bytes, str]:
    """Return a value as a urlencoded or a multipart form, with its content type."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    fields = [(str(k), v if isinstance(v, str) else json.dumps(v)) for k, v in pairs]
    fields *= rng.choice((1, 1, 1, 2, 700 if rng.random() < 0.05 else 1))
    if rng.random() < 0.5:
        text = urlencode(fields, errors="replace", quote_via=rng.choice((quote, quote_plus)))
        return text.encode(), "application/x-www-form-urlencoded"
    lines = []
    for name, value in fields:
        file = rng.choice(("", "", '; filename="a.csv"', "; filename*=utf-8''%ff", '; name="b"'))
        named = rng.choice((f'; name="{name}"', f'; name="{name}"', f"; name={name}", ""))
        lines.append(f"--x\r\nContent-Disposition: form-data{named}{file}\r\n")
        lines.append(rng.choice(("", "", "Content-Type: text/plain; charset=utf-16\r\n", ":\r\n")))
        lines.append(f"\r\n{value}\r\n")
    lines.append(rng.choice(("--x--\r\n", "--x--", "--x", "", "--y--")))
    return "".join(lines).encode("utf-8", "replace"), "multipart/form-data; boundary=x"


def changed_xml(rng: random.Random, text: str) -> bytes:
    """Return XML with elements left out, doubled or swapped, or with odd pieces in it."""
    if rng.random() < 0.7:
        text = re.sub(r"[0-9]{6,}", lambda _: str(rng.randrange(10**9, 10**11)), text)
    parts = re.findall(r"<[^>]*>|[^<]+", text)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 8))):
        start = rng.randrange(len(parts))
        some = parts[start : start + rng.choice((1, 1, 3, 10))]
        some = rng.choice(([], some * rng.choice((2, 2, 200)), some[::-1], [_odd_xml(rng)]))
        parts[start : start + rng.choice((0, len(some), 1))] = some
        parts = parts or [text]
    return "".join(parts).encode("utf-8", "replace")


def _odd_xml(rng: random.Random) -> str:
    return rng.choice((rng.choice(XML_TOKENS).decode(), rng.choice(ODD_TEXTS)))


def changed_body(rng: random.Random, sample: Sample) -> tuple[bytes, str]:
    """Return a mutated body made of a sample, with its content type, at times a wrong one."""
    tree = None if sample.is_xml else json.loads(sample.text)
    if sample.is_xml:
        body, content_type = changed_xml(rng, sample.text), "text/xml; charset=utf-8"
    elif isinstance(tree, dict | list) and rng.random() < 0.15:
        freshen(rng, tree)
        body, content_type = as_form(rng, tree)
    else:
        text = written(changed_tree(rng, tree), ascii_only=rng.random() < 0.5)
        body, content_type = text.encode("utf-8", "replace"), "application/json"
    if rng.random() < 0.35:
        for _ in range(rng.choice((1, 1, 2, 3))):
            body = rng.choice(BYTE_CHANGES)(rng, body)
    if rng.random() < 0.12:
        content_type = rng.choice(CONTENT_TYPES)
    return body, content_type


# --- mutated heads ------------------------------------------------------------------------------


def query(rng: random.Random, names: Sequence[str], values: Sequence[str]) -> str:
    """Return a query string, "" or with its question mark, of some names and odd pieces."""
    if rng.random() < 0.4:
        return ""
    pairs = []
    for _ in range(rng.choice((1, 1, 2, 3, 10))):
        value = rng.choice(values if rng.random() < 0.5 else (*ODD_TEXTS, *PIECES))
        encoded = rng.choice((quote, quote_plus, str))(value)
        pairs.append(f"{rng.choice(names)}{rng.choice(('=', '=', '=', '', '=='))}{encoded}")
    text = rng.choice(("&", "&", "&", ";", "&&")).join(pairs)
    while rng.random() < 0.3:
        text = spliced(rng, text, rng.choice(PIECES))
    return "?" + on_one_line(text)


def on_one_line(text: str) -> str:
    """Return text as a request line may have it; gunicorn refuses all but printable ASCII."""
    # A fragment is never sent, and what follows a space is the protocol.
    return re.sub(r"[^!-~]|#", "", text)[:4000]


def header_value(text: str) -> str:
    """Return text as WSGI hands a header over: bytes as Latin-1, no line end, no NUL."""
    raw = text if all(char <= "\xff" for char in text) else text.encode().decode("latin-1")
    return re.sub(r"[\r\n\0]", "", raw)[:8000]


def mangled(rng: random.Random, value: str) -> str:
    """Return a header's value, broken in one way or another."""
    piece = rng.choice((*ODD_TEXTS, *PIECES, ",", "v1,", "v0,x ", "Bearer ", "Basic "))
    broken = ("", value[:-1], value[1:], value + value, f"{value},{value}", f" {value}\t")
    worse = (value.swapcase(), spliced(rng, value, piece), piece, value[::-1], f"\xff{value}")
    return header_value(rng.choice((*broken, *worse)))


def some_headers(rng: random.Random) -> dict[str, str]:
    """Return headers that name one sending, with odd values; none in most cases."""
    if rng.random() < 0.75:
        return {}
    return {rng.choice(ID_HEADERS): header_value(rng.choice(ODD_TEXTS)) for _ in range(2)}


def incoming(case: Case, **more: Any) -> Incoming:
    """Return a case's request as whoever signs it sees it."""
    seen = {"method": case.method, "url": BASE + case.target, "body": case.body, **more}
    return Incoming(headers={}, query={}, content_type="", **seen)


# --- the world ----------------------------------------------------------------------------------


class World:
    """The app, its sources with their secrets, and what there is to ask for."""

    def __init__(self, redis_url: str) -> None:
        self.redis = redis.Redis.from_url(redis_url, decode_responses=True)
        routes = load_routes(_routes(), file="routes.toml", kinds=kinds())
        self.sources: dict[str, Source] = dict(routes.sources)
        self.secrets = {name: _secret(source) for name, source in self.sources.items()}
        self.samples = {
            kind: [_sample(path) for path in sorted(PAYLOADS.glob(f"{kind}/*.body.*"))]
            for kind in kinds()
        }
        leads = [Sample(json.dumps(LEAD)), Sample(json.dumps([LEAD, LEAD]))]
        self.samples["generic"] += leads * 3
        self.app = create_app(
            Settings(
                redis_url=redis_url,
                api_tokens=(API_TOKEN,),
                callkaro_api_key="a-key",
                callkaro_webhook_tokens=(CALLBACK_TOKEN,),
                routes=routes,
                proxy_hops=1,
                secrets={name: (secret,) for name, secret in self.secrets.items()},
            )
        )
        self.client = self.app.test_client(use_cookies=False)
        self.asked = sorted(
            {rule.rule for rule in self.app.url_map.iter_rules() if "GET" in (rule.methods or ())}
        )
        self.errors = Errors()
        logging.getLogger().handlers[:] = [self.errors]
        self.answers: Counter[tuple[str, int]] = Counter()
        self.began_at = time.time() - 1
        self.ids: list[str] = []
        self.prime()

    def close(self) -> None:
        """Let go of Redis; the app's own connections end with the test, or with the process."""
        self.redis.close()

    def prime(self) -> None:
        """Empty Redis, but for what the web process makes once and a delivery to ask for."""
        self.redis.flushall()
        # The app believes for some seconds that Redis is marked as migrated; then it has many keys.
        assert Store(self.redis).is_migrated()
        # A wake-up that stays: nothing expires, and RQ is not used.
        self.redis.set(f"{P}wakeup", "1")
        self.send(asking("/api/deliveries?phone=%2B919876543210"))
        lead = json.dumps({"submission_id": "the-first", "phone": "+919876543210"}).encode()
        answer = self.send(
            self.sealed(Case(number=-1, target="/webhooks/by-hmac", source="by-hmac", body=lead))
        )
        [event] = answer.json["events"]
        self.ids = [event["id"], *(one["id"] for one in event["deliveries"])]

    def sealed(self, case: Case, auth: Auth | None = None) -> Case:
        """Return the case signed right over its body; auth: by this scheme of its source's."""
        assert case.source is not None
        auth = auth or self.sources[case.source].auth
        proof = sign(auth, self.secrets[case.source], incoming(case), now=datetime.now(UTC))
        return replace(case, headers=joined(case.headers, proof), auth=auth)

    def counts(self) -> tuple[int, int, int, int]:
        """Return how many events, deliveries, other keys and refused requests there are.

        The keys are without those of mere figures and of refused requests.
        """
        pipe = self.redis.pipeline()  # a transaction: figures are told from a thread
        pipe.zcard(f"{P}events").zcard(f"{P}deliveries").dbsize().exists(*self.figures())
        pipe.exists(f"{P}refused_requests")
        for name in self.sources:
            pipe.zcard(f"{P}refused_requests:{name}")
        events, deliveries, keys, figures, has_names, *refused = pipe.execute()
        of_refused = has_names + sum(count + 1 for count in refused if count)
        return events, deliveries, keys - figures - of_refused, sum(refused)

    def figures(self) -> Iterator[str]:
        """Yield the keys that may have figures since this world began."""
        yield from (f"{P}{name}" for name in ("metrics", "status_counts", "refused"))
        yield from (f"{P}alerts:refused", f"{P}alerts:unparsed")
        for bucket in counters.TIME_BUCKETS:
            last = int(time.time() // bucket.length_s)
            first = int(self.began_at // bucket.length_s)
            for number in range(first, last + 1):
                yield f"{P}bucket:{bucket.name}:{number}"

    def send(self, case: Case) -> Any:
        """Send a case's request through the Flask test client, as gunicorn would hand it over."""
        return self.client.open(Request(environ(case)))


class Errors(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(str(record.msg)[:2000])


def _routes() -> str:
    """Return the text of routes.toml: each source has routes of several sorts."""
    own = re.findall(r'name = "(.*)"', OWN_SOURCES)
    parts = [OWN_SOURCES]
    for name in (*kinds(), *own):
        parts.append(route(f"call {name}", source=name, event="*"))
        parts.append(route(f"long {name}", source=name, event="*", match='"length(phone) > `9`"'))
        asks = "\"city == 'Pune' && starts_with(type, 'a')\""
        parts.append(route(f"later {name}", source=name, event="*", when=asks, delay='"2m"'))
        request = {"name": "\"city || 'Leads'\""}
        parts.append(
            route(f"batch {name}", source=name, event="c*.*", to="campaign", request=request)
        )
    return "".join(parts)


def _secret(source: Source) -> str:
    found = (secret for secret in SECRETS if check_secret(source.auth, secret) is None)
    return next(found, secret_of(source.auth, "a-made-up-secret-of-the-fuzz"))


def _sample(path: Path) -> Sample:
    text = path.read_text("utf-8")
    if path.suffix == ".form":
        return Sample(json.dumps(dict(parse_qsl(text))))
    return Sample(text, is_xml=path.suffix == ".xml")


def joined(headers: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Return headers with more set over them, whatever the case of their names."""
    names = {name.lower() for name in more}
    return {name: value for name, value in headers.items() if name.lower() not in names} | {**more}


def asking(target: str, token: str = API_TOKEN) -> Case:
    """Return a GET of the API."""
    return Case(
        number=-1, method="GET", target=target, headers={"Authorization": f"Bearer {token}"}
    )


def environ(case: Case) -> dict[str, Any]:
    """Return a request as gunicorn hands it over, whatever it is that was asked."""
    parts = split_request_uri(case.target)
    made: dict[str, Any] = {
        "REQUEST_METHOD": case.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(parts.path.encode("latin-1")).decode("latin-1"),
        "QUERY_STRING": parts.query,
        "RAW_URI": case.target,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "CONTENT_LENGTH": str(len(case.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in case.headers.items():
        key = name.upper().replace("-", "_")
        made[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    made["wsgi.input"] = BytesIO(case.body[: int(made["CONTENT_LENGTH"])])
    if "HTTP_TRANSFER_ENCODING" in made:
        made["wsgi.input"] = BytesIO(case.body)
        made.pop("CONTENT_LENGTH")
    if case.breaks_off:
        made["wsgi.input"] = Broken()
    return made


class Broken(BytesIO):
    """A body that does not arrive, as gunicorn tells of it."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError("no more data")

    readline = readinto = read  # type: ignore[assignment]


# --- cases --------------------------------------------------------------------------------------


def make_case(world: World, seed: int, number: int) -> Case:
    """Return a case; the same for the same seed and number."""
    rng = random.Random(f"{seed}-{number}")  # noqa: S311  (no secret)
    make = rng.choices((signed_case, forged_case, api_case, callback_case), (40, 40, 12, 8))[0]
    return make(world, rng, number)


def webhook(world: World, rng: random.Random, number: int) -> Case:
    """Return a mutated body to one of the sources, not signed yet."""
    name = rng.choice(sorted(world.sources))
    kind = world.sources[name].kind.name if rng.random() < 0.9 else rng.choice(sorted(kinds()))
    body, content_type = changed_body(rng, rng.choice(world.samples[kind]))
    return Case(
        number=number,
        target=f"/webhooks/{name}" + query(rng, ("token", "a", "id", ""), ("x",)),
        headers={**some_headers(rng), "Content-Type": header_value(content_type)},
        body=body,
        source=name,
    )


def signed_case(world: World, rng: random.Random, number: int) -> Case:
    """Return a webhook that is signed right over its mutated bytes, by any of its schemes."""
    case = webhook(world, rng, number)
    if rng.random() < 0.05:
        case = replace(case, headers={**case.headers, "Transfer-Encoding": "chunked"})
    case = replace(case, expects="taken", note="signed")
    auth = world.sources[case.source or ""].auth
    if isinstance(auth, Signatures):
        auth = replace(auth, schemes=(rng.choice(auth.schemes),))
        version = "X-HubSpot-Signature-Version"  # what is not signed right must not be there
        case = replace(case, headers={k: v for k, v in case.headers.items() if k != version})
    elif isinstance(auth, Token) and rng.random() < 0.3:
        secret = quote(world.secrets[case.source or ""])
        path = case.target.partition("?")[0]
        return replace(
            case, target=f"{path}?{auth.query}={secret}&a=%ff;", note="signed in the URL"
        )
    return world.sealed(case, auth)


def forged_case(world: World, rng: random.Random, number: int) -> Case:
    """Return a webhook with something wrong about its proof, its headers, its URL or its method."""
    case = webhook(world, rng, number)
    how = rng.choice((forge, forge, mangle_headers, mangle_target, mangle_method, add_headers))
    return replace(how(world, rng, case), note=how.__name__.replace("_", " "))


def forge(world: World, rng: random.Random, case: Case) -> Case:
    """Prove nothing: no proof, another secret's, another body's, yesterday's."""
    source = world.sources[case.source or ""]
    case = replace(case, expects="refused", target=case.target.partition("?")[0])
    secret, signer, now = world.secrets[source.name], incoming(case), datetime.now(UTC)
    ways = ["none", "secret"]
    if isinstance(source.auth, Signatures):
        ways += ["body", "time"] if source.auth.schemes[0].timestamp_header else ["body"]
    match rng.choice(ways):
        case "none":
            return case
        case "secret":
            secret = secret[:-4] + "AAAA"
        case "body":
            signer = incoming(case, body=case.body + b" ")
        case "time":
            now += timedelta(seconds=rng.choice((-100_000, -302, 302, 100_000)))
    proof = sign(source.auth, secret, signer, now=now)
    return replace(case, headers=joined(case.headers, proof))


def mangle_headers(world: World, rng: random.Random, case: Case) -> Case:
    headers = dict(world.sealed(case).headers)
    for name in rng.sample(sorted(headers), k=min(len(headers), rng.choice((1, 1, 2, 3)))):
        headers[name] = mangled(rng, headers[name])
        if rng.random() < 0.2:
            del headers[name]
    return replace(case, headers=headers)


def mangle_target(world: World, rng: random.Random, case: Case) -> Case:
    target = case.target
    for _ in range(rng.choice((1, 1, 2, 5))):
        target = spliced(rng, target, rng.choice(PIECES))
    target = rng.choice(("", "", "", "http://localhost", "/.", "http://x:y")) + target
    target = on_one_line(target) or "/"
    return world.sealed(replace(case, target=target if is_parted(target) else "/webhooks/"))


def is_parted(target: str) -> bool:
    """Tell whether gunicorn can part a request's target; the rest it refuses itself."""
    with contextlib.suppress(ValueError):
        return bool(split_request_uri(target).path)
    return False


def mangle_method(world: World, rng: random.Random, case: Case) -> Case:
    return world.sealed(replace(case, method=rng.choice(METHODS)))


def add_headers(world: World, rng: random.Random, case: Case) -> Case:
    headers = dict(world.sealed(case).headers)
    for name in rng.sample(sorted(HEADERS), k=rng.choice((1, 1, 2, 4))):
        headers[name] = rng.choice(HEADERS[name])
    return replace(case, headers=headers, breaks_off=rng.random() < 0.05)


def api_case(world: World, rng: random.Random, number: int) -> Case:
    """Return a GET of anything that the app has to show, with a mutated path, query and token."""
    rule = rng.choice((*world.asked, "/api/deliveries", "/api/deliveries"))
    values = [*world.ids, *ODD_TEXTS, *PIECES, *FILTER_VALUES]
    path = re.sub(r"<[^>]*>", lambda _: quote(rng.choice(values), safe=""), rule)
    if rng.random() < 0.2:
        path = spliced(rng, path, rng.choice(PIECES))
    target = on_one_line(path)[:500] + query(rng, (*FILTERS, "x", ""), FILTER_VALUES)
    case = replace(asking(target if is_parted(target) else "/api/status"), number=number)
    if rng.random() < 0.2:
        case = replace(case, method=rng.choice(METHODS))
    if rng.random() < 0.15:
        given = mangled(rng, case.headers["Authorization"])
        proves = given.partition(" ")[2].strip() == API_TOKEN
        hidden = rule.startswith("/api/") and case.target.startswith("/api/") and not proves
        hidden = hidden and case.method != "OPTIONS"  # answered by Flask: names methods only
        case = replace(
            case, headers={"Authorization": given}, expects="hidden" if hidden else "any"
        )
    return replace(case, note="api")


def callback_case(world: World, rng: random.Random, number: int) -> Case:
    """Return a mutated call_ended to CallKaro's callback, at times under a wrong token."""
    tree = json.loads(json.dumps(CALL_ENDED))
    tree["data"]["callSid"] = f"c-{rng.randrange(10**6)}"
    tree["data"]["call_metadata"][METADATA_ID] = rng.choice((*world.ids, "no-such"))
    body, content_type = changed_body(rng, Sample(json.dumps(tree)))
    knows = rng.random() < 0.7
    token = CALLBACK_TOKEN if knows else on_one_line(mangled(rng, CALLBACK_TOKEN)) or "x"
    given = unquote_to_bytes(token.partition("?")[0]).decode("latin-1").strip()
    target = f"/callbacks/callkaro/{token}"
    return Case(
        number=number,
        target=target if is_parted(target) else "/callbacks/callkaro/x",
        headers={"Content-Type": header_value(content_type)},
        body=body,
        expects="any" if given == CALLBACK_TOKEN else "hidden",
        note="callback",
    )


# --- what must hold -----------------------------------------------------------------------------


def problem(world: World, case: Case) -> str | None:
    """Send a case, and say what is wrong with what came of it; None: nothing."""
    world.errors.lines.clear()
    source = world.sources.get(case.source or "")
    before, started = world.counts(), time.monotonic()
    try:
        answer = world.send(case)
        took_s = time.monotonic() - started
        world.answers[case.note, answer.status_code] += 1
        found = (
            wrong_answer(case, answer, source)
            or wrong_store(case, answer, source, before, world.counts())
            or wrong_reading(world, told_events(answer, source))
        )
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"
    if world.errors.lines:
        return f"logged {world.errors.lines[0]}"
    return found or (f"took {took_s:.1f} s" if took_s > SLOW_S else None)


MAY_BE_KEPT = frozenset({400, 413, 415})  # the answers to a proven body that can't be parsed


def may_be(case: Case, source: Source | None) -> frozenset[int] | None:
    """Return the statuses that a case may be answered with; None: any but a server's error."""
    if source is None or case.expects not in ("taken", "refused"):
        return None
    return (
        frozenset({401, 413})
        if case.expects == "refused"
        else MAY_BE_KEPT | {source.answer or source.kind.reply.status}
    )


def wrong_answer(case: Case, answer: Any, source: Source | None) -> str | None:
    """Say what is wrong with an answer by itself."""
    status, allowed = answer.status_code, may_be(case, source)
    if status >= 500:
        return f"answered {status}"
    if allowed is not None and status not in allowed:
        return f"answered {status} to what was to be {case.expects}"
    if case.expects == "hidden" and status < 300:
        return f"answered {status} to who proved nothing"
    is_error = status >= 400 and case.method != "HEAD"
    if is_error and not {"error", "message"} <= (answer.get_json(silent=True) or {}).keys():
        return f"answered {status} without our error's shape"
    return None


def told_events(answer: Any, source: Source | None) -> list[Any]:
    """Return the events that an answer to a webhook tells of; some sources' answers tell none."""
    content = answer.get_json(silent=True) if source and answer.status_code < 300 else None
    return content.get("events", []) if isinstance(content, dict) else []


def may_be_unread(answer: Any, source: Source | None) -> bool:
    """Tell whether an answer is the one text that its source gives, whatever it took in."""
    if source is None or source.kind.reply.body is None:
        return False
    is_status: bool = answer.status_code == (source.answer or source.kind.reply.status)
    return is_status and answer.get_data(as_text=True) == source.kind.reply.body


def wrong_store(
    case: Case,
    answer: Any,
    source: Source | None,
    before: tuple[int, int, int, int],
    after: tuple[int, int, int, int],
) -> str | None:
    """Say what is stored that should not be, or not stored that should."""
    is_unread = may_be_unread(answer, source)
    is_always = is_unread and source is not None and source.kind.reply.is_always
    if after[3] > before[3] and answer.status_code not in MAY_BE_KEPT and not is_always:
        return f"answered {answer.status_code} and kept its body as a refused request"
    content = answer.get_json(silent=True) if source and not is_unread else None
    if isinstance(content, dict) and "events" in content:
        return wrong_counts(content, after[0] - before[0], after[1] - before[1])
    if is_unread:
        return None if after >= before else f"lost what was stored: {before} became {after}"
    if after[:2] != before[:2]:
        return f"answered {answer.status_code} and changed the store from {before} to {after}"
    if answer.status_code >= 300 and after[2] > before[2]:
        return f"answered {answer.status_code} and left {after[2] - before[2]} key(s)"
    return None


def wrong_counts(told: Any, events: int, deliveries: int) -> str | None:
    """Say what a 202 tells that is not so."""
    listed = told["events"]
    new = [event for event in listed if not event["duplicate"]]
    names = ("accepted", "duplicates", "unrouted", "unreadable")
    if sum(told[name] for name in names) != len(listed):
        return "told counts that do not add up"
    if told["duplicates"] != len(listed) - len(new):
        return "told duplicates that are none"
    if (events, deliveries) != (len(new), sum(len(event["deliveries"]) for event in new)):
        return f"stored {events} events and {deliveries} deliveries of {len(new)} that it told"
    return None


def wrong_reading(world: World, events: Sequence[Any]) -> str | None:
    """Say what can't be read back of what was taken in: the last event and its last delivery."""
    told = events[-1:]
    targets = [f"/api/events/{event['id']}" for event in told]
    targets += [
        f"/api/deliveries/{one['id']}" for event in told for one in event["deliveries"][-1:]
    ]
    for target in targets:
        status = world.send(asking(target)).status_code
        if status != 200:
            return f"stored what can't be shown: {status}"
    return None


# --- the runner ---------------------------------------------------------------------------------


def smallest(world: World, case: Case, found: str, tries: int) -> Case:
    """Return the case with as little body as still has the same problem, as far as tries go."""
    size = len(case.body) // 2
    while size and tries > 0:
        for smaller in without_slices(world, case, size):
            tries -= 1
            again = problem(world, smaller)
            if again is not None and again.split()[:2] == found.split()[:2]:
                case = smaller
                break
        else:
            size //= 2
    return case


def without_slices(world: World, case: Case, size: int) -> Iterator[Case]:
    """Yield the case without one slice of its body, signed anew if it was signed right."""
    for start in range(0, len(case.body), size):
        smaller = replace(case, body=case.body[:start] + case.body[start + size :])
        yield smaller if case.auth is None else world.sealed(smaller, case.auth)


def shown(seed: int, case: Case, found: str) -> str:
    """Return a problem as a person can run it again; the body is the smallest one."""
    headers = "\n".join(f"  {name}: {value!r}" for name, value in case.headers.items())
    return (
        f"case {case.number} of seed {seed} ({case.note}) {found}\n"
        f"  {case.method} {case.target!r}\n{headers}\n  body: {case.body[:2000]!r}\n"
        f"  again: .venv/bin/python tests/faults/fuzz.py --seed {seed} --case {case.number}"
    )


def run(
    world: World, *, seed: int, numbers: Sequence[int], most: int = 20, tries: int = 300
) -> list[str]:
    """Run these cases, and return the problems found, no more than `most`, each made small."""
    problems: list[str] = []
    for index, number in enumerate(numbers):
        if index and index % FLUSH_EVERY == 0:
            say(f"{index} cases, {len(problems)} problems")
            world.prime()
        case = make_case(world, seed, number)
        found = problem(world, case)
        if found is not None:
            problems.append(shown(seed, smallest(world, case, found, tries), found))
        if len(problems) >= most:
            break
    return problems


def say(text: str) -> None:
    """Write a line now, however the output is buffered."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the cases that the command line asks for; 0 only if there is no problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--case", type=int, help="run only this one")
    asked = parser.parse_args()
    warnings.simplefilter("error")
    numbers = range(asked.cases) if asked.case is None else [asked.case]
    say(f"seed {asked.seed}, {len(numbers)} cases")
    with tempfile.TemporaryDirectory() as folder:
        valkey = Valkey(Path(folder))
        try:
            world = World(valkey.start().url)
            started = time.monotonic()
            problems = run(world, seed=asked.seed, numbers=numbers)
            took_s = time.monotonic() - started
            world.close()
        finally:
            valkey.stop()
    for (note, status), count in sorted(world.answers.items()):
        say(f"{note:20} {status} {count:7}")
    for one in problems:
        say(f"\n{one}")
    say(f"{len(problems)} problems; {world.answers.total() / took_s:.0f} cases/s")
    return min(len(problems), 1)


if __name__ == "__main__":
    sys.exit(main())
