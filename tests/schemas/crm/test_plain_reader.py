"""plain_reader() reads what marshmallow reads, or leaves it to marshmallow."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from schemas.crm.fields import plain_reader
from schemas.crm.hubspot import NotificationSchema

KEYS = [field.data_key or "" for field in NotificationSchema().load_fields.values()]
VALUES = st.one_of(
    st.none(),
    st.integers(),
    st.integers(1_600_000_000_000, 1_900_000_000_000),
    st.text(max_size=5),
    st.sampled_from(["17", "contact.creation", True, 1.5, 2.0**60, [], {}]),
)


@given(st.one_of(VALUES, st.dictionaries(st.sampled_from([*KEYS, "appId"]), VALUES)))
def test_an_object_is_read_as_marshmallow_reads_it_or_not_at_all(original: Any) -> None:
    schema = NotificationSchema()
    read = plain_reader(schema)(original)
    try:
        loaded = schema.load(original)
    except ValidationError:
        assert read is None
    else:
        assert read in (None, loaded)


def test_a_notification_of_hubspots_documentation_needs_no_marshmallow() -> None:
    original = {
        **{"eventId": 1, "subscriptionId": 2, "portalId": 62515, "appId": 54198, "objectId": 123},
        **{"occurredAt": 1760000000000, "subscriptionType": "contact.creation"},
    }
    schema = NotificationSchema()
    assert plain_reader(schema)(original) == schema.load(original)
