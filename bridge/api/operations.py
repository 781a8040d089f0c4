"""/api: what a person has done by hand. HTTP in, HTTP out; the rest is operations.py."""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, jsonify, request

from bridge.api.access import note_revealed
from bridge.api.describe import described
from bridge.api.queries import (
    read_bulk,
    read_cursor,
    read_event_filters,
    read_filters,
    read_key,
    read_look,
    read_order,
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
    CallMeBody,
    CancelManyBody,
    EraseBody,
    LookQuery,
    NoBody,
    PauseBody,
    ReleaseManyBody,
    ReplayBody,
    ReplayManyBody,
    ResolveBody,
    RetryBody,
    RetryManyBody,
    SuppressBody,
    SuppressionsQuery,
    SuppressManyBody,
)
from schemas.responses import (
    CalledOffAnswer,
    CancelledAnswer,
    DeliveryAnswer,
    ErasedAnswer,
    PauseAnswer,
    PausesAnswer,
    ReleasedAnswer,
    ReplayedAnswer,
    ReplayedManyAnswer,
    ResumedAnswer,
    RetriedAnswer,
    SuppressedAnswer,
    SuppressedManyAnswer,
    SuppressionAnswer,
    SuppressionPageAnswer,
    UnsuppressedAnswer,
    revealed,
)
from store.suppression import People

FILTERS = "By the list's filters, in the body or in the query string; at least one. "
MORE = " Where there is a next_cursor, ask again with it as cursor."


def add(api: Blueprint, operations: Operations) -> None:
    """Add the operations to /api, whose token they need."""
    _add_to_deliveries(api, operations)
    _add_people(api, operations)
    _add_to_events(api, operations)
    _add_to_pauses(api, operations)


def _add_to_deliveries(api: Blueprint, operations: Operations) -> None:
    answer = DeliveryAnswer()

    @api.post("/deliveries/<delivery_id>/retry")
    @described(
        "Retry a delivery",
        tag="Deliveries",
        more="What ended starts anew; what waits is looked at now.",
        body=RetryBody,
        answers={200: DeliveryAnswer},
        refusals=(400, 404, 409, 413, 503),
        example={"call_again": False},
    )
    def retry(delivery_id: str) -> Response:
        said = read_order(request, RetryBody())
        return jsonify(answer.dump(operations.retry(delivery_id, **said)))

    @api.post("/deliveries/<delivery_id>/cancel")
    @described(
        "Cancel a delivery",
        tag="Deliveries",
        more="A call that CallKaro holds scheduled stays delivered until it was deleted there.",
        answers={200: DeliveryAnswer},
        refusals=(400, 404, 409, 413, 503),
    )
    def cancel(delivery_id: str) -> Response:
        read_order(request, NoBody())
        return jsonify(answer.dump(operations.cancel(delivery_id)))

    @api.post("/deliveries/<delivery_id>/resolve")
    @described(
        "Resolve an unknown delivery",
        tag="Deliveries",
        more="As a person found it.",
        body=ResolveBody,
        answers={200: DeliveryAnswer},
        refusals=(400, 404, 409, 413, 503),
        example={"as": "delivered"},
    )
    def resolve(delivery_id: str) -> Response:
        said = read_order(request, ResolveBody())
        return jsonify(answer.dump(operations.resolve(delivery_id, Status(said["found"]))))

    @api.post("/deliveries/retry")
    @described(
        "Retry many deliveries",
        tag="Deliveries",
        more=f"{FILTERS}Without status: the failed ones.{MORE}",
        body=RetryManyBody,
        answers={200: RetriedAnswer},
        refusals=(400, 413, 503),
        example={"route": "call new leads", "dry_run": True},
    )
    def retry_many() -> Response:
        args, said = read_bulk(request, RetryManyBody())
        filters = read_filters(args, operations.settings.default_region)
        done = operations.retry_many(filters, before=read_cursor(args.get("cursor")), **said)
        return jsonify(_moved("retried", done, dry_run=said["dry_run"]))

    @api.post("/deliveries/cancel")
    @described(
        "Cancel many deliveries",
        tag="Deliveries",
        more=f"{FILTERS}Without status: what waits.{MORE}",
        body=CancelManyBody,
        answers={200: CancelledAnswer},
        refusals=(400, 413, 503),
        example={"source": "hubspot", "dry_run": True},
    )
    def cancel_many() -> Response:
        args, said = read_bulk(request, CancelManyBody())
        filters = read_filters(args, operations.settings.default_region)
        done = operations.cancel_many(filters, before=read_cursor(args.get("cursor")), **said)
        return jsonify(_moved("cancelled", done, dry_run=said["dry_run"]))

    @api.post("/deliveries/release")
    @described(
        "Release what is held as bulk",
        tag="Deliveries",
        more=f"{FILTERS}The newest first.{MORE}",
        body=ReleaseManyBody,
        answers={200: ReleasedAnswer},
        refusals=(400, 413, 503),
        example={"route": "call new leads", "limit": 50, "dry_run": True},
    )
    def release_many() -> Response:
        args, said = read_bulk(request, ReleaseManyBody())
        filters = read_filters(args, operations.settings.default_region)
        before, most = read_cursor(args.get("cursor")), said.pop("limit", None)
        done = operations.release_many(filters, before=before, most=most, **said)
        return jsonify(_moved("released", done, dry_run=said["dry_run"]))

    # A route may be named anything.
    @api.post("/routes/<path:name>/call-me")
    @described(
        "Make a test call",
        tag="Routes",
        more="One real call by a route, to a number that you name.",
        body=CallMeBody,
        answers={202: DeliveryAnswer},
        refusals=(400, 404, 413, 503),
        example={"to_number": "+919876543210", "record": {"firstname": "Test"}},
    )
    def call_me(name: str) -> tuple[Response, int]:
        said = read_order(request, CallMeBody())
        number = read_phone(said["to_number"], operations.settings.default_region)
        return jsonify(answer.dump(operations.call_me(name, number, said["record"]))), 202


def _add_people(api: Blueprint, operations: Operations) -> None:
    people, store = People(store=operations.store), operations.store
    region = operations.settings.default_region
    answer, off_answer = SuppressionAnswer(), CalledOffAnswer()

    @api.get("/suppressions")
    @described(
        "List suppressions",
        tag="Suppressions",
        more="Who is not to be called, newest first.",
        query=SuppressionsQuery,
        answers={200: SuppressionPageAnswer},
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
    @described(
        "Suppress many numbers",
        tag="Suppressions",
        more="One that can't be read does not cost the others.",
        body=SuppressManyBody,
        answers={200: SuppressedManyAnswer},
        refusals=(400, 413, 503),
        example={"numbers": ["+919876543210"], "message": "our old do-not-call list"},
    )
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
    @described(
        "One suppression",
        tag="Suppressions",
        query=LookQuery,
        answers={200: SuppressionAnswer},
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
    @described(
        "Suppress a number",
        tag="Suppressions",
        more="And call off what was planned for it.",
        body=SuppressBody,
        answers={200: SuppressedAnswer},
        refusals=(400, 404, 413, 503),
        example={"message": "asked us to stop"},
    )
    def suppress(phone: str) -> Response:
        said = read_order(request, SuppressBody())
        done = people.suppress(read_phone(phone, region), **said)
        operations.wake()
        return jsonify({**answer.dump(done.suppression), **off_answer.dump(done.called_off)})

    @api.delete("/suppressions/<path:phone>")
    @described(
        "Let a number be called again",
        tag="Suppressions",
        answers={200: UnsuppressedAnswer},
        refusals=(400, 404, 413, 503),
    )
    def unsuppress(phone: str) -> Response:
        read_order(request, NoBody())
        key = read_key(phone, region, store)
        people.unsuppress(key)
        return jsonify({"id": key, "suppressed": False})

    @api.post("/erasures")
    @described(
        "Erase a person",
        tag="Suppressions",
        more="202: a worker goes on with it; ask again to see how far it is.",
        body=EraseBody,
        answers={200: ErasedAnswer, 202: ErasedAnswer},
        refusals=(400, 413, 503),
        example={"phone": "+919876543210"},
    )
    def erase() -> tuple[Response, int]:
        said = read_order(request, EraseBody())
        done = people.erase(read_phone(said["phone"], region))
        operations.wake()
        return jsonify(ErasedAnswer().dump(done)), 200 if done.is_done else 202


def _add_to_events(api: Blueprint, operations: Operations) -> None:
    @api.post("/events/<event_id>/replay")
    @described(
        "Replay an event",
        tag="Events",
        more="It is matched under today's routes, and gets the deliveries that it never had.",
        body=ReplayBody,
        answers={200: ReplayedAnswer},
        refusals=(400, 404, 413, 503),
        example={"dry_run": True},
    )
    def replay(event_id: str) -> Response:
        said = read_order(request, ReplayBody())
        done = operations.replay(event_id, **said)
        return jsonify(_replayed(done, dry_run=said["dry_run"]))

    @api.post("/events/replay")
    @described(
        "Replay many events",
        tag="Events",
        more=f"{FILTERS}Without status: those unrouted or unreadable.{MORE}",
        body=ReplayManyBody,
        answers={200: ReplayedManyAnswer},
        refusals=(400, 404, 413, 503),
        example={"source": "hubspot", "dry_run": True},
    )
    def replay_many() -> Response:
        args, said = read_bulk(request, ReplayManyBody())
        before = read_cursor(args.get("cursor"))
        filters = read_event_filters(args, operations.settings.routes.sources)
        done = operations.replay_many(filters, before=before, **said)
        counts = {"matched": done.matched, "replayed": done.done, "unchanged": done.refused}
        return jsonify(_bulk(counts, done, dry_run=said["dry_run"]))


def _add_to_pauses(api: Blueprint, operations: Operations) -> None:
    answer = PauseAnswer()

    @api.get("/pauses")
    @described(
        "List pauses",
        tag="Pauses",
        more="CallKaro's circuit breaker is one, while it is open.",
        answers={200: PausesAnswer},
        refusals=(503,),
    )
    def pauses() -> Response:
        return jsonify({"items": answer.dump(operations.store.pauses(), many=True)})

    # A route may be named anything, so a scope may hold slashes and spaces.
    @api.get("/pauses/<path:scope>")
    @described("One pause", tag="Pauses", answers={200: PauseAnswer}, refusals=(404, 503))
    def one_pause(scope: str) -> Response:
        found = [one for one in operations.store.pauses() if one.scope == scope]
        if not found:
            raise NotFound("Nothing is paused under that name.")
        return jsonify(answer.dump(found[0]))

    @api.put("/pauses/<path:scope>")
    @described(
        "Pause",
        tag="Pauses",
        body=PauseBody,
        answers={200: PauseAnswer},
        refusals=(400, 404, 413, 503),
        example={"message": "holiday"},
    )
    def pause(scope: str) -> Response:
        said = read_order(request, PauseBody())
        operations.pause(scope, **said)
        for found in operations.store.pauses():
            if found.scope == scope and found.reason != "breaker":
                return jsonify(answer.dump(found))
        raise NotFound("Somebody else has just resumed it.")

    @api.delete("/pauses/<path:scope>")
    @described(
        "Resume",
        tag="Pauses",
        more="What it held is due now.",
        answers={200: ResumedAnswer},
        refusals=(400, 404, 413, 503),
    )
    def resume(scope: str) -> Response:
        read_order(request, NoBody())
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
