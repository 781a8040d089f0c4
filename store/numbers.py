"""The numbers that deliveries call. Lists do not load them: they stand in whole requests."""

from collections.abc import Iterator, Sequence

import orjson

from store.base import Base, P
from store.records import UNREADABLE

AT_ONCE = 25  # a request may have 64 kB


class NumberStore(Base):
    """The numbers that deliveries call."""

    def numbers_called(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the number (E.164) that each of these deliveries calls.

        Left out: deliveries without a request, such as those whose person was erased.
        """
        return dict(self._numbers_called(ids))

    def _numbers_called(self, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
        for start in range(0, len(ids), AT_ONCE):
            part = ids[start : start + AT_ONCE]
            with self._reached():
                pipe = self.redis.pipeline(transaction=False)
                for delivery_id in part:
                    pipe.hget(f"{P}delivery:{delivery_id}", "request")
                found = pipe.execute()
            for delivery_id, record in zip(part, found, strict=True):
                if number := _number(record):
                    yield delivery_id, number


def _number(record: str | None) -> str | None:
    try:
        request = orjson.loads(record) if record else None
    except UNREADABLE:  # the list shows the delivery without it
        return None
    number = request.get("to_number") if isinstance(request, dict) else None
    return number if isinstance(number, str) else None
