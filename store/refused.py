"""Refused requests: the bodies that proved their source and could not be parsed."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from schemas.refused import RefusedPage, RefusedRequest
from store.base import P
from store.queries import QueryStore
from store.records import at

# Of a body, in UTF-8. 100 of them are 6.4 MB for each source at most.
KEPT_BYTES = 64 * 1024
LISTED = ("source", "at_ms", "content_type", "bytes", "problem", "place", "head")
SEARCHED = 8  # whole bodies in one request to Redis, half a megabyte


class RefusedStore(QueryStore):
    """The refused requests of each source: the newest ones, for a limited time."""

    def keep_refused(self, refused: RefusedRequest, *, keep: int, retention: timedelta) -> None:
        """Keep a refused request, and of its source the newest `keep` only.

        Raises StoreUnavailable, also while Redis is nearly full: nothing is kept then.
        """
        self.check_room()
        fields = {
            "content_type": refused.content_type,
            "bytes": str(refused.bytes),
            "problem": refused.problem,
            "place": refused.place,
            "head": refused.head,
            "body": refused.body,
        }
        flat = [text for pair in fields.items() for text in pair]
        self._keep(keep, retention, refused.source, secrets.token_hex(13), *flat)

    def prune_refused(self, *, keep: int, retention: timedelta) -> int:
        """Delete what is older than its retention or more than `keep`; return how many."""
        return self._keep(keep, retention, "", "")

    def _keep(self, keep: int, retention: timedelta, *args: str) -> int:
        for_ms = int(retention.total_seconds() * 1000)
        return int(self._run("refused_request", keep, for_ms, *args))

    def refused(self, source: str | None, *, before: int | None, limit: int) -> RefusedPage:
        """Return the newest refused requests from before an order (us), without their bodies.

        source None: those of all sources, also of sources that routes.toml no longer has.
        """
        high = "+inf" if before is None else f"({before}"
        with self._reached():
            names = [source] if source is not None else self._names()
            indexes = [f"{P}refused_requests:{name}" for name in names]
            found = self._newest(indexes, high=high, low="-inf", limit=limit)
            pipe = self.redis.pipeline(transaction=False)
            for refused_id, _ in found:
                pipe.hmget(f"{P}refused_request:{refused_id}", LISTED)
            records = pipe.execute()
        items = tuple(
            _read(refused_id, dict(zip(LISTED, record, strict=True)))
            for (refused_id, _), record in zip(found, records, strict=True)
            if record[0] is not None
        )
        is_last = len(found) < limit
        return RefusedPage(items=items, next_cursor=None if is_last else str(found[-1][1]))

    def refused_request(self, refused_id: str) -> RefusedRequest | None:
        """Return a refused request with its body; None if there is no such request."""
        with self._reached():
            found: dict[str, str] = self.redis.hgetall(f"{P}refused_request:{refused_id}")  # type: ignore[assignment]
        return _read(refused_id, found) if found.get("source") else None

    def refused_ids(self) -> list[str]:
        """Return the ids of all refused requests."""
        with self._reached():
            names = self._names()
            pipe = self.redis.pipeline(transaction=False)
            for name in names:
                pipe.zrange(f"{P}refused_requests:{name}", 0, -1)
            return [str(one) for ids in pipe.execute() for one in ids]

    def refused_requests(self, ids: Sequence[str]) -> list[RefusedRequest]:
        """Return those of these refused requests that are there, with their bodies."""
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for refused_id in ids:
                pipe.hgetall(f"{P}refused_request:{refused_id}")
            records = zip(ids, pipe.execute(), strict=True)
        return [_read(refused_id, found) for refused_id, found in records if found.get("source")]

    def delete_refused(self, refused: Iterable[RefusedRequest]) -> None:
        """Delete refused requests."""
        with self._reached():
            pipe = self.redis.pipeline()
            for one in refused:
                pipe.delete(f"{P}refused_request:{one.id}")
                pipe.zrem(f"{P}refused_requests:{one.source}", one.id)
            pipe.execute()

    def _names(self) -> list[str]:
        """Return the sources that have refused requests."""
        return sorted(str(name) for name in self.redis.smembers(f"{P}refused_requests"))


def _read(refused_id: str, found: Mapping[str, str | None]) -> RefusedRequest:
    return RefusedRequest(
        id=refused_id,
        source=found.get("source") or "",
        at=at(found.get("at_ms") or 0),
        content_type=found.get("content_type") or "",
        bytes=int(found.get("bytes") or 0),
        problem=found.get("problem") or "",
        place=found.get("place") or "",
        head=found.get("head") or "",
        body=found.get("body") or "",
    )
