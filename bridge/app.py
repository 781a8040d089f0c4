"""The web process, wired. Importing this module does nothing; calling create_app() does."""

from typing import Any

import flask
import orjson
from flask import Flask
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from bridge import dashboard, metrics, webhooks
from bridge.api import openapi
from bridge.api import views as api
from bridge.http import request_id, security
from bridge.intake import Intake
from config import log
from config.settings import MAX_BODY_BYTES, load_settings
from schemas.errors import RequestError, StoreUnavailable, TooLarge
from schemas.settings import Settings
from store import Store, connect
from store.queue import Wakeup, connect_queue, open_queue

logger = log.get(__name__)


class Json(DefaultJSONProvider):
    """JSON by orjson: an answer to a batch of 100 holds 300 URLs."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Return obj as JSON."""
        return orjson.dumps(obj, option=orjson.OPT_NON_STR_KEYS).decode()


def create_app(settings: Settings | None = None) -> Flask:
    """Build the web process. Raises SettingsError that names all that is missing or wrong."""
    settings = settings or load_settings()
    log.configure(settings.log_level, process="web")
    app = Flask(__name__)
    request_id.carry(app)  # first: all that follows is logged with it
    security.guard(app, settings)
    app.json = Json(app)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1  # see webhooks.read_all
    app.config["PUBLIC_URL"] = settings.public_url
    if settings.proxy_hops:
        hops = settings.proxy_hops
        # A router ends TLS: HubSpot signed https, Flask sees http.
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops
        )
    # Two tries of 2 s: HubSpot gives up after 5, and its resend is better than its time-out.
    store = Store(connect(settings.redis_url, timeout_s=2.0, retries=1))
    wakeup = Wakeup(open_queue(connect_queue(settings.redis_url)))
    hooks = webhooks.views(Intake(settings=settings, store=store, wakeup=wakeup))
    # A store of its own: what waits in the background must not slow the intake down.
    meter = metrics.Meter(Store(connect(settings.redis_url, timeout_s=2.0)))
    metrics.count_webhooks(hooks, meter, settings)
    app.extensions["meter"] = meter
    app.extensions["store"] = store  # gunicorn.conf.py migrates it
    app.register_blueprint(hooks)
    app.register_blueprint(webhooks.callbacks(store, settings))
    app.register_blueprint(api.views(store, settings, wakeup))
    app.register_blueprint(api.health(store))
    app.register_blueprint(openapi.views(settings))
    app.register_blueprint(metrics.views(store, settings, wakeup))
    dashboard.register(app, settings, store, wakeup)
    register_errors(app)
    return app


def register_errors(app: Flask) -> None:
    """Turn every error into one shape: {"error": "<word>", "message": "<sentence>"}."""

    @app.errorhandler(RequestError)
    def refused(error: RequestError) -> tuple[dict[str, str], int]:
        return {"error": error.word, "message": str(error)}, error.status_code

    @app.errorhandler(StoreUnavailable)
    def unavailable(error: StoreUnavailable) -> flask.Response:
        return webhooks.unavailable(error)

    @app.errorhandler(413)
    def too_large(error: HTTPException) -> tuple[dict[str, str], int]:
        return {
            "error": TooLarge.word,
            "message": f"The body is over {MAX_BODY_BYTES // 1024} kB.",
        }, TooLarge.status_code

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> flask.Response:
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
        return {"error": "internal", "message": "Something went wrong here; it is in the log."}, 500
