"""Pauses: what must not be sent for now, because a person or CallKaro's answer says so."""

import time
from typing import Any

import orjson

from schemas.delivery import CALLKARO
from schemas.records import Pause
from schemas.write_back import CRM
from store.base import Base, P
from store.records import at

ALL = "all"
ROUTE = "route:"
RELEASED = 1000  # held deliveries that one script looks at


class PauseStore(Base):
    """Pauses of everything, one source, one route, one CRM, or CallKaro; and the breaker."""

    def pause(self, scope: str, *, reason: str, message: str, actor: str | None = None) -> bool:
        """Pause a scope; False: it was paused before, and keeps its first reason."""
        record = orjson.dumps(
            {
                "reason": reason,
                "message": message,
                "since_ms": int(time.time() * 1000),
                "actor": actor,
            }
        )
        return bool(self._run_kept("pause", scope, record))

    def resume(self, scope: str) -> int | None:
        """End a pause and make due what it holds. Returns how many; None: there was no pause.

        Resuming CallKaro closes its breaker, too: the person knows that CallKaro is back.
        """
        with self._reached():
            was_paused = bool(self.redis.hdel(f"{P}pauses", scope))
            if scope.startswith(ROUTE):
                self.redis.hdel(f"{P}failing", scope.removeprefix(ROUTE))  # a new row begins
            if scope == CALLKARO:
                was_paused = bool(self.redis.delete(f"{P}breaker")) or was_paused
        released = self._release(scope, "deliveries")
        if scope == ALL or scope.startswith(CRM):
            released += self._release(scope, "write_backs")
        return released if was_paused or released else None

    def _release(self, scope: str, index: str) -> int:
        released, place = 0, "-inf"
        while place:
            found, place = self._run("release", scope, place.removeprefix("("), RELEASED, index)
            released += int(found)
        return released

    def pauses(self) -> list[Pause]:
        """Return what is paused, the breaker included, oldest first."""
        with self._reached():
            kept: dict[str, str] = self.redis.hgetall(f"{P}pauses")  # type: ignore[assignment]
            breaker: dict[str, str] = self.redis.hgetall(f"{P}breaker")  # type: ignore[assignment]
        found = [_pause(scope, orjson.loads(record)) for scope, record in kept.items()]
        if "open_ms" in breaker:
            found.append(
                Pause(
                    scope=CALLKARO,
                    reason="breaker",
                    message=f"CallKaro failed {breaker['failures']} times in a row. One request "
                    "at a time finds out whether it is back.",
                    since=at(breaker["open_ms"]),
                    until=at(int(float(breaker["probe_ms"]))),
                )
            )
        return sorted(found, key=lambda pause: pause.since)


def _pause(scope: str, kept: dict[str, Any]) -> Pause:
    return Pause(
        scope=scope,
        reason=kept["reason"],
        message=kept["message"],
        since=at(kept["since_ms"]),
        actor=kept.get("actor"),
    )
