"""/api: what a person has done by hand. HTTP in, HTTP out; the rest is operations.py."""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, jsonify, request

from bridge.api.access import note_revealed
from bridge.api.describe import operation
from bridge.api.queries import (
    read_bulk,
    read_command,
    read_cursor,
    read_event_filters,
    read_filters,
    read_key,
    read_look,
    read_page,
    read_phone,
    read_reveal,
)
from bridge.operations import Bulk, Operations, Replayed
from bridge.webhooks import base_url, refs
from schemas.delivery import DeliveryRef, Status
from schemas.errors import BadQuery, NotFound
from schemas.records import NewDelivery
from schemas.requests import (
    CallMeRequest,
    CancelManyRequest,
    EraseRequest,
    LookQuery,
    NoRequest,
    PauseRequest,
    ReleaseManyRequest,
    ReplayManyRequest,
    ReplayRequest,
    ResolveRequest,
    RetryManyRequest,
    RetryRequest,
    SuppressionsQuery,
    SuppressManyRequest,
    SuppressRequest,
)
from schemas.responses import (
    CalledOffResponse,
    CancelledResponse,
    DeliveryResponse,
    ErasedResponse,
    PauseResponse,
    PausesResponse,
    ReleasedResponse,
    ReplayedManyResponse,
    ReplayedResponse,
    ResumedResponse,
    RetriedResponse,
    SuppressedManyResponse,
    SuppressedResponse,
    SuppressionPageResponse,
    SuppressionResponse,
    UnsuppressedResponse,
    revealed,
)
from store.erasure import Eraser
from store.suppression import Suppressions

FILTERS = "By the list's filters, in the body or in the query string; at least one. "
MORE = " Where there is a next_cursor, ask again with it as cursor."


def add(api: Blueprint, operations: Operations) -> None:
    """Add the operations to /api, whose token they need."""
    _add_to_deliveries(api, operations)
    _add_people(api, operations)
    _add_to_events(api, operations)
    _add_to_pauses(api, operations)


def _add_to_deliveries(api: Blueprint, operations: Operations) -> None:
    answer = DeliveryResponse()

    @api.post("/deliveries/<delivery_id>/retry")
    @operation(
        "Retry a delivery",
        tag="Deliveries",
        description="What ended starts anew; what waits is looked at now.",
        body=RetryRequest,
        answers={200: DeliveryResponse},
        refusals=(400, 404, 409, 413, 503),
        example={"call_again": False},
    )
    def retry(delivery_id: str) -> Response:
        said = read_command(request, RetryRequest())
        return jsonify(answer.dump(operations.retry(delivery_id, **said)))

    @api.post("/deliveries/<delivery_id>/cancel")
    @operation(
        "Cancel a delivery",
        tag="Deliveries",
        description="A scheduled call stays delivered until CallKaro has deleted it.",
        answers={200: DeliveryResponse},
        refusals=(400, 404, 409, 413, 503),
    )
    def cancel(delivery_id: str) -> Response:
        read_command(request, NoRequest())
        return jsonify(answer.dump(operations.cancel(delivery_id)))

    @api.post("/deliveries/<delivery_id>/resolve")
    @operation(
        "Resolve an unknown delivery",
        tag="Deliveries",
        description="As a person found it.",
        body=ResolveRequest,
        answers={200: DeliveryResponse},
        refusals=(400, 404, 409, 413, 503),
        example={"as": "delivered"},
    )
    def resolve(delivery_id: str) -> Response:
        said = read_command(request, ResolveRequest())
        return jsonify(answer.dump(operations.resolve(delivery_id, Status(said["found"]))))

    @api.post("/deliveries/retry")
    @operation(
        "Retry many deliveries",
        tag="Deliveries",
        description=f"{FILTERS}Without status: the failed ones.{MORE}",
        body=RetryManyRequest,
        answers={200: RetriedResponse},
        refusals=(400, 413, 503),
        example={"route": "call new leads", "dry_run": True},
    )
    def retry_many() -> Response:
        args, said = read_bulk(request, RetryManyRequest())
        filters = read_filters(args, operations.settings.default_region)
        done = operations.retry_many(filters, before=read_cursor(args.get("cursor")), **said)
        return jsonify(_moved("retried", done, dry_run=said["dry_run"]))

    @api.post("/deliveries/cancel")
    @operation(
        "Cancel many deliveries",
        tag="Deliveries",
        description=f"{FILTERS}Without status: what waits.{MORE}",
        body=CancelManyRequest,
        answers={200: CancelledResponse},
        refusals=(400, 413, 503),
        example={"source": "hubspot", "dry_run": True},
    )
    def cancel_many() -> Response:
        args, said = read_bulk(request, CancelManyRequest())
        filters = read_filters(args, operations.settings.default_region)
        done = operations.cancel_many(filters, before=read_cursor(args.get("cursor")), **said)
        return jsonify(_moved("cancelled", done, dry_run=said["dry_run"]))

    @api.post("/deliveries/release")
    @operation(
        "Release what is held as bulk",
        tag="Deliveries",
        description=f"{FILTERS}The newest first.{MORE}",
        body=ReleaseManyRequest,
        answers={200: ReleasedResponse},
        refusals=(400, 413, 503),
        example={"route": "call new leads", "limit": 50, "dry_run": True},
    )
    def release_many() -> Response:
        args, said = read_bulk(request, ReleaseManyRequest())
        filters = read_filters(args, operations.settings.default_region)
        before, most = read_cursor(args.get("cursor")), said.pop("limit", None)
        done = operations.release_many(filters, before=before, most=most, **said)
        return jsonify(_moved("released", done, dry_run=said["dry_run"]))

    # A route may be named anything.
    @api.post("/routes/<path:name>/call-me")
    @operation(
        "Make a test call",
        tag="Routes",
        description="One real call by a route, to a number that you name.",
        body=CallMeRequest,
        answers={202: DeliveryResponse},
        refusals=(400, 404, 413, 503),
        example={"to_number": "+919876543210", "record": {"firstname": "Test"}},
    )
    def call_me(name: str) -> tuple[Response, int]:
        said = read_command(request, CallMeRequest())
        number = read_phone(said["to_number"], operations.settings.default_region)
        return jsonify(answer.dump(operations.call_me(name, number, said["record"]))), 202


def _add_people(api: Blueprint, operations: Operations) -> None:
    people, store = Suppressions(store=operations.store), operations.store
    region = operations.settings.default_region
    answer, off_answer = SuppressionResponse(), CalledOffResponse()

    @api.get("/suppressions")
    @operation(
        "List suppressions",
        tag="Suppressions",
        description="Who is not to be called, newest first.",
        query=SuppressionsQuery,
        answers={200: SuppressionPageResponse},
        refusals=(400, 503),
    )
    def suppressions() -> Response:
        before, limit = read_page(request.args)
        reveals = read_reveal(request.args)
        page = store.suppressions(before=before, limit=limit)
        if reveals and page.items:
            note_revealed("suppression", *(one.key for one in page.items))
        with revealed(reveals):
            items = answer.dump(page.items, many=True)
        return jsonify({"items": items, "next_cursor": page.next_cursor})

    @api.post("/suppressions")
    @operation(
        "Suppress many numbers",
        tag="Suppressions",
        description="One that can't be read does not cost the others.",
        body=SuppressManyRequest,
        answers={200: SuppressedManyResponse},
        refusals=(400, 413, 503),
        example={"numbers": ["+919876543210"], "message": "our old do-not-call list"},
    )
    def suppress_many() -> Response:
        said = read_command(request, SuppressManyRequest())
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
    @operation(
        "One suppression",
        tag="Suppressions",
        query=LookQuery,
        answers={200: SuppressionResponse},
        refusals=(400, 404, 503),
    )
    def suppression(phone: str) -> Response:
        reveals = read_look(request.args)
        found = store.suppression(read_key(phone, region, store))
        if found is None:
            raise NotFound("That is not suppressed.")
        if reveals:
            note_revealed("suppression", found.key)
        with revealed(reveals):
            return jsonify(answer.dump(found))

    @api.put("/suppressions/<path:phone>")
    @operation(
        "Suppress a number",
        tag="Suppressions",
        description="And call off what was planned for it.",
        body=SuppressRequest,
        answers={200: SuppressedResponse},
        refusals=(400, 404, 413, 503),
        example={"message": "asked us to stop"},
    )
    def suppress(phone: str) -> Response:
        said = read_command(request, SuppressRequest())
        done = people.suppress(read_phone(phone, region), **said)
        operations.wake()
        return jsonify({**answer.dump(done.suppression), **off_answer.dump(done.called_off)})

    @api.delete("/suppressions/<path:phone>")
    @operation(
        "Let a number be called again",
        tag="Suppressions",
        answers={200: UnsuppressedResponse},
        refusals=(400, 404, 413, 503),
    )
    def unsuppress(phone: str) -> Response:
        read_command(request, NoRequest())
        key = read_key(phone, region, store)
        people.unsuppress(key)
        return jsonify({"id": key, "suppressed": False})

    @api.post("/erasures")
    @operation(
        "Erase a person",
        tag="Suppressions",
        description="202: a worker goes on with it; ask again to see how far it is.",
        body=EraseRequest,
        answers={200: ErasedResponse, 202: ErasedResponse},
        refusals=(400, 413, 503),
        example={"phone": "+919876543210"},
    )
    def erase() -> tuple[Response, int]:
        said = read_command(request, EraseRequest())
        done = Eraser(store=store).erase(read_phone(said["phone"], region))
        operations.wake()
        return jsonify(ErasedResponse().dump(done)), 200 if done.is_done else 202


def _add_to_events(api: Blueprint, operations: Operations) -> None:
    @api.post("/events/<event_id>/replay")
    @operation(
        "Replay an event",
        tag="Events",
        description="The event is matched under today's routes and gets the deliveries it lacks.",
        body=ReplayRequest,
        answers={200: ReplayedResponse},
        refusals=(400, 404, 413, 503),
        example={"dry_run": True},
    )
    def replay(event_id: str) -> Response:
        said = read_command(request, ReplayRequest())
        done = operations.replay(event_id, **said)
        return jsonify(_replayed(done, dry_run=said["dry_run"]))

    @api.post("/events/replay")
    @operation(
        "Replay many events",
        tag="Events",
        description=f"{FILTERS}Without status: those unrouted or unreadable.{MORE}",
        body=ReplayManyRequest,
        answers={200: ReplayedManyResponse},
        refusals=(400, 404, 413, 503),
        example={"source": "hubspot", "dry_run": True},
    )
    def replay_many() -> Response:
        args, said = read_bulk(request, ReplayManyRequest())
        before = read_cursor(args.get("cursor"))
        filters = read_event_filters(args, operations.settings.routes.sources)
        done = operations.replay_many(filters, before=before, **said)
        counts = {"matched": done.matched, "replayed": done.done, "unchanged": done.refused}
        return jsonify(_bulk(counts, done, dry_run=said["dry_run"]))


def _add_to_pauses(api: Blueprint, operations: Operations) -> None:
    answer = PauseResponse()

    @api.get("/pauses")
    @operation(
        "List pauses",
        tag="Pauses",
        description="CallKaro's circuit breaker is one, while it is open.",
        answers={200: PausesResponse},
        refusals=(503,),
    )
    def pauses() -> Response:
        return jsonify({"items": answer.dump(operations.store.pauses(), many=True)})

    # A route may be named anything, so a scope may hold slashes and spaces.
    @api.get("/pauses/<path:scope>")
    @operation("One pause", tag="Pauses", answers={200: PauseResponse}, refusals=(404, 503))
    def one_pause(scope: str) -> Response:
        found = [one for one in operations.store.pauses() if one.scope == scope]
        if not found:
            raise NotFound("Nothing is paused under that name.")
        return jsonify(answer.dump(found[0]))

    @api.put("/pauses/<path:scope>")
    @operation(
        "Pause",
        tag="Pauses",
        body=PauseRequest,
        answers={200: PauseResponse},
        refusals=(400, 404, 413, 503),
        example={"message": "holiday"},
    )
    def pause(scope: str) -> Response:
        said = read_command(request, PauseRequest())
        operations.pause(scope, **said)
        for found in operations.store.pauses():
            if found.scope == scope and found.reason != "breaker":
                return jsonify(answer.dump(found))
        raise NotFound("Somebody else has just resumed it.")

    @api.delete("/pauses/<path:scope>")
    @operation(
        "Resume",
        tag="Pauses",
        description="What it held is due now.",
        answers={200: ResumedResponse},
        refusals=(400, 404, 413, 503),
    )
    def resume(scope: str) -> Response:
        read_command(request, NoRequest())
        return jsonify({"scope": scope, "released": operations.resume(scope)})


def _moved(word: str, done: Bulk, *, dry_run: bool) -> dict[str, Any]:
    counts = {"matched": done.matched, word: done.done, "refused": done.refused}
    return {**_bulk(counts, done, dry_run=dry_run), "refused_by": done.refused_by}


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
