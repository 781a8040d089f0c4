"""Times that a person types, and times that a person reads: one zone, and it is named."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support import API_TOKEN, CALL_BACK, Web, lead, until
from support.commandline import BRIDGE, Cli, Run, read_until, start

from bridge.cli.times import TIME, utc_text
from schemas.settings import Settings

KOLKATA = ZoneInfo("Asia/Kolkata")
LOCAL = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


@pytest.fixture
def settings(make_settings: Any) -> Settings:
    return make_settings(CALL_BACK)


@pytest.mark.parametrize(
    ("typed", "ago_s"), [("90s", 90), ("15m", 900), ("1h", 3600), (" 3 d ", 259_200)]
)
def test_how_long_ago_is_a_time(typed: str, ago_s: int) -> None:
    found = TIME.convert(typed, None, None)
    assert abs(datetime.now(UTC) - timedelta(seconds=ago_s) - found) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("typed", "utc"),
    [
        ("2026-01-31T09:30", "2026-01-31T04:00:00Z"),
        ("2026-01-31 09:30:00", "2026-01-31T04:00:00Z"),
        ("2026-01-31", "2026-01-30T18:30:00Z"),
        ("2026-01-31T09:30:00Z", "2026-01-31T09:30:00Z"),
        ("2026-01-31T09:30:00+01:00", "2026-01-31T08:30:00Z"),
    ],
)
def test_a_time_without_a_zone_is_in_the_zone_of_the_settings(typed: str, utc: str) -> None:
    assert utc_text(TIME.convert(typed, None, None), "Asia/Kolkata") == utc


@pytest.mark.parametrize(
    "typed", ["soon", "1w", "-1h", "99999999d", "0001-01-01", "", "9999-12-31"]
)
@pytest.mark.parametrize("command", [("deliveries", "--since"), ("events", "--until")])
def test_a_wrong_time_says_what_to_write(cli: Cli, command: tuple[str, str], typed: str) -> None:
    result = cli(*command, typed, env={"API_TOKEN": API_TOKEN})
    assert result.exit_code == 2
    assert "90s, 15m, 1h, 3d" in result.stderr or "too far away" in result.stderr
    assert "Traceback" not in result.output


def test_since_takes_how_long_ago(run: Run, web: Web) -> None:
    [delivery] = web.send("website", lead())

    def ids(*filters: str) -> list[str]:
        found = json.loads(run("deliveries", *filters, "--json").stdout)
        return [one["id"] for one in found["items"]]

    assert ids("--since", "1h") == [delivery]
    assert ids("--until", "1h") == []
    assert json.loads(run("events", "--since", "1h", "--json").stdout)["items"]
    assert run("cancel", "--until", "1h", "--dry-run").stdout.startswith("0 deliveries match")
    assert run("cancel", "--since", "1h", "--dry-run").stdout.startswith("1 deliveries match")


def test_lists_and_details_are_in_the_zone_of_the_settings_and_name_it(run: Run, web: Web) -> None:
    [delivery] = web.send("website", lead())
    found = json.loads(run("status", delivery, "--json").stdout)
    assert found["created_at"].endswith("Z")
    at = datetime.fromisoformat(found["created_at"]).astimezone(KOLKATA)

    table = run("deliveries").stdout
    assert table.startswith("Received (Asia/Kolkata) ")
    assert f"{at:%Y-%m-%d %H:%M:%S} " in table
    assert run("events").stdout.startswith("Received (Asia/Kolkata) ")
    event = run("status", found["event_id"]).stdout
    assert re.search(rf"^received +{LOCAL} Asia/Kolkata *$", event, re.M)
    assert "When (Asia/Kolkata)" in event
    assert f"{at:%Y-%m-%d %H:%M:%S} " in event
    paused = run("pause", "all").stdout
    assert re.match(rf"all is paused since {LOCAL} Asia/Kolkata: ", paused)
    assert "Since (Asia/Kolkata)" in run("status").stdout


def test_another_zone_of_the_settings_is_another_zone_on_the_screen(
    cli: Cli, url: str, web: Web
) -> None:
    web.send("website", lead())
    env = {"API_TOKEN": API_TOKEN, "CALLKARO_TIMEZONE": "Asia/Dubai"}
    assert cli("deliveries", "--url", url, env=env).stdout.startswith("Received (Asia/Dubai) ")


def test_a_narrow_screen_does_not_cut_a_time(
    run: Run, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.cli.screen.WIDE", 80)
    web.send("website", lead())
    assert re.search(rf"^{LOCAL} ", run("deliveries").stdout, re.M)


def test_tail_shows_when_a_status_changed(web: Web, url: str, run: Run) -> None:
    [delivery] = web.send("website", lead())
    timeline = json.loads(run("status", delivery, "--json").stdout)["timeline"]
    changed_at = datetime.fromisoformat(timeline[-1]["at"])
    # The time of printing must be another one.
    until(lambda: datetime.now(UTC) > changed_at + timedelta(seconds=1))
    with start(*BRIDGE, "tail", "--url", url, env={"API_TOKEN": API_TOKEN}) as tail:
        line = read_until(tail, delivery).splitlines()[-1]
        tail.kill()
    at = changed_at.astimezone(KOLKATA)
    assert line.startswith(f"{at:%Y-%m-%d %H:%M:%S} Asia/Kolkata  {delivery}  queued")
