"""POST /webhooks/<source>, /callbacks/callkaro/<token>: what CRMs and CallKaro post to.

HTTP in, HTTP out; the rest is intake.py and the store.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from flask import Blueprint, Request, Response, current_app, g, jsonify, make_response, request

from bridge.api.describe import FORM, JSON, operation
from bridge.http import request_id
from bridge.http.body import read_body
from bridge.intake import Intake
from config import log
from config.settings import MAX_BODY_BYTES
from schemas.delivery import DeliveryRef
from schemas.errors import (
    BadPayload,
    BadSignature,
    NotFound,
    RequestError,
    StoreUnavailable,
    TooLarge,
)
from schemas.event import EventStatus
from schemas.outcome import asks_to_stop, number_of, read_outcome
from schemas.records import Accepted
from schemas.responses import OutcomeKeptResponse, WebhookResponse
from schemas.settings import Settings
from schemas.signatures import is_one_of
from schemas.source import Headers, Incoming
from store import Store
from store.suppression import Suppressions

logger = log.get(__name__)

RETRY_AFTER_S = 5
# The four counts of the answer; a duplicate is one whatever became of the first.
COUNTED = {
    EventStatus.ROUTED: "accepted",
    EventStatus.UNROUTED: "unrouted",
    EventStatus.UNREADABLE: "unreadable",
}


def views(intake: Intake) -> Blueprint:
    """Return the routes of this module."""
    webhooks = Blueprint("webhooks", __name__)

    @webhooks.post("/webhooks/<source>")
    @operation(
        "Take a webhook in",
        tag="Webhooks",
        description="CRMs and lead forms post here. Each request is signed as its source signs, or "
        "brings its source's secret. A request that can't prove its sender is refused. 202: all of "
        "it is stored, and a resend adds nothing. 429 in place of 503: the source resends on 429 "
        "alone.",
        takes=(JSON, FORM),
        answers={202: WebhookResponse},
        refusals=(400, 401, 404, 413, 415, 429, 503),
        needs_token=False,
        headers={"Retry-After": "Seconds; with 429 and 503."},
    )
    def receive(source: str) -> Response:
        kind = intake.find(source)[0].kind  # an unknown source is refused before its body is read
        try:
            accepted = intake.receive(
                source,
                incoming(request, intake.settings.public_url),
                request_id=request_id.current(),
            )
        except StoreUnavailable as error:
            logger.warning("webhook.unstored", source=source, error=str(error))
            return unavailable(error, kind.full_status)
        except RequestError as error:
            if isinstance(error, BadSignature):
                note_refused(intake.store, source)
            logger.info(
                "webhook.rejected",
                source=source,
                error=error.word,
                duration_ms=request_id.taken_ms(),
            )
            raise
        counts = g.counted = counted(accepted)
        taken_ms = request_id.taken_ms()
        logger.info("webhook.accepted", source=source, **counts, duration_ms=taken_ms)
        return make_response(jsonify({**counts, "events": listed(accepted)}), 202)

    return webhooks


def note_refused(store: Store, source: str) -> None:
    """Count a forged request for the alert about it; its sender is refused all the same."""
    with contextlib.suppress(StoreUnavailable):
        store.note_refused(source)


def callbacks(store: Store, settings: Settings) -> Blueprint:
    """Return the route that CallKaro tells outcomes of calls to. No worker takes part in it."""
    callbacks = Blueprint("callbacks", __name__)

    # A token may hold slashes. Its URL is all that protects this, so it is in no log and no answer.
    @callbacks.post("/callbacks/callkaro/<path:token>")
    @operation(
        "Take an outcome in",
        tag="Webhooks",
        description="What CallKaro posts to when a call has ended. The token in the path is "
        "CALLKARO_WEBHOOK_TOKEN; a wrong one is answered 404.",
        takes=(JSON,),
        answers={200: OutcomeKeptResponse},
        refusals=(400, 404, 413, 503),
        needs_token=False,
    )
    def call_ended(token: str) -> Response:
        try:
            if not is_one_of(token, settings.callkaro_webhook_tokens):
                raise NotFound("There is nothing here.")
            became = keep_outcome(store, settings, read_all(request))
        except StoreUnavailable as error:
            logger.warning("outcome.unstored", error=str(error))
            raise
        except RequestError as error:
            logger.info("outcome.rejected", error=error.word)
            raise
        return jsonify({"status": became})

    return callbacks


def keep_outcome(store: Store, settings: Settings, body: bytes) -> str:
    """Keep what a body says of a call, and return what became of it. Raises BadPayload."""
    content = read_body(body, "application/json")  # whatever it calls itself
    outcome = read_outcome(content, settings.callkaro_timezone)
    if outcome is None:
        logger.info("outcome.ignored")
        return "ignored"
    if asks_to_stop(outcome, settings.suppress_when):
        Suppressions(store=store).suppress_called(outcome, number_of(content, outcome))
    became, delivery_id = store.keep_outcome(outcome)
    if delivery_id and not outcome.is_final:
        Suppressions(store=store).call_off_accepted(delivery_id)
    logger.info(
        "outcome.received",
        became=became,
        delivery=delivery_id,
        result=outcome.result,
        final=outcome.is_final,
    )
    return became


def incoming(request: Request, public_url: str | None) -> Incoming:
    """Return the request as its sender made it, the URL with its percent-encoding untouched."""
    # gunicorn and werkzeug keep the line as it came; WSGI's own PATH_INFO is decoded.
    raw = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or request.full_path
    if raw.startswith("/"):
        path = raw  # a bare "?" at its end is signed, too
    else:
        parts = urlsplit(raw)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
    base = public_url or f"{request.scheme}://{request.host}"
    return Incoming(
        method=request.method,
        url=base + path,
        headers=cast(Headers, request.headers),
        query=_query(request),
        body=read_all(request),
        content_type=request.mimetype,
    )


def _query(request: Request) -> Mapping[str, str]:
    try:
        return request.args
    except UnicodeDecodeError as error:  # bytes that no URL may hold; gunicorn refuses them itself
        raise BadPayload("The query string is not valid.") from error


def read_all(request: Request) -> bytes:
    """Return the body. Raises TooLarge, or BadPayload for one that its sender broke off."""
    try:
        body = request.get_data(cache=False)
    except OSError as error:  # gunicorn's, for chunks that are none
        raise BadPayload("The body did not arrive whole.") from error
    # werkzeug cuts a body without a Content-Length at its limit and says nothing.
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge(f"The body is over {MAX_BODY_BYTES // 1024} kB.")
    return body


def counted(accepted: list[Accepted]) -> dict[str, int]:
    """Return the four counts of the answer; they add up to the items."""
    counts = Counter("duplicates" if one.duplicate else COUNTED[one.status] for one in accepted)
    return {name: counts[name] for name in ("accepted", "duplicates", "unrouted", "unreadable")}


def listed(accepted: list[Accepted]) -> list[dict[str, Any]]:
    """Return the events of the answer, duplicates with their first ids."""
    base = base_url()
    return [
        {
            "id": one.event_id,
            "status": one.status,
            "duplicate": one.duplicate,
            "status_url": f"{base}/api/events/{one.event_id}",
            "deliveries": refs(one.deliveries, base),
        }
        for one in accepted
    ]


def refs(deliveries: Iterable[DeliveryRef], base: str) -> list[dict[str, str]]:
    """Return deliveries as answers name them, each with where to ask for it."""
    return [
        {
            "id": one.id,
            "route": one.route,
            "status": one.status,
            "status_url": f"{base}/api/deliveries/{one.id}",
        }
        for one in deliveries
    ]


def base_url() -> str:
    """Return the address that whoever asks can reach us under."""
    public: str | None = current_app.config["PUBLIC_URL"]
    return public or f"{request.scheme}://{request.host}"


def unavailable(error: StoreUnavailable, status: int = 503) -> Response:
    """Return the answer for when nothing can be stored: come back in a moment."""
    body = jsonify(
        # No promise that nothing was stored: Redis may have done it and not been able to say so.
        {"error": error.word, "message": "The store does not answer. Try again in a moment."}
    )
    answered = make_response(body, status)
    answered.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answered
