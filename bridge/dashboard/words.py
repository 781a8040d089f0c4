"""How a call ended, and how long it took, in words. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from schemas.outcome import Result

RESULTS: Final[Mapping[str, str]] = {
    Result.CONNECTED: "Connected",
    Result.VOICEMAIL: "Voicemail",
    Result.NOT_REACHED: "Not reached",
    Result.WRONG_NUMBER: "Wrong number",
    Result.NOT_DIALLED: "Not dialled",
    Result.CANCELLED: "Cancelled at CallKaro",
    Result.FAILED: "The call failed",
    Result.UNRECOGNISED: "Ended, unclear how",
}
# The colour of each result. The words always stand beside it.
TONES: Final[Mapping[str, str]] = {
    Result.CONNECTED: "good",
    Result.VOICEMAIL: "waits",
    Result.NOT_REACHED: "waits",
    Result.WRONG_NUMBER: "bad",
    Result.FAILED: "bad",
}


def outcome_words(outcome: Mapping[str, Any] | None) -> str:
    """Return how a call ended, such as "Connected, 4 min 59 s · interested: no".

    outcome: as the API's `outcome`; fields may be missing. None: nothing is known, so the text is
    empty.
    """
    return " · ".join(_parts(outcome)) if outcome and outcome.get("result") else ""


def outcome_tone(outcome: Mapping[str, Any] | None) -> str:
    """Return the colour of an outcome."""
    return TONES.get(str((outcome or {}).get("result")), "quiet")


def length_words(seconds: float | None) -> str:
    """Return a length of time in its two largest units, such as "4 min 59 s"; None: empty."""
    if seconds is None:
        return ""
    minutes, rest_s = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    units = [(hours, "h"), (minutes, "min"), (rest_s, "s")]
    while len(units) > 1 and not units[0][0]:
        units = units[1:]
    return " ".join(
        f"{count} {unit}" for at, (count, unit) in enumerate(units[:2]) if count or not at
    )


def result_words(result: str) -> str:
    """Return a result as people say it; a word that this release does not know, as it is."""
    return RESULTS.get(result) or result.replace("_", " ").capitalize()


def _parts(outcome: Mapping[str, Any]) -> Iterator[str]:
    result, talked = str(outcome["result"]), length_words(outcome.get("talked_s"))
    is_connected = result == Result.CONNECTED
    head = [result_words(result)]
    if talked and (is_connected or outcome["talked_s"]):
        head.append(talked)
    if (tries := outcome.get("tries") or 0) > 1:
        head.append(f"{tries} dials")
    yield ", ".join(head)
    # Nobody who was not reached said no.
    converted = outcome.get("converted")
    if converted or (converted is False and is_connected):
        yield f"interested: {'yes' if converted else 'no'}"
    if outcome.get("is_final") is False:
        yield "CallKaro redials"
