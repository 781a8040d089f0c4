"""/api: lists as CSV files."""

from flask import Blueprint, Response, request

from bridge.api.describe import operation
from bridge.api.queries import read_look, read_table_query, refuse_unknown_names, with_search
from bridge.campaigns import with_campaign
from bridge.exports import MEDIA, Form, deliveries_csv, suppressions_csv
from schemas.links import Addresses
from schemas.requests import DeliveriesTableQuery, LookQuery
from schemas.settings import Settings
from store import Store

ABOUT = (
    "In UTF-8, with a line of names. In front of a text that a spreadsheet could read as a formula "
    "stands a '. A file that ends early is cut without the end of the answer."
)


def add(api: Blueprint, store: Store, settings: Settings) -> None:
    """Add the files to /api. They need its token."""
    addresses = Addresses.of(settings)

    @api.get("/deliveries.csv")
    @operation(
        "All deliveries that match, as CSV",
        tag="Deliveries",
        description=f"The list without pages, newest first. {ABOUT}",
        query=DeliveriesTableQuery,
        answers={200: MEDIA},
        refusals=(400, 503),
    )
    def deliveries_table() -> Response:
        filters, reveals = read_table_query(request.args, settings.default_region)
        filters = with_search(filters, request.args.get("q"), settings, store)
        filters = with_campaign(filters, request.args.get("campaign"), settings, store)
        refuse_unknown_names(filters, settings, store)
        return deliveries_csv(store, filters, Form(reveals=reveals), addresses=addresses)

    @api.get("/suppressions.csv")
    @operation(
        "All suppressions, as CSV",
        tag="Suppressions",
        description=f"Newest first. {ABOUT}",
        query=LookQuery,
        answers={200: MEDIA},
        refusals=(400, 503),
    )
    def suppressions_table() -> Response:
        return suppressions_csv(store, Form(reveals=read_look(request.args)))
