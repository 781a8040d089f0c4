"""/api/audit: who did what, when, to which id."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from flask import Blueprint, Response, jsonify, request

from bridge.api.describe import operation
from bridge.api.queries import Args, read_instant, read_limit, refuse_unknown
from schemas.access import ACTS
from schemas.errors import BadQuery
from schemas.nearest import did_you_mean
from schemas.requests import ActsQuery
from schemas.responses import ActPageResponse, ActResponse
from schemas.settings import Settings
from store import Store

PLACE: Final = re.compile(r"[0-9]{1,15}-[0-9]{1,15}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class ActFilters:
    """Which acts to list: those that match every filter that is set."""

    actor: str | None
    action: str | None
    since: datetime | None
    before: str | None  # the cursor
    limit: int


def add(api: Blueprint, store: Store, settings: Settings) -> None:
    """Add the audit to /api. It needs its token."""
    answer = ActResponse(many=True)

    @api.get("/audit")
    @operation(
        "List what people did",
        tag="Status",
        description="Who did what, when, to which id, newest first; for AUDIT_DAYS.",
        query=ActsQuery,
        answers={200: ActPageResponse},
        refusals=(400, 503),
    )
    def audit() -> Response:
        filters = read_acts_query(request.args)
        page = store.acts(
            actor=filters.actor,
            action=filters.action,
            since=filters.since,
            before=filters.before,
            limit=filters.limit,
            keep_days=settings.audit_days,
        )
        return jsonify({"items": answer.dump(page.items), "next_cursor": page.next_cursor})


def read_acts_query(args: Args) -> ActFilters:
    """Return the filters of the audit. Raises BadQuery."""
    refuse_unknown(args, ActsQuery())
    action, cursor = args.get("action") or None, args.get("cursor") or None
    if action and action not in ACTS:
        known = [str(one) for one in ACTS]
        near = did_you_mean(action, known)
        raise BadQuery(f"Unknown action. {near}Known: {', '.join(known)}.")
    if cursor and not PLACE.fullmatch(cursor):
        raise BadQuery("cursor must be the next_cursor of an earlier page.")
    return ActFilters(
        actor=args.get("actor") or None,
        action=action,
        since=read_instant(args, "since"),
        before=cursor,
        limit=read_limit(args.get("limit")),
    )
