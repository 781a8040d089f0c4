"""Campaigns: which calls belong to one, and what the API and the dashboard show of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from rules.mapping import campaigns_of_now, is_campaign_key
from schemas.delivery import Delivery
from schemas.errors import NotFound
from schemas.fields import mask_marked
from schemas.links import Addresses, campaign_link
from schemas.records import CampaignFilter, Filters
from schemas.settings import Settings
from store import Store

NO_CAMPAIGN: Final = (
    "There is no campaign with this batch_id: the bridge made none, and no call named it. GET "
    "/api/campaigns lists those that the bridge made."
)
CHOICES: Final = 50  # campaigns that a list of choices has
CAMPAIGN: Final = "campaign:"  # before the batch_id, in the scope of its pause


def with_campaign(filters: Filters, text: str | None, settings: Settings, store: Store) -> Filters:
    """Return the filters with a campaign: its batch_id, or a name, which finds all its periods."""
    wanted = (text or "").strip()
    if not wanted:
        return filters
    return replace(filters, campaign=campaign_filter(wanted, settings, store))


def campaign_filter(text: str, settings: Settings, store: Store) -> CampaignFilter:
    """Return which calls belong to a campaign; a campaign that does not exist has none.

    text: its batch_id, or its name. A name also finds the calls that wait for its creation.
    """
    now = datetime.now(UTC)
    of_now, called = campaigns_of_now(settings, now), store.campaigns_called(text)
    zone = settings.callkaro_timezone
    by_name = {
        route.name
        for route in settings.routes.routes
        if (chosen := route.campaign)
        and chosen.name
        and text in (chosen.name, chosen.full_name(now, zone))
    }
    by_key = {route for route, key in of_now.items() if key in called}
    return CampaignFilter(
        campaigns=frozenset({text, *called, *called.values()}),
        routes=frozenset((by_name | by_key) & of_now.keys()),
        named=frozenset(of_now),
    )


def is_campaign(batch_id: str, store: Store) -> bool:
    """Say whether there is a campaign with this batch_id. A pause of a key would stop nothing."""
    return not is_campaign_key(batch_id) and store.is_campaign(batch_id)


def campaign_scopes(
    deliveries: Sequence[Delivery], settings: Settings, store: Store, now: datetime
) -> dict[str, str]:
    """Return the scope of the pause of a waiting call's campaign, by delivery.

    A call is left out whose campaign is not known yet. store/scripts/claim.lua says the same.
    """
    of_now = campaigns_of_now(settings, now)
    joined = {
        one.id: named
        for one in deliveries
        if one.to == "call" and (named := of_now.get(one.route) or one.campaign_key or one.batch_id)
    }
    kept = store.campaigns_kept(joined.values())
    return {one: f"{CAMPAIGN}{kept.get(named, named)}" for one, named in joined.items()}


def campaign_choices(settings: Settings, store: Store) -> dict[str, str]:
    """Return what lists can be narrowed to: names of routes, then the newest campaigns.

    The keys are values of the filter; each comes with its name for people.
    """
    names = {
        chosen.name: f"{chosen.name}, every {chosen.period}" if chosen.period else chosen.name
        for route in settings.routes.routes
        if (chosen := route.campaign) and chosen.name
    }
    page = store.campaign_page(before=None, limit=CHOICES)
    made = {str(one["batch_id"]): str(one.get("name") or one["key"]) for one in page.items}
    others = {one: mask_marked(name) for one, name in made.items() if name not in names}
    return names | others


def shown_campaign(batch_id: str, settings: Settings, store: Store) -> dict[str, Any]:
    """Return a campaign as CampaignResponse dumps it. Raises NotFound."""
    made = store.campaign(batch_id)
    if made is None and not is_campaign(batch_id, store):
        raise NotFound(NO_CAMPAIGN)
    return shown_campaigns([made or {"batch_id": batch_id}], settings, store)[0]


def shown_campaigns(
    campaigns: Sequence[Mapping[str, Any]], settings: Settings, store: Store
) -> list[dict[str, Any]]:
    """Return campaigns of the store as CampaignResponse dumps them."""
    of_now = campaigns_of_now(settings, datetime.now(UTC))
    named, addresses = frozenset(of_now), Addresses.of(settings)
    paused = {pause.scope: pause for pause in store.pauses()}
    members = [
        CampaignFilter(
            campaigns=frozenset({one["batch_id"], one.get("key", one["batch_id"])}),
            routes=frozenset(route for route, key in of_now.items() if key == one.get("key")),
            named=named,
        )
        for one in campaigns
    ]
    return [
        {
            **one,
            "counts": counts.statuses,
            "outcomes": counts.outcomes,
            "total": counts.total,
            "forgotten": sum(counts.pruned.values()),
            "progress": counts.progress,
            "first_call_at": counts.first_call_at,
            "last_call_at": counts.last_call_at,
            "routes": sorted(only.routes),
            "paused": paused.get(f"{CAMPAIGN}{one['batch_id']}"),
            "link": campaign_link(str(one["batch_id"]), addresses),
        }
        for one, only, counts in zip(
            campaigns, members, store.campaign_counts(members), strict=True
        )
    ]
