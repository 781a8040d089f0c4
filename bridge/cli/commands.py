"""All commands of the command line."""

from flask import Flask

from bridge.cli.alert_test import alert_test
from bridge.cli.call_me import call_me
from bridge.cli.check import check
from bridge.cli.lists import deliveries, events
from bridge.cli.operations import cancel, pause, release, replay, resolve, resume, retry
from bridge.cli.people import erase, suppress
from bridge.cli.preview import preview
from bridge.cli.programs import demo, simulate
from bridge.cli.send import send
from bridge.cli.status import status
from bridge.cli.tail import tail

LOOKING = (check, preview, status, deliveries, events, tail, alert_test)
DOING = (
    *(send, retry, cancel, release, resolve, replay, pause, resume),
    *(suppress, erase),
)
TRYING = (call_me, simulate, demo)


def create_cli() -> Flask:
    """Return an app that carries the commands. It serves nothing and reads nothing."""
    app = Flask("bridge", static_folder=None)
    for command in (*LOOKING, *DOING, *TRYING):
        app.cli.add_command(command)

    @app.route("/", defaults={"path": ""})
    @app.route("/<path:path>")
    def not_here(path: str) -> tuple[dict[str, str], int]:
        message = "This app only carries the commands. Serve with: flask --app bridge.app run"
        return {"error": "not_found", "message": message}, 404

    return app
