"""The bridge's own address, and the addresses that its answers name."""

from collections.abc import Iterable

from flask.globals import request_ctx

from schemas.delivery import DeliveryRef


def own_address() -> str:
    """Return PUBLIC_URL; where it is not set, the address that this request was sent to."""
    asked = request_ctx.request
    public: str | None = request_ctx.app.config["PUBLIC_URL"]
    return public or f"{asked.scheme}://{asked.host}"


def event_url(event_id: str, base: str) -> str:
    """Return where the API shows an event; base: our own address."""
    return f"{base}/api/events/{event_id}"


def refs(deliveries: Iterable[DeliveryRef], base: str) -> list[dict[str, str]]:
    """Return deliveries as answers name them, each with the address where the API shows it.

    base: our own address.
    """
    return [
        {
            "id": one.id,
            "route": one.route,
            "status": one.status,
            "status_url": f"{base}/api/deliveries/{one.id}",
        }
        for one in deliveries
    ]
