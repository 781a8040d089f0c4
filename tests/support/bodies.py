"""Places in a body, and bodies that differ from another one at a place."""

from collections.abc import Callable, Iterator
from typing import Any

Place = tuple[str | int, ...]


def children(value: Any) -> Iterator[tuple[str | int, Any]]:
    """Yield the entries of an object or a list, with their keys or places; else nothing."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def places_of(kind: type | tuple[type, ...], value: Any, at: Place = ()) -> Iterator[Place]:
    """Yield the place of each value of this kind in a body, the body itself included."""
    if isinstance(value, kind):
        yield at
    for key, child in children(value):
        yield from places_of(kind, child, (*at, key))


def changed_at(value: Any, at: Place, change: Callable[[Any], Any]) -> Any:
    """Return a body with the value at that place changed."""
    if not at:
        return change(value)
    key, *rest = at
    of = dict(children(value)) | {key: changed_at(value[key], tuple(rest), change)}
    return of if isinstance(value, dict) else [*of.values()]
