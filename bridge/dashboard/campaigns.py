"""The pages of campaigns: the list, and one with its counts and commands."""

from typing import Final

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.api.queries import read_cursor
from bridge.campaigns import CAMPAIGN, shown_campaign, shown_campaigns
from bridge.dashboard.deliveries import OUTCOMES
from bridge.dashboard.filters import PAUSED, RESUMED
from bridge.operations import Operations
from schemas.delivery import SETTLED, Status
from schemas.errors import RequestError
from schemas.responses import CampaignResponse

ROWS: Final = 50
STOPPABLE: Final = frozenset(Status) - (SETTLED - {Status.DELIVERED})  # a cancel may do something


def add(dashboard: Blueprint, operations: Operations) -> None:
    """Give the blueprint its pages about campaigns."""
    store, settings, answer = operations.store, operations.settings, CampaignResponse()

    @dashboard.get("/campaigns")
    def campaigns() -> str:
        makes = [
            {"route": route.name, "name": route.campaign.name, "period": route.campaign.period}
            for route in settings.routes.routes
            if route.campaign and route.campaign.name
        ]
        page = store.campaign_page(before=read_cursor(request.args.get("cursor")), limit=ROWS)
        return render_template(
            "campaigns.html",
            campaigns=answer.dump(shown_campaigns(page.items, settings, store), many=True),
            next_cursor=page.next_cursor,
            makes=makes,
        )

    @dashboard.get("/campaigns/<path:batch_id>")
    def campaign(batch_id: str) -> str:
        return render_template("campaign.html", **in_full(batch_id))

    @dashboard.get("/campaigns/<path:batch_id>/part")
    def campaign_part(batch_id: str) -> str:
        return render_template("campaign_part.html", **in_full(batch_id))

    def in_full(batch_id: str) -> dict[str, object]:
        one = answer.dump(shown_campaign(batch_id, settings, store))
        return {
            "one": one,
            "statuses": [status for status in Status if one["counts"].get(status)],
            "results": [word for word in OUTCOMES if one["outcomes"].get(word)],
            "is_open": any(one["counts"].get(status) for status in STOPPABLE),
        }

    @dashboard.post("/campaigns/pause")
    def campaign_pause() -> Response:
        scope = f"{CAMPAIGN}{request.form.get('batch_id', '')}"
        operations.pause(scope, "Paused on the dashboard.")
        flash(PAUSED.format(scope=scope))
        return to_campaign()

    @dashboard.post("/campaigns/resume")
    def campaign_resume() -> Response:
        scope = f"{CAMPAIGN}{request.form.get('batch_id', '')}"
        try:
            released = operations.resume(scope)
            flash(RESUMED.format(scope=scope, released=released))
        except RequestError as error:
            flash(str(error), "problem")
        return to_campaign()

    def to_campaign() -> Response:
        return redirect(url_for("dashboard.campaign", batch_id=request.form["batch_id"]), 303)
