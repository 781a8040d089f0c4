"""/api: what became of each event and delivery. Every answer needs the API token."""

from typing import Any

from flask import Blueprint, Response, jsonify, request
from rq import Worker

from bridge import api_operations
from bridge.api_queries import read_event_query, read_query
from bridge.errors import NotFound, Unauthorized
from bridge.operations import Operations
from bridge.queue import Bell
from bridge.records import SeenEvent
from bridge.settings import Settings
from bridge.store import Store
from bridge.verify import is_one_of
from bridge.webhooks import base_url, refs
from schemas.answers import (
    CallKaroAnswer,
    CampaignAnswer,
    DeliveryAnswer,
    DeliveryBrief,
    EventAnswer,
    EventBrief,
    PauseAnswer,
)
from schemas.delivery import Status
from schemas.fields import mask_text


def views(store: Store, settings: Settings, bell: Bell) -> Blueprint:
    """Return the routes of /api."""
    api = Blueprint("api", __name__, url_prefix="/api")
    brief, full = DeliveryBrief(many=True), DeliveryAnswer()
    event_brief, event_full = EventBrief(), EventAnswer()
    campaign_answer = CampaignAnswer(many=True)

    @api.before_request
    def check_token() -> None:
        given = request.headers.get("Authorization", "")
        scheme, _, token = given.partition(" ")
        if scheme.lower() != "bearer" or not is_one_of(token.strip(), settings.api_tokens):
            raise Unauthorized("Send the API token as `Authorization: Bearer <API_TOKEN>`.")

    @api.get("/status")
    def status() -> Response:
        return jsonify(overview(store, settings, bell))

    @api.get("/events")
    def events() -> Response:
        filters, before, limit = read_event_query(request.args)
        page = store.events(filters, before=before, limit=limit)
        items = [shown_event(seen, event_brief) for seen in page.items]
        return jsonify({"items": items, "next_cursor": page.next_cursor})

    @api.get("/events/<event_id>")
    def event(event_id: str) -> Response:
        seen = store.event(event_id)
        if seen is None:
            raise NotFound("There is no event with that id; records are kept RETENTION_DAYS.")
        return jsonify(shown_event(seen, event_full))

    @api.get("/deliveries")
    def deliveries() -> Response:
        filters, before, limit = read_query(request.args, settings.default_region)
        page = store.deliveries(filters, before=before, limit=limit)
        return jsonify({"items": brief.dump(page.items), "next_cursor": page.next_cursor})

    @api.get("/deliveries/<delivery_id>")
    def delivery(delivery_id: str) -> Response:
        found = store.delivery(delivery_id)
        if found is None:
            raise NotFound("There is no delivery with that id; records are kept RETENTION_DAYS.")
        return jsonify(full.dump(found))

    @api.get("/campaigns")
    def campaigns() -> Response:
        return jsonify({"items": campaign_answer.dump(store.campaigns())})

    api_operations.add(api, Operations(settings=settings, store=store, bell=bell))
    return api


def shown_event(seen: SeenEvent, answer: EventBrief) -> dict[str, Any]:
    """Return an event as it is answered, with its deliveries."""
    return {
        **answer.dump(seen.event),
        "status": seen.status,
        "deliveries": refs(seen.deliveries, base_url()),
    }


def health(store: Store) -> Blueprint:
    """Return /healthz (this process lives) and /readyz (it can store). Neither needs a token."""
    health = Blueprint("health", __name__)

    @health.get("/healthz")
    def healthz() -> Response:
        return jsonify({"status": "ok"})

    @health.get("/readyz")
    def readyz() -> Response:
        store.check_room()
        store.ping()
        return jsonify(
            {
                "status": "ready",
                # It needs no token, so it does not say what people wrote.
                "warnings": [*store_warnings(store), *pause_warnings(store, in_full=False)],
            }
        )

    return health


def overview(store: Store, settings: Settings, bell: Bell) -> dict[str, Any]:
    """Return how the bridge stands: counts, ages, workers, persistence, what to look at."""
    kept = store.persistence()
    due_s = store.next_due_s()
    workers = Worker.all(queue=bell.queue)
    warnings = [
        *settings.warnings(),
        *store_warnings(store),
        *pause_warnings(store, in_full=True),
    ]
    counts = store.counts()
    if counts[Status.UNKNOWN]:
        warnings.append(
            f"{counts[Status.UNKNOWN]} unknown: a phone may have rung; find out and resolve each"
        )
    bulk = store.bulk_count()
    if bulk:
        warnings.append(f"{bulk} held as bulk, until a person releases or cancels them")
    if not workers:
        warnings.append("no worker is running: nothing is being sent")
    return {
        "deliveries": counts,
        "events": store.event_counts(),
        "oldest_waiting_s": rounded(store.oldest_waiting_s()),
        "waiting": store.due_count(),
        "bulk": bulk,
        "suppressions": store.suppression_count(),
        "next_due_s": rounded(due_s),
        "queue": {"drains_queued": bell.queue.count},
        "workers": [{"name": one.name, "state": one.get_state()} for one in workers],
        "pauses": PauseAnswer(many=True).dump(store.pauses()),
        "callkaro": CallKaroAnswer().dump(store.callkaro()),
        "routes": settings.routes.digest,
        "persistence": {
            "append_only": kept.append_only,
            "fsync": kept.fsync,
            "policy": kept.policy,
            "used_bytes": kept.used_bytes,
            "used_ratio": rounded(kept.used_ratio),
        },
        "warnings": warnings,
    }


def store_warnings(store: Store) -> list[str]:
    """Return what the store knows that its owner should look at, a sentence each."""
    return store.persistence().warnings() + callkaro_warnings(store)


def callkaro_warnings(store: Store) -> list[str]:
    """Return that CallKaro is not taking requests, if that is what it did last."""
    heard = store.callkaro()
    answered_at, failed_at = heard["answered_at"], heard["failed_at"]
    if failed_at is None or (answered_at is not None and answered_at >= failed_at):
        return []
    return [f"CallKaro did not take the latest request: {heard['message']}"]


def pause_warnings(store: Store, *, in_full: bool) -> list[str]:
    """Return what is paused, a sentence each; in_full: with the message, which a person wrote."""
    return [
        f"paused: {pause.scope} ({pause.reason})"
        + (f": {mask_text(pause.message)}" if in_full else "")
        for pause in store.pauses()
    ]


def rounded(value: float | None) -> float | None:
    """Return a figure that people can read; None stays None."""
    return None if value is None else round(value, 3)
