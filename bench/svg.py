"""Plots as SVG, written by hand: small files that a phone of 390 px shows without zooming.

Colours are those of the dashboard, on white: the files also stand on dark pages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from bench.spread import Spread

WIDTH = 390
_MARGIN, _LINE, _BAR = 10, 18, 14
_INK, _FAINT, _OURS, _OTHERS = "#1f2933", "#667380", "#0b6e4f", "#9aa5b1"
_COLOURS = ("#0b6e4f", "#b44d12", "#3e4c9e", "#667380")
_PLOT_HEIGHT, _LEFT, _LEGEND_HEIGHT = 180, 48, 18


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One bar. is_ours: it is highlighted."""

    name: str
    spread: Spread
    is_ours: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line over time: pairs of (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]


def bars(title: str, note: str, form: str, found: Sequence[Bar]) -> str:
    """Return bars from zero, each with its figure, and a whisker from the lowest to the highest."""
    most = max(bar.spread.high for bar in found) or 1.0
    parts: list[str] = []
    y = _heading(parts, title, note)
    scale = (WIDTH - 2 * _MARGIN) / most
    for bar in found:
        y += _LINE
        figure = form.format(bar.spread.median)
        parts.append(_text(_MARGIN, y, bar.name, weight="bold" if bar.is_ours else "normal"))
        parts.append(_text(WIDTH - _MARGIN, y, figure, anchor="end"))
        y += 5
        width = max(bar.spread.median * scale, 1)
        colour = _OURS if bar.is_ours else _OTHERS
        parts.append(_box(_MARGIN, y, width, _BAR, colour))
        if bar.spread.rounds > 1:
            low, high = (_MARGIN + end * scale for end in (bar.spread.low, bar.spread.high))
            parts.append(_path([(low, y + _BAR / 2), (high, y + _BAR / 2)], _INK, 1.5))
        y += _BAR + 3
    return _document(title, y + _MARGIN, parts)


def lines(title: str, note: str, x_unit: str, found: Sequence[Line]) -> str:
    """Return lines over a common x, with a scale from zero."""
    parts: list[str] = []
    top = _heading(parts, title, note) + 12
    most_x = max((x for line in found for x, _ in line.points), default=0) or 1.0
    most_y = _round_up(max((y for line in found for _, y in line.points), default=0) or 1.0)
    width = WIDTH - _LEFT - _MARGIN
    bottom = top + _PLOT_HEIGHT
    for step in range(5):
        y = bottom - _PLOT_HEIGHT * step / 4
        parts.append(_path([(_LEFT, y), (WIDTH - _MARGIN, y)], "#d9dee3", 1))
        parts.append(
            _text(_LEFT - 6, y + 4, _figure(most_y * step / 4, most_y), anchor="end", is_faint=True)
        )
        x = _LEFT + width * step / 4
        parts.append(
            _text(
                x, bottom + 17, _figure(most_x * step / 4, most_x), anchor="middle", is_faint=True
            )
        )
    parts.append(_text(WIDTH - _MARGIN, bottom + 33, x_unit, anchor="end", is_faint=True))
    y = bottom + 36.0
    for line, colour in zip(found, _COLOURS, strict=False):
        at = [
            (_LEFT + x / most_x * width, bottom - value / most_y * _PLOT_HEIGHT)
            for x, value in line.points
        ]
        parts.append(_path(at, colour, 2))
        y += _LEGEND_HEIGHT
        parts.append(_box(_MARGIN, y - 9, 16, 8, colour))
        last = f"{line.points[-1][1]:,.0f} at the end" if line.points else "nothing"
        parts.append(_text(_MARGIN + 24, y, f"{line.name}: {last}"))
    return _document(title, y + _MARGIN, parts)


def _heading(parts: list[str], title: str, note: str) -> float:
    parts.append(_text(_MARGIN, 24, title, size=15, weight="bold"))
    y = 24.0
    for line in _wrapped(note):
        y += 16
        parts.append(_text(_MARGIN, y, line, size=12, is_faint=True))
    return y + 4


def _wrapped(text: str, most: int = 60) -> list[str]:
    """Return the text in lines that fit at 12 px."""
    found: list[str] = [""]
    for word in text.split():
        if len(found[-1]) + len(word) >= most:
            found.append("")
        found[-1] += f" {word}" if found[-1] else word
    return found


def _round_up(figure: float) -> float:
    """Return the next of 1, 2, 4, 5, 8 or 10 times a power of ten: quarters of it are short."""
    power = 1.0
    while power * 10 <= figure:
        power *= 10
    return next(power * step for step in (1, 2, 4, 5, 8, 10) if power * step >= figure)


def _figure(figure: float, most: float) -> str:
    return f"{figure:,.0f}" if most >= 4 else f"{figure:.2f}"


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int = 13,
    weight: str = "normal",
    is_faint: bool = False,
) -> str:
    colour = _FAINT if is_faint else _INK
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
    )


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def _path(points: Sequence[tuple[float, float]], colour: str, width: float) -> str:
    at = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _document(title: str, height: float, parts: Sequence[str]) -> str:
    """Return the file. The title is also what a screen reader says."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" role="img" '
        'font-family="system-ui, sans-serif">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"
