"""`new-source`: what it writes passes the contract test at once."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import LONGEST_S, each
from support.commandline import PLAIN, ROOT, Cli

NAMES = {
    "schemas/crm/lead_post.py",
    "tests/payloads/lead-post/lead.body.json",
    "tests/payloads/lead-post/lead.expected.json",
    "examples/lead-post/routes.toml",
    "examples/lead-post/README.md",
}
NEEDED = (
    *("bridge", "config", "rules", "schemas", "store", "simulator", "demo", "workers", "tests"),
    *("docs", "examples"),
)


def written(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


@pytest.mark.slow
def test_what_it_writes_into_a_copy_passes_its_tests_at_once(cli: Cli, tmp_path: Path) -> None:
    for name in NEEDED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("node_modules"))
    for name in ("pyproject.toml", "routes.toml"):
        shutil.copy(ROOT / name, tmp_path)
    before = written(tmp_path)
    made = cli("new-source", "lead-post", "--title", "LeadPost 2", "--out", tmp_path)
    assert made.exit_code == 0, made.output
    assert written(tmp_path) - before == NAMES
    tests = ("tests/schemas/crm/test_contract.py", "tests/docs/test_examples.py")
    for tool in (
        ("pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *tests),
        ("ruff", "check", "schemas/crm/lead_post.py"),
        ("ruff", "format", "--check", "schemas/crm/lead_post.py"),
    ):
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", *tool],
            cwd=tmp_path,
            env=PLAIN,
            capture_output=True,
            text=True,
            timeout=2 * LONGEST_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert kinds_of(tmp_path)["lead-post"] == "LeadPost 2"


def kinds_of(folder: Path) -> dict[str, str]:
    code = "from schemas.crm import kinds; print({k.name: k.title for k in kinds().values()})"
    said = subprocess.check_output([sys.executable, "-c", code], cwd=folder, env=PLAIN)  # noqa: S603
    found: dict[str, str] = ast.literal_eval(said.decode())
    return found


def test_the_title_is_made_of_the_name(cli: Cli, tmp_path: Path) -> None:
    assert cli("new-source", "lead-post", "--out", tmp_path).exit_code == 0
    guide = (tmp_path / "examples/lead-post/README.md").read_text("utf-8")
    assert guide.startswith("# Connect Lead Post\n")
    assert "$" not in guide


def test_a_file_of_a_person_is_kept(cli: Cli, tmp_path: Path) -> None:
    cli("new-source", "lead-post", "--out", tmp_path)
    sample = tmp_path / "tests/payloads/lead-post/lead.body.json"
    sample.write_text("{}")
    again = cli("new-source", "lead-post", "--out", tmp_path)
    assert again.exit_code == 1
    assert str(sample) in again.stderr
    assert json.loads(sample.read_text()) == {}
    assert cli("new-source", "lead-post", "--out", tmp_path, "--force").exit_code == 0
    assert json.loads(sample.read_text())["id"] == "lead-1"


@each(
    ("arguments", "says"),
    [
        (("Lead_Post",), "'Lead_Post' is no name."),
        (("../x",), "'../x' is no name."),
        (("zoho",), "There is a source 'zoho' already."),
        (("lead-post", "--title", 'x"""'), "--title: 1 to 40 letters"),
    ],
)
def test_a_wrong_name_writes_nothing(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    result = cli("new-source", *arguments, "--out", tmp_path)
    assert result.exit_code == 2
    assert says in result.stderr
    assert written(tmp_path) == set()


@pytest.mark.parametrize("command", ["hubspot-app", "new-source"])
def test_both_writers_say_where_a_folder_cant_be_written(
    cli: Cli, tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_text("")
    needs = ("--url", "https://bridge.example") if command == "hubspot-app" else ("lead-post",)
    result = cli(command, *needs, "--out", tmp_path / "file" / "below")
    assert result.exit_code == 1
    assert "can't be written" in result.stderr
