"""/api: what a person has done by hand. HTTP in, HTTP out; the rest is operations.py."""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, jsonify, request

from bridge.api_queries import (
    read_bulk,
    read_cursor,
    read_event_filters,
    read_filters,
    read_order,
)
from bridge.errors import NotFound
from bridge.operations import Bulk, Operations, Replayed
from bridge.records import NewDelivery
from bridge.webhooks import base_url, refs
from schemas.answers import DeliveryAnswer, PauseAnswer
from schemas.bodies import (
    NoBody,
    PauseBody,
    ReplayBody,
    ReplayManyBody,
    ResolveBody,
    RetryBody,
    RetryManyBody,
)
from schemas.delivery import DeliveryRef, Status


def add(api: Blueprint, operations: Operations) -> None:
    """Add the operations to /api, whose token they need."""
    _add_to_deliveries(api, operations)
    _add_to_events(api, operations)
    _add_to_pauses(api, operations)


def _add_to_deliveries(api: Blueprint, operations: Operations) -> None:
    answer = DeliveryAnswer()

    @api.post("/deliveries/<delivery_id>/retry")
    def retry(delivery_id: str) -> Response:
        said = read_order(request, RetryBody())
        return jsonify(answer.dump(operations.retry(delivery_id, **said)))

    @api.post("/deliveries/<delivery_id>/cancel")
    def cancel(delivery_id: str) -> Response:
        read_order(request, NoBody())
        return jsonify(answer.dump(operations.cancel(delivery_id)))

    @api.post("/deliveries/<delivery_id>/resolve")
    def resolve(delivery_id: str) -> Response:
        said = read_order(request, ResolveBody())
        return jsonify(answer.dump(operations.resolve(delivery_id, Status(said["found"]))))

    @api.post("/deliveries/retry")
    def retry_many() -> Response:
        args, said = read_bulk(request, RetryManyBody())
        filters = read_filters(args, operations.settings.default_region)
        done = operations.retry_many(filters, before=read_cursor(args.get("cursor")), **said)
        counts = {"matched": done.matched, "retried": done.done, "refused": done.refused}
        return jsonify(_bulk(counts, done, dry_run=said["dry_run"]))


def _add_to_events(api: Blueprint, operations: Operations) -> None:
    @api.post("/events/<event_id>/replay")
    def replay(event_id: str) -> Response:
        said = read_order(request, ReplayBody())
        done = operations.replay(event_id, **said)
        return jsonify(_replayed(done, dry_run=said["dry_run"]))

    @api.post("/events/replay")
    def replay_many() -> Response:
        args, said = read_bulk(request, ReplayManyBody())
        before = read_cursor(args.get("cursor"))
        done = operations.replay_many(read_event_filters(args), before=before, **said)
        counts = {"matched": done.matched, "replayed": done.done, "unchanged": done.refused}
        return jsonify(_bulk(counts, done, dry_run=said["dry_run"]))


def _add_to_pauses(api: Blueprint, operations: Operations) -> None:
    answer = PauseAnswer()

    @api.get("/pauses")
    def pauses() -> Response:
        return jsonify({"items": answer.dump(operations.store.pauses(), many=True)})

    # A route may be named anything, so a scope may hold slashes and spaces.
    @api.get("/pauses/<path:scope>")
    def one_pause(scope: str) -> Response:
        found = [one for one in operations.store.pauses() if one.scope == scope]
        if not found:
            raise NotFound("Nothing is paused under that name.")
        return jsonify(answer.dump(found[0]))

    @api.put("/pauses/<path:scope>")
    def pause(scope: str) -> Response:
        said = read_order(request, PauseBody())
        operations.pause(scope, **said)
        for found in operations.store.pauses():
            if found.scope == scope and found.reason != "breaker":
                return jsonify(answer.dump(found))
        raise NotFound("Somebody else has just resumed it.")

    @api.delete("/pauses/<path:scope>")
    def resume(scope: str) -> Response:
        read_order(request, NoBody())
        return jsonify({"scope": scope, "released": operations.resume(scope)})


def _bulk(counts: dict[str, int], done: Bulk, *, dry_run: bool) -> dict[str, Any]:
    return {**counts, "dry_run": dry_run, "next_cursor": done.next_cursor}


def _replayed(done: Replayed, *, dry_run: bool) -> dict[str, Any]:
    return {
        "id": done.event_id,
        "status": done.status,
        "deliveries": refs(_as_refs(done.new), base_url()),
        "dry_run": dry_run,
    }


def _as_refs(new: Sequence[NewDelivery]) -> list[DeliveryRef]:
    return [DeliveryRef(id=one.id, route=one.route, status=Status.QUEUED) for one in new]
