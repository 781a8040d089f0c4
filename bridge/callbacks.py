"""POST /callbacks/callkaro: CallKaro posts the outcome of each call here.

The token is in the path (/callbacks/callkaro/<token>) or in a header.

No worker takes part: an outcome is kept at once, beside its delivery. What it makes due (the CRM is
told, a scheduled call is called off) is a worker's, so the tickers are told.
"""

from flask import Blueprint, Response, jsonify, request

from bridge.api.describe import JSON, operation
from bridge.http.body import read_body
from bridge.http.incoming import read_all
from bridge.wake import Tickers
from config import log
from schemas.errors import NotFound, RequestError, StoreUnavailable, Unconfirmed
from schemas.outcome import asks_to_stop, number_of, read_outcome
from schemas.responses import OutcomeKeptResponse
from schemas.settings import Settings
from schemas.signatures import is_one_of
from store import Store
from store.queue import Wakeup
from store.suppression import Suppressions

logger = log.get(__name__)


def views(store: Store, settings: Settings, wakeup: Wakeup) -> Blueprint:
    """Return the routes of this module."""
    callbacks = Blueprint("callbacks", __name__)
    tickers = Tickers(wakeup)

    # A token may have slashes. It is all that protects this address, so no log line and no answer
    # has it.
    @callbacks.post("/callbacks/callkaro/<path:token>")
    @operation(
        "Receive an outcome",
        tag="Webhooks",
        description="CallKaro posts here when a call has ended. The token in the path is "
        "CALLKARO_WEBHOOK_TOKEN; a wrong token is answered 404.",
        takes=(JSON,),
        answers={200: OutcomeKeptResponse},
        refusals=(400, 404, 413, 503),
        needs_token=False,
    )
    def call_ended(token: str) -> Response:
        # Without the slashes that a person pasted: CallKaro sends an outcome once.
        return receive(token, token.rstrip("/"))

    @callbacks.post("/callbacks/callkaro", strict_slashes=False)
    @operation(
        "Receive an outcome, with the token in a header",
        tag="Webhooks",
        description="As with the token in the path. It is in `Authorization: Bearer <token>` or in "
        "`X-Webhook-Token`; without it the answer is 404, too.",
        takes=(JSON,),
        answers={200: OutcomeKeptResponse},
        refusals=(400, 404, 413, 503),
        needs_token=False,
    )
    def call_ended_by_header() -> Response:
        scheme, _, bearer = request.headers.get("Authorization", "").strip().partition(" ")
        given = [request.headers.get("X-Webhook-Token", "")]
        return receive(*given, *([bearer] if scheme.lower() == "bearer" else []))

    def receive(*given: str) -> Response:
        """Keep the outcome of the current request, if a given token is right."""
        try:
            # A list: the time that it takes must not say which of them is right.
            if not any([is_one_of(token, settings.callkaro_webhook_tokens) for token in given]):
                raise NotFound("There is nothing at this address.")
            result = keep_outcome(store, settings, read_all(request))
        except StoreUnavailable as error:
            logger.warning("outcome.unstored", error=str(error))
            raise
        except RequestError as error:
            logger.info("outcome.rejected", error=error.word)
            raise
        tickers.tell()
        return jsonify({"status": result})

    return callbacks


def keep_outcome(store: Store, settings: Settings, body: bytes) -> str:
    """Keep the outcome in a body. Returns what the store did with it. Raises BadPayload."""
    content = read_body(body, "application/json")  # whatever its Content-Type says
    outcome = read_outcome(content, settings.callkaro_timezone)
    if outcome is None:
        logger.info("outcome.ignored")
        return "ignored"
    unconfirmed = None
    if asks_to_stop(outcome, settings.suppress_when):
        try:
            Suppressions(store=store).suppress_called(outcome, number_of(content, outcome))
        except Unconfirmed as error:  # the suppression is stored, so the outcome is kept, too
            unconfirmed = error
    result, delivery_id = store.keep_outcome(outcome)
    if unconfirmed is not None:
        raise unconfirmed
    if delivery_id and not outcome.is_final:
        Suppressions(store=store).call_off_accepted(delivery_id)
    logger.info(
        "outcome.received",
        became=result,
        delivery=delivery_id,
        result=outcome.result,
        final=outcome.is_final,
    )
    return result
