"""The id of a request: in its log lines and its answer, with its events, and to their attempts."""

import re
import time
import uuid
from typing import Final

import flask
from flask import Flask
from structlog.contextvars import bind_contextvars, clear_contextvars

HEADER: Final = "X-Request-Id"  # Heroku's router sends one, and so do most proxies
RULE: Final = "bridge.rule"  # in the WSGI environment: which rule of the app's a request met
# A UUID or the like; else nothing with so many digits in a row that it may be a phone number.
_SANE: Final = re.compile(
    r"(?=[0-9-]*[a-f])[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}"
    r"|(?!.*[0-9]{8})(?![0-9_-]+$)[A-Za-z0-9_-]{8,64}"
)


def carry(app: Flask) -> None:
    """Give each request of an app its id: the one that it brings if that is sane, else a new one.

    To be called before anything else is asked of requests, so that all their lines carry it.
    """

    @app.before_request
    def begin() -> None:
        clear_contextvars()  # what a thread's last request may have left
        flask.g.began = time.monotonic()
        flask.g.request_id = read(flask.request.headers.get(HEADER, ""))
        # For the access log (gunicorn.conf.py), which may not name the URL: tokens stand in some.
        flask.request.environ[RULE] = flask.request.url_rule and flask.request.url_rule.rule
        bind_contextvars(request_id=flask.g.request_id)

    @app.after_request
    def answer(response: flask.Response) -> flask.Response:
        response.headers[HEADER] = current()
        return response

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        clear_contextvars()


def read(given: str) -> str:
    """Return the id that a request brings, or a new one in the place of what is none."""
    return given if _SANE.fullmatch(given) else uuid.uuid4().hex


def current() -> str:
    """Return the id of the request that is being answered."""
    found: str | None = flask.g.get("request_id")
    return found or uuid.uuid4().hex


def taken_ms() -> int:
    """Return how long the request that is being answered has taken so far, in milliseconds."""
    began: float = flask.g.get("began", time.monotonic())
    return round((time.monotonic() - began) * 1000)
