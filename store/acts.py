"""The audit: what people did, as a stream. It has ids and names of tokens, never personal data."""

import time
from collections.abc import Sequence
from datetime import datetime

from schemas.records import Act, ActPage
from store.base import Base, P
from store.records import at

MOST_ACTS = 200_000  # the newest that are kept, whatever their age: about 30 MB
LOOKED_AT = 5000  # entries that one page of a filtered list looks at
STEP = 500
DAY_MS = 86_400_000


class ActStore(Base):
    """Writes and lists what people did."""

    def note_act(
        self,
        actor: str,
        action: str,
        *,
        kind: str = "",
        ids: Sequence[str] = ("",),
        count: int | None = None,
        keep_days: int,
    ) -> None:
        """Keep an act for keep_days, an entry for each id ("": it was about no one record).

        actor: the name of a token. kind: what the ids are of. count: how many an act on many
        changed.
        """
        fields = {"actor": actor, "action": action, "kind": kind}
        if count is not None:
            fields["count"] = str(count)
        flat = [text for pair in fields.items() for text in pair]
        self._run("note_act", keep_days * DAY_MS, MOST_ACTS, len(flat), *flat, *ids)

    def acts(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        since: datetime | None = None,
        before: str | None = None,
        limit: int,
        keep_days: int,
    ) -> ActPage:
        """Return the newest acts that match, from before a cursor and of the last keep_days.

        A page may be short, or empty, and still not be the last: it looks at LOOKED_AT entries at
        most.
        """
        oldest_ms = int(time.time() * 1000) - keep_days * DAY_MS
        low = max(oldest_ms, int(since.timestamp() * 1000) if since else 0)
        high, looked_at = f"({before}" if before else "+", 0
        found: list[Act] = []
        while looked_at < LOOKED_AT:
            with self._reached():
                page: list[tuple[str, dict[str, str]]] = self.redis.xrevrange(  # type: ignore[assignment]
                    f"{P}acts", max=high, min=str(low), count=STEP
                )
            for place, kept in page:
                looked_at += 1
                if actor in (None, kept["actor"]) and action in (None, kept["action"]):
                    found.append(_act(place, kept))
                if len(found) >= limit or looked_at >= LOOKED_AT:
                    return ActPage(items=tuple(found), next_cursor=place)
            if len(page) < STEP:
                return ActPage(items=tuple(found), next_cursor=None)
            high = f"({page[-1][0]}"
        return ActPage(items=tuple(found), next_cursor=high.removeprefix("("))


def _act(place: str, kept: dict[str, str]) -> Act:
    return Act(
        id=place,
        at=at(place.partition("-")[0]),
        actor=kept["actor"],
        action=kept["action"],
        kind=kept.get("kind") or None,
        target=kept.get("id") or None,
        count=int(kept["count"]) if kept.get("count") else None,
    )
