"""The page of the audit: who did what, when, to which id."""

from flask import Blueprint, render_template, request

from bridge.api.audit import read_acts_query
from bridge.dashboard.filters import with_zone
from bridge.operations import Operations
from schemas.access import ACTS
from schemas.responses import ActResponse

ROWS = 50


def add(dashboard: Blueprint, operations: Operations) -> None:
    """Give the blueprint its page about what people did."""
    store, settings = operations.store, operations.settings
    answer = ActResponse(many=True)

    @dashboard.get("/audit")
    def audit() -> str:
        filters = read_acts_query(with_zone(request.args, settings))
        page = store.acts(
            actor=filters.actor,
            action=filters.action,
            since=filters.since,
            before=filters.before,
            limit=ROWS,
            keep_days=settings.audit_days,
        )
        return render_template(
            "audit.html",
            rows=answer.dump(page.items),
            next_cursor=page.next_cursor,
            given=request.args,
            actors=list(dict.fromkeys(one.name for one in settings.tokens())),
            actions=[str(action) for action in ACTS],
            days=settings.audit_days,
        )
