"""What modules share that read answers by their questions, and objects out of any body."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from schemas.errors import RequestError
from schemas.event import Item
from schemas.json_body import read_json


def each_object(
    content: Any, event_type: str, read: Callable[[Mapping[str, Any]], Item]
) -> list[Item]:
    """Return an item of an object, or one of each object in a list.

    What is no object has event_type and a problem.
    """
    bodies = content if isinstance(content, list) else [content]
    return [
        read(body)
        if isinstance(body, dict)
        else Item(type=event_type, data=body, problem="The body is not a JSON object.")
        for body in bodies
    ]


def by_question(pairs: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """Return answers by their questions, for routes: `answers."Your phone"`.

    A question without a text is left out. Of two questions with one text, the first one that was
    answered counts.
    """
    found: dict[str, Any] = {}
    for question, answer in pairs:
        if isinstance(question, str) and question and found.get(question) in (None, "", [], {}):
            found[question] = answer
    return found


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list; what is no list has none."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def mapping(value: Any) -> dict[str, Any]:
    """Return an object; what is none is an empty one."""
    return value if isinstance(value, dict) else {}


def unpacked(value: Any) -> Any:
    """Return what JSON text inside a field says; any other value, and a broken text, as it is."""
    if not isinstance(value, str):
        return value
    try:
        return read_json(value.encode("utf-8", "replace"))
    except RequestError:
        return value
