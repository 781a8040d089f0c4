"""The page of the campaigns that the bridge made."""

from flask import Blueprint, render_template

from bridge.operations import Operations
from schemas.responses import CampaignResponse


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
        return render_template(
            "campaigns.html", campaigns=answer.dump(store.campaigns()), makes=makes
        )
