"""The pages of events: the list, one in full, replays, and the counts of refused requests."""

from collections.abc import Mapping
from typing import Any, Final

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from bridge.api.queries import Args, read_cursor, read_event_filters, refuse_unknown_names
from bridge.dashboard import refused
from bridge.dashboard.deliveries import Listed, rows_of
from bridge.dashboard.filters import with_zone
from bridge.dashboard.session import note_look
from bridge.operations import Bulk, Operations
from bridge.operations.base import NO_EVENT
from schemas.errors import BadQuery, BridgeError, NotFound, StoreUnavailable
from schemas.event import EventStatus
from schemas.records import EventFilters, SeenEvent
from schemas.refused import CAUSES
from schemas.responses import EventBrief, EventResponse, revealed
from schemas.settings import Settings
from store import Store
from store.counters import read_counts

ROWS: Final = 25
NAMES: Final = ("status", "source", "source_event_id", "since", "until")
REFUSED_H: Final = 24.0


def add(dashboard: Blueprint, operations: Operations) -> None:
    """Give the blueprint its pages about events."""
    store, settings = operations.store, operations.settings

    def shown() -> dict[str, Any]:
        given = _given(request.args)
        problem, listed, is_new = "", Listed(rows=[]), False
        try:
            filters = _filters(given, settings)
            listed = _listed(store, filters)
            if not listed.rows and not request.args.get("cursor"):
                refuse_unknown_names(filters, settings, store)
            # An empty list may be the filter's doing.
            is_new = not listed.rows and not _has_any(store)
        except BadQuery as error:
            problem = str(error)
        return {"problem": problem, "listed": listed, "given": given, "is_new": is_new}

    @dashboard.get("/events")
    def events() -> str:
        return render_template(
            "events.html",
            statuses=[str(status) for status in EventStatus],
            sources=list(settings.routes.sources),
            refused=_refused(store),
            refused_h=int(REFUSED_H),
            listed_refused=refused.listed(store, None, None, refused.NEWEST),
            **shown(),
        )

    @dashboard.get("/events/list")
    def events_list() -> Response:
        words: dict[str, Any] = _given(request.args).to_dict(flat=False)
        try:
            page = Response(render_template("events_list.html", **shown()), mimetype="text/html")
        except StoreUnavailable:
            away = render_template("events_away.html", words=words)
            page = Response(away, StoreUnavailable.status_code, mimetype="text/html")
        page.headers["HX-Push-Url"] = url_for("dashboard.events", **words)
        return page

    @dashboard.get("/events/part")
    def events_part() -> str:
        return render_template("events_part.html", **shown())

    @dashboard.get("/events/many")
    def events_many() -> str:
        given = _given(request.args)
        cursor = read_cursor(request.args.get("cursor"))
        done = _many(operations, given, cursor, dry_run=True)
        return render_template("events_many.html", done=done, given=given, cursor=cursor)

    @dashboard.post("/events/many")
    def events_many_done() -> Response:
        given = _given(request.form)
        cursor = read_cursor(request.form.get("cursor"))
        done = _many(operations, given, cursor, dry_run=False)
        flash(f"Events with new deliveries: {done.done}. Without: {done.refused}.")
        words: dict[str, Any] = given.to_dict(flat=False)
        if done.next_cursor is None:
            return redirect(url_for("dashboard.events", **words))
        # Events without new deliveries still match, so the next page begins where this one ended.
        flash("More events match, older ones. This page shows how many.")
        return redirect(url_for("dashboard.events_many", cursor=done.next_cursor, **words))

    @dashboard.get("/events/<event_id>")
    def event(event_id: str) -> str:
        return render_template("event.html", **in_full(event_id))

    @dashboard.get("/events/<event_id>/part")
    def event_part(event_id: str) -> str:
        return render_template("event_part.html", **in_full(event_id, is_part=True))

    @dashboard.post("/events/<event_id>/replay")
    def event_replay(event_id: str) -> Response:
        try:
            done = operations.replay(event_id)
            flash(_replayed(len(done.new), done.status))
        except BridgeError as error:
            flash(str(error), "problem")
        return redirect(url_for("dashboard.event", event_id=event_id))

    def in_full(event_id: str, *, is_part: bool = False) -> dict[str, Any]:
        seen = store.event(event_id)
        if seen is None:
            raise NotFound(NO_EVENT)
        is_revealed = request.args.get("reveal") == "1"
        if is_revealed:
            note_look("event", event_id, is_part=is_part)
        with revealed(is_revealed):
            one = _row(seen, EventResponse(settings.routes.sources))
        would = operations.replay(event_id, dry_run=True)
        return {
            "one": one,
            "is_revealed": is_revealed,
            "would_get": [made.route for made in would.new],
            "would_be": would.status,
        }


# --- the list -----------------------------------------------------------------------------------


def _given(args: Mapping[str, Any]) -> Args:
    """Return the filters that are set, without the page's own words."""
    pairs = args.items(multi=True) if isinstance(args, MultiDict) else args.items()
    return MultiDict([(name, value) for name, value in pairs if name in NAMES and value.strip()])


def _filters(given: Args, settings: Settings) -> EventFilters:
    """Return the filters as the store reads them. Raises BadQuery."""
    return read_event_filters(with_zone(given, settings), settings.routes.sources)


def _listed(store: Store, filters: EventFilters) -> Listed:
    cursor = read_cursor(request.args.get("cursor"))
    anchor = read_cursor(request.args.get("anchor"))
    page = store.events(filters, before=cursor or anchor, limit=ROWS + 1, brief=True)
    items, next_cursor = rows_of(page.items, page.next_cursor)
    newer = 0
    if anchor and not cursor:
        newest = store.events(filters, before=None, limit=ROWS, brief=True).items
        newer = sum(one.order >= anchor for one in newest)
    if anchor is None and cursor is None and items:
        anchor = items[0].order + 1
    return Listed(
        rows=[_row(one, EventBrief()) for one in items],
        next_cursor=next_cursor,
        anchor=str(anchor) if anchor else None,
        newer=newer,
    )


def _has_any(store: Store) -> bool:
    return bool(store.events(EventFilters(), before=None, limit=1).items)


def _row(seen: SeenEvent, answer: EventBrief) -> dict[str, Any]:
    return {**answer.dump(seen.event), "status": seen.status, "deliveries": seen.deliveries}


# --- replaying ----------------------------------------------------------------------------------


def _many(operations: Operations, given: Args, cursor: int | None, *, dry_run: bool) -> Bulk:
    """Replay all events that match, from a cursor on. Raises BadQuery where there is no filter."""
    if not given:
        raise BadQuery(
            "Set at least one filter first. Without a filter this would replay every event."
        )
    filters = _filters(given, operations.settings)
    refuse_unknown_names(filters, operations.settings, operations.store)
    return operations.replay_many(filters, dry_run=dry_run, before=cursor)


def _replayed(new: int, status: EventStatus) -> str:
    if new:
        return f"The event has {new} new {'delivery' if new == 1 else 'deliveries'}."
    if status is EventStatus.ROUTED:
        return "The event has a delivery for every matching route already."
    return f"The event was replayed and is still {status}."


# --- what was refused ---------------------------------------------------------------------------


def _refused(store: Store) -> list[dict[str, Any]]:
    """Return why requests were refused, recently and ever; the most frequent recent cause first."""
    lately = {
        (str(one.status_code), one.cause, one.source or ""): one
        for one in store.refusals(REFUSED_H)
    }
    totals = {
        (code, *_cause_and_source(rest)): count
        for (code, rest), count in read_counts(store.measured().totals, "refused").items()
    }
    rows = []
    for key in sorted(lately.keys() | totals.keys()):
        code, cause, source = key
        late = lately.get(key)
        rows.append(
            {
                "code": code,
                "cause": CAUSES.get(cause, cause),
                "source": source,
                "count": late.count if late else 0,
                "latest": late.latest if late else None,
                "total": totals.get(key, 0),
            }
        )
    return sorted(rows, key=lambda row: (-row["count"], -row["total"]))


def _cause_and_source(text: str) -> tuple[str, str]:
    cause, _, source = text.partition(" ")
    return cause, source
