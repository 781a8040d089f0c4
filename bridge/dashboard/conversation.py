"""A transcription as a conversation.

CallKaro does not document the format. Its sample has one line for each turn, such as
`Agent: Hello!`. Texts in another format stay as they are.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

Side = Literal["agent", "person", "other"]

_SIDES: Final[dict[str, Side]] = {
    **dict.fromkeys(("agent", "ai", "assistant", "bot", "callkaro"), "agent"),
    **dict.fromkeys(("caller", "customer", "human", "lead", "person", "user"), "person"),
}
_TURN: Final = re.compile(
    r"(?:[\[(]?(?P<at>[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?)[\])]?[ \t]*-?[ \t]*)?"
    r"(?P<speaker>[^\W\d_][\w .'-]{0,29}):(?:[ \t]+(?P<words>.*))?"
)
_SPEAKERS: Final = 2  # a call has two sides


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What one side said, until the other side spoke."""

    speaker: str  # as the transcription names it
    side: Side
    words: str  # may have several lines
    at: str | None = None  # the time that the transcription gives, such as 00:12


def turns(transcription: str) -> list[Turn]:
    """Return the turns of a transcription; an empty list: it has another format.

    Lines begin with known speakers, or all lines begin with the same two names. Other lines go on
    with the turn above them.
    """
    lines = [line.strip() for line in transcription.splitlines() if line.strip()]
    found = [_TURN.fullmatch(line) for line in lines]
    speakers = _speakers(found)
    if not found or not _is_by(found[0], speakers):
        return []
    said: list[tuple[re.Match[str], list[str]]] = []
    for line, match in zip(lines, found, strict=True):
        if match and _is_by(match, speakers):
            said.append((match, [match["words"] or ""]))
        else:
            said[-1][1].append(line)
    return [_turn(match, words) for match, words in said]


def _speakers(found: list[re.Match[str] | None]) -> set[str]:
    """Return the names, in small letters, that begin a turn."""
    names = {match["speaker"].lower() for match in found if match}
    if names & _SIDES.keys():
        return names & _SIDES.keys()
    return names if all(found) and len(names) == _SPEAKERS else set()


def _is_by(match: re.Match[str] | None, speakers: set[str]) -> bool:
    return match is not None and match["speaker"].lower() in speakers


def _turn(match: re.Match[str], words: list[str]) -> Turn:
    return Turn(
        speaker=match["speaker"],
        side=_SIDES.get(match["speaker"].lower(), "other"),
        words="\n".join(words).strip(),
        at=match["at"],
    )
