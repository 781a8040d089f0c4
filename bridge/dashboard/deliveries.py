"""The pages of deliveries: the list with its filters, one in full, and commands for people."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from bridge.api.queries import PHONE_KEY, Args, read_cursor, read_filters, refuse_unknown_names
from bridge.campaigns import campaign_choices, with_campaign
from bridge.dashboard import kept_views, ringing
from bridge.dashboard.call_report import CallReport, call_report, in_words, look_up
from bridge.dashboard.filters import local_time, typed_number, with_args, with_zone
from bridge.dashboard.recording import playable_origin
from bridge.dashboard.session import note_look
from bridge.dashboard.suppressions import cancelled_text
from bridge.dashboard.words import RESULTS
from bridge.http.links import own_address
from bridge.operations import Bulk, Operations
from bridge.operations.base import NO_DELIVERY
from schemas.delivery import (
    RETRIED_FROM,
    RINGS_AGAIN,
    WAITING,
    WRITE_BACK,
    Delivery,
    Reason,
    Status,
    may_have_rung,
    retried,
)
from schemas.errors import BadQuery, BridgeError, NotFound
from schemas.links import Addresses, links_of
from schemas.outcome import Result
from schemas.records import NO_OUTCOME, Filters
from schemas.responses import (
    DeliveryBrief,
    DeliveryResponse,
    EventResponse,
    SuppressionResponse,
    as_shown,
    revealed,
)
from schemas.search import read_search
from store import Store

ROWS: Final = 25
# `search` is the key of what a person typed: see schemas/search.py.
NAMES: Final = (
    *("status", "outcome", "reason", "route", "source", "campaign"),
    *("subject", "phone_key", "search", "since", "until", "to"),
)
OUTCOMES: Final = (*map(str, Result), NO_OUTCOME)  # that can be filtered by
# Addresses that may have a number: bookmarks, and pages of an older release.
LISTS: Final = frozenset(f"dashboard.deliveries{name}" for name in ("", "_part", "_many", "_table"))
BULK: Final = ("retry", "cancel", "release")
# The statuses in which a command on many can do something.
DOES_FOR: Final[Mapping[str, frozenset[Status]]] = {
    "retry": RETRIED_FROM - RINGS_AGAIN,
    "cancel": WAITING | {Status.DELIVERED},
    "release": frozenset({Status.HELD}),
}
DONE: Final = {"retry": "retried", "cancel": "cancelled", "release": "released"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A page of the list."""

    rows: list[dict[str, Any]]
    next_cursor: str | None = None  # where the next page begins; None: this is the last
    # Rows from here on are newer than this page. They are only counted, so that no row moves while
    # a person reads.
    anchor: str | None = None
    newer: int = 0  # how many rows are newer
    first: int = 1  # the place of the first row in the whole list, from 1
    total: int | None = None  # how many rows the whole list has; None: not known


def add(dashboard: Blueprint, operations: Operations) -> None:
    """Give the blueprint its pages about deliveries."""
    store, settings = operations.store, operations.settings
    addresses = Addresses.of(settings)
    brief, full = DeliveryBrief(addresses), DeliveryResponse(addresses)
    event_full = EventResponse(settings.routes.sources)
    suppression = SuppressionResponse()

    dashboard.app_template_filter("in_words")(in_words)

    @dashboard.before_request
    def hide_number() -> Response | None:
        """Redirect from an address with a number to the same address with the number's key."""
        if request.endpoint not in LISTS or not request.args.get("phone", "").strip():
            return None
        try:
            key = _keyed(request.args, operations)["phone_key"]
        except BadQuery as error:
            flash(str(error), "problem")
            return _to_list(_given(request.args))
        return redirect(with_args(phone=None, phone_key=key), 303)

    def shown(given: Args, problem: str = "", phone: str = "") -> dict[str, Any]:
        """Return the list, or a problem with its filters; phone: typed, and not a number."""
        filters = Filters()
        try:
            filters = _filters(given, operations)
        except BadQuery as error:
            problem = problem or str(error)
        listed = Listed(rows=[])
        if not problem:
            listed = _listed(store, filters, brief)
        return {
            "problem": problem,
            "listed": listed,
            "given": given,
            "phone": phone,
            "statuses": [str(status) for status in Status],
            "outcomes": OUTCOMES,
            "outcome_titles": {**RESULTS, NO_OUTCOME: "Nothing heard yet"},
            "chosen": {name: _words(given, name) for name in ("status", "outcome")},
            "offered": _offered(given),
            "views": kept_views.read_views(request.cookies.get(kept_views.COOKIE, "")),
            "query": kept_views.kept_query(given),
            "reasons": [str(reason) for reason in Reason],
            "routes": [route.name for route in settings.routes.routes],
            "sources": list(settings.routes.sources),
        }

    def campaigns() -> dict[str, str]:
        return campaign_choices(settings, store)

    @dashboard.get("/deliveries")
    def deliveries() -> str:
        page = shown(_given(request.args))
        is_new = not page["listed"].rows and not any(store.counts().values())
        return render_template("deliveries.html", is_new=is_new, campaigns=campaigns(), **page)

    @dashboard.post("/deliveries")
    def deliveries_filtered() -> Response | tuple[str, int]:
        try:
            return _to_list(_keyed(request.form, operations))
        except BadQuery as error:
            page = shown(_given(request.form), str(error), request.form["phone"])
            return render_template("deliveries.html", campaigns=campaigns(), **page), 400

    kept_views.add(dashboard)

    @dashboard.get("/deliveries/part")
    def deliveries_part() -> str:
        return render_template("deliveries_part.html", **shown(_given(request.args)))

    @dashboard.get("/deliveries/many")
    def deliveries_many() -> str:
        what = _what(request.args.get("do"))
        args = _given(request.args)
        done = _many(operations, what, args, dry_run=True)
        rings = _rings(operations, args, done.done) if what == "release" and done.done else ""
        return render_template(
            "deliveries_many.html", what=what, done=done, given=args, word=DONE[what], rings=rings
        )

    @dashboard.post("/deliveries/many")
    def deliveries_many_done() -> Response:
        what, args = _what(request.form.get("do")), _keyed(request.form, operations)
        most = _most(request.form.get("most", ""))
        done = _many(operations, what, args, dry_run=False, most=most)
        more = " More deliveries match: do the same again." if done.next_cursor else ""
        word = DONE[what]
        flash(f"Deliveries {word}: {done.done}. Could not be {word}: {done.refused}.{more}")
        return _to_list(args)

    @dashboard.get("/deliveries/<delivery_id>")
    def delivery(delivery_id: str) -> str:
        return render_template("delivery.html", **in_full(delivery_id))

    @dashboard.get("/deliveries/<delivery_id>/part")
    def delivery_part(delivery_id: str) -> str:
        return render_template("delivery_part.html", **in_full(delivery_id, is_part=True))

    @dashboard.post("/deliveries/<delivery_id>/<what>")
    def delivery_done(delivery_id: str, what: str) -> Response:
        command = _COMMANDS.get(what)
        if command is None:
            raise NotFound("There is nothing at this address.")
        try:
            flash(command(operations, delivery_id))
        except BridgeError as error:
            flash(str(error), "problem")
        return redirect(url_for("dashboard.delivery", delivery_id=delivery_id))

    def in_full(delivery_id: str, *, is_part: bool = False) -> dict[str, Any]:
        found = store.delivery(delivery_id)
        if found is None:
            raise NotFound(NO_DELIVERY)
        seen = store.event(found.event_id)
        kept = store.suppression_of_call(found)
        is_revealed = request.args.get("reveal") == "1"
        one = full.dump(found)
        event = event_full.dump(seen.event) if seen else None
        zone = ZoneInfo(settings.callkaro_timezone)
        if is_revealed:
            note_look("delivery", found.id, is_part=is_part)
            one["request"], one["consent"] = found.request, found.consent
            if event and seen:
                event["data"] = seen.event.data
        with revealed(is_revealed):
            report = call_report(found)
            links = links_of(as_shown(found), addresses)
        number = (one["request"] or {}).get("to_number")
        return {
            "report": report,
            **player(report, is_part=is_part),
            "number": number,
            "receiver": "the CRM" if found.to == WRITE_BACK else "CallKaro",
            "links": links,
            "look_up": look_up(found, number, zone, settings.callkaro_app_url),
            "one": {**one, "consent": _with_local_time(one["consent"], zone)},
            "event": event,
            "steps": _steps(one),
            "can": {**_can(found), "cancel": operations.may_cancel(found)},
            "is_revealed": is_revealed,
            "suppressed": suppression.dump(kept) if kept else None,
        }

    def player(report: CallReport, *, is_part: bool) -> dict[str, Any]:
        """Permit this page to play the newest recording, and say whether it does.

        A part that refreshes itself plays only what the page around it was permitted to play.
        """
        url = report.newest.recording if report.newest else None
        origin = playable_origin(url, own_address())
        g.media_origin = origin
        plays = origin if not is_part or request.args.get("plays") == origin else None
        return {"plays": plays, "is_playable": origin is not None}


# --- the list -----------------------------------------------------------------------------------


def _given(args: Mapping[str, Any]) -> Args:
    """Return the filters that are set, without the page's own words."""
    pairs = args.items(multi=True) if isinstance(args, MultiDict) else args.items()
    return MultiDict([(name, value) for name, value in pairs if name in NAMES and value.strip()])


def _words(given: Args, name: str) -> list[str]:
    """Return the words of a filter that takes several, repeated or with commas."""
    return [word for part in given.getlist(name) for word in part.split(",") if word]


def _offered(given: Args) -> list[str]:
    """Return the commands on many that can do something for deliveries with these filters."""
    chosen, reason = _words(given, "status"), given.get("reason")
    offered = [what for what in BULK if not chosen or DOES_FOR[what] & set(chosen)]
    # A release is of bulk alone, whatever the reason in the filters.
    return [what for what in offered if what != "release" or reason in (None, Reason.BULK)]


def _keyed(args: Args, operations: Operations) -> Args:
    """Return the filters that are set, with the key of the number instead of the number.

    Browsers and routers keep addresses, so an address may not have a number. Raises BadQuery.
    """
    given, phone = _given(args), args.get("phone", "")
    if phone.strip():
        number = typed_number(phone, operations.settings.default_region)
        given["phone_key"] = operations.store.phone_key(number)
    return given


def _filters(given: Args, operations: Operations) -> Filters:
    """Return the filters as the store reads them. Raises BadQuery."""
    key = given.get("phone_key")
    if key and not PHONE_KEY.fullmatch(key):
        raise BadQuery("This is not the key of a number. Enter the number itself under Phone.")
    settings = operations.settings
    filters = read_filters(with_zone(given, settings), settings.default_region)
    filters = with_campaign(filters, given.get("campaign"), settings, operations.store)
    refuse_unknown_names(filters, settings, operations.store)
    search = read_search(given["search"]) if given.get("search") else None
    return replace(filters, phone_key=key, search=search)


def filters_of(args: Mapping[str, Any], operations: Operations) -> Filters:
    """Return the filters of a list's address. Raises BadQuery."""
    return _filters(_given(args), operations)


def _to_list(given: Args) -> Response:
    words: dict[str, Any] = given.to_dict(flat=False)
    return redirect(url_for("dashboard.deliveries", **words), 303)


def rows_of(items: Sequence[Any], next_cursor: str | None) -> tuple[Sequence[Any], str | None]:
    """Return the rows of a page that was read with one more, and where the next page begins.

    So a page that is just full does not lead to an empty one.
    """
    if len(items) <= ROWS:
        return items, next_cursor
    return items[:ROWS], str(items[ROWS - 1].order)


def _listed(store: Store, filters: Filters, brief: DeliveryBrief) -> Listed:
    cursor = read_cursor(request.args.get("cursor"))
    anchor = read_cursor(request.args.get("anchor"))
    before = cursor or anchor
    page = store.deliveries(filters, before=before, limit=ROWS + 1, brief=True)
    items, next_cursor = rows_of(page.items, page.next_cursor)
    newer = 0
    if anchor and not cursor:
        newest = store.deliveries(filters, before=None, limit=ROWS, brief=True).items
        newer = sum(one.order >= anchor for one in newest)
    first = read_place(request.args.get("n")) if cursor else 1
    total = store.count(filters)
    if total is None and next_cursor is None and first == 1 and not before:
        total = len(items)
    if anchor is None and cursor is None and items:
        anchor = items[0].order + 1
    return Listed(
        rows=brief.rows(items),
        next_cursor=next_cursor,
        anchor=str(anchor) if anchor else None,
        newer=newer,
        first=first,
        total=total,
    )


def read_place(raw: str | None) -> int:
    """Return the place of a page's first row in the list; 0: it is not known."""
    return int(raw) if raw and re.fullmatch(r"[1-9]\d{0,8}", raw, re.ASCII) else 0


def _what(raw: str | None) -> str:
    if raw not in BULK:
        raise BadQuery("Choose retry, cancel or release.")
    return raw


def _most(typed: str) -> int | None:
    """Return how many deliveries a release may change; None: all. Raises BadQuery."""
    if not typed.strip():
        return None
    if not re.fullmatch(r"\s*[1-9]\d{0,6}\s*", typed, re.ASCII):
        raise BadQuery("The number of deliveries must be a whole number from 1 to 9999999.")
    return int(typed)


def _many(
    operations: Operations, what: str, args: Args, *, dry_run: bool, most: int | None = None
) -> Bulk:
    """Change all deliveries that match. Raises BadQuery where there is no filter.

    most: a release changes at most this many, the newest first; None: all.
    """
    if not args:
        raise BadQuery(
            "Set at least one filter first. Without a filter this would change every delivery."
        )
    filters = _filters(args, operations)
    match what:
        case "retry":
            return operations.retry_many(filters, call_again=False, dry_run=dry_run)
        case "cancel":
            return operations.cancel_many(filters, dry_run=dry_run)
        case _:
            return operations.release_many(filters, dry_run=dry_run, most=most)


def _rings(operations: Operations, args: Args, count: int) -> str:
    """Return how many phones ring, and from when on, if this is released."""
    now = datetime.now(UTC)
    found = ringing.look(operations, _filters(args, operations), now)
    return ringing.ringing_words(found, count, operations.settings, now)


# --- one ----------------------------------------------------------------------------------------


def _retry(operations: Operations, delivery_id: str) -> str:
    call_again = request.form.get("call_again") == "1"
    operations.retry(delivery_id, call_again=call_again)
    return "The call is made again now." if call_again else "The delivery is retried now."


def _cancel(operations: Operations, delivery_id: str) -> str:
    done = operations.cancel(delivery_id)
    if done.status is Status.CANCELLED:
        return "The delivery is cancelled."
    return "The worker asks CallKaro to delete the scheduled call."


def _resolve(operations: Operations, delivery_id: str) -> str:
    found = request.form.get("as", "")
    if found not in ("delivered", "failed"):
        raise BadQuery("Choose delivered or failed.")
    operations.resolve(delivery_id, Status(found))
    return f"You marked the delivery as {found}."


def _suppress(operations: Operations, delivery_id: str) -> str:
    found = operations.store.delivery(delivery_id)
    number = (found.request or {}).get("to_number") if found else None
    if not number:
        raise BadQuery("This delivery has no number yet.")
    done = operations.suppress(str(number), message="suppressed on the dashboard")
    return f"No route calls this number any more. {cancelled_text(done.called_off)}"


_COMMANDS: Final[dict[str, Callable[[Operations, str], str]]] = {
    "retry": _retry,
    "cancel": _cancel,
    "resolve": _resolve,
    "suppress": _suppress,
}


def _can(delivery: Delivery) -> dict[str, bool]:
    """Say which commands make sense for a delivery in its present status."""
    number = (delivery.request or {}).get("to_number")
    return {
        "retry": retried(delivery, call_again=False) is not None,
        "call_again": may_have_rung(delivery) and retried(delivery, call_again=True) is not None,
        "resolve": delivery.status is Status.UNKNOWN,
        "suppress": bool(number) and delivery.to != WRITE_BACK,
    }


def _steps(one: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a delivery's changes, attempts and outcomes, in the order of time."""
    steps = [{"at": change["at"], "kind": "change", **change} for change in one["timeline"]]
    sent = [step["at"] for step in steps if step["status"] == Status.SENDING]
    for attempt in one["attempts"]:
        # An attempt is recorded a moment before its `sending`, and is shown after it.
        at = sent[attempt["number"] - 1] if attempt["number"] <= len(sent) else attempt["at"]
        steps.append({"kind": "attempt", **attempt, "at": at})
    steps += [
        {"kind": "outcome", "at": outcome["ended_at"] or "", **outcome}
        for outcome in one["outcomes"]
    ]
    # Steps without a time come last.
    return sorted(steps, key=lambda step: _comparable(step["at"]))


def _with_local_time(consent: Mapping[str, Any] | None, zone: ZoneInfo) -> dict[str, Any] | None:
    """Return a proof of consent with its time as the pages write times."""
    if not consent or "at" not in consent:
        return dict(consent) if consent else None
    return {**consent, "at": f"{local_time(str(consent['at']), zone)} {zone.key}"}


def _comparable(at: str) -> str:
    return at.replace("+00:00", "Z") if at else "9999"
