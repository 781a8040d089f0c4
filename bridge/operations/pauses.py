"""What a person does to pauses: pause and resume."""

from bridge.operations.base import Base
from config import log
from schemas.delivery import CALLKARO
from schemas.errors import BadQuery, NotFound
from schemas.requests import LONGEST_MESSAGE

logger = log.get(__name__)

NOT_PAUSED = "Nothing is paused under this name."


class PauseOperations(Base):
    """Operations on pauses."""

    __slots__ = ()

    def pause(self, scope: str, message: str = "") -> bool:
        """Pause a scope: `all`, `callkaro`, `source:<name>` or `route:<name>`.

        Returns False where it was paused already. Raises BadQuery for a scope that would stop
        nothing.
        """
        routes = self.settings.routes
        known = {"all", CALLKARO}
        known |= {f"source:{name}" for name in routes.sources}
        known |= {f"route:{route.name}" for route in routes.routes}
        if scope not in known:
            raise BadQuery(
                f"Nothing has this name. You can pause one of: {', '.join(sorted(known))}."
            )
        is_new = self.store.pause(
            scope,
            reason="person",
            message=message.strip()[:LONGEST_MESSAGE] or "Paused by a person.",
        )
        logger.info("operation.pause", scope=scope, new=is_new)
        return is_new

    def resume(self, scope: str) -> int:
        """End a pause, and make due what it held. Returns how many. Raises NotFound."""
        released = self.store.resume(scope)
        if released is None:
            raise NotFound(NOT_PAUSED)
        self.wake()
        logger.info("operation.resume", scope=scope, released=released)
        return released
