"""/api: what a person has done by hand. HTTP in, HTTP out; the rest is operations.py."""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, jsonify, request

from bridge.api_queries import (
    read_bulk,
    read_cursor,
    read_event_filters,
    read_filters,
    read_key,
    read_order,
    read_page,
    read_phone,
)
from bridge.errors import BadQuery, NotFound
from bridge.operations import Bulk, Operations, Replayed
from bridge.people import People
from bridge.records import NewDelivery
from bridge.webhooks import base_url, refs
from schemas.answers import (
    CalledOffAnswer,
    DeliveryAnswer,
    ErasedAnswer,
    PauseAnswer,
    SuppressionAnswer,
)
from schemas.bodies import (
    CallMeBody,
    CancelManyBody,
    EraseBody,
    NoBody,
    PauseBody,
    ReleaseManyBody,
    ReplayBody,
    ReplayManyBody,
    ResolveBody,
    RetryBody,
    RetryManyBody,
    SuppressBody,
    SuppressManyBody,
)
from schemas.delivery import DeliveryRef, Status


def add(api: Blueprint, operations: Operations) -> None:
    """Add the operations to /api, whose token they need."""
    _add_to_deliveries(api, operations)
    _add_people(api, operations)
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

    @api.post("/deliveries/cancel")
    def cancel_many() -> Response:
        args, said = read_bulk(request, CancelManyBody())
        filters = read_filters(args, operations.settings.default_region)
        done = operations.cancel_many(filters, before=read_cursor(args.get("cursor")), **said)
        counts = {"matched": done.matched, "cancelled": done.done, "refused": done.refused}
        return jsonify(_bulk(counts, done, dry_run=said["dry_run"]))

    @api.post("/deliveries/release")
    def release_many() -> Response:
        args, said = read_bulk(request, ReleaseManyBody())
        filters = read_filters(args, operations.settings.default_region)
        before, most = read_cursor(args.get("cursor")), said.pop("limit", None)
        done = operations.release_many(filters, before=before, most=most, **said)
        counts = {"matched": done.matched, "released": done.done, "refused": done.refused}
        return jsonify(_bulk(counts, done, dry_run=said["dry_run"]))

    # A route may be named anything.
    @api.post("/routes/<path:name>/call-me")
    def call_me(name: str) -> tuple[Response, int]:
        said = read_order(request, CallMeBody())
        number = read_phone(said["to_number"], operations.settings.default_region)
        return jsonify(answer.dump(operations.call_me(name, number, said["record"]))), 202


def _add_people(api: Blueprint, operations: Operations) -> None:
    people, store = People(store=operations.store), operations.store
    region = operations.settings.default_region
    answer, off_answer = SuppressionAnswer(), CalledOffAnswer()

    @api.get("/suppressions")
    def suppressions() -> Response:
        before, limit = read_page(request.args)
        page = store.suppressions(before=before, limit=limit)
        items = answer.dump(page.items, many=True)
        return jsonify({"items": items, "next_cursor": page.next_cursor})

    @api.post("/suppressions")
    def suppress_many() -> Response:
        said = read_order(request, SuppressManyBody())
        new, refused = 0, []
        for place, text in enumerate(said["numbers"]):
            try:
                number = read_phone(text, region)
            except BadQuery as error:
                refused.append({"place": place, "message": str(error)})
                continue
            new += people.suppress(number, message=said["message"]).is_new
        operations.wake()
        known = len(said["numbers"]) - len(refused) - new
        return jsonify({"suppressed": new, "known": known, "refused": refused})

    # People write numbers with a slash, too.
    @api.get("/suppressions/<path:phone>")
    def suppression(phone: str) -> Response:
        found = store.suppression(read_key(phone, region, store))
        if found is None:
            raise NotFound("That is not suppressed.")
        return jsonify(answer.dump(found))

    @api.put("/suppressions/<path:phone>")
    def suppress(phone: str) -> Response:
        said = read_order(request, SuppressBody())
        done = people.suppress(read_phone(phone, region), **said)
        operations.wake()
        return jsonify({**answer.dump(done.suppression), **off_answer.dump(done.called_off)})

    @api.delete("/suppressions/<path:phone>")
    def unsuppress(phone: str) -> Response:
        read_order(request, NoBody())
        key = read_key(phone, region, store)
        people.unsuppress(key)
        return jsonify({"id": key, "suppressed": False})

    @api.post("/erasures")
    def erase() -> tuple[Response, int]:
        said = read_order(request, EraseBody())
        done = people.erase(read_phone(said["phone"], region))
        operations.wake()
        return jsonify(ErasedAnswer().dump(done)), 200 if done.is_done else 202


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
