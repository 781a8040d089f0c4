"""The pages of refused requests: bodies that proved their source and could not be parsed."""

from typing import Any, Final

from flask import Blueprint, render_template, request

from bridge.api.queries import read_cursor
from bridge.dashboard.deliveries import Listed
from bridge.operations import Operations
from bridge.operations.base import NO_REFUSED
from schemas.errors import NotFound
from schemas.responses import RefusedBrief, RefusedResponse
from store import Store

ROWS: Final = 25
NEWEST: Final = 5  # on the page Events


def add(dashboard: Blueprint, operations: Operations) -> None:
    """Give the blueprint its pages about refused requests."""
    store = operations.store

    @dashboard.get("/events/refused")
    def refused() -> str:
        source = request.args.get("source") or None
        return render_template(
            "refused.html",
            source=source,
            listed=listed(store, source, read_cursor(request.args.get("cursor")), ROWS),
        )

    @dashboard.get("/events/refused/<refused_id>")
    def refused_request(refused_id: str) -> str:
        found = store.refused_request(refused_id)
        if found is None:
            raise NotFound(NO_REFUSED)
        one: dict[str, Any] = RefusedResponse().dump(found)
        return render_template("refused_request.html", one=one)


def listed(store: Store, source: str | None, before: int | None, limit: int) -> Listed:
    """Return a page of refused requests, newest first; source None: of all sources."""
    page = store.refused(source, before=before, limit=limit)
    return Listed(rows=RefusedBrief(many=True).dump(page.items), next_cursor=page.next_cursor)
