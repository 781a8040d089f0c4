"""Doubled and trailing slashes in a webhook's path: people paste addresses with them."""

import re
from collections.abc import Iterable
from typing import Any, Final

_RUN: Final = re.compile("/{2,}")
_WEBHOOKS: Final = "/webhooks/"


class WebhookSlashes:
    """WSGI middleware that reads `//webhooks//<source>/` as `/webhooks/<source>`.

    Other slashes become part of the name. No source has such a name, so the request is refused,
    logged and counted as one for an unknown source. A signature is checked over the URL as it was
    sent: gunicorn's RAW_URI keeps it.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Serve a request."""
        path = _RUN.sub("/", environ.get("PATH_INFO", ""))
        if path.startswith(_WEBHOOKS):
            name = path.removeprefix(_WEBHOOKS).rstrip("/").replace("/", "%2F")
            # In place: gunicorn's access log reads from it which rule was matched.
            environ["PATH_INFO"] = _WEBHOOKS + name
        found: Iterable[bytes] = self.app(environ, start_response)
        return found
