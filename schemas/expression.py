"""JMESPath expressions of routes.toml: compiled at the start, evaluated for each event."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.parser import ParsedResult

Path = tuple[str, ...]


class ExpressionError(ValueError):
    """An expression does not compile, or could not be worked out over this data."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled JMESPath expression that remembers its text. https://jmespath.org"""

    text: str
    compiled: ParsedResult = field(repr=False, compare=False)

    @classmethod
    def of(cls, text: str) -> Self:
        """Compile text. Raises ExpressionError with what is wrong and where."""
        try:
            compiled = jmespath.compile(text)
            problem = next(_misused_functions(compiled.parsed), None)
        except RecursionError:
            raise ExpressionError("it is nested too deeply") from None
        except ValueError as error:  # JMESPathError is one, and so is an index of 5000 digits
            # jmespath draws the place over several lines; one line is enough for a message.
            raise ExpressionError(" ".join(str(error).split())) from error
        if problem:
            raise ExpressionError(problem)
        return cls(text, compiled)

    def search(self, data: Any) -> Any:
        """Return the value of the expression over data; None: there is no value.

        Raises ExpressionError if a function gets a type that it does not accept. The cause is left
        out, because jmespath quotes the value, which is a person's data.
        """
        try:
            return self.compiled.search(data)
        except (JMESPathError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise ExpressionError(
                f"`{self.text}` can't be worked out over this record ({type(error).__name__})"
            ) from None

    def holds(self, data: Any) -> bool:
        """Say whether the value is true for JMESPath: not false, null or empty."""
        value = self.search(data)
        return value is not None and value is not False and value not in ("", [], {})

    @property
    def paths(self) -> frozenset[Path]:
        """The paths that the expression reads, as far as they are names: ("properties", "x")."""
        return frozenset(_leaves(self.compiled.parsed))


def _misused_functions(node: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with functions in the tree; jmespath notices it only at a record."""
    children = node.get("children", [])
    if node["type"] == "function_expression":
        known = Functions.FUNCTION_TABLE.get(node["value"])
        if known is None:
            yield f"there is no function {node['value']}()"
        else:
            takes = known["signature"]
            at_least = bool(takes and takes[-1].get("variadic"))
            if len(children) < len(takes) or (len(children) > len(takes) and not at_least):
                more = " or more" if at_least else ""
                yield f"{node['value']}() needs {len(takes)}{more} argument(s), not {len(children)}"
    for child in children:
        if isinstance(child, Mapping):
            yield from _misused_functions(child)


def _leaves(node: Mapping[str, Any], base: Path = ()) -> Iterator[Path]:
    """Yield each path in the tree that starts at the root."""
    children = node.get("children", [])
    match node["type"]:
        case "field":
            yield (*base, node["value"])
        case (
            "subexpression"
            | "index_expression"
            | "pipe"
            | "projection"
            | "filter_projection"
            | "value_projection"
        ):
            yield from _chain(children, base)
        case _:
            for child in children:
                if isinstance(child, Mapping):
                    yield from _leaves(child, base)


def _chain(children: list[Any], base: Path) -> Iterator[Path]:
    """Yield the paths of consecutive steps: each step starts where the step before it ended."""
    ends = {base}
    for child in children:
        reached = {path for end in ends for path in _leaves(child, end)}
        # A step that reads no field (an index, a literal, a filter) stays where it is.
        yield from (path for path in ends if path != base and reached)
        ends = reached or ends
    yield from (path for path in ends if path != base)
