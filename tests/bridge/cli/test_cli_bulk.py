"""`release`, and `cancel` and `retry` by filters: many at once, against a bridge that serves."""

import json
import re
from collections import Counter

import pytest
from support import API_TOKEN, WEBSITE, Web, each, lead, route
from support.commandline import Cli, Fails, Run

from bridge.operations import bulk
from schemas.settings import Settings

FLOODED = WEBSITE + route(flood='{ over = 1, within = "5m" }') + route("call too", event="other")


@pytest.fixture
def settings(make_settings) -> Settings:
    return make_settings(FLOODED)


@pytest.fixture
def ids(web: Web) -> list[str]:
    """Seven deliveries: the first goes its way, five of the same route are held, one is another's.

    web is of the same settings.
    """
    found = [web.send("website", lead())[0] for _ in range(6)]
    found += web.send("website", lead("+919812345678", event_type="other"))
    assert stands(web, found) == {"queued": 2, "held bulk": 5}
    return found


def stands(web: Web, ids: list[str]) -> Counter[str]:
    """Count what became of deliveries: "held bulk", "queued"."""
    found = [web.get(f"/api/deliveries/{one}").json for one in ids]
    return Counter(f"{one['status']} {one['reason'] or ''}".strip() for one in found)


RELEASED = {"queued": 2, "queued by_person": 5}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--route", "call back"),
        ("--source", "website"),
        ("--since", "2020-01-01T00:00:00Z", "--until", "2100-01-01"),
        ("--all",),
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_is_held_as_bulk_is_released(
    run: Run, web: Web, ids: list[str], arguments: tuple[str, ...]
) -> None:
    counted = "5 deliveries match; would be released: 5, refused: 0.\n"

    assert re.search(r"^held as bulk +5 *$", run("status").stdout, re.M)
    assert run("release", *arguments, "--dry-run").stdout == counted
    assert stands(web, ids)["held bulk"] == 5
    said = run("release", *arguments, "--yes").stdout
    assert said == counted + "5 deliveries match; released: 5, refused: 0.\n"
    assert stands(web, ids) == RELEASED


@pytest.mark.parametrize(
    "arguments",
    [
        ("--route", "call too"),
        ("--source", "hubspot"),
        ("--until", "2020-01-01"),
        ("--subject", "x"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_does_not_fit_stays_held(
    run: Run, web: Web, ids: list[str], arguments: tuple[str, ...]
) -> None:
    assert run("release", *arguments, "--yes").stdout.startswith("0 deliveries match")
    assert stands(web, ids)["held bulk"] == 5


def test_a_release_in_part_is_the_newest_so_many(run: Run, web: Web, ids: list[str]) -> None:
    said = run("release", "--route", "call back", "--limit", 2, "--yes").stdout

    assert said.splitlines() == [
        "2 deliveries match (--limit 2); would be released: 2, refused: 0.",
        "2 deliveries match (--limit 2); released: 2, refused: 0.",
    ]
    assert stands(web, ids[4:6]) == {"queued by_person": 2}
    assert stands(web, ids[1:4]) == {"held bulk": 3}


@pytest.mark.parametrize(("limit", "released"), [(1, 1), (2, 2), (3, 3), (4, 4), (9, 5)])
def test_a_limit_holds_over_all_pages(
    run: Run,
    web: Web,
    ids: list[str],
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    released: int,
) -> None:
    monkeypatch.setattr(bulk, "PAGE", 1)
    monkeypatch.setattr(bulk, "MOST_AT_ONCE", 2)  # of one request

    done = json.loads(run("release", "--all", "--limit", limit, "--yes", "--json").stdout)

    assert done == {"matched": released, "released": released, "refused": 0, "dry_run": False}
    assert stands(web, ids)["held bulk"] == 5 - released


def test_nobody_is_rung_without_a_yes(cli: Cli, url: str, web: Web, ids: list[str]) -> None:
    unsure = cli("release", "--all", "--url", url, env={"API_TOKEN": API_TOKEN})

    assert unsure.exit_code == 1
    assert "would be released: 5" in unsure.stdout
    assert "Phones will ring" in unsure.output
    assert stands(web, ids)["held bulk"] == 5


def test_a_flood_is_cancelled_and_its_neighbours_are_not(
    run: Run, web: Web, ids: list[str]
) -> None:
    filters = ("--route", "call back", "--reason", "bulk")
    counted = "5 deliveries match; would be cancelled: 5, refused: 0.\n"

    assert run("cancel", *filters, "--dry-run").stdout == counted
    assert stands(web, ids)["held bulk"] == 5
    said = run("cancel", *filters, "--yes").stdout
    assert said == counted + "5 deliveries match; cancelled: 5, refused: 0.\n"
    assert stands(web, ids) == {"queued": 2, "cancelled by_person": 5}


@pytest.mark.parametrize(
    ("arguments", "cancelled"),
    [
        (("--status", "queued"), 2),
        (("--status", "queued,held", "--source", "website"), 7),
        (("--phone", "+919812345678"), 0),  # a number is known from the send on
        (("--source", "hubspot"), 0),
        (("--until", "2020-01-01"), 0),
        (("--since", "2020-01-01"), 7),
    ],
)
def test_many_are_cancelled_by_filter(
    run: Run, web: Web, ids: list[str], arguments: tuple[str, ...], cancelled: int
) -> None:
    done = json.loads(run("cancel", *arguments, "--yes", "--json").stdout)

    assert (done["cancelled"], done["dry_run"]) == (cancelled, False)
    assert stands(web, ids)["cancelled by_person"] == cancelled


def test_what_has_ended_is_refused_where_it_is_asked_for(
    run: Run, web: Web, ids: list[str]
) -> None:
    run("cancel", ids[0])
    again = json.loads(run("cancel", "--status", "cancelled", "--yes", "--json").stdout)
    assert again == {"matched": 1, "cancelled": 0, "refused": 1, "dry_run": False}


def test_a_retry_is_narrowed_by_reason(run: Run, web: Web, ids: list[str]) -> None:
    filters = ("--status", "held,queued", "--reason")
    assert run("retry", *filters, "paused", "--dry-run").stdout.startswith("0 deliveries match")
    assert run("retry", *filters, "bulk", "--yes").stdout.endswith("retried: 5, refused: 0.\n")
    assert stands(web, ids) == RELEASED


@each(
    ("arguments", "code", "says"),
    [
        (("release",), 2, "--route, --source, --campaign, --subject, --since, --until"),
        (("release", "--yes", "--limit", "1"), 2, "Give at least one filter"),
        (("release", "--all", "--route", "call back"), 2, "--all"),
        (("release", "--route", "", "--yes"), 1, "This filter is empty: route"),
        (("release", "--all", "--limit", "0"), 2, "--limit"),
        (("release", "--since", "soon", "--yes"), 2, "'soon' is not a time"),
        (("cancel",), 2, "Give an ID, or at least one filter: --status, "),
        (("cancel", "--yes"), 2, "Give an ID, or at least one filter: --status, "),
        (("cancel", "x", "--route", "call back"), 2, "An ID names one"),
        (("cancel", "x", "--dry-run"), 2, "An ID names one"),
        (("cancel", "--reason", "boredom", "--yes"), 1, "reason: Must be one of"),
        (("retry", "--reason", "boredom", "--yes"), 1, "reason: Must be one of"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_done(
    fails: Fails, web: Web, ids: list[str], arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended, said = fails(*arguments)
    assert (ended, says in said) == (code, True), said
    assert stands(web, ids) == {"queued": 2, "held bulk": 5}
