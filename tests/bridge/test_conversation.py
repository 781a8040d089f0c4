"""Transcriptions: which are conversations, and which stay texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import examples

from bridge.dashboard.conversation import turns


def as_tuples(text: str) -> list[tuple[str, str, str, str | None]]:
    return [(turn.side, turn.speaker, turn.words, turn.at) for turn in turns(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Agent: Hello!\nUser: Tell me more.",
            [("agent", "Agent", "Hello!", None), ("person", "User", "Tell me more.", None)],
        ),
        (
            "assistant: नमस्ते\r\n\r\ncustomer: जी, बोलिए",
            [("agent", "assistant", "नमस्ते", None), ("person", "customer", "जी, बोलिए", None)],
        ),
        (
            "[00:01] Bot: Hi.\n(0:04) - Caller: Yes?\n1:02:03 Bot: Bye",
            [
                ("agent", "Bot", "Hi.", "00:01"),
                ("person", "Caller", "Yes?", "0:04"),
                ("agent", "Bot", "Bye", "1:02:03"),
            ],
        ),
        # A line without a known speaker goes on with the turn above it.
        (
            "Agent: Our plans:\nGold: 500\nSilver: 300\nUser: Gold.",
            [
                ("agent", "Agent", "Our plans:\nGold: 500\nSilver: 300", None),
                ("person", "User", "Gold.", None),
            ],
        ),
        (
            "Agent:\nUser: Hello?",
            [("agent", "Agent", "", None), ("person", "User", "Hello?", None)],
        ),
        # Two names that nobody knows: they take turns, and no side is guessed.
        (
            "Priya: Hello\nMr. Rao: Who is this?\nPriya: Priya.",
            [
                ("other", "Priya", "Hello", None),
                ("other", "Mr. Rao", "Who is this?", None),
                ("other", "Priya", "Priya.", None),
            ],
        ),
    ],
)
def test_a_line_for_each_turn_is_a_conversation(
    text: str, expected: list[tuple[str, str, str, str | None]]
) -> None:
    assert as_tuples(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello, this is one long text.",
        "Hello.\nUser: I come too late to be the first speaker.",
        '[{"role": "agent", "content": "Hello"}]',
        "Note: only one name",
        "Priya: Hello\nand a line without a name\nRao: Yes",
        "One: a\nTwo: b\nThree: c",
        "https://example.com/a\nhttp://example.com/b",
    ],
)
def test_another_format_stays_a_text(text: str) -> None:
    assert turns(text) == []


WORDS = st.text(st.characters(blacklist_categories=["C", "Z"]), min_size=1, max_size=20)


@examples(200)
@given(st.lists(st.tuples(st.sampled_from(["Agent", "User"]), WORDS), min_size=1, max_size=30))
def test_nothing_that_was_said_is_lost(said: list[tuple[str, str]]) -> None:
    text = "\n".join(f"{speaker}: {words}" for speaker, words in said)
    assert [(turn.speaker, turn.words) for turn in turns(text)] == said


@examples(200)
@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    for turn in turns(text):
        assert all(line in text for line in turn.words.splitlines())
