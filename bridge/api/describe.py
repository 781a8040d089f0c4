"""Descriptions of views, beside their code. openapi.py makes /openapi.json and /docs of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from marshmallow import Schema

View = TypeVar("View", bound=Callable[..., Any])
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
XML = "text/xml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """The description of a view."""

    tag: str
    summary: str
    description: str = ""
    query: type[Schema] | None = None  # what the query string may have
    body: type[Schema] | None = None
    takes: tuple[str, ...] = ()  # media types of a body whose shape its sender decides
    # By status: the schema of a JSON answer, the media type of another, None for no body.
    answers: Mapping[int, type[Schema] | str | None]
    refusals: tuple[int, ...] = ()  # statuses of errors; 401 is added where the token is needed
    needs_token: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)  # of the answers, with their meaning
    example: Mapping[str, Any] | None = None  # a body that the view accepts


def operation(summary: str, **fields: Any) -> Callable[[View], View]:
    """Keep a description with a view; `fields` are the other fields of Description."""
    description = Description(summary=summary, **fields)

    def keep(view: View) -> View:
        view.description = description  # type: ignore[attr-defined]
        return view

    return keep


def description_of(view: Callable[..., Any]) -> Description | None:
    """Return the description of a view; None: it has none."""
    found: Description | None = getattr(view, "description", None)
    return found
