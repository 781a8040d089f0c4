"""Flask for the web process, without what a webhook does not need.

Flask finds a request's rule, binds its address and opens its session before any code of ours runs.
For a webhook each of these costs as much as the whole of its check. What is changed here, Flask
documents as methods to override. docs/decisions/0025-lean-web-path.md has the figures.
"""

from collections.abc import Callable
from typing import Any, Final

from flask import Flask, Request
from flask.ctx import RequestContext
from flask.sessions import NullSession
from werkzeug.routing import MapAdapter, Rule

WEBHOOKS: Final = "/webhooks/"
RECEIVE: Final = "webhooks.receive"  # the endpoint that answers a POST to /webhooks/<source>
# No page is at these addresses, so no session is opened for them.
FOR_PROGRAMS: Final = ("/api/", WEBHOOKS, "/callbacks/")


class WebApp(Flask):
    """Flask, which knows where a webhook goes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._receive: Rule | None = None
        self._bound_once: MapAdapter | None = None

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a view or a hook as it is: none of ours is a coroutine."""
        return func

    def request_context(self, environ: dict[str, Any]) -> RequestContext:
        """Return the context of a request."""
        is_program = environ.get("PATH_INFO", "").startswith(FOR_PROGRAMS)
        session = NullSession() if is_program else None
        return _Context(self, environ, session=session)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return what matches a request's address; of a webhook, one that is bound to no host."""
        if request is None or _source_of(request.environ) is None:
            return super().create_url_adapter(request)
        if self._bound_once is None:
            self._bound_once = self.url_map.bind("")
        return self._bound_once

    def receive_rule(self) -> Rule:
        """Return the rule of a POST to /webhooks/<source>."""
        if self._receive is None:
            [self._receive] = self.url_map.iter_rules(RECEIVE)
        return self._receive


class _Context(RequestContext):
    """The context of a request. A webhook's rule is known without a search."""

    app: WebApp

    def match_request(self) -> None:
        source = _source_of(self.request.environ)
        if source is None:
            super().match_request()
            return
        self.request.url_rule = self.app.receive_rule()
        self.request.view_args = {"source": source}


def _source_of(environ: dict[str, Any]) -> str | None:
    """Return the source that a webhook is posted to; None: Flask must find where it goes."""
    path: str = environ.get("PATH_INFO", "")
    is_post = environ["REQUEST_METHOD"] == "POST" and "HTTP_UPGRADE" not in environ
    if not is_post or not path.startswith(WEBHOOKS):
        return None
    source = path[len(WEBHOOKS) :]
    return source if source.isascii() and source and "/" not in source else None
