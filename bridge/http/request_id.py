"""The id of a request: in its log lines and its answer, and in those of its events and attempts."""

import random
import re
import time
from typing import Final

import flask
from flask import Flask
from flask.globals import app_ctx, request_ctx
from structlog.contextvars import bind_contextvars, clear_contextvars

HEADER: Final = "X-Request-Id"  # Heroku's router sends one, and so do most proxies
RULE: Final = "bridge.rule"  # in the WSGI environment: the app's URL rule that a request matched
# A UUID, or another id without 8 digits in a row, which could be a phone number.
_SAFE: Final = re.compile(
    r"(?=[0-9-]*[a-f])[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}"
    r"|(?!.*[0-9]{8})(?![0-9_-]+$)[A-Za-z0-9_-]{8,64}"
)


def init_app(app: Flask) -> None:
    """Give each request of an app its id: the one in its header if that is safe, else a new one.

    Call this before anything else that registers on requests, so that all log lines have the id.
    """

    @app.before_request
    def begin() -> None:
        clear_contextvars()  # the thread's last request may have left some
        g, request = app_ctx.g, request_ctx.request
        g.began = time.monotonic()
        g.request_id = read(request.headers.get(HEADER, ""))
        # For the access log (gunicorn.conf.py). It may not write the URL: some URLs have a token.
        request.environ[RULE] = request.url_rule and request.url_rule.rule
        bind_contextvars(request_id=g.request_id)

    @app.after_request
    def answer(response: flask.Response) -> flask.Response:
        response.headers[HEADER] = current()
        return response

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        clear_contextvars()


def read(given: str) -> str:
    """Return the id that a request brings; a new one where that is not safe to log."""
    return given if given and _SAFE.fullmatch(given) else _new()


def _new() -> str:
    # Nothing hangs on nobody guessing it. Python seeds this anew in a forked process.
    return f"{random.getrandbits(128):032x}"  # nosec B311


def current() -> str:
    """Return the id of the current request."""
    found: str | None = app_ctx.g.get("request_id")
    return found or _new()


def taken_s() -> float:
    """Return how long the current request has taken so far, in seconds."""
    now = time.monotonic()
    began: float = app_ctx.g.get("began", now)
    return now - began


def taken_ms() -> int:
    """Return how long the current request has taken so far, in milliseconds."""
    return round(taken_s() * 1000)
