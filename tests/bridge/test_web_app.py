"""What the web process leaves out of Flask for a webhook, which nobody may notice."""

from typing import Any

import pytest
from flask import Flask, session
from flask.sessions import NullSession
from support import Web, as_bytes, lead, signed

PATHS = ["/webhooks/website", "/webhooks/no-such", "/webhooks/a%2Fb", "/webhooks/", "/webhooks/a/b"]


@pytest.mark.parametrize("path", [*PATHS, "/webhooks", "/webhooks/é", "/", "/api/status"])
@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "OPTIONS"])
def test_a_rule_that_is_known_is_the_one_that_flask_finds(web: Web, path: str, method: str) -> None:
    app = web.client.application
    with app.test_request_context(environ_overrides={"PATH_INFO": path}, method=method) as ours:
        mine = ours.request.url_rule, ours.request.view_args
        found: Any = Flask.create_url_adapter(app, ours.request)
        assert found is not None
        try:
            flasks = found.match(return_rule=True)
        except Exception:
            flasks = None, None
    assert mine == flasks


def test_only_what_people_see_opens_a_session(web: Web) -> None:
    for path, kind in (("/webhooks/website", True), ("/api/status", True), ("/", False)):
        with web.client.application.test_request_context(path):
            assert isinstance(session._get_current_object(), NullSession) is kind  # type: ignore[attr-defined]


def test_a_cookie_with_a_webhook_is_not_read_and_none_is_set(web: Web) -> None:
    raw, path = as_bytes(lead("+919812340511")), "/webhooks/website"
    headers = {**signed("website", raw, path), "Cookie": "callkaro_bridge=forged"}
    answer = web.client.post(path, data=raw, headers=headers)
    assert answer.status_code == 202
    assert "Set-Cookie" not in answer.headers
    assert "Vary" not in answer.headers
    assert answer.headers["Content-Length"] == str(len(answer.data))


def test_a_body_that_is_shorter_than_it_says_is_refused(web: Web) -> None:
    raw, path = as_bytes(lead("+919812340511")), "/webhooks/website"
    length = {"CONTENT_LENGTH": str(len(raw) + 5)}
    headers = signed("website", raw, path)
    answer = web.client.post(path, data=raw, headers=headers, environ_overrides=length)
    assert answer.status_code == 400


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example", "*", ""])
def test_a_webhook_is_taken_under_any_host_name(web: Web, host: str) -> None:
    raw, path = as_bytes(lead("+919812340511")), "/webhooks/website"
    headers = {**signed("website", raw, path), "Host": host}
    assert web.client.post(path, data=raw, headers=headers).status_code == 202
