"""The answer while the store does not answer."""

from flask import Response, jsonify, make_response

from schemas.errors import StoreUnavailable, StoreUnfit

RETRY_AFTER_S = 5


def unavailable(error: StoreUnavailable, status: int = StoreUnavailable.status_code) -> Response:
    """Return the answer for when nothing can be stored: to try again, or what to change."""
    # It does not promise that nothing was stored: Redis may have done it before it went away.
    away = "The store does not answer. Try again in a moment."
    message = str(error) if isinstance(error, StoreUnfit) else away
    answer = make_response(jsonify({"error": error.word, "message": message}), status)
    answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer
