"""`python -m bench.quote FILE.json`: the figures of a run as a Markdown table, for the docs.

With a second file, of another run on the same machine, it also says how far the ratios differ.
"""

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.machine import Machine
from bench.results import BEFORE, Row
from bench.spread import Spread
from bench.table import ratio_text

ALIKE = 0.15  # how far the ratios of two runs may differ


def read(file: Path) -> dict[str, Any]:
    """Return what `python -m bench --json` wrote."""
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found


def rows_of(run: dict[str, Any]) -> list[Row]:
    """Return the figures of a run."""
    return [
        Row(**{**row, **{name: _spread(row[name]) for name in ("figure", "ratio", "before")}})
        for row in run["rows"]
    ]


def markdown(run: dict[str, Any]) -> str:
    """Return the table, and a sentence with the date and the machine."""
    at = datetime.fromisoformat(run["at"])
    machine = Machine(**run["machine"])
    lines = [
        f"`make bench` on {at:%-d %B %Y}: {machine.sentence()}.",
        "",
        "| figure | target | measured | ratio | to before |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in rows_of(run):
        figure = row.figure.text(row.form)
        figure = f"**{figure}**" if row.is_met is False else figure
        ratios = f"{ratio_text(row.ratio)} | {ratio_text(row.before)}"
        lines.append(f"| {row.name} | {row.target} | {figure} | {ratios} |")
    return "\n".join([*lines, "", "Bold: the target is not met.", ""])


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[str, float | None]]:
    """Return for each ratio how far that of the second run is from that of the first one.

    None: only one of the runs has it.
    """
    first, second = _ratios(one), _ratios(other)
    return [
        (name, second[name] / first[name] - 1 if name in first and name in second else None)
        for name in first | second
    ]


def _ratios(run: dict[str, Any]) -> dict[str, float]:
    """Return the medians of all ratios of a run, by figure and by what it is compared with."""
    ratios = {}
    for row in rows_of(run):
        for of, ratio in ((row.of, row.ratio), (BEFORE, row.before)):
            if ratio is not None:
                ratios[f"{row.name}, of {of}"] = ratio.median
    return ratios


def _spread(found: dict[str, Any] | None) -> Spread | None:
    return None if found is None else Spread(**found)


def main() -> int:
    """Print the table, or the differences. Returns 1 if two runs differ too much."""
    parser = argparse.ArgumentParser(prog="python -m bench.quote", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    runs = [read(file) for file in parser.parse_args().files]
    print(markdown(runs[0]))
    if len(runs) == 1:
        return 0
    found = differences(runs[0], runs[1])
    for name, difference in found:
        print(f"{name}: {'only in one run' if difference is None else f'{difference:+.0%}'}")
    return int(any(difference is None or abs(difference) > ALIKE for _, difference in found))


if __name__ == "__main__":
    sys.exit(main())
