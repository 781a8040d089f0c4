"""What is asked of GoHighLevel about a call, and what its answers mean."""

from typing import Any

import pytest
from support import each
from support.told import told

from schemas.crm.gohighlevel import KIND
from schemas.crm.gohighlevel_writing import BODY_CHARS, WRITE_BACK
from schemas.crm_api import Told, UnwritableError, Written

KEY = "bridge-0123456789abcdef0123"


def call(**more: Any) -> Told:
    return told(**{"subject": "contact-1", "key": KEY, **more})


def found(answer: Any) -> str | None:
    """Return the note that an answer with the contact's notes leads to."""
    finding = WRITE_BACK.find_call(call())
    assert next(finding).path == "/contacts/contact-1/notes"
    try:
        finding.send(answer)
    except StopIteration as end:
        note: str | None = end.value
        return note
    raise AssertionError("It asks for more.")


def test_a_note_says_how_the_call_ended_and_ends_with_its_key() -> None:
    request = WRITE_BACK.create_calls([call()])
    assert (request.method, request.path) == ("POST", "/contacts/contact-1/notes")
    assert request.headers == {"Version": "2021-07-28"}
    assert request.json == {
        "body": f"Call by CallKaro: connected\nNumber: +919876500001\nTalked: 61 s\n({KEY})"
    }


def test_a_long_note_keeps_its_key() -> None:
    outcome = {"result": "connected", "transcript": "x" * 9_000}
    body = WRITE_BACK.update_calls([call(outcome=outcome, call_id="note-1")]).json["body"]
    assert len(body) == BODY_CHARS
    assert body.endswith(f"x\n({KEY})")


def test_names_of_every_contact_are_told_apart_from_ids_of_custom_fields() -> None:
    fields = {"city": "Pune", "6dvNaf7VhkQ9": "yes", "abc": True, "many": ["a", "b"], "n": 1.5}
    request = WRITE_BACK.set_fields([call(fields=fields)])
    assert (request.method, request.path) == ("PUT", "/contacts/contact-1")
    assert request.json == {
        "city": "Pune",
        "customFields": [
            {"id": "6dvNaf7VhkQ9", "field_value": "yes"},
            {"id": "abc", "field_value": "true"},
            {"id": "many", "field_value": ["a", "b"]},
            {"id": "n", "field_value": 1.5},
        ],
    }


@each("name", ["tags", "customFields"])
def test_what_would_replace_a_list_of_the_contact_is_not_sent(name: str) -> None:
    with pytest.raises(UnwritableError, match=f"would replace all {name}"):
        WRITE_BACK.set_fields([call(fields={name: ["called"], "city": "Pune"})])


@each("id_", ["../locations/1", "a/b", "{ACCESS_TOKEN}", "a?x=1", "", "\u0661\n", "x" * 65])
def test_no_other_text_is_put_into_a_path(id_: str) -> None:
    assert list(WRITE_BACK.find_call(call(subject=id_))) == []
    for build in (WRITE_BACK.create_calls, WRITE_BACK.set_fields):
        with pytest.raises(UnwritableError):
            build([call(subject=id_)])
    with pytest.raises(UnwritableError):
        WRITE_BACK.update_calls([call(call_id=id_)])


def test_the_note_with_the_key_is_found() -> None:
    other = {"id": "n-1", "body": "Call by CallKaro: connected (bridge-ffffffffffffffffffff)"}
    ours = {"id": "n-2", "body": f"<p>Call by CallKaro: connected</p><p>({KEY})</p>"}
    assert found({"notes": [{"id": "n-0"}, other, ours]}) == "n-2"
    assert found({"notes": [other]}) is None


@each("junk", [{}, {"notes": []}, {"notes": [None, 7, {}, {"body": None}]}])
def test_what_has_no_such_note_has_none(junk: Any) -> None:
    assert found(junk) is None


@each("junk", [{"notes": 7}, {"notes": {"id": "n"}}, {"message": "x"}])
def test_an_answer_without_notes_does_not_say_that_there_is_none(junk: Any) -> None:
    with pytest.raises(ValueError, match="no list of notes"):
        found(junk)


@each("junk", [None, 7, "x", [], {}, {"note": 7}, {"contact": "x"}, {"succeded": "true"}])
def test_any_answer_can_be_read(junk: Any) -> None:
    assert WRITE_BACK.read(junk, [call()]) == {}


@each(
    ("answer", "written"),
    [
        ({"note": {"id": "n-1", "body": "x"}}, Written("n-1")),
        ({"note": {}}, Written(None)),
        ({"succeded": True, "contact": {"id": "contact-1"}}, Written(None)),
        ({"succeded": True}, Written(None)),
    ],
)
def test_what_was_written_is_seen(answer: Any, written: Written) -> None:
    assert WRITE_BACK.read(answer, [call()]) == {"w1": written}


@each(
    ("event_type", "body", "is_own"),
    [
        ("note.created", f"Call by CallKaro: connected\n({KEY})", True),
        ("note.updated", f"<p>({KEY})</p>", True),
        ("note.deleted", f"({KEY})", False),  # the bridge deletes none
        ("note.created", "Asked for a visit", False),
        ("note.created", None, False),
        ("contact.created", f"({KEY})", False),
    ],
)
def test_our_own_note_is_known_by_its_key(event_type: str, body: Any, is_own: bool) -> None:
    assert KIND.is_own_change is not None
    assert KIND.is_own_change(event_type, {"body": body}) is is_own
    assert not KIND.is_own_change(event_type, [body])


def test_tags_are_not_among_what_can_be_set() -> None:
    check = WRITE_BACK.check
    assert check is not None
    known = check.read_fields({"customFields": [{"id": "abc"}, {"id": None}, 7]})
    assert known is not None
    assert (known["abc"], known["city"], known["tags"]) == (True, True, False)
