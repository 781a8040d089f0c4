"""Several rounds of one figure."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Self


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """The median of the rounds, the lowest and the highest one."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, figures: Iterable[float]) -> Self:
        """Return the spread of at least one figure."""
        found = list(figures)
        return cls(median=median(found), low=min(found), high=max(found), rounds=len(found))

    def text(self, form: str) -> str:
        """Return the median, and the spread if there was more than one round."""
        if self.rounds == 1:
            return form.format(self.median)
        return f"{form} ({form}-{form})".format(self.median, self.low, self.high)
