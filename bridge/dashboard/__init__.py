"""The dashboard: pages that show what happened to each lead. htmx refreshes them.

It does what the API does, by the same modules, and decides nothing. Each page works without
JavaScript, on a phone, by keyboard and without internet. All times are in CALLKARO_TIMEZONE.
"""

from flask import Blueprint, Flask, Response, g, render_template, request
from werkzeug.exceptions import HTTPException

from bridge.dashboard import (
    audit,
    banners,
    call_lists,
    campaigns,
    connect,
    deliveries,
    events,
    exports,
    filters,
    overview,
    refused,
    reports,
    routes,
    search,
    session,
    suppressions,
)
from bridge.figures import FigureReader
from bridge.http.web_app import FOR_PROGRAMS
from bridge.operations import Operations
from schemas.errors import RequestError, StoreClosed, StoreUnavailable, StoreUnfit, Unconfirmed
from schemas.settings import Settings
from store import Store
from store.queue import Wakeup


def register(
    app: Flask, settings: Settings, store: Store, wakeup: Wakeup, figures: FigureReader
) -> None:
    """Give an app the dashboard at `/`."""
    session.configure(app, settings)
    app.register_blueprint(views(settings, store, wakeup, figures))


def views(settings: Settings, store: Store, wakeup: Wakeup, figures: FigureReader) -> Blueprint:
    """Return the pages."""
    dashboard = Blueprint(
        "dashboard",
        __name__,
        template_folder="templates",
        static_folder="static",
        static_url_path="/dashboard/static",
    )
    session.add(dashboard, settings, store)
    filters.add(dashboard, settings)
    operations = Operations(settings=settings, store=store, wakeup=wakeup)
    banners.add(dashboard, operations)
    overview.add(dashboard, operations)
    audit.add(dashboard, operations)
    deliveries.add(dashboard, operations)
    events.add(dashboard, operations)
    exports.add(dashboard, operations)
    refused.add(dashboard, operations)
    call_lists.add(dashboard, operations)
    campaigns.add(dashboard, operations)
    reports.add(dashboard, operations, figures)
    suppressions.add(dashboard, operations)
    routes.add(dashboard, operations)
    connect.add(dashboard, operations)
    search.add(dashboard, operations)
    _add_errors(dashboard)
    return dashboard


def _add_errors(dashboard: Blueprint) -> None:
    """Show errors as pages, not as JSON."""

    @dashboard.errorhandler(RequestError)
    def refused_page(error: RequestError) -> tuple[str, int]:
        return _page(str(error), error.status_code)

    @dashboard.errorhandler(StoreUnavailable)
    def unavailable(error: StoreUnavailable) -> Response:
        says_more = isinstance(error, StoreClosed | StoreUnfit | Unconfirmed)
        away = "The store does not answer. This page tries again by itself."
        page, status = _page(error.answer if says_more else away, error.status_code)
        return Response(page, status, headers={"Retry-After": "3", "Refresh": "5"})


def is_for_a_person() -> bool:
    """Say whether a person's browser asks for an address that no other part of the bridge has."""
    is_page = request.method == "GET" and not request.path.startswith(FOR_PROGRAMS)
    # Programs that take anything (*/*) get JSON.
    best = request.accept_mimetypes.best_match(["application/json", "text/html"])
    return is_page and best == "text/html"


def no_page(error: HTTPException) -> Response:
    """Return the page for an address that has none."""
    page, _ = _page("There is no page at this address.", 404)
    g.is_page = True  # it needs the headers of a page
    headers = [(name, value) for name, value in error.get_headers() if name != "Content-Type"]
    return Response(page, error.code, headers=headers, mimetype="text/html")


def _page(message: str, status: int) -> tuple[str, int]:
    # Only a whole page becomes an error page. A part that refreshes itself stays as it is.
    name = "problem.html" if not request.headers.get("HX-Request") else "problem_part.html"
    return render_template(name, message=message, status=status), status
