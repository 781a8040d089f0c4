"""The page Connect: of each source, what to enter at its vendor, and what arrived lately."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, render_template

from bridge.dashboard.events import REFUSED_H
from bridge.http.links import own_address
from bridge.operations import Operations
from schemas.records import EventFilters, Refusal
from schemas.refused import CAUSES
from schemas.settings import Settings
from schemas.source import Basic, Source, Token, proof_headers
from store import Store


def add(dashboard: Blueprint, operations: Operations) -> None:
    """Give the blueprint its page about connecting sources."""
    settings, store = operations.settings, operations.store

    @dashboard.get("/routes/connect")
    def connect() -> str:
        refused = _refused_by_source(store)
        found = settings.routes.sources.values()
        shown = [_shown(one, settings, store, refused) for one in found]
        # Those in use first: most of the others are for vendors whom this bridge will never meet.
        sources = sorted(shown, key=lambda one: not one["is_on"])
        return render_template("connect.html", sources=sources, hours=round(REFUSED_H))


def _refused_by_source(store: Store) -> Mapping[str, list[Refusal]]:
    found: dict[str, list[Refusal]] = defaultdict(list)
    for one in store.refusals(REFUSED_H):
        found[one.source or ""].append(one)
    return found


def _shown(
    source: Source, settings: Settings, store: Store, refused: Mapping[str, list[Refusal]]
) -> dict[str, Any]:
    is_on = bool(settings.secrets.get(source.name))
    auth = source.auth
    return {
        "name": source.name,
        "title": source.kind.title,
        "url": f"{own_address()}/webhooks/{source.name}",
        "headers": () if isinstance(auth, Basic) else proof_headers(auth),
        "query": auth.query if isinstance(auth, Token) else "",
        "variable": f"{source.variable_prefix}WEBHOOK_SECRET",
        "about": source.secret_about(),
        "needs": [
            source.variable_prefix + one.suffix
            for one in source.missing(settings.variables.get(source.name, {}))
        ],
        "guide": source.kind.guide_path,
        "is_on": is_on,
        # An address without a secret takes nothing, so the store is not asked.
        "last": _last(source, store) if is_on else None,
        "refused": [
            {
                "code": one.status_code,
                "cause": CAUSES.get(one.cause, one.cause),
                "count": one.count,
                "latest": one.latest,
            }
            for one in refused.get(source.name, ())
        ],
    }


def _last(source: Source, store: Store) -> dict[str, Any]:
    """Return the newest event of a source, and whether the store looked at all events for it."""
    page = store.events(EventFilters(source=source.name), before=None, limit=1, brief=True)
    event = page.items[0].event if page.items else None
    return {"event": event, "is_whole": page.next_cursor is None}
