"""The result of an HTTP request that the bridge made."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

# https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-07
_RESET: Final = re.compile(r"(?:^|[,;])\s*reset=([0-9]{1,7})(?:\s*[,;]|\s*$)")


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpResult:
    """The result of one HTTP request."""

    sent: bool  # the first byte left
    duration_ms: int
    status_code: int | None = None  # None: there was no answer
    headers: Mapping[str, str] | None = None
    body: bytes = b""  # as far as it was read; it may have personal data
    error: str | None = None  # the kind of failure, one word; None: there was an answer
    received_at: datetime | None = None  # when the answer was there, UTC; None: no answer

    @property
    def retry_after_s(self) -> float | None:
        """Return the seconds of the Retry-After header; None: there is none to follow.

        The header is a number or a date (RFC 9110, 10.2.3). Anything else is ignored. A date is
        compared with received_at; without received_at it is ignored, too. A 429 without the header
        may have RateLimit, as Close's: "limit=100, remaining=0, reset=5".
        """
        headers = self.headers or {}
        raw = headers.get("Retry-After", "").strip()
        reset = _RESET.search(headers.get("RateLimit", ""))
        if not raw and reset and self.status_code == 429:
            return float(reset[1])
        if raw.isascii() and raw.isdigit() and len(raw) < 8:
            return float(raw)
        if self.received_at is None:
            return None
        try:
            at = parsedate_to_datetime(raw)
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            return max((at - self.received_at).total_seconds(), 0.0)
        except Exception:  # the parser raises many kinds of errors, such as OverflowError
            return None


class TooLateError(OSError):
    """The lease would end before the request, so the request was not sent."""


TOO_LATE = TooLateError.__name__  # as an HttpResult's error
