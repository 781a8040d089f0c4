"""What a view takes and answers, said beside it. openapi.py makes /openapi.json and /docs of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from marshmallow import Schema

View = TypeVar("View", bound=Callable[..., Any])
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What is said of a view.

    answers: by status, the schema of a JSON answer, the media type of another, or None for one
    without a body. takes: the media types of a body that is not ours to describe. refusals: the
    statuses of its errors; 401 is added where the token is needed. headers: those of the answers
    that are worth a word, with what they say. example: a body that it takes.
    """

    tag: str
    summary: str
    description: str = ""
    query: type[Schema] | None = None
    body: type[Schema] | None = None
    takes: tuple[str, ...] = ()
    answers: Mapping[int, type[Schema] | str | None]
    refusals: tuple[int, ...] = ()
    needs_token: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    example: Mapping[str, Any] | None = None


def operation(summary: str, **said: Any) -> Callable[[View], View]:
    """Keep a description with a view; said are the other fields of Description."""
    description = Description(summary=summary, **said)

    def keep(view: View) -> View:
        view.description = description  # type: ignore[attr-defined]
        return view

    return keep


def description_of(view: Callable[..., Any]) -> Description | None:
    """Return what is said of a view; None: nothing is."""
    found: Description | None = getattr(view, "description", None)
    return found
