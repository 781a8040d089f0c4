"""The page of the campaigns that the bridge made."""

from typing import Final

from flask import Blueprint, render_template, request

from bridge.api.queries import read_cursor
from bridge.operations import Operations
from schemas.responses import CampaignResponse

ROWS: Final = 50


def add(dashboard: Blueprint, operations: Operations) -> None:
    """Give the blueprint its page about campaigns."""
    store, answer = operations.store, CampaignResponse(many=True)

    @dashboard.get("/campaigns")
    def campaigns() -> str:
        makes = [
            {"route": route.name, "name": route.campaign.name, "period": route.campaign.period}
            for route in operations.settings.routes.routes
            if route.campaign and route.campaign.name
        ]
        page = store.campaign_page(before=read_cursor(request.args.get("cursor")), limit=ROWS)
        return render_template(
            "campaigns.html",
            campaigns=answer.dump(page.items),
            next_cursor=page.next_cursor,
            makes=makes,
        )
