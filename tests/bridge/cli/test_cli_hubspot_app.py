"""`hubspot-app`: what it writes, what it replaces, what it tells a person to do next."""

import json
from pathlib import Path

import pytest
from support.commandline import Cli

URL = "https://bridge.example"
FILES = ["hsproject.json", "src/app/app-hsmeta.json", "src/app/webhooks/webhooks-hsmeta.json"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a folder" / "app"


def written(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_the_sample_routes_become_an_app_and_the_next_steps(cli: Cli, folder: Path) -> None:
    result = cli("hubspot-app", "--url", URL, "--out", folder)
    assert result.exit_code == 0, result.output
    assert written(folder) == FILES
    webhooks = json.loads((folder / FILES[2]).read_text("utf-8"))
    assert webhooks["config"]["settings"]["targetUrl"] == f"{URL}/webhooks/hubspot"
    assert [one["objectType"] for one in webhooks["config"]["subscriptions"]["crmObjects"]] == [
        "contact"
    ]
    for said in (
        "npm install -g @hubspot/cli@latest",
        "hs account auth",
        "hs project upload",
        "Distribution tab, press Install now",
        "HUBSPOT_WEBHOOK_SECRET=<client secret>",
        "HUBSPOT_ACCESS_TOKEN=<access token>",
        f"PUBLIC_URL={URL}",
    ):
        assert said in result.stdout


def test_the_same_again_changes_nothing(cli: Cli, folder: Path) -> None:
    for _ in range(2):
        result = cli("hubspot-app", "--url", URL, "--out", folder)
        assert result.exit_code == 0, result.output


def test_other_content_is_replaced_only_with_force(cli: Cli, folder: Path) -> None:
    cli("hubspot-app", "--url", URL, "--out", folder)
    mine = folder / FILES[2]
    mine.write_text("{}\n", "utf-8")
    (folder / FILES[0]).unlink()
    result = cli("hubspot-app", "--url", URL, "--out", folder)
    assert result.exit_code == 1
    assert f"Nothing was written:\n  - {mine}\n" in result.stderr
    assert written(folder) == FILES[1:]
    assert mine.read_text("utf-8") == "{}\n"
    forced = cli("hubspot-app", "--url", URL, "--out", folder, "--force")
    assert forced.exit_code == 0, forced.output
    assert f"Replaced {mine}" in forced.stdout
    assert written(folder) == FILES


def test_what_no_app_can_send_is_told_and_nothing_is_written(cli: Cli, folder: Path) -> None:
    result = cli("hubspot-app", "--url", "http://bridge.example", "--out", folder)
    assert result.exit_code == 1
    assert "  - --url: write the https address of the bridge" in result.stderr
    assert not folder.exists()


def test_only_a_source_of_hubspot_gets_an_app(cli: Cli, folder: Path) -> None:
    result = cli("hubspot-app", "--url", URL, "--out", folder, "--source", "zoho")
    assert result.exit_code == 2
    assert "'zoho' is no source of HubSpot" in result.stderr


def test_a_folder_that_cannot_be_written_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "src").touch()
    result = cli("hubspot-app", "--url", URL, "--out", tmp_path)
    assert result.exit_code == 1
    assert f"{tmp_path} can't be written: " in result.stderr
