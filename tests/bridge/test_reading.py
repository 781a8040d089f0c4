"""A signed body has one reading: the headers that no signature covers may only refuse it.

Who has captured a signed request may send its bytes again, with any of those headers.
"""

import base64
import gzip
import hashlib
import hmac
import itertools
import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict
from support import WEBSITE, Web, each, examples, route, signed

from bridge.http.body import read_body
from bridge.intake import Intake
from schemas.errors import BadPayload, BadSignature, RequestError
from schemas.event import Event
from schemas.settings import Settings
from schemas.source import Incoming

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
MEDIA = [
    *("", JSON, "text/plain", "application/x+json", FORM),
    *(f"{MULTIPART}; boundary={one}" for one in ("AA", "BB", "A", '"AA "', "AA--", "AA;AA")),
]
CHARSETS = ["", "utf-8", "utf-16", "utf-16le", "utf-16be", "latin1", "windows-1252", "us-ascii"]
ENCODINGS = ["", "gzip", "deflate"]
TYPES = [
    (f"{media}; charset={charset}" if charset else media, encoding)
    for media, charset, encoding in itertools.product(MEDIA, CHARSETS, ENCODINGS)
]


def readings(body: bytes) -> dict[bytes, tuple[str, str]]:
    """Return what headers make of a body, each reading with the first headers that give it."""
    found: dict[bytes, tuple[str, str]] = {}
    for media, encoding in TYPES:
        try:
            content = read_body(body, media, encoding)
        except RequestError:
            continue
        found.setdefault(orjson.dumps(content, option=orjson.OPT_SORT_KEYS), (media, encoding))
    return found


# --- bodies ---------------------------------------------------------------------------------------


def multipart(fields: Mapping[str, str], boundary: str = "AA") -> str:
    parts = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    return f"{''.join(parts)}--{boundary}--\r\n"


INNER = "\r\n" + multipart({"id": "other", "phone": "+919999999999"}, "BB")
WORDS = st.one_of(
    st.text(alphabet='aé€ÿ\x80\x93आ😀\ufeff\0"{}[]&=+%-\\ \r\n1', max_size=6),
    st.sampled_from([INNER, "&id=other&phone=1", "%E9", "%C3%A9", "%00", "1.0", "--AA", "\r\n"]),
)
FIELDS = st.dictionaries(st.one_of(st.sampled_from(["id", "payload", "--a"]), WORDS), WORDS)
TEXTS = st.one_of(
    st.builds(lambda x: json.dumps(x, ensure_ascii=False), FIELDS | WORDS | st.lists(WORDS)),
    st.builds(lambda x: "payload=" + quote(json.dumps(x)), FIELDS | WORDS),
    st.builds(urlencode, FIELDS),
    st.builds(lambda x: "&".join(f"{name}={value}" for name, value in x.items()), FIELDS),
    st.builds(multipart, FIELDS),
    st.lists(WORDS).map("".join),
    st.sampled_from(["null", "true", "12", "-1.0", '"a=b"', "[1,2]", " 1e5", "[1.0]", "[" * 70]),
)
CODECS = st.sampled_from(
    ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be"]
)
PLAIN = st.builds(lambda text, codec: text.encode(codec, "ignore"), TEXTS, CODECS)
BODIES = st.one_of(
    PLAIN,
    st.binary(max_size=30),
    PLAIN.map(lambda body: gzip.compress(body, mtime=0)),
    PLAIN.map(zlib.compress),
    PLAIN.map(lambda body: zlib.compress(body, 0)),
    PLAIN.map(lambda body: zlib.compress(body)[2:-4]),
)


@given(body=BODIES)
@example(b'{"id": "Jos\xe9 \x80"}')
@example(b"id=\x93a%80&phone=1")
@example(b"id=%00Jos%C3%A9")
@example(b"id=1%E9")
@example(b'{"id": "Jos\xc3\xa9 %E9"}')
@example(b'\xef\xbb\xbf{"id": "1"}')
@example("id=é".encode("utf-16"))
@example("id=1".encode("utf-16-be"))
@example(zlib.compress(b"id=1&phone=%2B919876543210"))
@example(gzip.compress(b'{"id": "1"}', mtime=0))
@example(b'"id=1&phone=2"')
@example(multipart({"note": f"a{INNER}"}).encode())
@example(b"--AA--\r\n")
@examples(600)
def test_headers_may_refuse_a_body_and_never_change_what_it_says(body: bytes) -> None:
    found = readings(body)
    assert len(found) < 2, found


@each(
    ("body", "media", "content"),
    [
        (b"12", FORM, 12),
        (b' "id=1" ', FORM, "id=1"),
        (b"null", FORM, None),
        (b"[1.0, 2]", FORM, [1, 2]),
        (b"12=", FORM, {"12": ""}),
        (b"true=1", FORM, {"true": "1"}),
        (b"name=null", FORM, {"name": "null"}),
        ("name=José".encode(), f"{FORM}; charset=iso-8859-1", {"name": "José"}),
        (b"name=Jos%C3%A9&b=%00", f"{FORM}; charset=windows-1252", {"name": "José", "b": "\0"}),
        ('{"a": "José"}'.encode(), f"{JSON}; charset=us-ascii", {"a": "José"}),
        ('{"a": "é"}'.encode("utf-16-be"), f"{JSON}; charset=utf-16le", {"a": "é"}),
        (multipart({"a": "1"}).encode(), f"{MULTIPART}; boundary=AA", {"a": "1"}),
        (b"\r\n" + multipart({"a": "1"}).encode(), f'{MULTIPART}; boundary="AA"', {"a": "1"}),
        (b"--AA--", f"{MULTIPART}; boundary=AA", {}),
    ],
)
def test_the_bytes_say_what_a_body_is(body: bytes, media: str, content: Any) -> None:
    assert read_body(body, media) == content


@each(
    ("body", "media", "sentence"),
    [
        (multipart({"note": INNER}), f"{MULTIPART}; boundary=BB", "does not begin with the bound"),
        ("a preamble\r\n" + multipart({"a": "1"}), f"{MULTIPART}; boundary=AA", "not begin with"),
        (multipart({"a": "1"}, "AA--"), f"{MULTIPART}; boundary=AA--", "does not begin with"),
        (multipart({"a": "1"}), FORM, "begins like a multipart form"),
        ("a=1".encode("utf-16"), FORM, "is not UTF-8"),
        (gzip.compress(b"a=1"), f"{FORM}; charset=latin1", "is compressed"),
        (gzip.compress(b"a=1")[:-3], f"{FORM}; charset=utf-16", "is compressed"),
        (zlib.compress(b"a=1&b=2"), f"{FORM}; charset=windows-1252", "is compressed"),
        (zlib.compress(b"a" * 5_000_000), f"{FORM}; charset=windows-1252", "is compressed"),
    ],
)
def test_a_body_that_is_not_what_its_headers_say_is_told_so(
    body: str | bytes, media: str, sentence: str
) -> None:
    with pytest.raises(BadPayload, match=sentence):
        read_body(body if isinstance(body, bytes) else body.encode(), media)


# --- events ---------------------------------------------------------------------------------------

SOURCES = """
[[source]]
name = "svix"
auth = "standard"
id = "id"

[[source]]
name = "timed"
auth = "hmac"
header = "X-Sig"
parts = ["timestamp", "body"]
separator = "."
timestamp_key = "t"
signature_key = "v1"

"""
KEYS = {name: (f"a-secret-of-{name}",) for name in ("website", "timed", "hubspot", "gohighlevel")}
SECRET = "whsec_" + base64.b64encode(b"secret").decode()  # gitleaks:allow


def proofs(source: str, body: bytes) -> Iterator[dict[str, str]]:
    """Return the headers that prove a request of a source, by each of its schemes."""
    at = str(int(time.time()))
    key = KEYS.get(source, ("",))[0].encode()
    match source:
        case "website":
            yield signed(source, body, "", secret=key.decode())
        case "svix":
            text = f"msg-1.{at}.".encode() + body
            digest = base64.b64encode(hmac.digest(b"secret", text, "sha256")).decode()
            for name in ("webhook", "svix"):
                yield {
                    f"{name}-id": "msg-1",
                    f"{name}-timestamp": at,
                    f"{name}-signature": f"v1,{digest}",
                }
        case "timed":
            digest = hmac.new(key, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
            yield {"X-Sig": f"t={at},v1={digest}"}
        case "hubspot":
            yield signed(source, body, URL, secret=key.decode(), at_ms=int(at) * 1000)
            for version, about in (("v1", b""), ("v2", b"POST" + URL.encode())):
                yield {
                    "X-HubSpot-Signature-Version": version,
                    "X-HubSpot-Signature": hashlib.sha256(key + about + body).hexdigest(),
                }


URL = "https://bridge.example/webhooks/hubspot"
UNSIGNED = st.dictionaries(
    st.sampled_from(
        [
            *("Idempotency-Key", "webhook-id", "svix-id", "X-Request-Id", "X-Made-Up"),
            *("X-HTTP-Method-Override", "Content-Transfer-Encoding", "Content-Location"),
            *("X-Event-Type", "X-Webhook-Token", "Content-Language", "Transfer-Encoding"),
        ]
    ),
    st.sampled_from(["new-1", "new-2", "PUT", "base64", "form.submitted", "msg-2"]),
)
SENT = st.sampled_from(TYPES)


def known_as(intake: Intake, source: str, body: bytes, headers: Mapping[str, str]) -> list[Event]:
    """Return the events of a request, as the store would get them; []: it is refused."""
    request = Incoming(
        method="POST",
        url=URL,
        headers=CaseInsensitiveDict(headers),
        query={},
        body=body,
        content_type=headers.get("Content-Type", ""),
    )
    now = datetime.now(UTC)
    found, secrets = intake.find(source)
    try:
        proved, content = intake.verify_request(found, secrets, request, now)
        return intake.parse(found, proved, content, now, None, None)
    except BadSignature:
        raise
    except RequestError:
        return []


def test_a_signed_body_is_known_by_one_name_under_all_headers_that_nobody_signed(
    make_settings: MakeSettings,
) -> None:
    settings = make_settings(
        SOURCES + WEBSITE + route(source="website"), secrets={**KEYS, "svix": (SECRET,)}
    )
    intake = Intake(settings=settings, store=None, wakeup=None)  # type: ignore[arg-type]

    @given(
        source=st.sampled_from(["website", "svix", "timed", "hubspot"]),
        body=BODIES,
        unsigned=st.lists(st.tuples(UNSIGNED, SENT), min_size=2, max_size=6),
    )
    @examples(800)
    def check(source: str, body: bytes, unsigned: list[tuple[dict[str, str], Any]]) -> None:
        for proof in proofs(source, body):
            known = set()
            for more, (media, encoding) in [({}, (JSON, "")), ({}, (FORM, "")), *unsigned]:
                # A header that is part of the proof is signed, so it stays as it is.
                named = {key: one for key, one in more.items() if key.lower() not in proof}
                sent = {**named, "Content-Type": media, "Content-Encoding": encoding, **proof}
                events = known_as(intake, source, body, sent)
                if events:
                    known.add(tuple((one.fingerprint, orjson.dumps(one.data)) for one in events))
            assert len(known) < 2, (source, known)

    check()


@each(
    ("body", "media", "data"),
    [
        (b'{"phone": "+1"}', JSON, b'{"phone":"+1"}'),
        (b"phone=%2B1", FORM, b'{"phone":"+1"}'),
        (multipart({"phone": "+1"}).encode(), f"{MULTIPART}; boundary=AA", b'{"phone":"+1"}'),
        (
            multipart({"b": "1", "a": "2"}).encode(),
            f"{MULTIPART}; boundary=AA",
            b'{"a":"2","b":"1"}',
        ),
    ],
)
def test_a_signed_body_without_an_id_is_known_as_in_earlier_releases(
    make_settings: MakeSettings, body: bytes, media: str, data: bytes
) -> None:
    settings = make_settings(WEBSITE + route(source="website"), secrets=KEYS)
    intake = Intake(settings=settings, store=None, wakeup=None)  # type: ignore[arg-type]
    [proof] = proofs("website", body)
    [event] = known_as(intake, "website", body, {**proof, "Content-Type": media})
    parts = b"\0".join((b"bytes", b"website", b"form.submitted", data))
    assert event.fingerprint == hashlib.blake2b(parts, digest_size=13).hexdigest()


@each(
    ("first", "again", "body"),
    [
        (f"{JSON}; charset=iso-8859-1", JSON, b'{"submission_id": "\x80-1", "phone": "+1"}'),
        (
            f"{JSON}; charset=iso-8859-1",
            f"{JSON}; charset=windows-1252",
            b'{"submission_id": "\x80"}',
        ),
        (f"{FORM}; charset=latin1", f"{FORM}; charset=us-ascii", b"submission_id=%93&phone=1"),
        (f"{FORM}; charset=utf-16", FORM, "submission_id=16&phone=1".encode("utf-16")),
        (JSON, FORM, b'"submission_id=s&phone=1"'),
        (
            f"{MULTIPART}; boundary=AA",
            f"{MULTIPART}; boundary=BB",
            multipart({"submission_id": "m", "note": INNER}).encode(),
        ),
    ],
)
def test_a_captured_request_is_one_event_or_is_refused(
    web: Web, first: str, again: str, body: bytes
) -> None:
    headers = signed("website", body, "")

    def post(media: str) -> Any:
        return web.client.post(
            "/webhooks/website", data=body, headers={**headers, "Content-Type": media}
        )

    assert (one := post(first)).status_code == 202, one.text
    other = post(again)
    assert other.status_code == 400 or other.json["duplicates"] == 1, other.text
    assert post(first).json["duplicates"] == 1
