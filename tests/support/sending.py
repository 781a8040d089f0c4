"""A sample as its vendor would send it: with each proof that its source accepts."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
from requests.structures import CaseInsensitiveDict

from schemas.signatures import sign
from schemas.source import Auth, Basic, Incoming, Jwt, Signatures, Token
from support.samples import CONTENT_TYPES, headers_of, kind_of

HOST = "http://localhost"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """A request to the bridge."""

    path: str  # with its query
    body: bytes
    content_type: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)

    def with_headers(self, **more: str) -> "Sent":
        """Return the request with more headers."""
        return replace(self, headers={**self.headers, **more})

    def to(self, client: Any) -> Any:
        """Send the request by a test client, and return the answer."""
        return client.open(
            self.path,
            method=self.method,
            data=self.body,
            headers={**self.headers, "Content-Type": self.content_type},
        )


def sent_of(sample: Path, body: bytes | None = None) -> Sent:
    """Return a sample, or another body in its place, as a request without a proof."""
    return Sent(
        path=f"/webhooks/{kind_of(sample).name}",
        body=sample.read_bytes() if body is None else body,
        content_type=CONTENT_TYPES[sample.suffix],
        headers=headers_of(sample),
    )


def proved(sent: Sent, auth: Auth, secret: str, now: datetime) -> Sent:
    """Return a request with the strongest proof that needs nothing in its body."""
    return next(proofs(sent, auth, secret, now))


def proofs(sent: Sent, auth: Auth, secret: str, now: datetime) -> Iterator[Sent]:
    """Yield a request with each of the proofs that a source accepts, each alone."""
    match auth:
        case Signatures(schemes=schemes):
            for scheme in schemes:
                yield _signed(sent, Signatures(schemes=(scheme,)), secret, now)
        case Token(query=name, body=keys):
            yield _signed(sent, auth, secret, now)
            yield replace(sent, path=f"{sent.path}?{name}={quote(secret, safe='')}")
            yield from filter(None, (_with_field(sent, key, secret) for key in keys))
        case Jwt(header=header):
            yield _signed(sent, auth, secret, now)
            token = sign(auth, secret, _incoming(sent), now=now)[header]
            yield sent.with_headers(**{header: f"Bearer {token}"})
        case Basic():
            yield _signed(sent, auth, secret, now)


def untimely(sent: Sent, auth: Auth, secret: str, now: datetime) -> Iterator[Sent]:
    """Yield a request that is too old, and one too far ahead, for each proof that has a time."""
    schemes = auth.schemes if isinstance(auth, Signatures) else ()
    for scheme in schemes:
        off = timedelta(seconds=scheme.tolerance_s + 60)
        for at in (now - off, now + off) if scheme.has_time else ():
            yield _signed(sent, Signatures(schemes=(scheme,)), secret, at)
    if isinstance(auth, Jwt):
        yield _signed(sent, auth, secret, now - timedelta(hours=1))
        ahead = now.timestamp() + auth.tolerance_s + 60
        claims = {"nbf": ahead, "exp": ahead + 60}
        token = jwt.encode(claims, secret, algorithm="HS256")
        yield sent.with_headers(**{auth.header: token})


def _signed(sent: Sent, auth: Auth, secret: str, now: datetime) -> Sent:
    return sent.with_headers(**sign(auth, secret, _incoming(sent), now=now))


def _incoming(sent: Sent) -> Incoming:
    return Incoming(
        method=sent.method,
        url=HOST + sent.path,
        headers=CaseInsensitiveDict(sent.headers),
        query={},
        body=sent.body,
        content_type=sent.content_type,
    )


def _with_field(sent: Sent, key: str, value: str) -> Sent | None:
    """Return a request whose body has one more field; None: the body is no object and no form."""
    if sent.content_type == CONTENT_TYPES[".form"]:
        return replace(sent, body=sent.body + f"&{key}={quote(value, safe='')}".encode())
    content = json.loads(sent.body)
    if not isinstance(content, dict):
        return None
    return replace(sent, body=json.dumps({**content, key: value}).encode())
