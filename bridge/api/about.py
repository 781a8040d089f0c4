"""/api: what runs here: the version, the routes and the sources. Nothing is read from Redis."""

from typing import Any

from flask import Blueprint, Response, jsonify

from bridge import VERSION
from bridge.api.describe import operation
from bridge.http.links import own_address
from schemas.about import (
    RouteResponse,
    RoutesResponse,
    SourceResponse,
    SourcesResponse,
    VersionResponse,
)
from schemas.expression import Expression
from schemas.route import Constant, Route, Value
from schemas.settings import Settings
from schemas.source import Source


def add(api: Blueprint, settings: Settings) -> None:
    """Add what runs here to /api. It needs its token."""

    @api.get("/routes")
    @operation(
        "List routes",
        tag="Routes",
        description="What routes.toml says, with its defaults.",
        answers={200: RoutesResponse},
    )
    def routes() -> Response:
        found = [_route(route, settings) for route in settings.routes.routes]
        return jsonify({"items": RouteResponse(many=True).dump(found)})

    @api.get("/sources")
    @operation(
        "List sources",
        tag="Routes",
        description="The sources to which a CRM can post, with their addresses.",
        answers={200: SourcesResponse},
    )
    def sources() -> Response:
        found = [_source(one, settings) for _, one in sorted(settings.routes.sources.items())]
        return jsonify({"items": SourceResponse(many=True).dump(found)})

    @api.get("/version")
    @operation(
        "What runs here",
        tag="Status",
        description="The release of the bridge, and its routes.",
        answers={200: VersionResponse},
    )
    def version() -> Response:
        return jsonify({"version": VERSION, "routes": settings.routes.digest})


def _route(route: Route, settings: Settings) -> dict[str, Any]:
    hours = route.hours
    campaign = route.campaign and {
        "name": route.campaign.name,
        "period": route.campaign.period,
        "key": _text(route.campaign.key),
    }
    return {
        "name": route.name,
        "source": route.source,
        "event": route.event,
        "to": route.to,
        "match": _text(route.match),
        "when": _text(route.when),
        "consent": _text(route.consent),
        "fetch": list(route.fetch),
        "campaign": campaign,
        "delay_s": route.delay_s,
        "max_age_s": route.max_age_s,
        "on_unknown": route.on_unknown,
        "hours": str(hours.hours) if hours else None,
        "timezone": _text(hours.timezone) if hours else None,
        "again_after_s": route.again_after_s,
        "max_per_day": route.max_per_day,
        "countries": _countries(route, settings),
        "flood": route.flood,
        "request": {name: _value(one) for name, one in route.request.items()},
        "metadata": {name: _value(one) for name, one in route.metadata.items()},
    }


def _countries(route: Route, settings: Settings) -> list[str] | None:
    """Return the countries that a route calls; None: any."""
    if route.to != "call" or route.countries == "any":
        return None
    if route.countries:
        return sorted(route.countries)
    return [settings.default_region] if settings.default_region else None


def _text(value: Expression | str | None) -> str | None:
    return value.text if isinstance(value, Expression) else value


def _value(value: Value) -> Any:
    """Return a value as routes.toml has it."""
    return {"value": value.value} if isinstance(value, Constant) else value.text


def _source(source: Source, settings: Settings) -> dict[str, Any]:
    return {
        "name": source.name,
        "kind": source.kind.name,
        "title": source.kind.title,
        "webhook_url": f"{own_address()}/webhooks/{source.name}",
        "secret_variable": f"{source.variable_prefix}WEBHOOK_SECRET",
        "has_secret": bool(settings.secrets.get(source.name)),
        "default_type": source.default_type,
        "opt_out": _text(source.opt_out),
        "timezone": source.timezone,
    }
