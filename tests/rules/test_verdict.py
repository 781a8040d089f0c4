"""What an attempt's answer means: the whole table, both columns."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import each, examples

from rules.verdict import Meaning, Verdict, verdict, verdict_of_deletion

ACCEPTED, REFUSED, AGAIN, PAUSE, UNKNOWN = (
    Meaning.ACCEPTED,
    Meaning.REFUSED,
    Meaning.AGAIN,
    Meaning.PAUSE,
    Meaning.UNKNOWN,
)
YES = {
    "call": b'{"status": "done", "message": "Call queued successfully", "call_sid": "s-1"}',
    "campaign": b'{"batch_id": "b-1", "message": "Campaign created", "status": "success"}',
}
ID = {"call": "s-1", "campaign": "b-1"}
NO = b'{"status": "error", "message": "Agent does not exist"}'
HTML = b"<html><h1>502 Bad Gateway</h1></html>"
WEIRD = [
    b"",
    b" ",
    b"null",
    b"[]",
    b"[" + YES["call"] + b"]",
    b'"done"',
    b"7",
    b"true",
    b"{",
    b"{}",
    b"NaN",
    HTML,
    b"\xff\xfe",
    b'{"status": "done", "call_sid": "\xff"}',
    b'{"status": "done", "call_sid": "\\ud800"}',
    b"[" * 5000 + b"]" * 5000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000,
    b'{"status": "done", "call_sid": null}',
    b'{"status": "done", "call_sid": ""}',
    b'{"status": "done", "call_sid": "  "}',
    b'{"status": "done", "call_sid": true, "batch_id": true}',
    b'{"status": "done", "call_sid": 1.5, "batch_id": 1.5}',
    b'{"status": "done", "call_sid": ["s"], "batch_id": ["b"]}',
    b'{"status": "maybe", "call_sid": "s", "batch_id": "b"}',
    b'{"status": "Done", "call_sid": "s", "batch_id": "b"}',
    b'{"status": "error", "call_sid": "s", "batch_id": "b"}',
    b'{"status": "error", "call_sid": ["s"], "batch_id": ["b"]}',
    b'{"status": 200, "call_sid": "s", "batch_id": "b"}',
    b'{"status": null, "call_sid": "s", "batch_id": "b"}',
    b'{"call_sid": "s", "batch_id": "b"}',
    b'{"status": ["error"]}',
]


def read(to: Any, status_code: int | None, body: bytes = b"", *, sent: bool = True) -> Verdict:
    return verdict(to, sent=sent, status_code=status_code, body=body)


both = pytest.mark.parametrize("to", ["call", "campaign"])


@both
@each("status_code", [None, 200, 400, 500])
def test_what_never_left_is_tried_again(to, status_code):
    found = read(to, status_code, NO, sent=False)
    assert (found.meaning, found.why) == (AGAIN, "unreachable")


@both
@each("status_code", [200, 201, 202, 299])
def test_a_success_with_an_id_is_accepted(to, status_code):
    found = read(to, status_code, YES[to])
    assert (found.meaning, found.id) == (ACCEPTED, ID[to])


@pytest.mark.parametrize(
    ("body", "call_sid"),
    [
        ({"status": "success", "call_id": "old"}, "old"),
        ({"status": "done", "call_id": "old", "call_sid": "new"}, "new"),
        ({"status": "done", "call_id": "old", "call_sid": None}, "old"),
        ({"status": "done", "call_id": "old", "call_sid": ""}, "old"),
        ({"status": "done", "call_sid": 12345678901234567890}, "12345678901234567890"),
        ({"status": "done", "call_sid": " s ", "more": [1]}, "s"),
        ({"status": "done", "call_sid": "s", "message": {"any": "thing"}}, "s"),
    ],
)
def test_the_older_spelling_of_an_accepted_call_counts(body, call_sid):
    found = read("call", 200, json.dumps(body).encode())
    assert (found.meaning, found.id) == (ACCEPTED, call_sid)


@both
def test_the_other_ones_id_accepts_nothing(to):
    other = YES["campaign" if to == "call" else "call"]
    assert read(to, 200, other).meaning is (UNKNOWN if to == "call" else AGAIN)


@both
@pytest.mark.parametrize("status_code", [200, 202])
def test_a_success_that_says_error_is_a_refusal(to, status_code):
    found = read(to, status_code, NO)
    assert found.meaning is REFUSED
    assert "Agent does not exist" in found.message


@both
@each("body", [b"", NO, HTML, b'{"status": "done", "call_sid": "s-1"}'])
@each("status_code", [429, 503])
def test_busy_is_tried_again(to, status_code, body):
    found = read(to, status_code, body)
    assert (found.meaning, found.why) == (AGAIN, "busy")
    assert str(status_code) in found.message


@both
@each("body", [b"", NO, HTML, YES["call"]])
@each("status_code", [401, 402, 403])
def test_a_refused_account_pauses(to, status_code, body):
    found = read(to, status_code, body)
    assert found.meaning is PAUSE
    assert str(status_code) in found.message


@both
@each("status_code", [400, 404, 408, 409, 422, 499])
@each("body", [NO, *WEIRD])
def test_any_other_4xx_is_a_refusal(to, status_code, body):
    found = read(to, status_code, body)
    assert found.meaning is REFUSED
    assert f"({status_code})" in found.message


@both
def test_a_500_in_callkaros_own_words_is_tried_again(to):
    body = b'{"status": "error", "message": "Internal server error"}'
    found = read(to, 500, body)
    assert (found.meaning, found.why) == (AGAIN, "busy")
    assert "Internal server error" in found.message


@both
@each("body", WEIRD)
def test_a_500_in_anybody_elses_words_is_doubtful(to, body):
    assert read(to, 500, body).meaning is (UNKNOWN if to == "call" else AGAIN)


@both
@each(
    "status_code",
    [None, 0, 100, 101, 300, 302, 307, 308, 501, 502, 504, 505, 507, 511, 520, 524, 599, 600, 999],
)
@each("body", [b"", NO, HTML, YES["call"], YES["campaign"]])
def test_anything_else_may_have_rung_a_phone_and_an_empty_campaign_rings_nobody(
    to, status_code, body
):
    found = read(to, status_code, body)
    assert found.meaning is (UNKNOWN if to == "call" else AGAIN)
    assert found.id is None


@both
@each("body", WEIRD)
def test_a_success_that_cannot_be_read_is_doubtful(to, body):
    found = read(to, 200, body)
    assert found.meaning is (UNKNOWN if to == "call" else AGAIN)
    assert found.id is None
    assert found.message.endswith(".")


@pytest.mark.parametrize("status_code", [200, 400, 500])
def test_a_message_for_people_is_short_and_shows_no_number(status_code):
    said = {"status": "error", "message": "+919876543210 is blocked\n" + "x" * 5000}
    found = read("call", status_code, json.dumps(said).encode())
    assert "9876543210" not in found.message
    assert "\n" not in found.message
    assert len(found.message) < 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["done", "success", "error", "queued"]) | JSON,
        "message": JSON,
        "call_sid": st.text(min_size=1) | JSON,
        "call_id": JSON,
        "batch_id": st.text(min_size=1) | JSON,
    },
).map(lambda answer: json.dumps(answer).encode())
BODIES = ANSWERS | JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20)
fuzz = examples(100)


@fuzz
@given(
    to=st.sampled_from(["call", "campaign"]),
    sent=st.booleans(),
    status_code=st.none() | st.integers(-1, 1000),
    body=BODIES,
)
def test_whatever_comes_back_there_is_a_verdict(to, sent, status_code, body):
    found = read(to, status_code, body, sent=sent)
    assert found.message
    assert found.why is None or found.meaning is AGAIN
    assert (found.meaning is ACCEPTED) is (found.id is not None)
    if found.meaning is ACCEPTED:
        assert sent
        assert status_code is not None
        assert 200 <= status_code < 300
        assert found.id == found.id.strip() != ""
    if to == "campaign":
        assert found.meaning is not UNKNOWN
    if not sent:
        assert found.meaning is AGAIN


@fuzz
@given(body=ANSWERS, call_sid=st.text(min_size=1).filter(str.strip), code=st.integers(200, 299))
def test_a_success_with_a_call_sid_is_never_called_again_nor_called_refused(body, call_sid, code):
    answer = {**json.loads(body), "call_sid": call_sid}
    found = read("call", code, json.dumps(answer).encode())
    assert found.meaning in (ACCEPTED, UNKNOWN)


@fuzz
@given(body=BODIES, code=st.none() | st.integers(0, 1000))
def test_a_call_that_went_out_is_called_again_only_on_callkaros_word(body, code):
    if read("call", code, body).meaning is AGAIN:
        assert code in (429, 503, 500)
        if code == 500:
            assert json.loads(body)["status"] == "error"


# --- the deletion of a scheduled call -------------------------------------------------------------

DELETED = b'{"status": "success", "message": "Scheduled call deleted successfully"}'


@each(
    ("sent", "status_code", "body", "expected"),
    [
        (True, 200, DELETED, ACCEPTED),
        (True, 200, b'{"status": "done"}', ACCEPTED),
        (True, 200, NO, REFUSED),
        (True, 200, b'{"status": ["error"]}', AGAIN),
        (True, 404, NO, REFUSED),
        (True, 400, HTML, REFUSED),
        (True, 401, NO, PAUSE),
        (True, 402, NO, PAUSE),
        (True, 403, NO, PAUSE),
        (True, 429, b"", AGAIN),
        (True, 503, HTML, AGAIN),
        (True, 500, NO, AGAIN),
        (True, 502, HTML, AGAIN),
        (True, 302, HTML, AGAIN),
        (True, None, b"", AGAIN),
        (False, None, b"", AGAIN),
    ],
)
def test_a_deletion_is_tried_again_whenever_it_is_in_doubt(
    sent: bool, status_code: int | None, body: bytes, expected: Meaning
) -> None:
    found = verdict_of_deletion(sent=sent, status_code=status_code, body=body)

    assert found.meaning is expected
    assert found.message


@each("body", [one for one in WEIRD if b'"error"' not in one and b'"done"' not in one], ids=repr)
def test_an_answer_to_a_deletion_that_can_not_be_read_is_in_doubt(body: bytes) -> None:
    assert verdict_of_deletion(sent=True, status_code=200, body=body).meaning is AGAIN
