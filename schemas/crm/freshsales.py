"""Freshsales (Freshworks CRM): the action "Trigger webhook" of a workflow.

The author of the workflow writes the body, so every name in it is the author's choice. Read are
the names of Freshsales' own API, flat or under `contact`; examples/freshsales has such a body. The
event's type is in `event`. Nothing is signed: the token is in a custom header, or in the URL.

https://crmsupport.freshworks.com/support/solutions/articles/50000002418 (read in part)
https://docs.clevertap.com/docs/freshsales (both on 2026-11-29)
The names of the API's fields are unconfirmed: its reference was not read.
"""

from dataclasses import replace
from typing import Any, Final

from schemas.crm.fields import one_is_on
from schemas.event import Item
from schemas.expression import Expression
from schemas.source import Incoming, Kind, Source, Token, id_text, item_by_paths

EVENT: Final = Expression.of("event")
# Where the id of the record may be, and what the record is; None: as the type begins.
SUBJECTS: Final = (
    ("id", None),
    ("contact.id", "contact"),
    ("contact_id", "contact"),
    ("lead_id", "lead"),
)
_SUBJECTS: Final = tuple((Expression.of(path), what) for path, what in SUBJECTS)
IDS: Final = frozenset(
    {
        *(("id",), ("contact_id",), ("lead_id",), ("deal_id",), ("owner_id",)),
        *(("contact", "id"), ("contact", "owner_id")),
    }
)
# The API's contacts have `do_not_disturb` (unconfirmed). How a placeholder writes it was not seen.
OPT_OUT: Final = one_is_on("do_not_disturb", "contact.do_not_disturb")


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read the one record of a request."""
    if not isinstance(content, dict):
        problem = "The body is not a JSON object."
        return [Item(type=source.default_type, data=content, problem=problem)]
    subject, subject_type = next(
        ((found, what) for path, what in _SUBJECTS if (found := id_text(path.search(content)))),
        (None, None),
    )
    paths = replace(source, event=source.event or EVENT)
    item = item_by_paths(content, request, paths, subject=subject)
    return [replace(item, subject_type=subject_type)]


KIND = Kind(
    name="freshsales",
    title="Freshsales",
    auth=Token(),
    parse=parse,
    count=lambda content: 1,
    default_type="workflow.triggered",
    ids=IDS,
    opt_out=OPT_OUT,
    phones=Expression.of(
        "[mobile_number, work_number, contact.mobile_number, contact.work_number]"
    ),
    names=Expression.of(
        "display_name || [first_name, last_name][?@] || contact.display_name"
        " || [contact.first_name, contact.last_name]"
    ),
    emails=Expression.of("email || contact.email"),
)
