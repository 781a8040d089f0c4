"""What is monday's own: words of two ages, ids of triggers, and a webhook without a signature."""

from typing import Any

import pytest
from support.samples import PAYLOADS, content_of, items

from schemas.crm import kinds
from schemas.crm.monday import KIND, TYPES
from schemas.event import is_guarded_type
from schemas.routes_toml import load_routes
from schemas.source import Jwt, Token

SAMPLES = PAYLOADS / "monday"


def event(**more: Any) -> dict[str, Any]:
    return {"event": {"type": "create_item", "pulseId": 1, "triggerUuid": "u1", **more}}


def test_both_words_of_an_event_are_one_type() -> None:
    found = [items(KIND, event(type=word))[0].type for word in ("create_item", "create_pulse")]
    assert found == ["item.created", "item.created"]


def test_every_deletion_is_one_that_no_glob_calls_for() -> None:
    deletions = [ours for word, ours in TYPES.items() if "delete" in word]
    assert len(deletions) > 3
    assert all(map(is_guarded_type, deletions))


def test_one_trigger_may_change_several_items_and_columns() -> None:
    changes = [{"pulseId": 1}, {"pulseId": 2}, {"columnId": "a"}, {"columnId": "b"}]
    ids = [items(KIND, event(**change))[0].source_event_id for change in changes]
    assert len(set(ids)) == len(ids)


def test_two_webhooks_of_one_board_tell_of_one_event() -> None:
    ids = {items(KIND, event(subscriptionId=n))[0].source_event_id for n in (1, 2)}
    assert len(ids) == 1


def test_the_phone_and_its_country_come_from_a_column_or_a_change_of_one() -> None:
    for name in ("create_pulse", "phone_changed"):
        [item] = items(KIND, content_of(SAMPLES / f"{name}.body.json"))
        assert KIND.phones
        assert KIND.region
        [number] = [one for one in KIND.phones.search(item.data) if one]
        assert number.startswith("9112345")
        assert KIND.region.search(item.data) == "IN"


def test_a_webhook_without_a_signature_may_have_a_token() -> None:
    def auth(more: str) -> Any:
        text = f'[[source]]\nname = "monday"\n{more}'
        return load_routes(text, file="r", kinds=kinds()).sources["monday"].auth

    assert auth("") == Jwt()
    assert auth('auth = "token"\n') == Token()


@pytest.mark.parametrize("value", [None, 1, [], {}, "x", True, 1e300])
def test_an_event_of_any_shape_is_no_exception(value: Any) -> None:
    names = ("pulseId", "itemId", "triggerUuid", "triggerTime", "changedAt", "columnId")
    [item] = items(KIND, event(**dict.fromkeys(names, value)))
    assert (item.type, item.problem) == ("item.created", None)
