"""Builds the web process. Importing this module does nothing; calling create_app() does."""

from typing import Any

import flask
import orjson
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from bridge import callbacks, dashboard, metrics, webhooks
from bridge.api import openapi
from bridge.api import views as api
from bridge.figures import FigureReader
from bridge.http import request_id, security
from bridge.http.incoming import BROKEN_OFF, TOO_LARGE, BrokenBody
from bridge.http.slashes import WebhookSlashes
from bridge.http.unavailable import unavailable
from bridge.http.web_app import WebApp
from bridge.intake import Intake
from config import log
from config.settings import MAX_BODY_BYTES, load_settings
from schemas.errors import BadPayload, RequestError, StoreUnavailable, TooLarge
from schemas.settings import Settings
from store import Store, connect
from store.queue import Wakeup, connect_queue, open_queue

logger = log.get(__name__)


class Json(DefaultJSONProvider):
    """JSON by orjson: the answer to a batch of 100 has 300 URLs."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Return obj as JSON."""
        return orjson.dumps(obj, option=orjson.OPT_NON_STR_KEYS).decode()


def create_app(settings: Settings | None = None) -> WebApp:
    """Build the web process. Raises SettingsError with everything that is missing or wrong."""
    settings = settings or load_settings()
    log.configure(settings.log_level, process="web")
    app = WebApp(__name__)
    request_id.init_app(app)  # first: all later log lines of a request have its id
    security.init_app(app, settings)
    app.json = Json(app)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1  # see incoming.read_all
    app.config["PUBLIC_URL"] = settings.public_url
    app.config["AUDIT_DAYS"] = settings.audit_days
    if settings.proxy_hops:
        hops = settings.proxy_hops
        # A router ends TLS: HubSpot signed https, Flask sees http.
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops
        )
    app.wsgi_app = WebhookSlashes(app.wsgi_app)  # type: ignore[method-assign]
    # Two tries of 2 s each. HubSpot gives up after 5 s, and sends again sooner after a 503.
    store = Store(
        connect(settings.redis_url, timeout_s=2.0, retries=1),
        zone=settings.callkaro_timezone,
        acks=settings.redis_acks,
        is_engine_durable=settings.is_engine_durable,
    )
    wakeup = Wakeup(open_queue(connect_queue(settings.redis_url)))
    hooks = webhooks.views(Intake(settings=settings, store=store, wakeup=wakeup))
    # Its own store, with its own connections: waiting in the background must not slow the intake.
    meter = metrics.Meter(Store(connect(settings.redis_url, timeout_s=2.0)))
    metrics.count_webhooks(hooks, meter, settings)
    app.extensions["meter"] = meter
    app.extensions["store"] = store  # gunicorn.conf.py migrates it; access.py writes the audit
    figures = FigureReader(store)  # one remembers for the API and the dashboard
    app.register_blueprint(hooks)
    app.register_blueprint(callbacks.views(store, settings, wakeup))
    app.register_blueprint(api.views(store, settings, wakeup, figures))
    app.register_blueprint(api.health(store, wakeup))
    app.register_blueprint(openapi.views(settings))
    app.register_blueprint(metrics.views(store, settings, wakeup))
    dashboard.register(app, settings, store, wakeup, figures)
    register_errors(app)

    @app.after_request
    def name_the_scheme(response: flask.Response) -> flask.Response:
        # RFC 9110 asks for it. No scheme of HTTP describes how a webhook is signed.
        if response.status_code == 401 and not flask.request.path.startswith("/webhooks/"):
            response.headers.setdefault("WWW-Authenticate", "Bearer")
        return response

    return app


def register_errors(app: WebApp) -> None:
    """Give every error one shape: {"error": "<word>", "message": "<sentence>"}."""

    @app.errorhandler(RequestError)
    def refused(error: RequestError) -> tuple[dict[str, str], int]:
        return {"error": error.word, "message": str(error)}, error.status_code

    @app.errorhandler(StoreUnavailable)
    def store_unavailable(error: StoreUnavailable) -> flask.Response:
        return unavailable(error)

    @app.errorhandler(413)
    def too_large(error: HTTPException) -> tuple[dict[str, str], int]:
        return {"error": TooLarge.word, "message": TOO_LARGE}, TooLarge.status_code

    def broken_off(error: Exception) -> tuple[dict[str, str], int]:
        return {"error": BadPayload.word, "message": BROKEN_OFF}, BadPayload.status_code

    for kind in BrokenBody:
        app.register_error_handler(kind, broken_off)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> flask.Response:
        if error.code in (404, 405) and dashboard.is_for_a_person():
            return dashboard.no_page(error)
        word = (error.name or "error").lower().replace(" ", "_")
        answer = flask.jsonify({"error": word, "message": error.description or ""})
        answer.status_code = error.code or 500
        for name, value in error.get_headers():
            if name != "Content-Type":  # such as Allow, with a 405
                answer.headers[name] = value
        return answer

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> tuple[dict[str, str], int]:
        logger.error("request.crashed", exc_info=error, rule=str(flask.request.url_rule))
        return {
            "error": "internal",
            "message": "The bridge has an error of its own. The log of the web process says more.",
        }, 500
