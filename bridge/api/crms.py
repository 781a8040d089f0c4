"""/api/sources/<source>: what a person asks of a CRM. HTTP in, HTTP out."""

from flask import Blueprint, Response, jsonify, request
from werkzeug.datastructures import MultiDict

from bridge.api.describe import operation
from bridge.api.queries import read_command, read_instant
from bridge.operations import Operations
from schemas.errors import BadQuery
from schemas.requests import NoRequest, ReconcileRequest
from schemas.responses import ChannelResponse, ReconcileResponse


def add(api: Blueprint, operations: Operations) -> None:
    """Add these operations to /api. They need its token."""
    answer = ReconcileResponse()

    @api.post("/sources/<source>/reconcile")
    @operation(
        "Reconcile a source",
        tag="Routes",
        description="A worker asks the CRM what was created or changed, counts what never arrived, "
        "and takes it in. More than five events are held as bulk until a person releases them. "
        "GET says how far it has come.",
        body=ReconcileRequest,
        answers={202: ReconcileResponse},
        refusals=(400, 404, 409, 413, 503),
        example={"since": "2026-01-31T04:00:00Z", "dry_run": True},
    )
    def reconcile(source: str) -> tuple[Response, int]:
        command = read_command(request, ReconcileRequest())
        since = read_instant(MultiDict({"since": command["since"]}), "since")
        if since is None:
            raise BadQuery("since is empty. Send a time such as 2026-01-31T09:30:00Z.")
        run = operations.reconcile(source, since, dry_run=command["dry_run"])
        return jsonify(answer.dump(run)), 202

    @api.get("/sources/<source>/reconcile")
    @operation(
        "The latest reconcile",
        tag="Routes",
        description="How far the latest reconcile of a source has come, and what it found.",
        answers={200: ReconcileResponse},
        refusals=(404, 503),
    )
    def reconciled(source: str) -> Response:
        return jsonify(answer.dump(operations.reconcile_of(source)))

    channel_answer = ChannelResponse()

    @api.post("/sources/<source>/channel")
    @operation(
        "Make a notification channel",
        tag="Routes",
        description="A worker asks the CRM to notify this bridge of what the routes want, and "
        "renews the channel well before it expires. If there is one, it is renewed now. GET says "
        "what became of it.",
        answers={202: ChannelResponse},
        refusals=(400, 404, 409, 413, 503),
    )
    def watch(source: str) -> tuple[Response, int]:
        read_command(request, NoRequest())
        return jsonify(channel_answer.dump(operations.watch(source))), 202

    @api.get("/sources/<source>/channel")
    @operation(
        "A notification channel",
        tag="Routes",
        description="What the CRM of a source notifies this bridge of, and until when.",
        answers={200: ChannelResponse},
        refusals=(404, 503),
    )
    def channel(source: str) -> Response:
        return jsonify(channel_answer.dump(operations.channel(source)))

    @api.delete("/sources/<source>/channel")
    @operation(
        "Renew a notification channel no longer",
        tag="Routes",
        description="The CRM notifies the bridge until the channel expires, within a day.",
        answers={200: ChannelResponse},
        refusals=(400, 404, 413, 503),
    )
    def stop_watching(source: str) -> Response:
        read_command(request, NoRequest())
        return jsonify(channel_answer.dump(operations.stop_watching(source)))
