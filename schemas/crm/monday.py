"""monday.com: changes of items on a board.

A request that an app's webhook makes has a JWT in Authorization, signed with the app's signing
secret. It covers its own claims and not the body, so it is no more than a token that expires after
five minutes. A webhook that a person adds in the Automation Center has none: give such a URL a
token, and the source `auth = "token"` (examples/monday/).

`event.columnValues` has a new item's columns by their ids, `event.value` that of a changed column.
A phone is `{"phone": …, "countryShortName": "IN"}`.

https://developer.monday.com/api-reference/docs/webhooks (challenge, retries)
https://developer.monday.com/apps/docs/authorization-header
https://developer.monday.com/api-reference/changelog/webhooks-improvements (which ones have a JWT)
https://developer.monday.com/api-reference/reference/phone
"""

from collections.abc import Mapping
from typing import Any, Final

from schemas.crm.forms import each_object
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression
from schemas.source import Challenge, Incoming, Jwt, Kind, Reply, Source, id_text

UNKNOWN_TYPE: Final = "unknown"
# monday's word -> ours. Its documentation has both words of an event; bodies that others recorded
# have the older one, with "pulse". A word that is not here keeps monday's spelling.
TYPES: Final = {
    "create_item": "item.created",
    "create_pulse": "item.created",
    "create_subitem": "subitem.created",
    "change_column_value": "item.updated",
    "change_specific_column_value": "item.updated",
    "change_status_column_value": "item.updated",
    "update_column_value": "item.updated",
    "change_name": "item.updated",
    "update_name": "item.updated",
    "change_subitem_column_value": "subitem.updated",
    "change_subitem_name": "subitem.updated",
    "item_deleted": "item.deleted",
    "delete_pulse": "item.deleted",
    "subitem_deleted": "subitem.deleted",
    "item_archived": "item.archived",
    "archive_pulse": "item.archived",
    "item_restored": "item.restored",
    "item_moved_to_any_group": "item.moved",
    "item_moved_to_specific_group": "item.moved",
    "move_pulse_into_group": "item.moved",
    "create_update": "update.created",  # an update is a note on an item
    "edit_update": "update.updated",
    "delete_update": "update.deleted",
}
IDS: Final = (
    *("userId", "boardId", "pulseId", "itemId", "parentItemId", "subscriptionId", "triggerUuid"),
    *("triggerTime", "changedAt"),
)


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read the one event of a request."""
    return each_object(content, UNKNOWN_TYPE, lambda body: _item(body, source))


def _item(body: Mapping[str, Any], source: Source) -> Item:
    event = body.get("event")
    if not isinstance(event, dict):
        return Item(type=UNKNOWN_TYPE, data=body, problem="The body has no event.")
    word = event.get("type")
    if not isinstance(word, str) or not word:
        return Item(type=UNKNOWN_TYPE, data=body, problem="The event has no type.")
    item = id_text(event.get("pulseId")) or id_text(event.get("itemId"))
    return Item(
        type=TYPES.get(word, word),
        data=body,
        source_event_id=_id(word, item, event),
        subject=item,
        subject_type="item" if item else None,
        time=read_time(event.get("triggerTime"), source.timezone)
        or read_time(event.get("changedAt"), source.timezone),
    )


def _id(word: str, item: str | None, event: Mapping[str, Any]) -> str | None:
    """Return the id of a trigger, with what it happened to: one trigger may change several items.

    Two webhooks of one board tell of one trigger twice; subscriptionId is no part of the id.
    """
    trigger = id_text(event.get("triggerUuid"))
    if trigger is None:
        return None
    return " ".join(filter(None, (trigger, word, item, id_text(event.get("columnId")))))


KIND = Kind(
    name="monday",
    title="monday.com",
    auth=Jwt(),
    parse=parse,
    default_type=UNKNOWN_TYPE,
    secret_help="the signing secret of the app that made the webhook",
    secret_is_chosen=False,
    ids=frozenset(("event", name) for name in IDS),
    phones=Expression.of("[event.columnValues.*.phone, event.value.phone][]"),
    names=Expression.of("event.pulseName || event.itemName"),
    emails=Expression.of("event.columnValues.*.email | [0]"),
    region=Expression.of(
        "(event.columnValues.*.countryShortName | [0]) || event.value.countryShortName"
    ),
    # Anything but a 200 is sent again.
    reply=Reply(status=200),
    challenge=Challenge(method="POST", echo="challenge", as_json=True),
    retries="each minute for 30 minutes",
)
