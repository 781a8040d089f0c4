"""JMESPath expressions of routes.toml: compiled at the start, evaluated for each event."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions, signature
from jmespath.parser import ParsedResult
from jmespath.visitor import Options, TreeInterpreter

from schemas.errors import RequestError
from schemas.json_body import read_json

Path = tuple[str, ...]


class ExpressionError(ValueError):
    """An expression does not compile, or can't be evaluated over this data."""


class _OwnFunctions(Functions):
    """JMESPath's functions, and parse_json() for forms that have JSON as the text of a field."""

    @signature({"types": ["string", "null"]})
    def _func_parse_json(self, text: str | None) -> Any:
        """Return the value of a JSON text; null: it is none, or too large to be a form's field."""
        if text is None:
            return None
        try:
            return read_json(text.encode())
        except (RequestError, ValueError):
            return None


# One for all: jmespath makes one for each search, and that takes half of its time.
_INTERPRETER: Final = TreeInterpreter(Options(custom_functions=_OwnFunctions()))


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled JMESPath expression that remembers its text. https://jmespath.org"""

    text: str
    compiled: ParsedResult = field(repr=False, compare=False)
    first_keys: frozenset[str] = field(repr=False, compare=False)  # those that its paths begin with

    @classmethod
    def of(cls, text: str) -> Self:
        """Compile text. Raises ExpressionError with what is wrong and where."""
        try:
            compiled = jmespath.compile(text)
            problem = next(_mistakes(compiled.parsed), None)
            first_keys = frozenset(path[0] for path in _used(compiled))
        except RecursionError:
            raise ExpressionError("it is nested too deeply") from None
        except ValueError as error:  # JMESPathError is one, and so is an index of 5000 digits
            # jmespath draws the place over several lines; one line is enough for a message.
            raise ExpressionError(" ".join(str(error).split())) from error
        if problem:
            raise ExpressionError(problem)
        return cls(text, compiled, first_keys)

    def search(self, data: Any) -> Any:
        """Return the value of the expression over data; None: there is no value.

        Raises ExpressionError if a function gets a type that it does not accept. The cause is left
        out, because jmespath quotes the value, which is a person's data.
        """
        try:
            return _INTERPRETER.visit(self.compiled.parsed, data)
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
        """The paths whose values it uses, from the root: ("person", "phones", "value").

        Indexes and filters leave no trace: an element of a list has the list's path. A path ends
        before a name that is known only with the data, as in `properties.*`.
        """
        return _used(self.compiled)

    @property
    def tested(self) -> frozenset[Path]:
        """The paths whose values it compares or negates: those say which values it takes."""
        reader = _PathReader()
        reader.read(self.compiled.parsed)
        return frozenset(reader.tested)

    @property
    def lists(self) -> frozenset[Path]:
        """The paths whose values it reads as lists, by an index, a slice, a filter or a `*`."""
        reader = _PathReader()
        reader.read(self.compiled.parsed)
        return frozenset(reader.lists)

    def compared_with(self, name: str) -> frozenset[str]:
        """The texts that it compares with a field: name == 'a', or contains(['a', 'b'], name)."""
        return frozenset(_compared(self.compiled.parsed, name))


def _compared(node: Mapping[str, Any], name: str) -> Iterator[str]:
    children = node.get("children", [])
    is_equality = node["type"] == "comparator" and node["value"] == "eq"
    is_contains = node["type"] == "function_expression" and node["value"] == "contains"
    if (is_equality or is_contains) and any(_is_field(child, name) for child in children):
        yield from (text for child in children for text in _texts(child))
    for child in children:
        if isinstance(child, Mapping):
            yield from _compared(child, name)


def _is_field(node: Mapping[str, Any], name: str) -> bool:
    return bool(node["type"] == "field" and node["value"] == name)


def _texts(node: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts of a literal, or of a list of literals."""
    if node["type"] == "multi_select_list":
        yield from (text for child in node["children"] for text in _texts(child))
    elif node["type"] == "literal":
        values = node["value"] if isinstance(node["value"], list) else [node["value"]]
        yield from (value for value in values if isinstance(value, str))


# The kinds of nodes that take something out of the value of their first child.
_STEPS: Final = frozenset(
    {"subexpression", "flatten", "projection", "filter_projection", "value_projection"}
)


def _mistakes(node: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong in the tree and jmespath finds only with a record, or never."""
    children = node.get("children", [])
    if node["type"] in _STEPS and children[0]["type"] == "not_expression":
        yield "in `!a.b` the `!` is of `a` alone, and all of it is always null: write `!(a.b)`"
    if node["type"] == "function_expression":
        known = _OwnFunctions.FUNCTION_TABLE.get(node["value"])
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
            yield from _mistakes(child)


# A place is where a value comes from: a path of plain names from the root, or an object that the
# expression itself makes.
@dataclass(frozen=True, slots=True)
class _Made:
    """An object of the expression's own, `{name: a.b}`: per key, the places of its value."""

    keys: "tuple[tuple[str, _Places], ...]"


_Places = frozenset[Path | _Made]
_NOWHERE: _Places = frozenset()

# Functions whose result is one of their arguments, or an element of it, unchanged.
_PASSING = frozenset(
    {
        *("not_null", "sort", "sort_by", "reverse", "max", "max_by", "min", "min_by"),
        *("to_array", "merge"),
    }
)


def _used(compiled: ParsedResult) -> frozenset[Path]:
    reader = _PathReader()
    reader.read(compiled.parsed)
    return frozenset(path for path in reader.used if path)


class _PathReader:
    """Follows an expression from the root, and collects the paths whose values it uses."""

    def __init__(self) -> None:
        self.used: set[Path] = set()
        self.lists: set[Path] = set()  # of these, the values of which an element is taken
        self.tested: set[Path] = set()  # of these, the values that are compared or negated

    def read(self, node: Mapping[str, Any]) -> None:
        """Collect every path that the expression of this tree uses."""
        self._use(self._places(node, frozenset({()})))

    def _use(self, places: _Places) -> None:
        self.used |= _paths(places)

    def _places(self, node: Mapping[str, Any], at: _Places) -> _Places:
        """Return where a node's value comes from, if the node is applied to values from `at`.

        A list and its elements are at the same place. No place: the value is made by the
        expression, or its path has a name that is known only with the data.
        """
        children = node.get("children", [])
        match node["type"]:
            case "field":
                return frozenset().union(*(_below(place, node["value"]) for place in at))
            case "current" | "identity":
                return at
            case "index" | "slice":
                self.lists |= _paths(at)
                return at
            case "subexpression" | "index_expression" | "pipe":
                return self._follow(children, at)
            case "projection":
                self._list(children[0], at)
                return self._follow(children, at)
            case "flatten":
                return self._list(children[0], at)
            case "key_val_pair" | "expref":
                return self._places(children[0], at)
            case "filter_projection":
                left = self._list(children[0], at)
                self._use(self._places(children[2], left))
                return self._places(children[1], left)
            case "value_projection":
                return self._values(children, at)
            case "or_expression" | "and_expression" | "multi_select_list":
                return frozenset().union(*(self._places(child, at) for child in children))
            case "multi_select_dict":
                keys = tuple((child["value"], self._places(child, at)) for child in children)
                return frozenset({_Made(keys)})
            case "function_expression":
                return self._function(node["value"], children, at)
            case _:  # a comparison, a negation, a literal: the value is new
                for child in children:
                    places = self._places(child, at)
                    self._use(places)
                    self.tested |= _paths(places)
                return _NOWHERE

    def _follow(self, steps: list[Mapping[str, Any]], at: _Places) -> _Places:
        """Return where the last of several steps ends; each begins where the one before ended."""
        for before, step in zip([None, *steps], steps, strict=False):
            if before and before["type"] == "multi_select_list" and _is_element(step):
                continue  # an element of the expression's own list, `[a, b][0]`
            after = self._places(step, at)
            if not _paths(after):
                self._use(at)  # such as `a.[`1`]`, which is null where `a` is
            at = after
        return at

    def _list(self, node: Mapping[str, Any], at: _Places) -> _Places:
        """Return the places of a node whose value is read as a list, and note them as lists."""
        places = self._places(node, at)
        # A flatten and a slice have noted their own; `[a, b]` is no list of the record's.
        is_noted = node["type"] == "index_expression" and node["children"][1]["type"] == "slice"
        if not is_noted and node["type"] not in ("multi_select_list", "flatten"):
            self.lists |= _paths(places)
        return places

    def _values(self, children: list[Mapping[str, Any]], at: _Places) -> _Places:
        """Return the places of `left.*.right`. The names below left are known only with data."""
        left = self._places(children[0], at)
        self._use(left)
        made = [place for place in left if isinstance(place, _Made)]
        values: _Places = frozenset().union(*(inner for one in made for _, inner in one.keys))
        return self._places(children[1], values)

    def _function(self, name: str, arguments: list[Mapping[str, Any]], at: _Places) -> _Places:
        """Return the places of a function's result. It uses all of its arguments."""
        values = [self._places(one, at) for one in arguments if one["type"] != "expref"]
        given: _Places = frozenset().union(*values)
        # `&x` is applied to each element of the list that stands beside it.
        applied = [self._places(one, given) for one in arguments if one["type"] == "expref"]
        if applied:
            self.lists |= _paths(given)
        for places in (given, *applied):
            self._use(places)
        if name == "map":
            return frozenset().union(*applied)
        return given if name in _PASSING else _NOWHERE


def _is_element(step: Mapping[str, Any]) -> bool:
    """Say whether a step takes an element of what stands before it."""
    if step["type"] == "slice":
        return True  # its children are numbers
    first, *rest = step.get("children") or [step]
    if first["type"] == "identity" and rest:
        first = rest[0]
    return bool(first["type"] in ("index", "slice"))


def _paths(places: _Places) -> frozenset[Path]:
    """Return these places as paths; of an object that the expression makes, its values' paths."""
    found: set[Path] = set()
    seen: set[_Made] = set()  # `{x: @, y: @}` has one object twice: each such step would double it
    rest = list(places)
    while rest:
        place = rest.pop()
        if not isinstance(place, _Made):
            found.add(place)
        elif place not in seen:
            seen.add(place)
            rest.extend(one for _, inner in place.keys for one in inner)
    return frozenset(found)


def _below(place: Path | _Made, name: str) -> _Places:
    """Return the places of the field `name` of a value from this place."""
    if isinstance(place, _Made):
        return dict(place.keys).get(name, _NOWHERE)
    return frozenset({(*place, name)})
