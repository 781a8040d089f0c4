"""What is JustDial's own: the do-not-disturb flags, and a date apart from its time."""

from dataclasses import replace
from datetime import date
from typing import Any

from support import each
from support.makers import CALL, NOW, NUMBER, claim, settings
from support.samples import incoming, items, source_of

from rules.plan import Ready, prepare
from schemas.crm.justdial import IS_DND, KIND
from schemas.records import Move
from schemas.source import Source


def lead(**more: Any) -> dict[str, Any]:
    return {"leadid": "JD1", "mobile": "1234500001", **more}


def time_of(day: Any, clock: Any, zone: str | None = None) -> str | None:
    source: Source = replace(source_of(KIND), timezone=zone)
    [item] = KIND.parse(lead(date=day, time=clock), incoming(), source)
    return item.time.isoformat() if item.time else None


@each(
    ("day", "clock", "zone", "time"),
    [
        ("2026-01-01", "12:30:00", None, "2026-01-01T07:00:00+00:00"),
        ("2026/01/01", "12:30", None, "2026-01-01T07:00:00+00:00"),
        (" 2026-01-01 ", " 12:30:00 ", "UTC", "2026-01-01T12:30:00+00:00"),
        ("2026-01-01", "", None, date(2026, 1, 1).isoformat()),
        ("2026-01-01", "soon", None, date(2026, 1, 1).isoformat()),
        ("2026-01-01", None, None, date(2026, 1, 1).isoformat()),
        ("0000-00-00", "00:00:00", None, None),
        ("", "12:30:00", None, None),
        (None, None, None, None),
        (20260101, "12:30:00", None, None),
        (["2026-01-01"], {}, None, None),
        ("\ud83d", "\ud83d", None, None),
    ],
)
def test_times(day: Any, clock: Any, zone: str | None, time: str | None) -> None:
    assert time_of(day, clock, zone) == time


@each(
    ("flags", "is_dnd"),
    [
        ({}, False),
        ({"dncmobile": 0, "dncphone": 0}, False),
        ({"dncmobile": "0", "dncphone": ""}, False),
        ({"dncmobile": None}, False),
        ({"dncmobile": 1}, True),
        ({"dncmobile": "1"}, True),
        ({"dncmobile": True}, True),
        ({"dncmobile": "Y"}, True),
        ({"dncmobile": ["?"]}, True),
        ({"dncmobile": 0, "dncphone": 1}, True),
    ],
)
def test_a_flag_that_is_not_off_counts_as_on(flags: dict[str, Any], is_dnd: bool) -> None:
    assert IS_DND.search(lead(**flags)) is is_dnd


@each(("flag", "is_called"), [("0", True), ("1", False)])
def test_a_number_on_the_do_not_disturb_list_is_not_called(flag: str, is_called: bool) -> None:
    routes = CALL.replace('"generic"', '"justdial"').replace('"phone"', '"mobile"')
    data = lead(mobile=NUMBER, dncmobile=flag)
    claimed = claim(data, happened={"source": "justdial"}, source="justdial")
    found = prepare(claimed, data, settings(routes), NOW)
    if is_called:
        assert isinstance(found, Ready)
        assert found.body["to_number"] == NUMBER
    else:
        assert isinstance(found, Move)
        assert (str(found.to), str(found.reason)) == ("skipped", "dnd_number")


def test_a_lead_without_an_id_is_called_all_the_same() -> None:
    [item] = items(KIND, {"mobile": "1234500001"})
    assert (item.type, item.source_event_id, item.problem) == ("lead.created", None, None)
