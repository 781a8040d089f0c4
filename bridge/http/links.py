"""The bridge's own address, and the addresses that its answers name."""

from collections.abc import Iterable

from flask import current_app, request

from schemas.delivery import DeliveryRef


def own_address() -> str:
    """Return PUBLIC_URL; where it is not set, the address that this request was sent to."""
    public: str | None = current_app.config["PUBLIC_URL"]
    return public or f"{request.scheme}://{request.host}"


def event_url(event_id: str) -> str:
    """Return where the API shows an event."""
    return f"{own_address()}/api/events/{event_id}"


def refs(deliveries: Iterable[DeliveryRef]) -> list[dict[str, str]]:
    """Return deliveries as answers name them, each with the address where the API shows it."""
    base = own_address()
    return [
        {
            "id": one.id,
            "route": one.route,
            "status": one.status,
            "status_url": f"{base}/api/deliveries/{one.id}",
        }
        for one in deliveries
    ]
