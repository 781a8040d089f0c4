"""`python -m tests.audit`: ask pip-audit whether what requirements.txt pins has known flaws.

Exit code 0: none has; 1: one has, or pip-audit can't be run so; 2: not all could be looked up, as
where there is no network, or a mirror in PyPI's place. With --where-possible that is no failure:
one line says so.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

COMMAND = (
    *(sys.executable, "-m", "pip_audit", "--requirement", "requirements.txt"),
    # All is pinned there, so nothing needs to be resolved or installed for it.
    *("--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"),
)
LONGEST_S = 180.0
# What a service that can't be reached, or answers nonsense, leaves behind: it prints no JSON then.
UNREACHED = re.compile(r"requests\.exceptions\.|urllib3\.exceptions\.|ServiceError|ConnectionError")
TIP = "your network may be blocking this service"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of it: a flaw a line, and what could not be looked up."""

    flaws: Sequence[str] = ()
    unknown: str = ""
    broken: str = ""

    def text(self) -> str:
        """Return what to tell people."""
        lines = [*self.flaws, *filter(None, (self.unknown, self.broken))]
        return "\n".join(lines) or "No known flaw in what requirements.txt pins."

    def exit_code(self, *, where_possible: bool) -> int:
        """Return 0, 1 or 2."""
        if self.flaws or self.broken:
            return 1
        return 2 if self.unknown and not where_possible else 0


def judge(output: str, errors: str) -> Verdict:
    """Return what pip-audit found, by its output and what it said on stderr."""
    try:
        found = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        said = errors.strip().splitlines()
        if UNREACHED.search(errors) or TIP in errors:
            return Verdict(unknown="Not audited: the list of known flaws could not be reached.")
        return Verdict(broken=f"pip-audit failed: {said[-1] if said else 'it said nothing'}")
    skipped = [one["name"] for one in found if "skip_reason" in one]
    unknown = ""
    if skipped or not found:
        unknown = f"Not audited, for PyPI does not know them here: {len(skipped)} of {len(found)}."
        if 0 < len(skipped) < min(len(found), 6):
            unknown = f"{unknown[:-1]} ({', '.join(skipped)})."
    return Verdict(
        flaws=[_flaw(one, flaw) for one in found for flaw in one.get("vulns", ())],
        unknown=unknown,
    )


def _flaw(package: dict[str, Any], flaw: dict[str, Any]) -> str:
    fixed = ", ".join(flaw.get("fix_versions", ())) or "no version yet"
    return f"{package['name']} {package['version']}: {flaw['id']} (fixed in: {fixed})"


def main() -> int:
    """Ask, print what came of it, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.audit", description=__doc__)
    parser.add_argument("--where-possible", action="store_true")
    given = parser.parse_args()
    try:
        done = subprocess.run(  # noqa: S603
            COMMAND, capture_output=True, text=True, check=False, timeout=LONGEST_S
        )
        verdict = judge(done.stdout, done.stderr)
    except subprocess.TimeoutExpired:
        verdict = Verdict(unknown=f"Not audited: there was no answer within {LONGEST_S:.0f} s.")
    sys.stdout.write(f"{verdict.text()}\n")
    return verdict.exit_code(where_possible=given.where_possible)


if __name__ == "__main__":
    sys.exit(main())
