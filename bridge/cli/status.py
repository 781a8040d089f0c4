"""`status`: how a bridge stands, or what became of an event or a delivery."""

import click

from bridge.cli.client import Failure, id_in, open_api, quoted
from bridge.cli.screen import show, show_delivery, show_event, show_overview


@click.command(short_help="Show what became of an event or a delivery.")
@click.argument("some_id", metavar="[ID]", required=False)
@click.option("--json", "as_json", is_flag=True, help="What the API answers, as it is.")
@click.option("--url", help="Where the bridge runs. Default: PUBLIC_URL, else this machine.")
def status(some_id: str | None, as_json: bool, url: str | None) -> None:
    """Show how a running bridge stands, or what became of an event or a delivery by its ID.

    A status_url, as the answer to a webhook has it, will do for an ID.
    """
    api = open_api(url)
    if some_id is None:
        show(api.get("/api/status"), as_json, show_overview)
        return
    some_id = id_in(some_id)
    event = api.get(f"/api/events/{quoted(some_id)}", or_none=True)
    if event is not None:
        show(event, as_json, lambda found: show_event(found, api.get))
        return
    delivery = api.get(f"/api/deliveries/{quoted(some_id)}", or_none=True)
    if delivery is None:
        raise Failure(
            f"There is no event and no delivery {some_id}; records are kept RETENTION_DAYS."
        )
    show(delivery, as_json, show_delivery)
