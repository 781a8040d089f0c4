"""Answers of the API about what runs here: the version, the routes and the sources."""

from marshmallow import fields

from schemas.responses import Masked, ResponseSchema, doc, one_of

JMESPATH = "JMESPath, as in routes.toml; null: not set."


class VersionResponse(ResponseSchema):
    """What runs here. It is answered without Redis, too."""

    version = fields.String(metadata=doc("The release of the bridge."))
    routes = fields.String(metadata=doc("The digest of routes.toml."))


class FloodResponse(ResponseSchema):
    """When further deliveries of a route are held as bulk."""

    over = fields.Integer()
    within_s = fields.Integer()


class RouteCampaignResponse(ResponseSchema):
    """The campaign of a route's calls: one by name, or the one that another event's key made."""

    name = fields.String(allow_none=True)
    period = fields.String(allow_none=True, metadata=doc("A new campaign each; null: one."))
    key = fields.String(allow_none=True, metadata=doc(JMESPATH))


class RouteResponse(ResponseSchema):
    """A route of routes.toml, as it counts now."""

    name = fields.String()
    source = fields.String()
    event = fields.String(metadata=doc("An event type, or a glob of types."))
    to = fields.String(validate=one_of(("call", "campaign")))
    match = fields.String(allow_none=True, metadata=doc(JMESPATH))
    when = fields.String(allow_none=True, metadata=doc(JMESPATH))
    consent = fields.String(allow_none=True, metadata=doc(JMESPATH))
    fetch = fields.List(fields.String())
    campaign = fields.Nested(RouteCampaignResponse, allow_none=True)
    delay_s = fields.Integer()
    max_age_s = fields.Integer(allow_none=True, metadata=doc("null: no event is too old."))
    on_unknown = fields.String(validate=one_of(("hold", "call_again")))
    hours = fields.String(allow_none=True, metadata=doc("null: CALLING_HOURS alone."))
    timezone = fields.String(
        allow_none=True, metadata=doc("Of hours: a zone, or JMESPath; null: where the phone is.")
    )
    again_after_s = fields.Integer(metadata=doc("0: no limit."))
    max_per_day = fields.Integer(metadata=doc("0: no cap."))
    countries = fields.List(
        fields.String(), allow_none=True, metadata=doc("null: any; of a campaign route, too.")
    )
    flood = fields.Nested(FloodResponse, allow_none=True)
    request = Masked(metadata=doc('CallKaro\'s field -> JMESPath, or {"value": …} for a constant.'))
    metadata = Masked(metadata=doc("The request's metadata, in the same way."))


class RoutesResponse(ResponseSchema):
    """The routes, in the order of routes.toml."""

    items = fields.List(fields.Nested(RouteResponse))


class SourceResponse(ResponseSchema):
    """A source. It has no secret in it."""

    name = fields.String()
    kind = fields.String(metadata=doc("The kind of CRM, a word of routes.toml."))
    title = fields.String(metadata=doc("The kind's name for people."))
    webhook_url = fields.String(metadata=doc("Where its CRM posts."))
    secret_variable = fields.String(metadata=doc("The setting that has its secret."))
    has_secret = fields.Boolean(metadata=doc("false: its URL answers 404."))
    default_type = fields.String(metadata=doc("The type of an event whose body names none."))
    opt_out = fields.String(allow_none=True, metadata=doc(JMESPATH))
    timezone = fields.String(
        allow_none=True, metadata=doc("Of times without a zone; null: they are UTC.")
    )


class SourcesResponse(ResponseSchema):
    """The sources, by name."""

    items = fields.List(fields.Nested(SourceResponse))
