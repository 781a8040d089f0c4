"""The lists of the pages as CSV files."""

from zoneinfo import ZoneInfo

from flask import Blueprint, request
from werkzeug.wrappers import Response

from bridge.dashboard.deliveries import filters_of
from bridge.exports import Form, deliveries_csv, suppressions_csv
from bridge.operations import Operations
from schemas.links import Addresses


def add(dashboard: Blueprint, operations: Operations) -> None:
    """Give the blueprint its files."""
    store, addresses = operations.store, Addresses.of(operations.settings)
    zone = ZoneInfo(operations.settings.callkaro_timezone)

    def form() -> Form:
        return Form(reveals=request.args.get("reveal") == "1", zone=zone)

    @dashboard.get("/deliveries.csv")
    def deliveries_table() -> Response:
        filters = filters_of(request.args, operations)
        return deliveries_csv(store, filters, form(), addresses=addresses)

    @dashboard.get("/suppressions.csv")
    def suppressions_table() -> Response:
        return suppressions_csv(store, form())
