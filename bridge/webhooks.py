"""POST /webhooks/<source>: CRMs and lead forms post their events here.

This module reads the request and writes the answer; intake.py does the work between.
"""

import contextlib
from typing import Any

from flask import Blueprint, Response, g, request
from flask.globals import request_ctx

from bridge.api.describe import FORM, JSON, XML, operation
from bridge.challenge import answer_to
from bridge.http import request_id
from bridge.http.answers import json_answer
from bridge.http.incoming import incoming
from bridge.http.links import event_url, own_address, refs
from bridge.http.unavailable import unavailable
from bridge.intake import Intake
from config import log
from schemas.errors import (
    BadSignature,
    RequestError,
    StoreUnavailable,
    UnknownSource,
    WrongMethod,
)
from schemas.event import EventStatus
from schemas.records import Accepted
from schemas.responses import WebhookResponse
from schemas.source import Incoming, Source
from store import Store

logger = log.get(__name__)

PATH = "/webhooks/"

# The answer's counts. A duplicate counts as a duplicate, whatever the status of the first.
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
        "Receive a webhook",
        tag="Webhooks",
        description="CRMs and lead forms post here. Each request is signed, or has the secret of "
        "its source; a request that can't prove its sender is refused. One that can't be parsed is "
        "refused, too; if it proved its sender it is kept for people. 202: everything is stored, "
        "and sending it again adds nothing. The answer is 429 instead of 503 for a source that "
        "sends again only after a 429.",
        takes=(JSON, FORM, XML),
        answers={202: WebhookResponse},
        refusals=(400, 401, 404, 413, 415, 429, 503),
        needs_token=False,
        headers={"Retry-After": "Seconds; with 429 and 503."},
    )
    def receive(source: str) -> Response:
        known = known_source(source)  # an unknown source is refused before its body is read
        return take_in(known, incoming(request_ctx.request))

    @webhooks.get("/webhooks/<source>")
    @operation(
        "Answer a vendor's question, or receive a lead in the query",
        tag="Webhooks",
        description="Some vendors ask with a GET whether the address is ours, and expect a text of "
        "the query as the answer. Others send a lead in the query: then the answer is that of a "
        "POST. Every other source answers 405. HEAD is answered 200.",
        answers={202: WebhookResponse},
        refusals=(400, 401, 404, 405, 413, 429, 503),
        needs_token=False,
    )
    def ask(source: str) -> Response:
        known, asked = known_source(source), incoming(request_ctx.request)
        if request.method == "HEAD":
            return Response(status=200)
        if (answer := challenge_answer(known, asked)) is not None:
            return answer
        if not known.takes_get:
            raise WrongMethod(f"{known.kind.title} sends its webhooks as POST.")
        return take_in(known, asked)

    @webhooks.after_app_request  # Flask itself answers a PUT, and knows no sources
    def allow(response: Response) -> Response:
        if response.status_code == WrongMethod.status_code and request.path.startswith(PATH):
            source = intake.settings.routes.sources.get(request.path.removeprefix(PATH))
            response.headers["Allow"] = ", ".join(methods_of(source))
        return response

    def take_in(source: Source, asked: Incoming) -> Response:
        try:
            if asked.method == "POST" and (answer := challenge_answer(source, asked)) is not None:
                return answer
            accepted = intake.receive(source.name, asked, request_id=request_id.current())
        except StoreUnavailable as error:
            logger.warning("webhook.unstored", source=source.name, error=str(error))
            return unavailable(error, source.kind.full_status)
        except RequestError as error:
            note_rejected(source, error)
            if source.kind.reply.is_always and not isinstance(error, BadSignature):
                g.counted = {}
                return replied(source, {})
            raise
        counts = g.counted = counted(accepted)
        taken_ms = request_id.taken_ms()
        logger.info("webhook.accepted", source=source.name, **counts, duration_ms=taken_ms)
        return replied(source, {**counts, "events": listed(accepted)})

    def note_rejected(source: Source, error: RequestError) -> None:
        why = {}
        if isinstance(error, BadSignature):
            note_refused(intake.store, source.name)
            why = {"why": error.why}
        taken_ms = request_id.taken_ms()
        logger.info(
            "webhook.rejected", source=source.name, error=error.word, **why, duration_ms=taken_ms
        )

    def challenge_answer(source: Source, asked: Incoming) -> Response | None:
        if source.kind.challenge is None:
            return None
        variables = intake.settings.variables.get(source.name, {})
        try:
            return answer_to(source, asked, variables)
        except BadSignature as error:
            note_rejected(source, error)
            raise

    def known_source(name: str) -> Source:
        """Return a source. Raises UnknownSource, and logs it."""
        try:
            return intake.find(name)[0]
        except UnknownSource:
            # Not the path: anybody may have put anything there. A name of routes.toml is ours.
            known = name if name in intake.settings.routes.sources else None
            logger.info("webhook.unknown_source", source=known)
            raise

    return webhooks


def methods_of(source: Source | None) -> tuple[str, ...]:
    """Return the methods that /webhooks/<source> takes; None: there is no such source."""
    challenge = source.kind.challenge if source else None
    asks = challenge is not None and challenge.method == "GET"
    takes_get = source is not None and (source.takes_get or asks)
    return ("GET", "HEAD", "POST") if takes_get else ("HEAD", "POST")


def replied(source: Source, content: dict[str, Any]) -> Response:
    """Return the answer to a request whose events are stored, as its sender needs it."""
    reply = source.kind.reply
    status = source.answer or reply.status
    if reply.body is None:
        return json_answer(content, status)
    return Response(reply.body, status=status, mimetype=reply.media_type)


def note_refused(store: Store, source: str) -> None:
    """Count a forged request, for the alert. Its sender is refused even if that does not work."""
    with contextlib.suppress(StoreUnavailable):
        store.note_refused(source)


def counted(accepted: list[Accepted]) -> dict[str, int]:
    """Return the four counts of the answer; they add up to the number of items."""
    counts = {"accepted": 0, "duplicates": 0, "unrouted": 0, "unreadable": 0}
    for one in accepted:
        counts["duplicates" if one.duplicate else COUNTED[one.status]] += 1
    return counts


def listed(accepted: list[Accepted]) -> list[dict[str, Any]]:
    """Return the events of the answer; a duplicate has the ids of the first."""
    base = own_address()
    return [
        {
            "id": one.event_id,
            "status": one.status,
            "duplicate": one.duplicate,
            "status_url": event_url(one.event_id, base),
            "deliveries": refs(one.deliveries, base),
        }
        for one in accepted
    ]
