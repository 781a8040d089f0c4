"""The security headers of every answer, and the host names under which the bridge answers.

A webhook proves its sender by a signature or a token, and is accepted under any host name: no lead
is lost because of a host name. The dashboard and the API answer only under known names, so that a
foreign site can't point a name of its own at this address and read them (DNS rebinding).
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

from flask import Flask, Response, request
from flask.globals import app_ctx, request_ctx

from schemas.errors import UnknownHost
from schemas.settings import Settings

Headers = tuple[tuple[str, str], ...]

NOT_KEPT: Final = ("Cache-Control", "no-store")  # the answer has personal data
_ALL: Final[Headers] = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),  # for browsers and scanners that do not know frame-ancestors
)
_PAGE: Final[Headers] = (
    *_ALL,
    # Not no-referrer: with that, a browser gives "null" as the origin of our own forms.
    ("Referrer-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
# JSON, metrics and errors. A browser should not show, load or frame any of them.
PROGRAMS: Final[Headers] = (
    *_ALL,
    NOT_KEPT,
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
)
# Nothing from another site, nothing inline, no frame around it.
DASHBOARD: Final[Headers] = (
    *_PAGE,
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
)
# One page without a script; its style is inline.
DOCS: Final[Headers] = (
    *_PAGE,
    NOT_KEPT,
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    ),
)
# A year, for this host name alone: other names under the domain are not ours.
HSTS: Final = ("Strict-Transport-Security", "max-age=31536000")

# For machines that use an address or a service's name: a platform's health check, Prometheus, and
# the senders of webhooks, which have their own proof.
ANY_HOST: Final = ("/webhooks/", "/callbacks/")
ANY_HOST_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
PORT: Final = re.compile(r":[0-9]*$")
# For the command line, and for people on this machine.
HERE: Final = (
    "localhost",
    "127.0.0.1",
    "[::1]",
    "0.0.0.0",  # noqa: S104  # nosec B104 (gunicorn prints this address)
)


def init_app(app: Flask, settings: Settings) -> None:
    """Give every answer of an app its headers, and refuse unknown host names."""
    hsts = (HSTS,) if (settings.public_url or "").startswith("https:") else ()
    programs, dashboard, docs = ((*kind, *hsts) for kind in (PROGRAMS, DASHBOARD, DOCS))

    @app.after_request
    def add_headers(response: Response) -> Response:
        headers, g = response.headers, app_ctx.g
        endpoint = request_ctx.request.endpoint or ""
        match "dashboard" if g.get("is_page") else endpoint.partition(".")[0]:
            case "dashboard":
                headers.extend(dashboard)
                if media := g.get("media_origin"):  # the host of one recording
                    headers["Content-Security-Policy"] += f"; media-src {media}"
                # Static files have a Cache-Control of their own.
                headers.setdefault(*NOT_KEPT)
            case "openapi" if endpoint == "openapi.docs":
                headers.extend(docs)
            case _:
                headers.extend(programs)
        return response

    if settings.allowed_hosts or settings.public_url:
        is_known = host_check(settings)

        @app.before_request
        def check_host() -> tuple[dict[str, str], int] | None:
            if not asks_for_host(request_ctx.request.path) or all(
                map(is_known, _hosts_of_request())
            ):
                return None
            # Answered here and not raised: the dashboard would make it a page, with styles and
            # links that this host name refuses, too.
            refusal = UnknownHost(
                "The bridge does not know this host name. If the name is right, add it to "
                "ALLOWED_HOSTS and restart the web process."
            )
            return {"error": refusal.word, "message": str(refusal)}, refusal.status_code


def _hosts_of_request() -> Iterable[str]:
    """Yield the names that must be known: the host, and the one before a proxy's header.

    Many proxies pass on any X-Forwarded-Host of a client. So a name of somebody else in the Host
    header is refused, whatever that header says. An address and a name without a dot (an inner
    name that a proxy uses) can't be a foreign site's name.
    """
    yield request.headers.get("Host", "")
    before = request.environ.get("werkzeug.proxy_fix.orig", {}).get("HTTP_HOST") or ""
    name = PORT.sub("", before).removesuffix(".")
    if "." in name and not _is_ip(name):
        yield before


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def asks_for_host(path: str) -> bool:
    """Say whether a path is served under known host names only."""
    return not path.startswith(ANY_HOST) and path not in ANY_HOST_PATHS


def host_check(settings: Settings) -> Callable[[str], bool]:
    """Return a function that says whether a Host header, with or without a port, is known."""
    known = {*HERE, *settings.allowed_hosts, *_host_of(settings.public_url)}
    whole_domains = tuple(name for name in known if name.startswith("."))

    # Not Werkzeug's host_is_trusted(): it does not know IPv6 addresses, names with a _ (containers
    # have such names), or names that end with a dot.
    def is_known(host: str) -> bool:
        name = PORT.sub("", host.lower()).removesuffix(".")
        return name in known or f".{name}".endswith(whole_domains)

    return is_known


def _host_of(public_url: str | None) -> Iterable[str]:
    """Yield the host of PUBLIC_URL as a Host header has it; nothing if no header can have it."""
    name = urlsplit(public_url or "").hostname
    if name and ":" in name:
        yield f"[{name}]"
    elif name:
        try:
            yield name.encode("idna").decode("ascii")
        except UnicodeError:
            return
