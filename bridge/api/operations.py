"""/api: what a person does by hand. HTTP in, HTTP out; bridge/operations does the work."""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, jsonify, request

from bridge.api.access import note_revealed
from bridge.api.describe import operation
from bridge.api.queries import (
    PHONE_KEY,
    Args,
    read_bulk,
    read_command,
    read_cursor,
    read_event_filters,
    read_filters,
    read_look,
    read_page,
    read_phone,
    read_reveal,
    refuse_unknown_names,
)
from bridge.campaigns import with_campaign
from bridge.http.links import own_address, refs
from bridge.operations import Bulk, Operations, Replayed
from bridge.operations.pauses import NOT_PAUSED
from schemas.csv_table import read_table
from schemas.delivery import DeliveryRef, Status
from schemas.errors import BadQuery, NotFound
from schemas.links import Addresses
from schemas.records import Filters, NewDelivery
from schemas.requests import (
    CallListRequest,
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
    ResumeRequest,
    RetryManyRequest,
    RetryRequest,
    SuppressionsQuery,
    SuppressManyRequest,
    SuppressRequest,
)
from schemas.responses import (
    CalledOffResponse,
    CallListResponse,
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

FILTERS = "By the list's filters, in the body or in the query string; at least one is needed. "
MORE = " Where the answer has a next_cursor, ask again with it as cursor."


def add(api: Blueprint, operations: Operations) -> None:
    """Add the operations to /api. They need its token."""
    _add_to_deliveries(api, operations)
    _add_call_lists(api, operations)
    _add_people(api, operations)
    _add_to_events(api, operations)
    _add_to_pauses(api, operations)


def _add_to_deliveries(api: Blueprint, operations: Operations) -> None:
    answer = DeliveryResponse(Addresses.of(operations.settings))
    settings, store = operations.settings, operations.store

    def filters_of_many(args: Args) -> Filters:
        filters = read_filters(args, settings.default_region)
        filters = with_campaign(filters, args.get("campaign"), settings, store)
        refuse_unknown_names(filters, settings, store)
        return filters

    @api.post("/deliveries/<delivery_id>/retry")
    @operation(
        "Retry a delivery",
        tag="Deliveries",
        description="A delivery that has ended starts again from the beginning. One that waits is "
        "looked at now.",
        body=RetryRequest,
        answers={200: DeliveryResponse},
        refusals=(400, 404, 409, 413, 503),
        example={"call_again": False},
    )
    def retry(delivery_id: str) -> Response:
        command = read_command(request, RetryRequest())
        return jsonify(answer.dump(operations.retry(delivery_id, **command)))

    @api.post("/deliveries/<delivery_id>/cancel")
    @operation(
        "Cancel a delivery",
        tag="Deliveries",
        description="A scheduled call stays `delivered` until CallKaro has deleted it.",
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
        description="Settle it as a person found it: the call was made (delivered), or surely not "
        "(failed).",
        body=ResolveRequest,
        answers={200: DeliveryResponse},
        refusals=(400, 404, 409, 413, 503),
        example={"as": "delivered"},
    )
    def resolve(delivery_id: str) -> Response:
        command = read_command(request, ResolveRequest())
        return jsonify(answer.dump(operations.resolve(delivery_id, Status(command["found"]))))

    @api.post("/deliveries/retry")
    @operation(
        "Retry many deliveries",
        tag="Deliveries",
        description=f"{FILTERS}Without status: the failed deliveries.{MORE}",
        body=RetryManyRequest,
        answers={200: RetriedResponse},
        refusals=(400, 413, 503),
        example={"route": "call new leads", "dry_run": True},
    )
    def retry_many() -> Response:
        args, options = read_bulk(request, RetryManyRequest())
        filters = filters_of_many(args)
        done = operations.retry_many(filters, before=read_cursor(args.get("cursor")), **options)
        return jsonify(_moved("retried", done, dry_run=options["dry_run"]))

    @api.post("/deliveries/cancel")
    @operation(
        "Cancel many deliveries",
        tag="Deliveries",
        description=f"{FILTERS}Without status: the deliveries that wait, "
        f"and of a campaign also the calls that CallKaro may still make.{MORE}",
        body=CancelManyRequest,
        answers={200: CancelledResponse},
        refusals=(400, 413, 503),
        example={"source": "hubspot", "dry_run": True},
    )
    def cancel_many() -> Response:
        args, options = read_bulk(request, CancelManyRequest())
        filters = filters_of_many(args)
        done = operations.cancel_many(filters, before=read_cursor(args.get("cursor")), **options)
        return jsonify(_moved("cancelled", done, dry_run=options["dry_run"]))

    @api.post("/deliveries/release")
    @operation(
        "Release deliveries that are held as bulk",
        tag="Deliveries",
        description=f"{FILTERS}The newest first.{MORE}",
        body=ReleaseManyRequest,
        answers={200: ReleasedResponse},
        refusals=(400, 413, 503),
        example={"route": "call new leads", "limit": 50, "dry_run": True},
    )
    def release_many() -> Response:
        args, options = read_bulk(request, ReleaseManyRequest())
        filters = filters_of_many(args)
        before, most = read_cursor(args.get("cursor")), options.pop("limit", None)
        done = operations.release_many(filters, before=before, most=most, **options)
        return jsonify(_moved("released", done, dry_run=options["dry_run"]))

    # The name of a route may have slashes.
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
        command = read_command(request, CallMeRequest())
        number = read_phone(command["to_number"], operations.settings.default_region)
        return jsonify(answer.dump(operations.call_me(name, number, command["record"]))), 202


def _add_call_lists(api: Blueprint, operations: Operations) -> None:
    @api.post("/call-lists")
    @operation(
        "Call a list",
        tag="Routes",
        description="Each row becomes a delivery of the route, held as bulk until a person "
        "releases it. Sending a list again adds only what is not stored yet.",
        body=CallListRequest,
        answers={200: CallListResponse},
        refusals=(400, 404, 413, 503),
        example={
            "route": "call new leads",
            "name": "Diwali leads",
            "mapping": {"properties.phone": "Phone"},
            "csv": "Phone\n+919876543210\n",
            "dry_run": True,
        },
    )
    def call_list() -> Response:
        command = read_command(request, CallListRequest())
        done = operations.call_list(
            command["route"],
            command["name"],
            command["mapping"],
            read_table(command["csv"]),
            dry_run=command["dry_run"],
        )
        return jsonify(CallListResponse().dump(done))


def _add_people(api: Blueprint, operations: Operations) -> None:
    store = operations.store
    region = operations.settings.default_region
    answer, off_answer = SuppressionResponse(), CalledOffResponse()

    @api.get("/suppressions")
    @operation(
        "List suppressions",
        tag="Suppressions",
        description="The numbers and records that must not be called, newest first.",
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
        description="A number that can't be read does not stop the others.",
        body=SuppressManyRequest,
        answers={200: SuppressedManyResponse},
        refusals=(400, 413, 503),
        example={"numbers": ["+919876543210"], "message": "our old do-not-call list"},
    )
    def suppress_many() -> Response:
        command = read_command(request, SuppressManyRequest())
        new, refused = 0, []
        for place, text in enumerate(command["numbers"]):
            try:
                number = read_phone(text, region)
            except BadQuery as error:
                refused.append({"place": place, "message": str(error)})
                continue
            new += operations.suppress_one_of_many(number, message=command["message"])
        operations.end_import(new)
        known = len(command["numbers"]) - len(refused) - new
        return jsonify({"suppressed": new, "known": known, "refused": refused})

    # Some people write numbers with a slash.
    @api.get("/suppressions/<path:phone>")
    @operation(
        "One suppression",
        tag="Suppressions",
        description="When and why a number was suppressed. 404: it is not suppressed.",
        query=LookQuery,
        answers={200: SuppressionResponse},
        refusals=(400, 404, 503),
    )
    def suppression(phone: str) -> Response:
        reveals = read_look(request.args)
        found = (
            store.suppression(phone)
            if PHONE_KEY.fullmatch(phone)
            else store.suppression_of(read_phone(phone, region))
        )
        if found is None:
            raise NotFound("This is not suppressed.")
        if reveals:
            note_revealed("suppression", found.key)
        with revealed(reveals):
            return jsonify(answer.dump(found))

    @api.put("/suppressions/<path:phone>")
    @operation(
        "Suppress a number",
        tag="Suppressions",
        description="No route calls it again, and what was planned for it is cancelled.",
        body=SuppressRequest,
        answers={200: SuppressedResponse},
        refusals=(400, 404, 413, 503),
        example={"message": "asked us to stop"},
    )
    def suppress(phone: str) -> Response:
        command = read_command(request, SuppressRequest())
        done = operations.suppress(read_phone(phone, region), **command)
        return jsonify({**answer.dump(done.suppression), **off_answer.dump(done.called_off)})

    @api.delete("/suppressions/<path:phone>")
    @operation(
        "Let a number be called again",
        tag="Suppressions",
        description="What was cancelled or skipped for the suppression stays so.",
        answers={200: UnsuppressedResponse},
        refusals=(400, 404, 413, 503),
    )
    def unsuppress(phone: str) -> Response:
        read_command(request, NoRequest())
        if PHONE_KEY.fullmatch(phone):
            key = phone
            operations.unsuppress(key)
        else:
            key = operations.unsuppress_number(read_phone(phone, region))
        return jsonify({"id": key, "suppressed": False})

    @api.post("/erasures")
    @operation(
        "Erase a person",
        tag="Suppressions",
        description="202: the worker continues; ask again to see how far it is.",
        body=EraseRequest,
        answers={200: ErasedResponse, 202: ErasedResponse},
        refusals=(400, 413, 503),
        example={"phone": "+919876543210"},
    )
    def erase() -> tuple[Response, int]:
        command = read_command(request, EraseRequest())
        done = operations.erase(read_phone(command["phone"], region))
        return jsonify(ErasedResponse().dump(done)), 200 if done.is_done else 202


def _add_to_events(api: Blueprint, operations: Operations) -> None:
    @api.post("/events/<event_id>/replay")
    @operation(
        "Replay an event",
        tag="Events",
        description="The event is matched under today's routes, and gets the deliveries that it "
        "never had.",
        body=ReplayRequest,
        answers={200: ReplayedResponse},
        refusals=(400, 404, 413, 503),
        example={"dry_run": True},
    )
    def replay(event_id: str) -> Response:
        command = read_command(request, ReplayRequest())
        done = operations.replay(event_id, **command)
        return jsonify(_replayed(done, dry_run=command["dry_run"]))

    @api.post("/events/replay")
    @operation(
        "Replay many events",
        tag="Events",
        description=f"{FILTERS}Without status: the unrouted and unreadable events.{MORE}",
        body=ReplayManyRequest,
        answers={200: ReplayedManyResponse},
        refusals=(400, 404, 413, 503),
        example={"source": "hubspot", "dry_run": True},
    )
    def replay_many() -> Response:
        args, options = read_bulk(request, ReplayManyRequest())
        before = read_cursor(args.get("cursor"))
        filters = read_event_filters(args, operations.settings.routes.sources)
        refuse_unknown_names(filters, operations.settings, operations.store)
        done = operations.replay_many(filters, before=before, **options)
        counts = {"matched": done.matched, "replayed": done.done, "unchanged": done.refused}
        return jsonify(_bulk(counts, done, dry_run=options["dry_run"]))


def _add_to_pauses(api: Blueprint, operations: Operations) -> None:
    answer = PauseResponse()

    @api.get("/pauses")
    @operation(
        "List pauses",
        tag="Pauses",
        description="CallKaro's circuit breaker is in the list while it is open.",
        answers={200: PausesResponse},
        refusals=(503,),
    )
    def pauses() -> Response:
        return jsonify({"items": answer.dump(operations.store.pauses(), many=True)})

    # A scope may have slashes and spaces, because the name of a route may.
    @api.get("/pauses/<path:scope>")
    @operation(
        "One pause",
        tag="Pauses",
        description="When and why a scope was paused. 404: it is not paused.",
        answers={200: PauseResponse},
        refusals=(404, 503),
    )
    def one_pause(scope: str) -> Response:
        found = [one for one in operations.store.pauses() if one.scope == scope]
        if not found:
            raise NotFound(NOT_PAUSED)
        return jsonify(answer.dump(found[0]))

    @api.put("/pauses/<path:scope>")
    @operation(
        "Pause",
        tag="Pauses",
        description="What falls due in this scope is held until a person resumes it: all, "
        "callkaro, source:NAME, route:NAME, campaign:BATCH_ID or crm:SOURCE (write-backs alone).",
        body=PauseRequest,
        answers={200: PauseResponse},
        refusals=(400, 404, 413, 503),
        example={"message": "holiday"},
    )
    def pause(scope: str) -> Response:
        command = read_command(request, PauseRequest())
        operations.pause(scope, **command)
        for found in operations.store.pauses():
            if found.scope == scope and found.reason != "breaker":
                return jsonify(answer.dump(found))
        raise NotFound("Another person has just resumed it.")

    @api.delete("/pauses/<path:scope>")
    @operation(
        "Resume",
        tag="Pauses",
        description="The deliveries that it held are due now. dry_run: only count them.",
        body=ResumeRequest,
        answers={200: ResumedResponse},
        refusals=(400, 404, 413, 503),
    )
    def resume(scope: str) -> Response:
        command = read_command(request, ResumeRequest())
        if not command["dry_run"]:
            return jsonify({"scope": scope, "released": operations.resume(scope)})
        would = operations.would_resume(scope)
        counts = {"released": would.held, "too_old": would.too_old}
        return jsonify({"scope": scope, **counts, "dry_run": True})


def _moved(word: str, done: Bulk, *, dry_run: bool) -> dict[str, Any]:
    counts = {"matched": done.matched, word: done.done, "refused": done.refused}
    return {**_bulk(counts, done, dry_run=dry_run), "refused_by": done.refused_by}


def _bulk(counts: dict[str, int], done: Bulk, *, dry_run: bool) -> dict[str, Any]:
    return {**counts, "dry_run": dry_run, "next_cursor": done.next_cursor}


def _replayed(done: Replayed, *, dry_run: bool) -> dict[str, Any]:
    return {
        "id": done.event_id,
        "status": done.status,
        "deliveries": refs(_as_refs(done.new), own_address()),
        "dry_run": dry_run,
    }


def _as_refs(new: Sequence[NewDelivery]) -> list[DeliveryRef]:
    return [DeliveryRef(id=one.id, route=one.route, status=Status.QUEUED) for one in new]
