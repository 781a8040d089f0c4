"""A web process and a drain with one route."""

import threading
from collections.abc import Iterator

import pytest
from support import CALL_BACK, Web
from support.draining import MakeSettings, OpenWeb
from werkzeug.serving import make_server

from schemas.settings import Settings


@pytest.fixture
def plain(make_settings: MakeSettings) -> Settings:
    """Settings with one route, which calls whoever fills in the form."""
    return make_settings(CALL_BACK)


@pytest.fixture
def form(open_web: OpenWeb, plain: Settings) -> Web:
    """The web process of those settings."""
    return open_web(plain)


@pytest.fixture
def hook(web: Web) -> Iterator[str]:
    """Serve the web process over HTTP, and return where its webhooks begin."""
    server = make_server("127.0.0.1", 0, web.client.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/webhooks"
    server.shutdown()
    thread.join()
    server.server_close()
