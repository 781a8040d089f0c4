"""The status diagram, against the table of its moves."""

import re
from pathlib import Path

import pytest
from support import each

from schemas.delivery import MOVES, SETTLED, WAITING, Reason, Status, may_come_from

# The moves that the service makes by itself:
# from -> to. What a person does (any settled one -> queued) goes another way.
TABLE = {
    "queued": "sending held skipped failed cancelled",
    "held": "queued skipped cancelled",
    "sending": "delivered retrying failed unknown",
    "retrying": "sending held skipped failed cancelled",
    "unknown": "delivered failed",
    "delivered": "cancelled",
    "skipped": "",
    "failed": "",
    "cancelled": "",
}
ALL = {str(status) for status in Status}


@each("start", TABLE)
@each("end", TABLE)
def test_a_delivery_moves_only_as_the_design_says(start, end):
    allowed = (
        end in TABLE[start].split()
        or end == "delivered"  # proof of acceptance, in any status
        or start == end in ("queued", "retrying")  # waiting where it stands is no move
    )
    assert (start in may_come_from(Status(end))) is allowed


def test_the_table_has_every_status_and_no_other():
    assert set(TABLE) == ALL == {str(status) for status in MOVES}


@pytest.mark.parametrize("end", sorted(ALL - {"delivered", "failed"}))
def test_nothing_leads_out_of_unknown_but_evidence_or_a_person(end):
    assert "unknown" not in may_come_from(Status(end))


@pytest.mark.parametrize("settled", sorted(SETTLED - {Status.DELIVERED}))
def test_what_is_settled_stays_unless_acceptance_is_proved(settled):
    ends = {end for end in Status if settled in may_come_from(end)}
    assert ends == {Status.DELIVERED}


def test_a_request_may_only_go_out_from_where_it_was_surely_not_accepted():
    assert may_come_from(Status.SENDING) == {"queued", "retrying"}


def test_unknown_can_only_follow_a_request():
    assert may_come_from(Status.UNKNOWN) == {"sending"}


def test_statuses_and_reasons_are_words_that_stand_in_urls():
    words = [*map(str, Status), *map(str, Reason)]
    assert all(word.replace("_", "").isalpha() and word.islower() for word in words)
    assert len(set(words)) == len(words)


def test_the_scripts_know_every_status_and_no_other() -> None:
    folder = Path(__file__).parent.parent.parent / "store" / "scripts"
    scripts = {file.name: file.read_text("utf-8") for file in folder.rglob("*.lua")}
    listed = re.search(r"local ALL_STATUSES = \{(.*?)\}", scripts["forget.lua"], re.DOTALL)
    assert set(re.findall(r"'(\w+)'", listed[1])) == ALL
    for name in ("audit.lua", "claim.lua"):
        waiting = re.search(r"local waiting = \{(.*?)\}", scripts[name])
        assert set(re.findall(r"(\w+) = true", waiting[1])) == {str(one) for one in WAITING}
    written = {
        word
        for text in scripts.values()
        for word in re.findall(r"'status', '(\w+)'", text)
        if word not in ("lease", "order", "deliveries", "route", "newest", "erased_ms")
        and word != "created_ms"
    }
    assert written <= ALL
