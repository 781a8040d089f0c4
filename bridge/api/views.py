"""/api: shows each event, each delivery, and the state of the bridge. It needs the API token."""

import hashlib
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify, request

from bridge.api import about, audit, crms, exports
from bridge.api import operations as api_operations
from bridge.api import stats as api_stats
from bridge.api.access import check_token, note_revealed
from bridge.api.describe import operation
from bridge.api.long_poll import MOST_WAITING, LongPoll
from bridge.api.queries import (
    read_campaigns_query,
    read_delivery_look,
    read_event_query,
    read_look,
    read_query,
    read_refused_query,
    refuse_unknown_names,
    with_search,
)
from bridge.campaigns import shown_campaign, shown_campaigns, with_campaign
from bridge.figures import FigureReader
from bridge.http.links import own_address, refs
from bridge.operations import Operations
from bridge.operations.base import NO_DELIVERY, NO_EVENT, NO_REFUSED
from config.settings import warnings_of
from schemas.delivery import SETTLED, Delivery, Status
from schemas.errors import Migrating, NotFound
from schemas.fields import mask_text
from schemas.links import Addresses
from schemas.records import EventFilters, SeenEvent
from schemas.requests import (
    CampaignsQuery,
    DeliveriesQuery,
    DeliveryQuery,
    EventsQuery,
    LookQuery,
    RefusedQuery,
)
from schemas.responses import (
    AliveResponse,
    CallKaroResponse,
    CampaignPageResponse,
    CampaignResponse,
    ChannelResponse,
    DeliveryBrief,
    DeliveryPage,
    DeliveryResponse,
    EventBrief,
    EventPageResponse,
    EventResponse,
    PauseResponse,
    ReadyResponse,
    RefusedBrief,
    RefusedPageResponse,
    RefusedResponse,
    SeenEventResponse,
    StatusResponse,
    revealed,
)
from schemas.settings import Settings
from store import Store
from store.queue import Wakeup

FULL_RETRY_S = 1  # when to ask again where all places to wait in are taken
# Deliveries that nothing moves by itself. Outcomes of a call may still come, and a person may act.
STANDS_STILL = SETTLED | {Status.UNKNOWN}


def views(store: Store, settings: Settings, wakeup: Wakeup, figures: FigureReader) -> Blueprint:
    """Return the routes of /api."""
    api = Blueprint("api", __name__, url_prefix="/api")
    addresses = Addresses.of(settings)
    brief, full = DeliveryBrief(addresses), DeliveryResponse(addresses)
    event_brief, event_full = EventBrief(), EventResponse(settings.routes.sources)
    campaign_answer = CampaignResponse()
    long_poll = LongPoll(store, most=MOST_WAITING)

    @api.before_request
    def ask_for_token() -> None:
        check_token(settings)

    @api.get("/status")
    @operation(
        "The state of the bridge",
        tag="Status",
        description="Counts, ages, workers, pauses, how Redis keeps data, and warnings.",
        answers={200: StatusResponse},
        refusals=(503,),
    )
    def status() -> Response:
        return jsonify(overview(store, settings, wakeup))

    @api.get("/events")
    @operation(
        "List events",
        tag="Events",
        description="Newest first, each with its deliveries.",
        query=EventsQuery,
        answers={200: EventPageResponse},
        refusals=(400, 503),
    )
    def events() -> Response:
        filters, before, limit = read_event_query(request.args, settings.routes.sources)
        page = store.events(filters, before=before, limit=limit, brief=True)
        if not page.items and before is None:
            refuse_unknown_names(filters, settings, store)
        items = [shown_event(seen, event_brief) for seen in page.items]
        return jsonify({"items": items, "next_cursor": page.next_cursor})

    @api.get("/events/<event_id>")
    @operation(
        "One event",
        tag="Events",
        description="As it was stored, with its deliveries.",
        query=LookQuery,
        answers={200: SeenEventResponse},
        refusals=(400, 404, 503),
    )
    def event(event_id: str) -> Response:
        reveals = read_look(request.args)
        seen = store.event(event_id)
        if seen is None:
            raise NotFound(NO_EVENT)
        if reveals:
            note_revealed("event", event_id)
        with revealed(reveals):
            return jsonify(shown_event(seen, event_full))

    @api.get("/refused")
    @operation(
        "List refused requests",
        tag="Events",
        description="Webhooks that proved their source and could not be parsed, newest first. Of "
        "each source the newest REFUSED_KEEP are kept.",
        query=RefusedQuery,
        answers={200: RefusedPageResponse},
        refusals=(400, 503),
    )
    def refused() -> Response:
        source, before, limit = read_refused_query(request.args)
        page = store.refused(source, before=before, limit=limit)
        if not page.items and before is None:
            refuse_unknown_names(EventFilters(source=source), settings, store)
        items = RefusedBrief(many=True).dump(page.items)
        return jsonify({"items": items, "next_cursor": page.next_cursor})

    @api.get("/refused/<refused_id>")
    @operation(
        "One refused request",
        tag="Events",
        description="With the first 64 kB of its body. It can't be replayed: fix what its sender "
        "sends, and have it sent again.",
        answers={200: RefusedResponse},
        refusals=(404, 503),
    )
    def refused_request(refused_id: str) -> Response:
        found = store.refused_request(refused_id)
        if found is None:
            raise NotFound(NO_REFUSED)
        return jsonify(RefusedResponse().dump(found))

    @api.get("/deliveries")
    @operation(
        "List deliveries",
        tag="Deliveries",
        description="Newest first.",
        query=DeliveriesQuery,
        answers={200: DeliveryPage},
        refusals=(400, 503),
    )
    def deliveries() -> Response:
        filters, before, limit = read_query(request.args, settings.default_region)
        filters = with_search(filters, request.args.get("q"), settings, store)
        filters = with_campaign(filters, request.args.get("campaign"), settings, store)
        refuse_unknown_names(filters, settings, store)
        page = store.deliveries(filters, before=before, limit=limit, brief=True)
        return jsonify(
            {
                "items": brief.rows(page.items),
                "next_cursor": page.next_cursor,
                "total": store.count(filters),
            }
        )

    @api.get("/deliveries/<delivery_id>")
    @operation(
        "One delivery",
        tag="Deliveries",
        description="With wait, the answer comes when the status changes, at the latest after that "
        "time; at once where the delivery is settled or unknown. With If-None-Match, the answer "
        "comes when anything in the delivery changes; without a change it is 304. Only a few "
        "requests can wait at a time; another one is answered at once, with Retry-After.",
        query=DeliveryQuery,
        answers={200: DeliveryResponse, 304: None},
        refusals=(400, 404, 503),
        headers={
            "ETag": "Stands for the delivery as it is now; send it as If-None-Match.",
            "Retry-After": "Seconds; too many requests are waiting already.",
        },
    )
    def delivery(delivery_id: str) -> Response:
        reveals, wait_s = read_delivery_look(request.args)
        found = store.delivery(delivery_id)
        if found is None:
            raise NotFound(NO_DELIVERY)
        if reveals:
            note_revealed("delivery", delivery_id)
        with revealed(reveals):
            if not wait_s or is_news(found, found, full):
                return answered(found, full)
            has_waited, later = long_poll.wait_for(
                delivery_id, lambda now: is_news(now, found, full), wait_s=wait_s
            )
            if has_waited and later is None:
                raise NotFound(NO_DELIVERY)
            answer = answered(later or found, full)
        if not has_waited:
            answer.headers["Retry-After"] = str(FULL_RETRY_S)
        return answer

    @api.get("/campaigns")
    @operation(
        "List campaigns",
        tag="Campaigns",
        description="The campaigns that the bridge made, newest first, with what became of their "
        "calls.",
        query=CampaignsQuery,
        answers={200: CampaignPageResponse},
        refusals=(400, 503),
    )
    def campaigns() -> Response:
        before, limit = read_campaigns_query(request.args)
        page = store.campaign_page(before=before, limit=limit)
        items = campaign_answer.dump(shown_campaigns(page.items, settings, store), many=True)
        return jsonify({"items": items, "next_cursor": page.next_cursor})

    # CallKaro's ids have no slash; a record may name anything.
    @api.get("/campaigns/<path:batch_id>")
    @operation(
        "One campaign",
        tag="Campaigns",
        description="What became of its calls. Also of a campaign that the bridge did not make, "
        "once a call names its batch_id.",
        answers={200: CampaignResponse},
        refusals=(404, 503),
    )
    def campaign(batch_id: str) -> Response:
        return jsonify(campaign_answer.dump(shown_campaign(batch_id, settings, store)))

    about.add(api, settings)
    audit.add(api, store, settings)
    crms.add(api, Operations(settings=settings, store=store, wakeup=wakeup))
    exports.add(api, store, settings)
    api_stats.add(api, store, settings, figures)
    api_operations.add(api, Operations(settings=settings, store=store, wakeup=wakeup))
    return api


def answered(delivery: Delivery, full: DeliveryResponse) -> Response:
    """Return the answer with a delivery; 304 where the If-None-Match says that it is known."""
    answer = jsonify(full.dump(delivery))
    etag = hashlib.blake2b(answer.get_data(), digest_size=12).hexdigest()
    if request.if_none_match.contains_weak(etag):
        answer = Response(status=304)
    answer.set_etag(etag)
    return answer


def is_news(now: Delivery, first: Delivery, full: DeliveryResponse) -> bool:
    """Say whether to answer a request that waits; first is the delivery as it was at its start."""
    if request.if_none_match:
        return answered(now, full).status_code != 304
    return now.status != first.status or now.status in STANDS_STILL


def shown_event(seen: SeenEvent, answer: EventBrief) -> dict[str, Any]:
    """Return an event as the API shows it, with its deliveries."""
    return {
        **answer.dump(seen.event),
        "status": seen.status,
        "deliveries": refs(seen.deliveries, own_address()),
    }


def health(store: Store, wakeup: Wakeup) -> Blueprint:
    """Return /healthz (this process runs) and /readyz (it can store). Neither needs a token."""
    health = Blueprint("health", __name__)

    @health.get("/healthz")
    @operation(
        "Whether this process runs",
        tag="Health",
        description="It does not look at Redis.",
        answers={200: AliveResponse},
        needs_token=False,
    )
    def healthz() -> Response:
        return jsonify({"status": "ok"})

    @health.get("/readyz")
    @operation(
        "Whether this process can store",
        tag="Health",
        description="503 only where it can't; warnings has what else needs a look.",
        answers={200: ReadyResponse},
        refusals=(503,),
        needs_token=False,
    )
    def readyz() -> Response:
        store.check_room()
        store.ping()
        if not store.is_migrated():
            raise Migrating("Records of an earlier release are being moved. Nothing is sent yet.")
        return jsonify(
            {
                "status": "ready",
                # Without a token: so without names of routes and messages that people wrote.
                "warnings": [
                    *store_warnings(store),
                    *suspension_warnings(wakeup),
                    *pause_warnings(store, in_full=False),
                ],
            }
        )

    return health


def overview(store: Store, settings: Settings, wakeup: Wakeup) -> dict[str, Any]:
    """Return the state of the bridge: counts, ages, workers, persistence, warnings."""
    kept = store.persistence()
    due_s = store.next_due_s()
    workers = wakeup.workers()
    warnings = [
        *warnings_of(settings),
        *store_warnings(store),
        *suspension_warnings(wakeup),
        *pause_warnings(store, in_full=True),
    ]
    counts, indexing = store.counts(), store.indexing()
    if counts[Status.UNKNOWN]:
        warnings.append(
            f"{counts[Status.UNKNOWN]} unknown: a phone may have rung; find out and resolve each"
        )
    bulk = store.bulk_count()
    if bulk:
        warnings.append(f"{bulk} held as bulk, until a person releases or cancels them")
    failing = store.failing_background_tasks()
    if failing:
        kinds = ", ".join(f"{what}: {count}" for what, count in failing.items())
        warnings.append(
            f"background tasks fail and are tried again ({kinds}); the worker's log says why"
        )
    broken = store.broken_count()
    if broken:
        warnings.append(
            f"{broken} put aside: their records in Redis can't be read or written; the worker's "
            "log names them (delivery.crashed)"
        )
    if not workers:
        warnings.append("no worker is running: nothing is being sent")
    return {
        "deliveries": counts,
        "write_backs": store.write_back_counts(),
        "events": store.event_counts(),
        "oldest_waiting_s": rounded(store.oldest_waiting_s()),
        "waiting": store.due_count(),
        "bulk": bulk,
        "suppressions": store.suppression_count(),
        "next_due_s": rounded(due_s),
        "queue": {"drains_queued": wakeup.queue.count},
        "workers": [{"name": one.name, "state": one.get_state()} for one in workers],
        "pauses": PauseResponse(many=True).dump(store.pauses()),
        "channels": ChannelResponse(many=True).dump(store.channels().values()),
        "callkaro": CallKaroResponse().dump(store.callkaro()),
        "routes": settings.routes.digest,
        "indexing": None if indexing is None else asdict(indexing),
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
    """Return the store's own warnings, a sentence each."""
    return store.persistence().warnings() + callkaro_warnings(store)


def callkaro_warnings(store: Store) -> list[str]:
    """Return a warning where CallKaro did not take the latest request."""
    health = store.callkaro()
    answered_at, failed_at = health["answered_at"], health["failed_at"]
    if failed_at is None or (answered_at is not None and answered_at >= failed_at):
        return []
    return [f"CallKaro did not take the latest request: {health['message']}"]


def suspension_warnings(wakeup: Wakeup) -> list[str]:
    """Return a warning where `rq suspend` stopped the workers."""
    if not wakeup.is_suspended():
        return []
    return ["the workers are suspended by `rq suspend`: nothing is sent until `rq resume`"]


def pause_warnings(store: Store, *, in_full: bool) -> list[str]:
    """Return what is paused, a sentence each; in_full: with names and the messages of people."""
    pauses = store.pauses()
    if in_full:
        return [
            f"paused: {pause.scope} ({pause.reason}): {mask_text(pause.message)}"
            for pause in pauses
        ]
    found = (f"paused: {pause.scope.partition(':')[0]} ({pause.reason})" for pause in pauses)
    return list(dict.fromkeys(found))


def rounded(value: float | None) -> float | None:
    """Return a figure with three decimals; None stays None."""
    return None if value is None else round(value, 3)
