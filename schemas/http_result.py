"""What came of one HTTP request of ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What came of one request. sent: its first byte left. status_code None: no answer came.

    error is the kind of failure, one word, None if an answer came. body is what was read of it,
    and may hold people's data.
    """

    sent: bool
    duration_ms: int
    status_code: int | None = None
    headers: Mapping[str, str] | None = None
    body: bytes = b""
    error: str | None = None

    @property
    def retry_after_s(self) -> float | None:
        """Return the seconds that a Retry-After header asks for; None if there is none.

        It may be a number or a date (RFC 9110, 10.2.3); one that is neither counts as not given.
        """
        raw = (self.headers or {}).get("Retry-After", "").strip()
        if raw.isascii() and raw.isdigit() and len(raw) < 8:
            return float(raw)
        try:
            at = parsedate_to_datetime(raw)
        except (ValueError, TypeError, IndexError):
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return max((at - datetime.now(UTC)).total_seconds(), 0.0)


class TooLateError(OSError):
    """The lease would not outlast the request, so it was not begun."""


TOO_LATE = TooLateError.__name__  # as a Reply's error
