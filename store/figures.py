"""Figures of /api/stats: the scripts count them at each change; see includes/figures.lua."""

from collections.abc import Iterator, Mapping, Sequence

from store.base import Base, P

DAYS_AT_ONCE = 50  # that one answer of Redis has


class FigureStore(Base):
    """The figures of all days that are kept. A day is its number since 1970."""

    def figures_changed(self) -> dict[int, str]:
        """Return when the figures of each day changed. Equal texts mean equal figures."""
        with self._reached():
            found = self.redis.hgetall(f"{P}figures:changed")
        return {int(day): str(changed) for day, changed in found.items()}

    def figures(self, days: Sequence[int]) -> Iterator[tuple[int, Mapping[str, str]]]:
        """Yield (day, its cells) of those of these days that have figures."""
        for start in range(0, len(days), DAYS_AT_ONCE):
            part = days[start : start + DAYS_AT_ONCE]
            with self._reached():
                pipe = self.redis.pipeline(transaction=False)
                for day in part:
                    pipe.hgetall(f"{P}figures:{day}")
                found = pipe.execute()
            yield from ((day, cells) for day, cells in zip(part, found, strict=True) if cells)
