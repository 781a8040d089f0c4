"""HubSpot webhooks: notifications of 12 fields, each of them new, and signed (v3)."""

import base64
import hmac
import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.processes import HOST

SECRET = "bench-0f6b0f0a-0000-4000-8000-000000000000"  # noqa: S105  (of a bridge that is gone soon)
PATH = "/webhooks/hubspot"

# 12 fields and about 270 bytes, like the documentation's and those that were recorded.
_NOTIFICATION = (
    '{"eventId":%d,"subscriptionId":3481273,"portalId":48217733,"appId":1160452,"occurredAt":%d,'
    '"subscriptionType":"contact.creation","attemptNumber":0,"objectId":%d,"changeFlag":"CREATED",'
    '"changeSource":"CRM_UI","sourceId":"userId:62515917","isSensitive":false}'
)
_numbers = itertools.count(random.randrange(10**9, 2 * 10**9))  # noqa: S311  (no secret)


def bodies(requests: int, *, events: int) -> list[bytes]:
    """Return bodies with that many notifications each; every notification is new."""
    now_ms = int(time.time() * 1000)
    return [
        f"[{','.join(_notifications(now_ms, events))}]".encode("ascii") for _ in range(requests)
    ]


def _notifications(now_ms: int, count: int) -> Iterator[str]:
    for number in itertools.islice(_numbers, count):
        yield _NOTIFICATION % (number, now_ms - number % 1000, 30_000_000_000 + number)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where to post. signs_url False: the floor checks only the time and the body."""

    port: int
    signs_url: bool
    path: str = PATH

    def requests(self, bodies: list[bytes]) -> list[bytes]:
        """Return each body as the bytes of a request, signed now: valid for 5 minutes."""
        stamp = str(int(time.time() * 1000))
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {HOST}:{self.port}\r\n"
            "User-Agent: HubSpot Connect 2.0 (http://dev.hubspot.com/) - WebHooks\r\n"
            "Accept: */*\r\nContent-Type: application/json\r\n"
            f"X-HubSpot-Request-Timestamp: {stamp}\r\n"
        )
        first = f"POST{self._url}" if self.signs_url else ""
        return [
            f"{head}X-HubSpot-Signature-v3: {signature(first, body, stamp)}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode("ascii")
            + body
            for body in bodies
        ]

    @property
    def _url(self) -> str:
        return f"http://{HOST}:{self.port}{self.path}"


def signature(first: str, body: bytes, stamp: str) -> str:
    """Return the signature over method and URL (or nothing), body and time."""
    message = first.encode("ascii") + body + stamp.encode("ascii")
    return base64.b64encode(hmac.digest(SECRET.encode("ascii"), message, "sha256")).decode("ascii")
