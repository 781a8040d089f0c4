"""Figures: how many events became calls, and how those ended."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

DAYS_KEPT: Final = 400
MOST_KEYS: Final = 200  # of a dimension on a day
OTHER: Final = "(other)"  # the keys beyond those
NONE: Final = "none"  # a missing value, such as the campaign of a call without one


class By(StrEnum):
    """By what figures are grouped."""

    ROUTE = "route"
    SOURCE = "source"
    CAMPAIGN = "campaign"
    AGENT = "agent"
    VERSION = "version"
    DAY = "day"
    HOUR = "hour"
    WEEKDAY = "weekday"
    WEEKDAY_HOUR = "weekday_hour"


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """Sums over deliveries with to = call, test calls left out. Each delivery counts once."""

    events: int = 0  # deliveries that were made
    accepted: int = 0  # ever accepted by CallKaro
    # These three say where a delivery is now: a retry moves it.
    skipped: int = 0
    failed: int = 0
    unknown: int = 0
    dialled: int = 0  # its newest outcome is neither not_dialled nor cancelled
    ended: int = 0  # its newest outcome is final; the next five are its results
    connected: int = 0
    voicemail: int = 0
    not_reached: int = 0
    wrong_number: int = 0
    other: int = 0
    converted: int = 0  # ended, with CallKaro's conversion_status
    talked_s: int = 0  # in all dials of the newest call

    @property
    def answer_rate(self) -> float | None:
        """Return the share of those dialled that were connected; None: none was dialled."""
        return self.connected / self.dialled if self.dialled else None

    @property
    def conversion_rate(self) -> float | None:
        """Return the share of those connected that were converted; None: none was connected."""
        return self.converted / self.connected if self.connected else None

    @classmethod
    def of(cls, sums: Iterable[int]) -> "Figures":
        """Return the figures of sums in the order of NAMES; later sums are ignored."""
        return cls(**dict(zip(NAMES, sums, strict=False)))


NAMES: Final = tuple(field.name for field in fields(Figures))  # as figures.lua has them


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureQuery:
    """What figures are wanted. Hours count whole: a day (since 1970) and an hour ("00") in it."""

    by: By
    first: tuple[int, str]
    last: tuple[int, str]
    # A dimension, and those of its keys that count; several are the periods of one campaign.
    only: tuple[By, frozenset[str]] | None = None  # None: all


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureTable:
    """The answer: figures by key, in order, and their total."""

    items: tuple[tuple[str, Figures], ...]
    total: Figures
