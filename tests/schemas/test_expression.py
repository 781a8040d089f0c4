"""Expressions of routes.toml: what they read, when they hold, and that errors quote no data."""

import traceback

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import each, examples

from schemas.expression import Expression, ExpressionError

SECRET = "Asha of Bengaluru"


@each(
    ("text", "reads"),
    [
        ("phone", {("phone",)}),
        ("properties.phone", {("properties", "phone")}),
        (
            "properties.phone || properties.mobilephone",
            {("properties", "phone"), ("properties", "mobilephone")},
        ),
        ('properties."Lead Source"', {("properties", "Lead Source")}),
        ("properties | phone", {("properties", "phone")}),
        ("@.properties.phone", {("properties", "phone")}),
        ("(properties).phone", {("properties", "phone")}),
        ("!(properties.opt_out)", {("properties", "opt_out")}),
        (
            "properties.a == 'x' && properties.b != properties.c",
            {("properties", "a"), ("properties", "b"), ("properties", "c")},
        ),
        ("not_null(properties.a, properties.b)", {("properties", "a"), ("properties", "b")}),
        (
            "join(' ', [properties.first, properties.last])",
            {("properties", "first"), ("properties", "last")},
        ),
        ("properties.[first, last]", {("properties", "first"), ("properties", "last")}),
        ("{name: properties.first, town: city}", {("properties", "first"), ("city",)}),
        ("phones[0].number", {("phones", "number")}),
        ("phones[0]", {("phones",)}),
        ("phones[?primary].number", {("phones", "number"), ("phones", "primary")}),
        ("phones[].number | [0]", {("phones", "number")}),
        ("phones[:2]", {("phones",)}),
        # What follows a list is read of each element, and of nothing above the list.
        ("person.phones[].value", {("person", "phones", "value")}),
        ("person.phones[*].value", {("person", "phones", "value")}),
        ("person.phones[::2].value", {("person", "phones", "value")}),
        ("person.phones[-1].value", {("person", "phones", "value")}),
        (
            "person.phones[?label.kind == 'work' && primary].value | [0]",
            {
                ("person", "phones", "value"),
                ("person", "phones", "label", "kind"),
                ("person", "phones", "primary"),
            },
        ),
        ("a[].b[].c[]", {("a", "b", "c")}),
        ("a.b[].[c, d.e]", {("a", "b", "c"), ("a", "b", "d", "e")}),
        ("a.b[].{x: c, y: d}.x", {("a", "b", "c")}),
        ("{p: person.phones}.p[].value", {("person", "phones", "value")}),
        ("[a.b, c][].value", {("a", "b", "value"), ("c", "value")}),
        ("(a.b || c).value", {("a", "b", "value"), ("c", "value")}),
        ("not_null(a.b, c)[].value", {("a", "b"), ("c",), ("a", "b", "value"), ("c", "value")}),
        ("map(&x.y, a.b)[].z", {("a", "b"), ("a", "b", "x", "y"), ("a", "b", "x", "y", "z")}),
        (
            "sort_by(properties.calls, &at)[0].to",
            {("properties", "calls"), ("properties", "calls", "at"), ("properties", "calls", "to")},
        ),
        # Which names `*` stands for is not known before the data is there.
        ("properties.*.value", {("properties",)}),
        ("keys(properties)", {("properties",)}),
        ("values(properties)[].value", {("properties",)}),
        ("a.[`1`]", {("a",)}),
        ("[a, b][:1]", {("a",), ("b",)}),
        ("[a.b, c][1:].value", {("a", "b", "value"), ("c", "value")}),
        ("`7`", set()),
        ("'constant'", set()),
        ("@", set()),
    ],
)
def test_an_expression_knows_the_paths_it_reads(text, reads):
    assert Expression.of(text).paths == reads


def test_a_part_of_the_expressions_own_list_is_no_list_of_the_record() -> None:
    assert Expression.of("[a, b][:1]").lists == frozenset()
    assert Expression.of("[a, b][:1].c[:1]").lists == {("a", "c"), ("b", "c")}
    assert Expression.of("[a, b][0][:1]").lists == {("a",), ("b",)}


def test_an_object_of_objects_is_followed_once() -> None:
    """Each step doubled the time: 20 of them took half a minute, as the process started."""
    text = "a" + ".{x: @, y: @}" * 60
    assert Expression.of(text).paths == {("a",)}


@pytest.mark.parametrize(
    ("text", "tested"),
    [
        ("answers[?type == 'phone'].phone", {("answers", "type")}),
        ("(kind == 'person' && data).phone", {("kind",)}),
        ("!(a.b) && c", {("a", "b")}),
        ("[a, b.c] | [?@] | [0]", set()),
    ],
)
def test_an_expression_knows_the_paths_that_it_only_tests(text, tested):
    assert Expression.of(text).tested == tested


@pytest.mark.parametrize("text", ["!a.b", "c && !a.b", "!a[?b].c", "!a.*", "!a[].b", "[c, !a.b]"])
def test_a_not_before_a_path_is_a_mistake_because_it_is_always_null(text):
    with pytest.raises(ExpressionError, match=r"write `!\(a\.b\)`"):
        Expression.of(text)


@pytest.mark.parametrize("text", ["!a", "!(a.b)", "!contains(a.b, c.d)", "!a && b.c", "!a | [0]"])
def test_any_other_not_is_none(text):
    assert Expression.of(text).text == text


NAMES = st.sampled_from("abc")
FIELDS = (".a", ".b", ".c", ".*", ".[a, b]", ".{a: c}")
LISTS = ("[]", "[*]", "[0]", "[1:]", "[?a]", "[?b.c == `1`]", " | [0]", " | [].a", "[].{b: a}")
STEPS = st.sampled_from((*FIELDS, *LISTS))
CHAINS = st.builds(lambda name, steps: name + "".join(steps), NAMES, st.lists(STEPS, max_size=5))
TEXTS = st.recursive(
    CHAINS,
    lambda inner: st.one_of(
        st.builds("({} || {})".format, inner, inner),
        st.builds("({} && {})".format, inner, inner),
        st.builds("!({})".format, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{{a: {}, b: {}}}".format, inner, inner),
        st.builds("not_null({}, {})".format, inner, inner),
        st.builds("to_array({})".format, inner),
        st.builds("({} == {})".format, inner, inner),
        st.builds("({}){}".format, inner, STEPS),
    ),
    max_leaves=4,
)
RECORDS = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 1),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        ),
        max_leaves=10,
    ),
)


def only(data, paths):
    """Return data with nothing in it but what stands at these paths."""
    if () in paths:
        return data
    if isinstance(data, list):
        return [only(one, paths) for one in data]
    if not isinstance(data, dict):
        return data
    names = {path[0] for path in paths}
    below = {name: {path[1:] for path in paths if path[0] == name} for name in names}
    return {name: only(value, below[name]) for name, value in data.items() if name in names}


@examples(400)
@given(TEXTS, RECORDS)
def test_a_record_with_the_paths_it_reads_and_no_others_gives_the_same(text, record):
    expression = Expression.of(text)
    found = expression.search(only(record, expression.paths))
    assert found == expression.search(record)


@each(
    ("value", "holds"),
    [
        (None, False),
        (False, False),
        ("", False),
        ([], False),
        ({}, False),
        (True, True),
        (0, True),  # JMESPath: a number is true, whatever it is
        (0.0, True),
        ("0", True),
        ("false", True),
        (" ", True),
        ([None], True),
        ({"": None}, True),
    ],
)
def test_it_holds_as_jmespath_means_it(value, holds):
    assert Expression.of("x").holds({"x": value}) is holds
    assert Expression.of("x && `1` || `0`").search({"x": value}) == int(holds)
    assert Expression.of("!x").holds({"x": value}) is not holds


@pytest.mark.parametrize("data", [None, [], {}, "text", 7, True, [1, {"x": 2}]])
def test_what_is_not_there_is_none_and_does_not_hold(data):
    expression = Expression.of("a.b.c")
    assert expression.search(data) is None
    assert expression.holds(data) is False


@pytest.mark.parametrize(
    "text",
    [
        "length(name, name)",
        "contain(name, 'x')",
        "starts_with(name)",
        "sum()",
        "properties[?no_such(name)]",
        "a || {b: no_such(c)}",
        "sort_by(a, &no_such(b))",
    ],
)
def test_a_function_that_does_not_exist_or_lacks_an_argument_is_found_at_the_boot(text):
    with pytest.raises(ExpressionError, match=r"no_such|contain|argument"):
        Expression.of(text)


@each(
    "text",
    [
        "",
        "   ",
        "a ||",
        "a[",
        "a.",
        "foo bar",
        "a = b",
        "'open",
        '"open',
        "{a:}",
        "\x00",
        "é",
        "a[" + "9" * 5000 + "]",
        "a." + "9" * 5000,
        "(" * 5000 + "a" + ")" * 5000,
        "`" + "[" * 50_000 + "`",
    ],
)
def test_what_does_not_compile_is_one_line(text):
    with pytest.raises(ExpressionError) as caught:
        Expression.of(text)
    assert str(caught.value)
    assert "\n" not in str(caught.value)


@each(
    "text",
    [
        "abs(name)",
        "length(`5`)",
        "sum(list)",
        "join(', ', list)",
        "to_number(name) > `1` || avg(list) > `1`",
        "sort(list)",
        "max_by(people, &name) && abs(name)",
        "starts_with(list, 'x')",
        "list[::0]",
    ],
)
def test_an_error_over_a_record_names_the_expression_and_quotes_no_data(text):
    data = {"name": SECRET, "list": [SECRET, 1, None], "people": [{"name": SECRET}]}
    with pytest.raises(ExpressionError) as caught:
        Expression.of(text).search(data)
    assert text in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None


def test_it_shows_its_text_and_equals_what_has_the_same():
    expression = Expression.of("a.b")
    assert repr(expression) == "Expression(text='a.b')"
    assert expression == Expression.of("a.b")
    assert expression != Expression.of("a.c")
    assert hash(expression) == hash(Expression.of("a.b"))


TOKENS = st.sampled_from(
    [
        "a",
        "b",
        ".",
        "|",
        "||",
        "&&",
        "!",
        "==",
        "!=",
        "<",
        "[",
        "]",
        "{",
        "}",
        "(",
        ")",
        ",",
        ":",
        "@",
        "&",
        "*",
        "?",
        "0",
        "-1",
        "'x'",
        '"q"',
        "`1`",
        "`[`",
        "length(",
        "sum(",
        "to_number(",
        "sort_by(",
        "no_such(",
        "[?",
        "[]",
        "[*",
        "[0]",
        "[::2]",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=8,
)


SIMPLE = st.tuples(
    st.sampled_from(["a", "a.b", "b.a.b", '"a"', "@", "a[0]", "a || b", "'x'", "`1`", "length(a)"]),
    st.sampled_from(["", "", " == ", " != "]),
    st.sampled_from(["'x'", "''", "a", '`"a"`', "`0`", "`true`", "`null`", "`[]`"]),
).map(lambda parts: parts[0] + (parts[1] and parts[1] + parts[2]))


@examples(250)
@given(SIMPLE, st.dictionaries(st.sampled_from("ab"), JSON | st.just("x")) | JSON)
def test_simple_expressions_are_worked_out_as_jmespath_does(text, data):
    try:
        wanted = jmespath.search(text, data)
    except jmespath.exceptions.JMESPathError:
        with pytest.raises(ExpressionError):
            Expression.of(text).search(data)
        return
    found = Expression.of(text).search(data)
    assert (type(found), found) == (type(wanted), wanted)


# A literal that is no JSON (`lead`) is taken for a string, and jmespath would rather it were not.
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@examples(250)
@given(st.lists(TOKENS, max_size=9).map(" ".join), JSON)
def test_whatever_is_written_over_whatever_data_only_an_expression_error_comes_out(text, data):
    try:
        expression = Expression.of(text)
    except ExpressionError:
        return
    assert all(isinstance(name, str) for path in expression.paths for name in path)
    try:
        found = expression.search(data)
    except ExpressionError:
        return
    assert expression.holds(data) is bool(jmespath.search("!!@", found))


@each(
    ("text", "found"),
    [
        ("kind == 'a'", {"a"}),
        ("'a' == kind || (kind == 'b' && size == 'c')", {"a", "b"}),
        ("contains(['a', 'b'], kind)", {"a", "b"}),
        ('contains(`["a", 1]`, kind)', {"a"}),
        ("kind != 'a' || size == 'kind' || inner.kind == 'b'", set()),
        ("kind == `1` || kind == size", set()),
    ],
)
def test_the_texts_that_a_field_is_compared_with(text: str, found: set[str]) -> None:
    assert Expression.of(text).compared_with("kind") == found


def test_json_inside_a_text_is_read_by_parse_json() -> None:
    read = Expression.of("parse_json(rawRequest).q3_phone.full")
    assert (
        read.search({"rawRequest": '{"q3_phone": {"full": "+91 98765 43210"}}'})
        == "+91 98765 43210"
    )
    assert [read.search({"rawRequest": text}) for text in ("", "{", "[" * 99, None)] == [None] * 4
    assert read.search({}) is None
    assert read.paths == {("rawRequest",)}
    with pytest.raises(ExpressionError, match="JMESPathTypeError"):
        read.search({"rawRequest": 5})
    with pytest.raises(ExpressionError, match=r"needs 1 argument"):
        Expression.of("parse_json()")
