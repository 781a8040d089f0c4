"""What is Elementor's own: names of fields as PHP nests them."""

from typing import Any

from support import each
from support.samples import PAYLOADS, content_of, items

from schemas.crm.elementor import KIND


@each(
    ("form", "data"),
    [
        ({"form_id": "1", "Your phone": "5"}, {"form_id": "1", "Your phone": "5"}),
        ({"form[id]": "1"}, {"form": {"id": "1"}}),
        (
            {"fields[a][value]": "5", "fields[a][type]": "tel", "fields[b][value]": "6"},
            {"fields": {"a": {"value": "5", "type": "tel"}, "b": {"value": "6"}}},
        ),
        ({"fields[a][raw_value][0]": "x"}, {"fields": {"a": {"raw_value": {"0": "x"}}}}),
        ({"fields[a]": "1", "fields[a][value]": "2"}, {"fields": {"a": {"value": "2"}}}),
        ({"fields[a][value]": "2", "fields[a]": "1"}, {"fields": {"a": "1"}}),
        ({"fields[]": "1", "fields[][x]": "2"}, {"fields": {"": {"x": "2"}}}),
        ({"fields[a][b][c][d]": "1"}, {"fields[a][b][c][d]": "1"}),
        ({"fields[a": "1", "fieldsx[a]": "2"}, {"fields[a": "1", "fieldsx[a]": "2"}),
        ({"other[a]": "1", "fields": "2"}, {"other[a]": "1", "fields": "2"}),
        ({"fields": {"a": {}}, "fields[b]": "1"}, {"fields": {"a": {}}, "fields[b]": "1"}),
        ({"fields[\ud83d]": "1"}, {"fields": {"\ud83d": "1"}}),
    ],
)
def test_nested_names(form: dict[str, Any], data: dict[str, Any]) -> None:
    before = dict(form)
    [item] = items(KIND, form)
    assert (item.data, item.problem) == (data, None)
    assert form == before


def test_the_number_is_that_of_a_field_for_telephones() -> None:
    [item] = items(KIND, content_of(PAYLOADS / "elementor" / "advanced_data.body.form"))
    assert KIND.phones
    assert KIND.phones.search(item.data) == ["+911234500001"]


@each("field", [None, 5, "x", [], [{"type": "tel"}], {"a": None}, {"a": ["tel"]}])
def test_fields_of_any_type_are_no_exception(field: Any) -> None:
    [item] = items(KIND, {"fields": field})
    for said in (KIND.phones, KIND.names, KIND.emails):
        assert said
        said.search(item.data)
