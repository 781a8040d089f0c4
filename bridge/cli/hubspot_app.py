"""`hubspot-app`: a HubSpot app for the routes, as a folder for `hs project upload`."""

import json
from pathlib import Path
from typing import Any

import click

from bridge.cli.client import Failure, read_settings
from bridge.cli.files import write_files
from bridge.cli.send import find_source
from schemas.crm.hubspot import KIND
from schemas.crm.hubspot_app import WEBHOOKS_FILE, HubSpotApp, HubSpotAppError, app_for
from schemas.errors import RequestError
from schemas.json_body import read_json


@click.command("hubspot-app", short_help="Write a HubSpot app for the routes, to upload.")
@click.option("--url", required=True, help="The https address of this bridge: its PUBLIC_URL.")
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("hubspot-app"),
    show_default=True,
    help="Write into this folder.",
)
@click.option("--name", default="CallKaro Bridge", show_default=True, help="The app's name.")
@click.option("--source", default="hubspot", show_default=True, help="Whose routes the app serves.")
@click.option("--force", is_flag=True, help="Replace files that have other content.")
def hubspot_app(url: str, folder: Path, name: str, source: str, force: bool) -> None:
    """Write the files of a HubSpot app with what the routes need, and say what to do with them.

    The app subscribes to the events of the routes, to the property of opt_out, and to privacy
    deletions. It may read the objects of these events, and write them if a route has a
    [route.write_back]. HubSpot creates it when you upload the folder with HubSpot's command line.
    """
    settings = read_settings(needs=frozenset({"ROUTES"}))
    found = find_source(settings, source)
    if found.kind.name != KIND.name:
        raise click.BadParameter(
            f"{source!r} is no source of HubSpot: its kind is {found.kind.name!r}.",
            param_hint="--source",
        )
    try:
        app = app_for(settings.routes, found, url=url, name=name)
    except HubSpotAppError as error:
        problems = "\n".join(f"  - {problem}." for problem in error.problems)
        raise Failure(f"No app was written. Fix this:\n{problems}") from None
    texts = {
        path: json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        for path, content in app.files(before=_read(folder / WEBHOOKS_FILE)).items()
    }
    write_files(folder, texts, force=force)
    click.echo(_next_steps(app, folder, found.variable_prefix))


def _read(file: Path) -> Any:
    """Return the content of an earlier file; None: there is none, or it is not JSON."""
    try:
        return read_json(file.read_bytes())
    except (OSError, RequestError):
        return None


def _next_steps(app: HubSpotApp, folder: Path, prefix: str) -> str:
    """Return what the app has, and what a person does next, in the words of HubSpot's pages."""
    events = [
        f"  - object.{one.happened} of {one.object_type}"
        + (f", property {one.property_name}" if one.property_name else "")
        for one in app.subscriptions
    ]
    public_url = app.target_url.rpartition("/webhooks/")[0]
    return "\n".join(
        [
            "",
            f"The app sends to {app.target_url}:",
            *events,
            "  - contact.privacyDeletion",
            f"It asks for the scopes {', '.join(app.scopes)}",
            *(f"Note: {note}." for note in app.notes),
            "",
            "Next:",
            "  1. Install HubSpot's command line (it needs Node.js), and sign in:",
            "       npm install -g @hubspot/cli@latest",
            "       hs account auth",
            "  2. Create the app in HubSpot:",
            f"       cd {folder} && hs project upload",
            "  3. In HubSpot, open Development, Projects, the project, and the app under Project",
            "     Components. On its Distribution tab, press Install now.",
            "  4. Copy the access token from the Distribution tab (Show), and the client secret",
            "     from the Auth tab, into .env:",
            f"       {prefix}ACCESS_TOKEN=<access token>",
            f"       {prefix}WEBHOOK_SECRET=<client secret>",
            f"       PUBLIC_URL={public_url}",
            "  5. Restart web and worker.",
        ]
    )
