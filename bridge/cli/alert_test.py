"""`alert-test`: send one alert, to see that the receiver gets it."""

import importlib

import click

from bridge.cli.client import Failure, read_settings
from bridge.cli.screen import show

# Imported by its name when the command runs: the web process imports nothing of the workers'.
ALERTS = "workers.alerts"


@click.command("alert-test", short_help="Send a test alert.")
@click.option("--json", "as_json", is_flag=True, help="Print the receiver's answer as JSON.")
def alert_test(as_json: bool) -> None:
    """Send one signed test alert to ALERT_WEBHOOK_URL. The command fails unless the answer is 2xx.

    This command does not use a running bridge.
    """
    settings = read_settings(needs=frozenset())
    if not settings.alert_webhook_url:
        raise Failure("ALERT_WEBHOOK_URL is not set, so no alerts are sent.")
    alerts = importlib.import_module(ALERTS)
    result = alerts.send_test(settings)
    is_taken = alerts.is_taken(result)
    found = {
        "taken": is_taken,
        "status_code": result.status_code,
        "duration_ms": result.duration_ms,
        "error": result.error,
    }
    if as_json or is_taken:
        show(
            found,
            as_json,
            lambda it: click.echo(f"Accepted ({it['status_code']})."),
        )
    if not is_taken:
        answered = "answered" if result.status_code else "did not answer"
        raise Failure(f"The receiver {answered}: {result.status_code or result.error}.")
