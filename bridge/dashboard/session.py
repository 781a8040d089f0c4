"""Signing in to the dashboard with a token of the API.

The session is a signed cookie. It has an id, the time of the sign-in, and the word that each form
must send back (CSRF). The store has, for each id, the name of the token. So signing out ends the
session in every browser that has its cookie. The role is looked up by that name at each request, so
a token that is removed or changed counts at once.

The cookie's key is made from API_TOKEN, so that every process knows the key.
"""

import hmac
import re
import secrets
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from flask import (
    Blueprint,
    Flask,
    Response,
    g,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.sessions import SecureCookieSessionInterface
from flask_wtf.csrf import CSRFError, CSRFProtect, generate_csrf
from werkzeug.wrappers import Response as AnyResponse

from bridge.access import let_in, may, may_post, note_act, token_of
from bridge.api.access import note_revealed
from bridge.dashboard.filters import with_args
from config import log
from schemas.access import Action, NamedToken
from schemas.errors import BadQuery, StoreUnavailable, TooMany
from schemas.settings import Settings
from store import Store

logger = log.get(__name__)

CSRF: Final = CSRFProtect()
LIFETIME_S = 12 * 3600
TRIES, TRIES_OF_ALL = 10, 200  # wrong tokens a minute: from one address, and from all
MOST_BYTES: Final = 16 * 1024  # of the sign-in form: a token, and the page to go to
LOOKS: Final = 20  # that a session remembers; a cookie has little room
# None of our addresses has these. Browsers drop some, and read the backslash as a slash.
ODD: Final = re.compile(r"[\x00-\x20\\]")
# These need no session.
OPEN = frozenset({"dashboard.sign_in", "dashboard.try_to_sign_in", "dashboard.static"})


class Cookies(SecureCookieSessionInterface):
    """The session's cookie: for https alone where the browser uses https."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def get_cookie_secure(self, app: Flask) -> bool:
        """Say whether the browser may send the cookie over https only."""
        return super().get_cookie_secure(app) or request.is_secure or self._is_over_https()

    def _is_over_https(self) -> bool:
        # With trusted proxies, request.is_secure is right. Without, this header needs no trust: a
        # forged one only keeps the cookie from the browser that forged it.
        scheme = request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip().lower()
        return not self._settings.proxy_hops and scheme == "https"


def configure(app: Flask, settings: Settings) -> None:
    """Let an app keep sessions; several values of API_TOKEN (rotation) make several keys.

    A token of API_TOKENS makes none: who has it could sign a cookie.
    """
    keys = [_key(token) for token in settings.api_tokens]
    app.config["SECRET_KEY"] = keys[0]
    app.config["SECRET_KEY_FALLBACKS"] = keys[1:]
    app.config["SESSION_COOKIE_NAME"] = "callkaro_bridge"
    app.config["SESSION_COOKIE_HTTPONLY"] = True
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"  # a link in a message leads in
    app.config["SESSION_COOKIE_SECURE"] = (settings.public_url or "").startswith("https:")
    app.config["PERMANENT_SESSION_LIFETIME"] = LIFETIME_S
    app.session_interface = Cookies(settings)
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False  # the dashboard checks its own forms, see add()
    app.config["WTF_CSRF_FIELD_NAME"] = "csrf"
    app.config["WTF_CSRF_HEADERS"] = ()
    app.config["WTF_CSRF_TIME_LIMIT"] = None  # as long as the session
    app.config["WTF_CSRF_SSL_STRICT"] = False  # some people's browsers send no Referer
    CSRF.init_app(app)


def _key(token: str) -> str:
    return hmac.digest(token.encode(), b"callkaro-bridge dashboard session", "sha256").hex()


def add(dashboard: Blueprint, settings: Settings, store: Store) -> None:
    """Let in signed-in people only, and accept forms from our own pages only."""

    @dashboard.app_context_processor
    def rights() -> dict[str, Any]:
        return {"may": may, "may_post": may_post, "signed_in": lambda: _known_here(signed_in)}

    def signed_in() -> NamedToken | None:
        """Return the token whose session this is; None: there is no session any more."""
        session_id = str(session.get("id", ""))
        if not session_id or time.time() - float(session.get("since", 0)) >= LIFETIME_S:
            return None
        kept = store.session(session_id)
        if kept is None:
            return None
        name, proof = kept
        for token in settings.tokens():
            if token.name == name and hmac.compare_digest(_proof(token, session_id), proof):
                return token
        return None

    @dashboard.before_request
    def check() -> AnyResponse | None:
        if request.endpoint in OPEN:
            # The only form that is read from anybody; 4 MB of it may be two million fields.
            request.max_content_length = MOST_BYTES
            return None
        g.token = None  # while Redis is away, its error page must not wait for it again
        token = signed_in()
        if token is None:
            return _to_sign_in()
        let_in(token)
        try:
            CSRF.protect()
        except CSRFError:
            message = "This page is out of date. Go back, reload it, and try again."
            raise BadQuery(message) from None
        return None

    def sign_in_page(target: str, *, wrong: str = "") -> str:
        hours = LIFETIME_S // 3600
        return render_template("sign_in.html", next=target, wrong=wrong, hours=hours)

    @dashboard.get("/sign-in")
    def sign_in() -> str | AnyResponse:
        if signed_in():
            return redirect(_next())
        return sign_in_page(request.args.get("next", ""))

    @dashboard.post("/sign-in")
    def try_to_sign_in() -> str | AnyResponse | tuple[str, int]:
        # The right token is accepted over the limit, too. Else a person who guesses behind the same
        # router would lock everybody out. That costs nothing: /api accepts guesses at the same
        # token and counts none. The length of a token is what protects it.
        token = token_of(request.form.get("token", ""), settings.tokens())
        if token is None:
            _count_wrong(store)
            logger.warning("dashboard.refused")
            return sign_in_page(request.form.get("next", ""), wrong="This token is wrong."), 401
        if old := session.get("id"):
            store.end_session(old)
        session.clear()
        session.permanent = True
        session_id = secrets.token_urlsafe(24)
        proof = _proof(token, session_id)
        store.open_session(session_id, name=token.name, proof=proof, for_s=LIFETIME_S)
        session["id"], session["since"] = session_id, int(time.time())
        generate_csrf()  # here, so that two pages that are opened at once have the same word
        logger.info("dashboard.signed_in", actor=token.name)
        note_act(Action.SIGN_IN, name=token.name)
        return redirect(_next())

    @dashboard.post("/sign-out")
    def sign_out() -> AnyResponse:
        store.end_session(session["id"])
        session.clear()
        logger.info("dashboard.signed_out")
        note_act(Action.SIGN_OUT)
        return redirect(url_for("dashboard.sign_in"))


def note_look(what: str, of: str, *, is_part: bool) -> None:
    """Log that a person looks at whole numbers; a part that refreshes itself is not a new look.

    The session has the known looks. A request alone could claim to be a refresh.
    """
    known = session.get("looks", [])
    if is_part and of in known:
        return
    note_revealed(what, of)
    session["looks"] = [of, *(one for one in known if one != of)][:LOOKS]


def _proof(token: NamedToken, session_id: str) -> str:
    """Return what says that a session was opened with this value of a token."""
    return hmac.digest(token.token.encode(), f"session {session_id}".encode(), "sha256").hex()


def _known_here(signed_in: Callable[[], NamedToken | None]) -> NamedToken | None:
    """Return the token of this request, also on a page that needs none; None: nobody signed in."""
    if "token" not in g:
        try:
            g.token = signed_in()
        except StoreUnavailable:
            g.token = None
    found: NamedToken | None = g.token
    return found


def _to_sign_in() -> AnyResponse:
    # A redirect can't repeat a POST. None of our addresses may have a phone number.
    here = with_args(phone=None) if request.method == "GET" else ""
    target = url_for("dashboard.sign_in", next=here or None)
    if request.headers.get("HX-Request"):  # a part of a page: the whole page must go there
        return Response(status=401, headers={"HX-Redirect": url_for("dashboard.sign_in")})
    return redirect(target)


def _next() -> str:
    """Return the page to go to after signing in: a path of ours, never another site."""
    wanted = request.values.get("next", "")
    return wanted if _is_path(wanted) else url_for("dashboard.overview")


def _is_path(address: str) -> bool:
    """Say whether an address is a path that no browser reads as another site."""
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
        raise TooMany("Too many wrong tokens. Wait a minute, then try again.")
