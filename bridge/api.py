"""/api: what became of each event and delivery. Every answer needs the API token."""

import re
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, jsonify, request
from rq import Worker

from bridge.errors import BadQuery, NotFound, Unauthorized
from bridge.queue import Bell
from bridge.records import Filters
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
)
from schemas.delivery import Status
from schemas.fields import PhoneError, e164

LIMIT, LIMIT_MAX = 50, 200
FILTERS = {"status", "route", "source", "subject", "phone", "since", "until", "cursor", "limit"}


def views(store: Store, settings: Settings, bell: Bell) -> Blueprint:
    """Return the routes of this module."""
    api = Blueprint("api", __name__, url_prefix="/api")
    brief, full, event_answer = DeliveryBrief(many=True), DeliveryAnswer(), EventAnswer()
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

    @api.get("/events/<event_id>")
    def event(event_id: str) -> Response:
        found = store.event(event_id)
        if found is None:
            raise NotFound("There is no event with that id; records are kept RETENTION_DAYS.")
        record, event_status, deliveries = found
        return jsonify(
            {
                **event_answer.dump(record),
                "status": event_status,
                "deliveries": refs(deliveries, base_url()),
            }
        )

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

    return api


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
        return jsonify({"status": "ready", "warnings": store_warnings(store)})

    return health


def overview(store: Store, settings: Settings, bell: Bell) -> dict[str, Any]:
    """Return how the bridge stands: counts, ages, workers, persistence, what to look at."""
    kept = store.persistence()
    due_s = store.next_due_s()
    workers = Worker.all(queue=bell.queue)
    warnings = settings.warnings() + store_warnings(store)
    if not workers:
        warnings.append("no worker is running: nothing is being sent")
    return {
        "deliveries": store.counts(),
        "oldest_waiting_s": rounded(store.oldest_waiting_s()),
        "waiting": store.due_count(),
        "next_due_s": rounded(due_s),
        "queue": {"drains_queued": bell.queue.count},
        "workers": [{"name": one.name, "state": one.get_state()} for one in workers],
        "pauses": [],
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
    return persistence_warnings(store) + callkaro_warnings(store)


def callkaro_warnings(store: Store) -> list[str]:
    """Return that CallKaro is not taking requests, if that is what it did last."""
    heard = store.callkaro()
    answered_at, failed_at = heard["answered_at"], heard["failed_at"]
    if failed_at is None or (answered_at is not None and answered_at >= failed_at):
        return []
    return [f"CallKaro did not take the latest request: {heard['message']}"]


def persistence_warnings(store: Store) -> list[str]:
    """Return what is weak in how Redis keeps our data, a sentence each."""
    kept = store.persistence()
    warnings = []
    if not kept.append_only:
        warnings.append("Redis keeps no append-only file: a restart loses accepted events")
    elif kept.fsync != "always":
        warnings.append(
            f"Redis' appendfsync is {kept.fsync}, not always: a crash of its machine may lose or "
            "repeat about a second"
        )
    if kept.policy != "noeviction":
        warnings.append(
            f"Redis' maxmemory-policy is {kept.policy}, not noeviction: when it is full it may "
            "throw away accepted events"
        )
    return warnings


def read_query(args: Any, region: str | None) -> tuple[Filters, int | None, int]:
    """Return the filters, the cursor and the limit of a list. Raises BadQuery."""
    if unknown := set(args) - FILTERS:
        raise BadQuery(f"Unknown filter: {', '.join(sorted(unknown))}.")
    statuses = tuple(word for part in args.getlist("status") for word in part.split(",") if word)
    if wrong := set(statuses) - set(Status):
        raise BadQuery(f"Unknown status: {', '.join(sorted(wrong))}.")
    phone = args.get("phone")
    try:
        number = e164(phone, region) if phone else None
    except PhoneError as error:
        raise BadQuery("phone is no valid number; write it in full, with + as %2B.") from error
    filters = Filters(
        status=statuses,
        route=args.get("route") or None,
        source=args.get("source") or None,
        subject=args.get("subject") or None,
        phone=number,
        since=read_instant(args, "since"),
        until=read_instant(args, "until"),
    )
    return filters, read_cursor(args.get("cursor")), read_limit(args.get("limit"))


def read_instant(args: Any, name: str) -> datetime | None:
    """Return an ISO 8601 time of a filter in UTC; one without a zone is UTC; None: not given."""
    raw = args.get(name)
    if not raw:
        return None
    try:
        # A + in a query string arrives as a space unless it was encoded.
        parsed = datetime.fromisoformat(raw.replace(" ", "+") if "T" in raw else raw)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadQuery(f"{name} must be a time such as 2026-01-31T09:30:00Z.") from error


def read_cursor(raw: str | None) -> int | None:
    """Return where the last page ended."""
    if not raw:
        return None
    if not re.fullmatch(r"\d{1,17}", raw, re.ASCII):
        raise BadQuery("cursor must be a next_cursor of an earlier page.")
    return int(raw)


def read_limit(raw: str | None) -> int:
    """Return how long a page is."""
    if not raw:
        return LIMIT
    if not re.fullmatch(r"\d{1,4}", raw, re.ASCII) or not 1 <= int(raw) <= LIMIT_MAX:
        raise BadQuery(f"limit must be a number from 1 to {LIMIT_MAX}.")
    return int(raw)


def rounded(value: float | None) -> float | None:
    """Return a figure that people can read; None stays None."""
    return None if value is None else round(value, 3)
