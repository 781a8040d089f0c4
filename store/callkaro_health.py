"""How CallKaro answers: what the status page shows, the breaker, and the rate cap."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson

from schemas.records import Permit
from store.base import Base, P
from store.records import at as time_of


class CallKaroStore(Base):
    """CallKaro's health, and permits for requests that do not belong to one delivery."""

    def note_callkaro(self, *, answered: bool, message: str, at: datetime) -> None:
        """Keep CallKaro's latest acceptance (answered) or failure, and a message about it."""
        with self._reached():
            key = f"{P}callkaro"
            at_ms = int(at.timestamp() * 1000)
            if answered:
                self.redis.hset(key, mapping={"message": message, "answered_ms": at_ms})
                return
            failed = {"message": message, "failed_message": message, "failed_ms": at_ms}
            self.redis.hset(key, mapping=failed)  # type: ignore[arg-type]

    def callkaro(self) -> dict[str, Any]:
        """Return CallKaro's latest answers: {answered_at, failed_at, message, failed_message}."""
        with self._reached():
            kept: dict[str, str] = self.redis.hgetall(f"{P}callkaro")  # type: ignore[assignment]
        return {
            "answered_at": time_of(kept["answered_ms"]) if "answered_ms" in kept else None,
            "failed_at": time_of(kept["failed_ms"]) if "failed_ms" in kept else None,
            "message": kept.get("message"),
            "failed_message": kept.get("failed_message"),
        }

    def may_ask_callkaro(
        self,
        name: str,
        *,
        on_behalf_of: Iterable[str] = (),
        despite_pause: bool = False,
        patience_s: float = 0.0,
    ) -> Permit:
        """Permit a request to CallKaro that does not belong to one delivery.

        name: names the request for the breaker, as in `cancel:<delivery>`. on_behalf_of: the
        deliveries that need it. patience_s: how long it may wait for its turn under the rate cap;
        the turn is reserved for it.
        """
        answer, *wait_ms = self._run(
            "permit",
            name,
            self.max_rate,
            "1" if despite_pause else "",
            int(patience_s * 1000),
            *on_behalf_of,
        )
        wait_s = float(wait_ms[0]) / 1000 if wait_ms else 0.0
        return Permit(is_granted=answer == "ok", wait_s=wait_s)

    def note_callkaro_result(
        self, name: str, *, well: bool | None, pause: Mapping[str, Any] | None = None
    ) -> None:
        """Count for the breaker whether CallKaro answered such a request well.

        well None: the answer says nothing of that. pause: why CallKaro is paused from now on.
        """
        is_ok = "" if well is None else str(int(well))
        self._run("callkaro_result", name, is_ok, orjson.dumps(pause) if pause else "")
