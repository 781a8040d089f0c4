"""Figures of /api/stats: the scripts count them at each change; see includes/figures.lua."""

from collections.abc import Iterator, Mapping

from store.base import Base, P

DAYS_AT_ONCE = 50  # that one answer of Redis has


class FigureStore(Base):
    """The figures of all days that are kept."""

    def figures(self, first_day: int, last_day: int) -> Iterator[tuple[int, Mapping[str, str]]]:
        """Yield (day since 1970, its cells) of the days from first to last that have figures."""
        for start in range(first_day, last_day + 1, DAYS_AT_ONCE):
            days = range(start, min(start + DAYS_AT_ONCE, last_day + 1))
            with self._reached():
                pipe = self.redis.pipeline(transaction=False)
                for day in days:
                    pipe.hgetall(f"{P}figures:{day}")
                found = pipe.execute()
            yield from ((day, cells) for day, cells in zip(days, found, strict=True) if cells)
