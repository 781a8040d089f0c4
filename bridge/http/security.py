"""What every answer's headers forbid a browser, and under which host names people are let in.

Who sends a webhook proves it by a signature or a token, under whatever name it got here: a lead is
never lost for a host name. People's pages and the API are asked for by name, so that no site of
somebody else's can point a name of its own at this address and read along (DNS rebinding).
"""

import re
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

from flask import Flask, Response, request

from schemas.errors import UnknownHost
from schemas.settings import Settings

Headers = tuple[tuple[str, str], ...]

NOT_KEPT: Final = ("Cache-Control", "no-store")  # what is in it is people's
_ALL: Final[Headers] = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),  # frame-ancestors, for browsers and scanners that know no better
)
_PAGE: Final[Headers] = (
    *_ALL,
    # Not no-referrer: with that, a browser says of our own forms that they come from "null".
    ("Referrer-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
# JSON, metrics and errors: nothing that a browser should show, load or frame.
PROGRAMS: Final[Headers] = (
    *_ALL,
    NOT_KEPT,
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
)
# Nothing from elsewhere, nothing inline, and in nobody's frame.
DASHBOARD: Final[Headers] = (
    *_PAGE,
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
)
# One page without a script; its style stands in it.
DOCS: Final[Headers] = (
    *_PAGE,
    NOT_KEPT,
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    ),
)
# A year, for this name alone: what else is under the domain is not ours to bind.
HSTS: Final = ("Strict-Transport-Security", "max-age=31536000")

# Asked by machines that know us by an address or a service's name: a platform's health check,
# Prometheus, and the senders of webhooks, who prove themselves.
ANY_HOST: Final = ("/webhooks/", "/callbacks/")
ANY_HOST_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
PORT: Final = re.compile(r":[0-9]*$")
# The command line, and people on this machine.
HERE: Final = (
    "localhost",
    "127.0.0.1",
    "[::1]",
    "0.0.0.0",  # noqa: S104  # nosec B104 (gunicorn says that it listens there)
)


def guard(app: Flask, settings: Settings) -> None:
    """Give every answer of an app its headers, and refuse hosts that are not ours."""
    hsts = (HSTS,) if (settings.public_url or "").startswith("https:") else ()
    programs, dashboard, docs = ((*kind, *hsts) for kind in (PROGRAMS, DASHBOARD, DOCS))

    @app.after_request
    def add_headers(response: Response) -> Response:
        headers = response.headers
        match (request.endpoint or "").split(".")[0]:
            case "dashboard":
                headers.extend(dashboard)
                # Static files say themselves how long they keep.
                headers.setdefault(*NOT_KEPT)
            case "openapi" if request.endpoint == "openapi.docs":
                headers.extend(docs)
            case _:
                headers.extend(programs)
        return response

    if settings.allowed_hosts or settings.public_url:
        is_known = host_check(settings)

        @app.before_request
        def check_host() -> tuple[dict[str, str], int] | None:
            if not asks_for_host(request.path) or is_known(request.headers.get("Host", "")):
                return None
            # Answered here and not raised: the dashboard would make a page of it, whose style and
            # links are as unreachable under that name.
            refusal = UnknownHost(
                "The bridge is not known under this host name. If the name is right, add it to "
                "ALLOWED_HOSTS and restart the web process."
            )
            return {"error": refusal.word, "message": str(refusal)}, refusal.status_code


def asks_for_host(path: str) -> bool:
    """Say whether a path is served under known host names only."""
    return not path.startswith(ANY_HOST) and path not in ANY_HOST_PATHS


def host_check(settings: Settings) -> Callable[[str], bool]:
    """Return what says whether a Host header, with or without a port, is one of ours."""
    known = {*HERE, *settings.allowed_hosts, *_host_of(settings.public_url)}
    whole_domains = tuple(name for name in known if name.startswith("."))

    # Not Werkzeug's host_is_trusted(): it finds no IPv6 address, no name with a _ (containers have
    # such), and none that ends with a dot.
    def is_known(host: str) -> bool:
        name = PORT.sub("", host.lower()).removesuffix(".")
        return name in known or f".{name}".endswith(whole_domains)

    return is_known


def _host_of(public_url: str | None) -> Iterable[str]:
    """Yield the host of PUBLIC_URL as a Host header spells it; none if no header can."""
    name = urlsplit(public_url or "").hostname
    if name and ":" in name:
        yield f"[{name}]"
    elif name:
        try:
            yield name.encode("idna").decode("ascii")
        except UnicodeError:
            return
