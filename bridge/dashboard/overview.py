"""The first page: the state of the bridge."""

from typing import Any
from zoneinfo import ZoneInfo

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.api import views as api
from bridge.dashboard import charts
from bridge.dashboard.filters import PAUSED, RESUMED
from bridge.dashboard.warnings import with_links
from bridge.operations import Operations
from bridge.operations.pauses import WouldResume
from schemas.delivery import Status
from schemas.settings import Settings
from store import Store

HOURS, POINTS = 24.0, 48
COUNTED = 1000  # deliveries that a failing route holds; the page refreshes itself, so no more


def add(dashboard: Blueprint, operations: Operations) -> None:
    """Give the blueprint its first page."""
    settings, store, wakeup = operations.settings, operations.store, operations.wakeup

    @dashboard.get("/")
    def overview() -> str:
        return render_template("overview.html", **shown())

    @dashboard.get("/overview/part")
    def overview_part() -> str:
        return render_template("overview_part.html", **shown())

    @dashboard.post("/pause")
    def pause() -> Response:
        scope = request.form.get("scope", "")
        operations.pause(scope, "Paused on the dashboard.")
        flash(PAUSED.format(scope=scope))
        return redirect(url_for("dashboard.overview"))

    @dashboard.post("/resume")
    def resume() -> Response:
        scope = request.form.get("scope", "")
        released = operations.resume(scope)
        flash(RESUMED.format(scope=scope, released=released))
        return redirect(url_for("dashboard.overview"))

    def would(found: dict[str, Any]) -> dict[str, WouldResume]:
        """Return what a resume of each failing route would do, by scope."""
        scopes = [pause["scope"] for pause in found["pauses"] if pause["reason"] == "failing"]
        return {scope: operations.would_resume(scope, most=COUNTED) for scope in scopes}

    def shown() -> dict[str, Any]:
        found = api.overview(store, settings, wakeup)
        points, zone = (
            store.series(hours=HOURS, points=POINTS),
            ZoneInfo(settings.callkaro_timezone),
        )
        return {
            "found": found,
            "warnings": with_links(found["warnings"]),
            "needs_a_person": _needs_a_person(found),
            "would": would(found),
            "is_new": not any(found["deliveries"].values()) and not any(found["events"].values()),
            "plot": charts.bars(points, zone),
            "latency": charts.lines(points, zone),
            "routes": _routes(settings, store),
            "sources": _sources(settings, store),
            "hours": int(HOURS),
        }


def _needs_a_person(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the counts that a person should act on, each with its filters."""
    counts = found["deliveries"]
    return [
        {
            "count": counts[Status.UNKNOWN],
            "status": "unknown",
            "words": "find out, then resolve",
            "filters": {"status": "unknown"},
        },
        {
            "count": counts[Status.FAILED],
            "status": "failed",
            "words": "fix, then retry",
            "filters": {"status": "failed"},
        },
        {
            "count": found["bulk"],
            "status": "held",
            "reason": "bulk",
            "words": "release or cancel",
            "filters": {"status": "held", "reason": "bulk"},
        },
    ]


def _routes(settings: Settings, store: Store) -> list[dict[str, Any]]:
    paused = {pause.scope for pause in store.pauses()}
    counts = store.counts_of("route", [route.name for route in settings.routes.routes])
    return [
        {
            "name": route.name,
            "source": route.source,
            "to": route.to,
            "deliveries": counts[route.name],
            "is_paused": f"route:{route.name}" in paused,
        }
        for route in settings.routes.routes
    ]


def _sources(settings: Settings, store: Store) -> list[dict[str, Any]]:
    paused = {pause.scope for pause in store.pauses()}
    sources = settings.routes.sources
    counts = store.counts_of("source", list(sources))
    return [
        {
            "name": name,
            "title": source.kind.title,
            "deliveries": counts[name],
            "is_on": bool(settings.secrets.get(name)),
            "is_paused": f"source:{name}" in paused,
        }
        for name, source in sources.items()
    ]
