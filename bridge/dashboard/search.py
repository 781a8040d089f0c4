"""The search box above the lists. What is typed stands in no address: see schemas/search.py."""

from flask import Blueprint, flash, redirect, request, url_for
from werkzeug.wrappers import Response

from bridge.access import may
from bridge.operations import Operations
from schemas.errors import BadQuery


def add(dashboard: Blueprint, operations: Operations) -> None:
    """Give the blueprint the address that the search box posts to."""
    store, sources = operations.store, operations.settings.routes.sources

    @dashboard.post("/search")
    def search() -> Response:
        key = None
        try:
            typed = request.form.get("q", "")
            key = store.search(typed, sources, may_reveal=may("reveal")).key()
        except BadQuery as error:
            flash(str(error), "problem")
        return redirect(url_for("dashboard.deliveries", search=key or None), 303)
