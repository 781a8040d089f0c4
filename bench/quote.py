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
from bench.results import Row
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


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[str, float]]:
    """Return for each ratio of both runs how far the second one is from the first one."""
    before = {(row.name, row.of): row.ratio for row in rows_of(one)}
    found = []
    for row in rows_of(other):
        first = before.get((row.name, row.of))
        if first and row.ratio:
            found.append((f"{row.name}, of {row.of}", row.ratio.median / first.median - 1))
    return found


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
        print(f"{name}: {difference:+.0%}")
    return int(any(abs(difference) > ALIKE for _, difference in found))


if __name__ == "__main__":
    sys.exit(main())
