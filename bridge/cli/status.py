"""`status`: the state of a bridge, or what became of an event or a delivery."""

from functools import partial

import click

from bridge.cli.bulk_options import with_bridge
from bridge.cli.client import Failure, id_in, open_api, quoted
from bridge.cli.screen import show, show_delivery, show_event, show_overview


@click.command(short_help="Show a bridge, an event or a delivery.")
@click.argument("some_id", metavar="[ID]", required=False)
@with_bridge
def status(some_id: str | None, as_json: bool, url: str | None) -> None:
    """Show the state of a running bridge; or with an ID, what became of that event or delivery.

    The ID may be a whole status_url, as the answer to a webhook has it. Times are shown in
    CALLKARO_TIMEZONE.
    """
    api = open_api(url)
    zone = api.timezone
    if some_id is None:
        show(api.get("/api/status"), as_json, partial(show_overview, timezone=zone))
        return
    some_id = id_in(some_id)
    event = api.get(f"/api/events/{quoted(some_id)}", or_none=True)
    if event is not None:
        show(event, as_json, lambda found: show_event(found, api.get, timezone=zone))
        return
    delivery = api.get(f"/api/deliveries/{quoted(some_id)}", or_none=True)
    if delivery is None:
        raise Failure(
            f"There is no event and no delivery {some_id}. Records older than RETENTION_DAYS are "
            "deleted."
        )
    show(delivery, as_json, partial(show_delivery, timezone=zone))
