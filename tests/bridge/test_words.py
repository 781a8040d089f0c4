"""How a call ended, in words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import each, examples

from bridge.dashboard.words import RESULTS, length_words, outcome_tone, outcome_words
from schemas.outcome import Result


def ended(result: str, **more: Any) -> dict[str, Any]:
    return {"result": result, "is_final": True, "tries": 1, **more}


@each(
    ("outcome", "words"),
    [
        (
            ended("connected", talked_s=299, converted=False),
            "Connected, 4 min 59 s · interested: no",
        ),
        (ended("connected", talked_s=60, converted=True), "Connected, 1 min · interested: yes"),
        (ended("connected", talked_s=0, converted=None), "Connected, 0 s"),
        (ended("connected"), "Connected"),
        (ended("connected", talked_s=12, tries=3), "Connected, 12 s, 3 dials"),
        (ended("voicemail", talked_s=21, converted=False), "Voicemail, 21 s"),
        (ended("voicemail", talked_s=0), "Voicemail"),
        (ended("not_reached", talked_s=0, converted=False, tries=2), "Not reached, 2 dials"),
        (ended("not_reached", is_final=False), "Not reached · CallKaro redials"),
        (ended("wrong_number", converted=True), "Wrong number · interested: yes"),
        (ended("not_dialled"), "Not dialled"),
        (ended("cancelled"), "Cancelled at CallKaro"),
        (ended("failed"), "The call failed"),
        (ended("unrecognised"), "Ended, unclear how"),
        # Of an erased person only this is kept.
        ({"result": "connected", "at": None, "is_final": True, "tries": 1}, "Connected"),
        ({"result": "connected"}, "Connected"),
        # A later release may know more.
        (ended("call_back_later"), "Call back later"),
        ({}, ""),
        ({"result": None}, ""),
        (None, ""),
    ],
)
def test_an_outcome_in_words(outcome: dict[str, Any] | None, words: str) -> None:
    assert outcome_words(outcome) == words


def test_each_result_has_words_of_its_own() -> None:
    assert set(RESULTS) == set(Result)
    assert len(set(RESULTS.values())) == len(Result)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0, "0 s"),
        (-1, "0 s"),
        (0.4, "0 s"),
        (59, "59 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (3725, "1 h 2 min"),
        (90_061, "25 h 1 min"),
    ],
)
def test_a_length_of_time_in_words(seconds: float | None, words: str) -> None:
    assert length_words(seconds) == words


@examples(200)
@given(
    st.fixed_dictionaries(
        {"result": st.sampled_from([*Result, "later", "", None])},
        optional={
            "talked_s": st.none() | st.integers(0, 10**7),
            "converted": st.none() | st.booleans(),
            "is_final": st.none() | st.booleans(),
            "tries": st.none() | st.integers(0, 50),
        },
    )
)
def test_no_outcome_is_without_words(outcome: dict[str, Any]) -> None:
    words = outcome_words(outcome)
    assert bool(words) == bool(outcome["result"])
    assert "None" not in words
    assert outcome_tone(outcome) in ("good", "waits", "bad", "quiet")
