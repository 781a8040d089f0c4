"""Who looks at the dashboard: signing in with the API token.

The session is a signed cookie: it says when its owner signed in, and holds the word that each form
must bring back (CSRF). Its key is made of the API token, so that every process knows it, and a
token that is taken away ends the sessions that it opened.
"""

import hmac
import re
import secrets
import time
from typing import Final
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, redirect, render_template, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from werkzeug.wrappers import Response as AnyResponse

from bridge.api.access import note_revealed
from bridge.dashboard.filters import with_args
from config import log
from schemas.errors import BadQuery, TooMany
from schemas.settings import Settings
from schemas.signatures import is_one_of
from store import Store

logger = log.get(__name__)

LIFETIME_S = 12 * 3600
TRIES, TRIES_OF_ALL = 10, 200  # wrong tokens in a minute: of one address, and of all
MOST_BYTES: Final = 16 * 1024  # of the form to sign in: a token, and where to go then
LOOKS: Final = 20  # that a session remembers; a cookie is short
# In no address of ours: browsers drop some of these, and read the backslash as a slash.
ODD: Final = re.compile(r"[\x00-\x20\\]")
# These need no session.
OPEN = frozenset({"dashboard.sign_in", "dashboard.try_to_sign_in", "dashboard.static"})


class Cookies(SecureCookieSessionInterface):
    """The session's cookie: for https alone wherever its browser came over https."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def get_cookie_secure(self, app: Flask) -> bool:
        """Say whether the cookie may go over https alone."""
        return super().get_cookie_secure(app) or request.is_secure or self._came_over_https()

    def _came_over_https(self) -> bool:
        # Where proxies are trusted, request.is_secure has heard the right one. Where none is, this
        # header needs no trust: made up, it keeps a cookie from nobody but who made it up.
        scheme = request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip().lower()
        return not self._settings.proxy_hops and scheme == "https"


def configure(app: Flask, settings: Settings) -> None:
    """Let an app keep sessions; several API tokens (rotation) make several keys."""
    keys = [_key(token) for token in settings.api_tokens]
    app.config["SECRET_KEY"] = keys[0]
    app.config["SECRET_KEY_FALLBACKS"] = keys[1:]
    app.config["SESSION_COOKIE_NAME"] = "callkaro_bridge"
    app.config["SESSION_COOKIE_HTTPONLY"] = True
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"  # a link in a message leads in
    app.config["SESSION_COOKIE_SECURE"] = (settings.public_url or "").startswith("https:")
    app.config["PERMANENT_SESSION_LIFETIME"] = LIFETIME_S
    app.session_interface = Cookies(settings)


def _key(token: str) -> str:
    return hmac.digest(token.encode(), b"callkaro-bridge dashboard session", "sha256").hex()


def add(dashboard: Blueprint, settings: Settings, store: Store) -> None:
    """Let in only who is signed in, and take only forms that come from our own pages."""

    @dashboard.before_request
    def check() -> AnyResponse | None:
        if request.endpoint in OPEN:
            # The only form that is read of anybody, and 4 MB of it may be two million fields.
            request.max_content_length = MOST_BYTES
            return None
        if not _is_signed_in():
            return _to_sign_in()
        if request.method == "POST" and not _is_ours():
            raise BadQuery("This page is too old. Go back, load it again, and repeat what you did.")
        return None

    @dashboard.get("/sign-in")
    def sign_in() -> str | AnyResponse:
        if _is_signed_in():
            return redirect(_next())
        return render_template("sign_in.html", next=request.args.get("next", ""))

    @dashboard.post("/sign-in")
    def try_to_sign_in() -> str | AnyResponse | tuple[str, int]:
        # The right token is let in over the limit, too: who guesses behind the same router would
        # else lock everybody out. That costs nothing, for /api takes guesses at the same token and
        # counts none; what keeps a token from being guessed is its length.
        if not is_one_of(request.form.get("token", ""), settings.api_tokens):
            _count_wrong(store)
            logger.warning("dashboard.refused")
            page = render_template(
                "sign_in.html", next=request.form.get("next", ""), wrong="That is not the token."
            )
            return page, 401
        session.clear()
        session.permanent = True
        session["since"], session["csrf"] = int(time.time()), secrets.token_urlsafe(24)
        logger.info("dashboard.signed_in")
        return redirect(_next())

    @dashboard.post("/sign-out")
    def sign_out() -> AnyResponse:
        session.clear()
        return redirect(url_for("dashboard.sign_in"))


def note_look(what: str, of: str, *, is_part: bool) -> None:
    """Write down that somebody looks at numbers; a part that refreshes itself is no new look.

    The session says which looks are known, and not the request: nobody gets at a part unseen.
    """
    known = session.get("looks", [])
    if is_part and of in known:
        return
    note_revealed(what, of)
    session["looks"] = [of, *(one for one in known if one != of)][:LOOKS]


def _is_signed_in() -> bool:
    return time.time() - float(session.get("since", 0)) < LIFETIME_S


def _is_ours() -> bool:
    """Say whether a form brings the session's own word."""
    return is_one_of(request.form.get("csrf", ""), (session.get("csrf", ""),))


def _to_sign_in() -> AnyResponse:
    # What was posted can't be posted again by going there. A number is in no address of ours.
    here = with_args(phone=None) if request.method == "GET" else ""
    target = url_for("dashboard.sign_in", next=here or None)
    if request.headers.get("HX-Request"):  # a part of a page: the page itself must go
        return Response(status=401, headers={"HX-Redirect": url_for("dashboard.sign_in")})
    return redirect(target)


def _next() -> str:
    """Return where to go after signing in: a path of ours, never another site."""
    wanted = request.values.get("next", "")
    return wanted if _is_path(wanted) else url_for("dashboard.overview")


def _is_path(address: str) -> bool:
    """Say whether an address is a path, and nothing that a browser may read as another site."""
    if not address.startswith("/") or address.startswith("//") or ODD.search(address):
        return False
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return not parts.scheme and not parts.netloc


def _count_wrong(store: Store) -> None:
    """Count a wrong token. Raises TooMany."""
    mine = store.count_tries(request.remote_addr or "", within_s=60)
    if mine > TRIES or store.count_tries("all", within_s=60) > TRIES_OF_ALL:
        raise TooMany("Too many tries. Wait a minute.")
