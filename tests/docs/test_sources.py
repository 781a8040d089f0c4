"""Every list of sources follows from the modules in schemas/crm, or names none of them."""

import json
from pathlib import Path

import pytest
from support import each

import source_lists
from schemas.crm import kinds
from source_lists import (
    BLOCKS,
    ROOT,
    MarkerError,
    changes,
    crms,
    pages,
    rewritten_app,
    rewritten_compose,
    rewritten_env_example,
    rewritten_page,
    settings,
    unmarked_lists,
)

PAGES = [page for page in pages() if page.name != "CHANGELOG.md"]  # that is history


def test_make_sources_would_change_nothing() -> None:
    assert [path.relative_to(ROOT).as_posix() for path in changes()] == [], "run: make sources"


@each("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_every_crm_without_markers(page: Path) -> None:
    found = list(unmarked_lists(page.read_text("utf-8")))
    assert found == [], "put the list between <!-- sources --> and <!-- /sources -->"


@pytest.mark.parametrize("form", BLOCKS)
def test_each_form_is_written_and_stays_as_it_is(form: str) -> None:
    text = f"Sources: <!-- sources: {form} -->old<!-- /sources -->, and more"
    once = rewritten_page(text, "docs/page.md")
    assert "-->old<" not in once
    assert once.endswith("<!-- /sources -->, and more")
    assert rewritten_page(once, "docs/page.md") == once


def test_a_plain_marker_lists_the_crms_with_links_from_the_page() -> None:
    text = "<!-- sources --><!-- /sources -->"
    for page, link in (
        ("README.md", "docs/connect-hubspot.md"),
        ("docs/routes.md", "connect-hubspot.md"),
        ("docs/decisions/0001.md", "../connect-hubspot.md"),
    ):
        assert f"[HubSpot]({link}), " in rewritten_page(text, page)


def test_a_block_on_lines_of_its_own_stays_on_them() -> None:
    found = rewritten_page("<!-- sources: plain -->\nold\n<!-- /sources -->\n", "README.md")
    assert found.startswith("<!-- sources: plain -->\n")
    assert found.endswith("\n<!-- /sources -->\n")
    assert "old" not in found


def test_a_marker_in_code_is_text() -> None:
    text = "Write `<!-- sources -->` and `<!-- /sources -->`."
    assert rewritten_page(text, "README.md") == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<!-- sources: nonsense --><!-- /sources -->", "no form 'nonsense'; there are names, "),
        ("<!-- sources -->, for ever", "a marker has no counterpart"),
        ("<!-- /sources -->", "a marker has no counterpart"),
    ],
)
def test_a_wrong_marker_is_named_with_its_page(text: str, problem: str) -> None:
    with pytest.raises(MarkerError, match=r"docs/page\.md: ") as caught:
        rewritten_page(text, "docs/page.md")
    assert problem in str(caught.value)


@pytest.mark.parametrize("rewritten", [rewritten_env_example, rewritten_compose])
def test_a_file_without_its_markers_is_named(rewritten) -> None:
    with pytest.raises(MarkerError, match="needs one part between"):
        rewritten("nothing\n")


def test_a_variable_that_is_gone_is_taken_out_and_all_others_stay() -> None:
    text = (ROOT / "app.json").read_text("utf-8")
    more = '    "OLD_CRM_TOKEN": {\n      "description": "x",\n      "required": false\n    },\n'
    at = text.index('    "HUBSPOT_ACCESS_TOKEN"')
    assert rewritten_app(text[:at] + more + text[at:]) == text
    given = json.loads(text)["env"]
    assert {"API_TOKEN", "CALLKARO_API_KEY"} <= given.keys()
    ours = [one.name for one in settings() if one.name in given]
    assert list(given)[-len(ours) :] == ours


def test_a_list_is_found_outside_markers_and_code_only() -> None:
    every = " ".join(kind.title for kind in crms())
    assert list(unmarked_lists(f"First.\n\nThese: {every}.\n\nLast.")) == [f"These: {every}."]
    assert list(unmarked_lists(f"<!-- sources: plain -->{every}<!-- /sources -->")) == []
    assert list(unmarked_lists(f"```\n{every}\n```\n")) == []
    assert list(unmarked_lists(" ".join(kind.title for kind in crms()[1:]))) == []


def test_each_kind_has_its_webhook_secret_in_every_file() -> None:
    for name in (".env.example", "compose.yaml"):
        text = (ROOT / name).read_text("utf-8")
        for kind in kinds().values():
            assert f"{kind.name.upper().replace('-', '_')}_WEBHOOK_SECRET" in text


def test_the_program_names_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (".env.example", "app.json", "compose.yaml", "routes.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text("utf-8"), "utf-8")
    (tmp_path / "README.md").write_text("<!-- sources: plain --><!-- /sources -->", "utf-8")
    monkeypatch.setattr(source_lists, "ROOT", tmp_path)
    assert source_lists.main() == 0
    assert capsys.readouterr().out == "written  README.md\n"
    assert source_lists.main() == 0
    assert capsys.readouterr().out == "Every list of sources is up to date.\n"
    (tmp_path / "README.md").write_text("<!-- sources: nonsense --><!-- /sources -->", "utf-8")
    assert source_lists.main() == 1
    assert "README.md: no form" in capsys.readouterr().err


def test_the_table_says_what_modules_and_samples_have() -> None:
    rows = {
        row.split("`")[1]: row for row in BLOCKS["table"]("examples/README.md").splitlines()[2:]
    }
    assert list(rows) == [*(kind.name for kind in crms()), "generic"]
    assert rows["zoho"].startswith("| [Zoho CRM](../docs/connect-zoho.md) | `zoho` | token in ")
    assert " | thin or full | " in rows["zoho"]
    assert " | full | " in rows["generic"]
    assert rows["generic"].startswith("| [Generic JSON or form](generic/README.md) |")
    for name in ("hubspot", "zoho"):
        assert "| fetched by id | by its API | " in rows[name]
        assert rows[name].endswith(" sample bodies, a stand-in for its API |")
    for name, row in rows.items():
        assert f"| {kinds()[name].retries} |" in row
