"""Shopify: customers, checkouts and orders of a shop, signed.

The body is the record alone. What happened to it is in the X-Shopify-Topic header, which nothing
signs: equal bytes under another topic are a duplicate. So X-Shopify-Webhook-Id, unsigned too, names
no event. A body of Shopify's privacy topics is known by its own keys, whatever the header says.

https://shopify.dev/docs/apps/build/webhooks/subscribe/https (signature, 1 s and 5 s, retries)
https://shopify.dev/docs/api/webhooks/latest (topics)
https://shopify.dev/docs/apps/build/privacy-law-compliance
"""

from collections.abc import Mapping
from typing import Any, Final

from schemas.crm.forms import each_object, mapping
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression
from schemas.source import Incoming, Kind, Signature, Signatures, Source, id_text

# base64 HMAC-SHA256 over the body with the app's client secret, without a time.
SIGNATURE: Final = Signature(header="X-Shopify-Hmac-SHA256", encoding="base64")
TOPIC: Final = "X-Shopify-Topic"
TEST: Final = "X-Shopify-Test"
# Shopify's words -> ours. A word that is not here keeps Shopify's spelling.
HAPPENED: Final = {
    "create": "created",
    "update": "updated",
    "delete": "deleted",
    "merge": "merged",
    "cancelled": "canceled",
}
UNKNOWN_TYPE: Final = "unknown"
ERASED: Final = "customer.privacy_deleted"
# The keys of a privacy topic's body, beside shop_domain, and its type.
PRIVACY: Final = {"orders_to_redact": ERASED, "data_request": "customer.data_requested"}
CUSTOMER: Final = "customer"


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read the one record of a request."""
    return each_object(content, UNKNOWN_TYPE, lambda body: _item(body, request, source))


def _item(body: Mapping[str, Any], request: Incoming, source: Source) -> Item:
    private = next((PRIVACY[key] for key in PRIVACY if key in body and "shop_domain" in body), None)
    event_type = private or _type(request.headers.get(TOPIC, ""))
    problem = None if event_type != UNKNOWN_TYPE else f"The request has no {TOPIC} header."
    owner = id_text(mapping(body.get(CUSTOMER)).get("id"))
    is_customer = not owner and event_type.startswith(f"{CUSTOMER}.")
    return Item(
        type=event_type,
        data=body,
        subject=owner or id_text(body.get("id")),
        subject_type=CUSTOMER if owner or is_customer else None,
        time=_time(event_type, body, source.timezone),
        problem=problem,
        # "Send test notification" in Shopify; an order of a test payment says so in its body.
        is_test=request.headers.get(TEST, "").strip() == "true" or body.get("test") is True,
        is_type_proved=private is not None,
    )


def _type(topic: str) -> str:
    """Return the type of a topic: customers/create is customer.created."""
    objects, _, word = topic.strip().partition("/")
    if not objects or not word:
        return UNKNOWN_TYPE
    return f"{objects.removesuffix('s')}.{HAPPENED.get(word, word)}"


def _time(event_type: str, body: Mapping[str, Any], zone: str | None) -> Any:
    created = read_time(body.get("created_at"), zone)
    if event_type.endswith(".created") and created:
        return created
    return read_time(body.get("updated_at"), zone) or created


KIND = Kind(
    name="shopify",
    title="Shopify",
    auth=Signatures(schemes=(SIGNATURE,)),
    parse=parse,
    default_type=UNKNOWN_TYPE,
    secret_help="the app's client secret, or the one that Shopify's page Webhooks shows",
    secret_is_chosen=False,
    ids=frozenset(
        {("id",), ("customer", "id"), ("token",), ("cart_token",), ("checkout_id",), ("shop_id",)}
        | {(name,) for name in ("created_at", "updated_at")}
    ),
    erased_by=frozenset({ERASED}),
    # Of the person. Not shop_money's, and not a location's.
    phones=Expression.of(
        "[customer.phone, phone, customer.default_address.phone, default_address.phone,"
        " shipping_address.phone, billing_address.phone]"
    ),
    names=Expression.of(
        "[customer.first_name || first_name || shipping_address.first_name,"
        " customer.last_name || last_name || shipping_address.last_name]"
    ),
    emails=Expression.of("customer.email || email"),
    # The country of the person's own address.
    region=Expression.of(
        "customer.default_address.country_code || default_address.country_code"
        " || shipping_address.country_code || billing_address.country_code"
    ),
    # "8 times over the next 4 hours", then it deletes a subscription that an app made.
    retries="8 times in 4 hours",
)
