"""What all operations share: the settings, the store, and how they wake a worker."""

from dataclasses import dataclass

from bridge.wake import loss_is_logged
from schemas.delivery import Delivery
from schemas.errors import NotFound
from schemas.nearest import did_you_mean
from schemas.route import Route
from schemas.settings import Settings
from store import Store
from store.queue import Wakeup

NO_DELIVERY = "There is no delivery with this id. The bridge keeps records for RETENTION_DAYS."
NO_EVENT = "There is no event with this id. The bridge keeps records for RETENTION_DAYS."
NO_REFUSED = (
    "There is no refused request with this id. The bridge keeps the newest REFUSED_KEEP of each "
    "source, for RETENTION_DAYS."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """What an operation needs."""

    settings: Settings
    store: Store
    wakeup: Wakeup

    def wake(self) -> None:
        """Ask for a drain, unless one is queued already. The worker's ticker asks, too."""
        with loss_is_logged():
            if self.store.set_wakeup():
                self.wakeup.request_drain()

    def _request_drain(self) -> None:
        with loss_is_logged():
            self.wakeup.request_drain()

    def tell_tickers(self) -> None:
        """Let the tickers know that something may be due, now or later."""
        with loss_is_logged():
            self.wakeup.tell_tickers()

    def calling_route(self, name: str) -> Route:
        """Return a route that calls people. Raises NotFound."""
        route = self.settings.routes.named(name)
        if route is None or route.to != "call":
            calling = [one.name for one in self.settings.routes.routes if one.to == "call"]
            names = ", ".join(map(repr, calling)) or "none"
            raise NotFound(
                'No route with to = "call" has this name. '
                f"{did_you_mean(name, calling)}Known: {names}."
            )
        return route

    def _delivery(self, delivery_id: str) -> Delivery:
        found = self.store.delivery(delivery_id)
        if found is None:
            raise NotFound(NO_DELIVERY)
        return found
