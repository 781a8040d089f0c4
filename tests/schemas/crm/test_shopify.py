"""What is Shopify's own: a topic that nothing signs, tests, and requests to erase a customer."""

from datetime import UTC, datetime
from typing import Any

import pytest
from support.samples import NOW, items, source_of

from rules.matching import as_event
from schemas.crm.shopify import KIND
from schemas.event import is_guarded_type

CUSTOMER: dict[str, Any] = {
    "id": 71,
    "phone": "+911234500026",
    "created_at": "2026-01-01T07:00:00Z",
    "updated_at": "2026-01-02T07:00:00Z",
}
ERASE = {"shop_id": 5, "shop_domain": "s.example", "customer": {"id": 71}, "orders_to_redact": []}


def item(body: Any, topic: str | None = "customers/create", **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    [found] = items(KIND, body, headers={"X-Shopify-Topic": topic, **sent} if topic else sent)
    return found


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("customers/create", "customer.created"),
        ("customers/update", "customer.updated"),
        ("customers/delete", "customer.deleted"),
        ("customers/merge", "customer.merged"),
        ("checkouts/update", "checkout.updated"),
        ("orders/paid", "order.paid"),
        ("orders/cancelled", "order.canceled"),
        ("draft_orders/create", "draft_order.created"),
        ("app/uninstalled", "app.uninstalled"),
        (" customers/create ", "customer.created"),
    ],
)
def test_the_topic_becomes_the_type(topic: str, expected: str) -> None:
    found = item(CUSTOMER, topic)
    assert (found.type, found.problem, found.is_type_proved) == (expected, None, False)


@pytest.mark.parametrize("topic", [None, "", "customers", "/create", "customers/"])
def test_a_body_without_a_topic_cannot_be_read(topic: str | None) -> None:
    assert item(CUSTOMER, topic).problem == "The request has no X-Shopify-Topic header."


def test_the_same_body_under_another_topic_or_id_is_a_duplicate() -> None:
    source = source_of(KIND)
    found = [
        item(CUSTOMER, topic, X_Shopify_Webhook_Id=str(n))
        for n, topic in enumerate(("customers/create", "customers/update", "orders/create"))
    ]
    events = [as_event(one, source, NOW, 86_400) for one in found]
    assert len({event.fingerprint for event in events}) == 1
    assert all(one.source_event_id is None for one in found)
    later = as_event(item({**CUSTOMER, "updated_at": "x"}), source, NOW, 86_400)
    assert later.fingerprint != events[0].fingerprint


def test_a_privacy_request_is_known_by_its_body_whatever_the_header_says() -> None:
    for topic in ("customers/redact", "customers/create", None):
        found = item(ERASE, topic)
        assert (found.type, found.subject, found.is_type_proved) == (
            "customer.privacy_deleted",
            "71",
            True,
        )
    assert is_guarded_type("customer.privacy_deleted")
    assert item(CUSTOMER, "customers/redact").type not in KIND.erased_by


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({"X_Shopify_Test": "true"}, {}, True),
        ({"X_Shopify_Test": "false"}, {}, False),
        ({}, {"test": True}, True),
        ({}, {"test": False}, False),
        ({}, {}, False),
    ],
)
def test_tests_are_marked(headers: Any, body: Any, expected: bool) -> None:
    assert item({**CUSTOMER, **body}, **headers).is_test is expected


def test_the_subject_is_the_customer_where_there_is_one() -> None:
    order = {"id": 9, "customer": CUSTOMER}
    assert (item(order, "orders/create").subject, item(order, "orders/create").subject_type) == (
        "71",
        "customer",
    )
    guest = item({"id": 9, "customer": None}, "checkouts/create")
    assert (guest.subject, guest.subject_type) == ("9", None)


def test_the_time_is_that_of_what_happened() -> None:
    assert item(CUSTOMER).time == datetime(2026, 1, 1, 7, tzinfo=UTC)
    assert item(CUSTOMER, "customers/update").time == datetime(2026, 1, 2, 7, tzinfo=UTC)
    broken = {**CUSTOMER, "created_at": "2026-01-01T03:50:1500:00"}
    assert item(broken).time == datetime(2026, 1, 2, 7, tzinfo=UTC)
