"""The answer while the store does not answer."""

from flask import Response

from bridge.http.answers import json_answer
from schemas.errors import StoreUnavailable

RETRY_AFTER_S = 5


def unavailable(error: StoreUnavailable, status: int = StoreUnavailable.status_code) -> Response:
    """Return the answer for when nothing can be stored: to try again, or what to change."""
    answer = json_answer({"error": error.word, "message": error.answer}, status)
    answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer
