"""Forging HubSpot's v1 and v2 signatures by length extension, without the secret."""

import hashlib
import json
import urllib.parse
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict
from support import SECRETS, WEBSITE, Web, each, examples, keys_of, route
from support.extending import extended, sha256

from bridge.http.media import read_content
from schemas.crm.hubspot import KIND
from schemas.errors import RequestError
from schemas.settings import Settings
from schemas.source import Incoming
from store import Store

OpenWeb = Callable[[Settings], Web]
MakeSettings = Callable[..., Settings]

SECRET = SECRETS["hubspot"].encode()
URL = "http://localhost/webhooks/hubspot"
OBSERVED = b'[{"portalId":62515,"subscriptionId":1,"eventId":1,"occurredAt":1767250800000}]'
FORGED = json.dumps(
    [
        {
            "portalId": 62515,
            "subscriptionId": 3001,
            "eventId": 7,
            "objectId": 101,
            "occurredAt": 1767250800000,
            "subscriptionType": "contact.privacyDeletion",
        }
    ]
).encode()
FIELDS = {
    name: str(value) for name, value in json.loads(FORGED)[0].items() if name != "occurredAt"
} | {"occurredAt": "1767250800000"}


def multipart(boundary: bytes) -> bytes:
    parts = [
        b"--%b\r\nContent-Disposition: form-data; name=%b\r\n\r\n%b\r\n"
        % (boundary, name.encode(), value.encode())
        for name, value in FIELDS.items()
    ]
    return b"\r\n" + b"".join(parts) + b"--" + boundary + b"--\r\n"


FORM = ("&" + urllib.parse.urlencode(FIELDS)).encode()
SUFFIXES = {
    "multipart/form-data; boundary=BB": multipart(b"BB"),
    "Multipart/Form-Data; charset=utf-8; boundary=x": multipart(b"x"),
    'multipart/form-data; boundary="quoted one"': multipart(b"quoted one"),
    "multipart/mixed; boundary=BB": multipart(b"BB"),
    "application/x-www-form-urlencoded": FORM,
    "application/x-www-form-urlencoded; charset=iso-8859-1": FORM,
    "application/x-www-form-urlencoded; charset=utf-16": FORM.decode().encode("utf-16"),
    "application/json": FORGED,
    "application/json; charset=utf-8": b"\n" + FORGED,
    "application/json; charset=iso-8859-1": FORGED,
    "application/json; charset=utf-16": FORGED.decode().encode("utf-16-le"),
    "application/json; charset=windows-1252": FORGED,
    "application/hal+json": FORGED,
    "text/json": FORGED,
    "text/plain": FORGED,
    "text/plain; charset=us-ascii": FORGED,
    "": FORGED,
}


def signed(version: str, body: bytes) -> str:
    """Return what HubSpot's own header had, for one request that the forger saw."""
    about = b"POST" + URL.encode() if version == "v2" else b""
    return hashlib.sha256(SECRET + about + body).hexdigest()


def forged(version: str, suffix: bytes) -> tuple[bytes, dict[str, str]]:
    """Return a body and its headers, made of a seen request and the length of the secret."""
    length = len(SECRET) + len(OBSERVED) + (len(b"POST" + URL.encode()) if version == "v2" else 0)
    added, digest = extended(signed(version, OBSERVED), length, suffix)
    return OBSERVED + added, {
        "X-HubSpot-Signature-Version": version,
        "X-HubSpot-Signature": digest,
    }


@each("length", [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000])
def test_the_helper_is_sha256_and_extends_a_real_digest(length: int) -> None:
    message, suffix = b"m" * length, b"and more" * length
    assert sha256(message) == hashlib.sha256(message).hexdigest()
    added, digest = extended(hashlib.sha256(SECRET + message).hexdigest(), 16 + length, suffix)
    assert len(SECRET) == 16
    assert digest == hashlib.sha256(SECRET + message + added).hexdigest()


@each("version", ["v1", "v2"])
@each(("content_type", "suffix"), SUFFIXES.items())
@each("encoding", ["", "gzip", "deflate", "identity", "br"])
def test_an_extended_body_is_no_event_whatever_it_is_called(
    web: Web, store: Store, version: str, content_type: str, suffix: bytes, encoding: str
) -> None:
    body, headers = forged(version, suffix)
    headers |= {"Content-Encoding": encoding} if encoding else {}

    answer = web.client.post(
        "/webhooks/hubspot", data=body, headers=headers, content_type=content_type
    )

    # Not 401: the digest is right, so this test forges a signature that is judged to be true.
    assert answer.status_code in (400, 415), (content_type, answer.text)
    assert keys_of(store) == set()


@given(
    media=st.sampled_from([*SUFFIXES, "application/x-ndjson", "text/csv", "*/*"]),
    more=st.sampled_from(["", ";", "; charset=utf-7", "; a=b; charset=UTF-16BE", ", text/json"]),
    suffix=st.one_of(st.sampled_from(list(SUFFIXES.values())), st.binary(max_size=80)),
)  # fmt: skip
@examples(200)
def test_no_header_makes_an_extended_body_readable(media: str, more: str, suffix: bytes) -> None:
    body, headers = forged("v1", suffix)
    request = Incoming(
        method="POST",
        url=URL,
        headers=CaseInsensitiveDict({**headers, "Content-Type": media + more}),
        query={},
        body=body,
        content_type="",
    )
    try:
        content = read_content(KIND, request)
    except RequestError:
        return
    raise AssertionError(content)


def hubspots(version: str, body: bytes) -> dict[str, str]:
    return {
        "X-HubSpot-Signature-Version": version,
        "X-HubSpot-Signature": signed(version, body),
        "Content-Type": "application/json",
    }


@each("version", ["v1", "v2"])
@each(
    "content_type",
    ["application/json", "application/json;charset=UTF-8", 'Application/JSON; charset="utf-8"'],
)
def test_what_hubspot_sends_is_still_taken(web: Web, version: str, content_type: str) -> None:
    body = json.dumps({"of": f"{version} {content_type}"}).encode()
    headers = {**hubspots(version, body), "Content-Type": content_type}
    assert web.client.post("/webhooks/hubspot", data=body, headers=headers).status_code == 202


def test_another_media_type_is_judged_after_the_proof(web: Web) -> None:
    for content_type in ("multipart/form-data; boundary=B", "text/plain", "application/xml"):
        headers = {**hubspots("v1", b"{}"), "Content-Type": content_type}
        answer = web.client.post("/webhooks/hubspot", data=b"{}", headers=headers)
        assert (answer.status_code, answer.json["error"]) == (415, "unsupported_media")
        headers["X-HubSpot-Signature"] = "0" * 64
        assert web.client.post("/webhooks/hubspot", data=b"{}", headers=headers).status_code == 401


@each("source", ["hubspot", "hubspot-eu"])
@each("version", ["v1", "v2"])
def test_v3_alone_refuses_the_old_signatures_altogether(
    make_settings: MakeSettings, open_web: OpenWeb, source: str, version: str
) -> None:
    toml = f'[[source]]\nname = "{source}"\nkind = "hubspot"\nsignatures = "v3"\n\n'
    secrets = {source: (SECRETS["hubspot"],)}
    web = open_web(make_settings(toml + WEBSITE + route(), secrets=secrets))
    body = b"{}"
    about = b"POST" + URL.replace("hubspot", source).encode() if version == "v2" else b""
    headers = {
        **hubspots(version, body),
        "X-HubSpot-Signature": hashlib.sha256(SECRET + about + body).hexdigest(),
    }
    answer = web.client.post(f"/webhooks/{source}", data=body, headers=headers)
    assert (answer.status_code, answer.json["error"]) == (401, "bad_signature")
