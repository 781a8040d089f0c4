"""`preview`: what a body would become, without settings, Redis or network."""

import json
from pathlib import Path

import pytest
from support import AGENT, each
from support.commandline import SAMPLES, Cli

PAYLOADS = Path(__file__).parent.parent.parent / "payloads"
HUBSPOT = SAMPLES / "hubspot.json"
HAPPENED = "2025-11-24T16:05:00+00:00"  # minutes after the sample's notifications
ASHA = {"phone": "098765 43210", "firstname": "Asha", "lifecyclestage": "lead"}


@pytest.fixture
def record(tmp_path: Path):
    """Write what --record gets."""

    def write(content: object) -> Path:
        path = tmp_path / "record.json"
        path.write_text(json.dumps(content))
        return path

    return write


def seen(cli: Cli, *arguments: object, **env: str) -> list[dict[str, object]]:
    result = cli("preview", *arguments, "--json", env=env)
    assert result.exit_code == 0, result.output
    found: list[dict[str, object]] = json.loads(result.stdout)
    return found


def test_a_thin_event_names_the_record_that_would_be_fetched(cli: Cli) -> None:
    [delivery] = seen(cli, "hubspot", HUBSPOT, "--at", HAPPENED)[0]["deliveries"]
    assert delivery["verdict"] == "fetches the record first"
    [request] = delivery["requests"]
    assert request["path"] == "https://api.hubapi.com/crm/objects/2026-03/contacts/batch/read"
    assert request["body"]["inputs"] == [{"id": "101"}]
    assert "mobilephone" in request["body"]["properties"]


@pytest.mark.parametrize(
    "content",
    [
        ASHA,
        {"101": ASHA, "102": ASHA},
        {"properties": ASHA},
        {"results": [{"id": "101", "properties": ASHA}]},
    ],
    ids=["one record", "by id", "as an object of the API", "as the API answers"],
)
def test_a_record_shows_the_exact_requests(cli: Cli, record, content: object) -> None:
    event = seen(
        cli,
        *("hubspot", HUBSPOT, "--record", record(content), "--at", HAPPENED),
        CALLING_HOURS="always",
    )[0]
    [delivery] = event["deliveries"]
    assert delivery["verdict"] == "would be sent"
    campaign, call = delivery["requests"]
    assert campaign["path"] == "/call/campaign"
    assert campaign["body"]["name"] == "HubSpot leads 2025-11"
    assert call["path"] == "/call/outbound"
    assert call["body"]["to_number"] == "+919876543210"
    assert call["body"]["metadata"]["name"] == "Asha"


@pytest.mark.parametrize(
    ("phone", "verdict"),
    [(9876543210.0, "would be sent"), (9.87654e21, "skipped"), (-9876543210.0, "skipped")],
)
def test_a_record_is_read_as_the_worker_reads_it(
    cli: Cli, record, phone: float, verdict: str
) -> None:
    given = record({**ASHA, "phone": phone, "mobilephone": None, "note": "\ud83d"})
    arguments = ("hubspot", HUBSPOT, "--record", given, "--at", HAPPENED)
    [delivery] = seen(cli, *arguments, CALLING_HOURS="always")[0]["deliveries"]
    assert delivery["verdict"] == verdict


def test_a_record_that_was_not_given_is_gone(cli: Cli, record) -> None:
    events = seen(cli, "hubspot", HUBSPOT, "--record", record({"101": ASHA}), "--at", HAPPENED)
    assert events[1]["deliveries"][0]["reason"] == "record_gone"


def test_a_guard_is_told_and_what_it_holds_is_shown(cli: Cli, record) -> None:
    night = "2025-11-24T22:30:00+05:30"
    event = seen(cli, "hubspot", HUBSPOT, "--record", record(ASHA), "--at", night)[0]
    [delivery] = event["deliveries"]
    assert (delivery["verdict"], delivery["reason"]) == ("held", "outside_hours")
    assert delivery["until"] == "2025-11-25T03:30:00+00:00"
    assert delivery["requests"][0]["body"]["to_number"] == "+919876543210"


def test_every_guard_has_a_line_and_the_time_stands_above(cli: Cli, record) -> None:
    routes = f"""
[[route]]
name = "call new leads"
source = "hubspot"
event = "contact.created"
to = "call"
when = "properties.lifecyclestage == 'lead'"
consent = "properties.agreed == 'yes'"
again_after = "24h"
max_per_day = 500
flood = {{ over = 100, within = "5m" }}
[route.request]
to_number = "properties.phone"
agent_id = {{ value = "{AGENT}" }}
"""
    night = "2025-11-24T22:30:00+05:30"
    result = cli(
        *("preview", "hubspot", HUBSPOT, "--record", record(ASHA), "--at", night),
        env={"ROUTES_TOML": routes, "ALLOW_NUMBERS": "+919812345678"},
    )
    assert result.exit_code == 0, result.output
    first, _, rest = result.stdout.partition("  route 'call new leads': ")
    assert first.startswith("Event 1 of 3: contact.created, subject 101, ")
    assert first.splitlines()[0].endswith(", as of 2025-11-24 22:30:00 Asia/Kolkata")
    assert rest.partition("\n\n")[0].splitlines() == [
        "skipped (no_consent)",
        "    The CRM record has no consent to calls (consent).",
        "    flood          at the intake: more than 100 within 300 s are held as bulk",
        "    own change     ok",
        "    when           ok",
        "    max_age        ok: not set",
        "    opt_out        ok: not set",
        "    do-not-disturb ok: not set",
        "    consent        no: The CRM record has no consent to calls (consent).",
        "    number         ok",
        "    ALLOW_NUMBERS  no: ALLOW_NUMBERS is set and does not contain this number.",
        "    hours          no: Outside the calling hours (09:00-21:00). "
        "until 2025-11-25 09:00:00 Asia/Kolkata",
        "    suppressed     at the send",
        "    called_recently at the send: at most once in 1 d for a number",
        "    day_cap        at the send: 500 a day by the route",
    ]


def test_guards_are_told_to_programs_as_well(cli: Cli, record) -> None:
    night = "2025-11-24T22:30:00+05:30"
    [event, *_] = seen(cli, "hubspot", HUBSPOT, "--record", record(ASHA), "--at", night)
    assert event["at"] == "2025-11-24T17:00:00+00:00"
    guards = {guard["guard"]: guard for guard in event["deliveries"][0]["guards"]}
    assert [guards["hours"], guards["suppressed"]] == [
        {
            "guard": "hours",
            "verdict": "no",
            "reason": "outside_hours",
            "message": "Outside the calling hours (09:00-21:00).",
            "until": "2025-11-25T03:30:00+00:00",
        },
        {
            "guard": "suppressed",
            "verdict": "at the send",
            "reason": None,
            "message": None,
            "until": None,
        },
    ]


def test_an_event_that_no_route_wants_says_why(cli: Cli) -> None:
    event = seen(cli, "hubspot", HUBSPOT)[2]
    assert event["status"] == "unrouted"
    assert event["why_none"] == ["call new leads: its event is contact.created."]


def test_a_match_that_does_not_hold_is_quoted(cli: Cli, tmp_path: Path) -> None:
    body = tmp_path / "import.json"
    [first, *_] = json.loads(HUBSPOT.read_text())
    body.write_text(json.dumps([first | {"changeSource": "IMPORT"}]))
    [event] = seen(cli, "hubspot", body)
    assert event["why_none"] == ["call new leads: its match is not true: changeSource != 'IMPORT'"]


def test_an_old_event_is_too_old_and_the_way_to_see_more_is_told(cli: Cli, record) -> None:
    for given in (("--record", record(ASHA)), ()):  # and no record is fetched for it
        result = cli("preview", "hubspot", HUBSPOT, *given)
        assert "skipped (too_old)" in result.stdout
        assert "--at TIME" in result.stdout


def test_a_form_is_read_as_one(cli: Cli) -> None:
    result = cli("preview", "zoho", SAMPLES / "zoho.form", env={"CALLING_HOURS": "always"})
    assert result.exit_code == 0
    assert '"to_number": "+919876543213"' in result.stdout


def test_a_header_gives_an_event_its_id(cli: Cli) -> None:
    generic = SAMPLES / "website.json"
    [event] = seen(cli, "generic", generic, "--header", "webhook-id: msg_1")
    assert event["source_event_id"] == "msg_1"


@each(
    "body", sorted(PAYLOADS.glob("*/*.body.*")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_every_sample_body_can_be_previewed(cli: Cli, body: Path) -> None:
    result = cli("preview", body.parent.name, body)
    assert result.exit_code == 0, result.output
    assert result.stdout


@each(
    ("arguments", "code", "says"),
    [
        (("no-such-source", HUBSPOT), 2, "There is no source 'no-such-source'. The sources are"),
        (("hubspot", "no-such-file"), 2, "no-such-file"),
        (("hubspot", HUBSPOT, "--at", "soon"), 2, "2026-01-31T09:30:00+05:30"),
        (("hubspot", HUBSPOT, "--header", "nonsense"), 2, "Name: value"),
        (("hubspot", HUBSPOT, "--record", SAMPLES / "zoho.form"), 2, "not JSON"),
        (("zoho", SAMPLES / "zoho.form", "--content-type", "application/json"), 1, "not valid"),
        (("zoho", SAMPLES / "zoho.form", "--content-type", "text/html"), 1, "JSON or a form"),
    ],
)
def test_a_mistake_is_one_sentence(cli: Cli, arguments, code: int, says: str) -> None:
    result = cli("preview", *arguments)
    assert result.exit_code == code
    assert says in result.stderr
    assert "Traceback" not in result.output
