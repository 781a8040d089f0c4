"""The plots of a run: docs/images/bench-*.svg."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench import svg
from bench.results import OURS, Results, Rounds, T
from bench.spread import Spread

TOO_LONG = 8  # times our bar: beside such a one nothing else could be compared


def write(results: Results, note: str, folder: Path) -> list[Path]:
    """Write a plot for each part that was measured. Returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in _plots(results, note):
        written.append(folder / f"bench-{name}.svg")
        written[-1].write_text(text, encoding="utf-8")
    return written


def _plots(results: Results, note: str) -> Iterator[tuple[str, str]]:
    if results.singles:
        bars = _bars(results.singles, lambda one: one.load.per_s)
        title = "Webhooks a second, 32 connections"
        yield "intake", svg.bars(title, f"One event each. {note}", "{:,.0f}", bars)
    if results.waiting:
        bars = _bars(results.waiting, lambda one: one.per_s)
        title = "Calls a second, an API of 100 ms"
        yield "calls", svg.bars(title, f"64 threads each. {note}", "{:,.0f}", bars)
        bars = _bars(results.waiting, lambda one: one.cpu_s_per_1000)
        title = "CPU seconds for 1,000 calls"
        shown = [bar for bar in bars if bar.spread.median < TOO_LONG * _ours(bars)]
        left_out = "; ".join(
            f"{bar.name}: {bar.spread.median:.0f}" for bar in bars if bar not in shown
        )
        note = f"Of the worker. {f'Not drawn: {left_out}. ' if left_out else ''}{note}"
        yield "cpu", svg.bars(title, note, "{:.2f}", shown)


def _bars(rounds: Rounds[T], read: Callable[[T], float]) -> list[svg.Bar]:
    return [
        svg.Bar(
            name=name, spread=Spread.of(read(one[name]) for one in rounds), is_ours=name == OURS
        )
        for name in rounds[0]
    ]


def _ours(bars: Sequence[svg.Bar]) -> float:
    return next(bar.spread.median for bar in bars if bar.is_ours)
