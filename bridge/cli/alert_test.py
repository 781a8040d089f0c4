"""`alert-test`: is whoever is to be alerted reached?"""

import importlib

import click

from bridge.cli.client import Failure, read_settings
from bridge.cli.screen import show

ALERTS = "workers.alerts"  # a name: the web process' package imports nothing of the workers'


@click.command("alert-test", short_help="Send a test alert.")
@click.option("--json", "as_json", is_flag=True, help="What came of it, for programs.")
def alert_test(as_json: bool) -> None:
    """Send a test alert, signed, to ALERT_WEBHOOK_URL, once; fail unless it is answered 2xx."""
    settings = read_settings(needs=frozenset())
    if not settings.alert_webhook_url:
        raise Failure("ALERT_WEBHOOK_URL is not set, so nobody is alerted.")
    alerts = importlib.import_module(ALERTS)
    reply = alerts.send_test(settings)
    is_taken = alerts.is_taken(reply)
    came = {
        "taken": is_taken,
        "status_code": reply.status_code,
        "duration_ms": reply.duration_ms,
        "error": reply.error,
    }
    if as_json or is_taken:
        show(came, as_json, lambda it: click.echo(f"It was taken ({it['status_code']})."))
    if not is_taken:
        said = "answered" if reply.status_code else "did not answer"
        raise Failure(f"The receiver {said}: {reply.status_code or reply.error}.")
