"""IndiaMART Lead Manager: its Push API, and answers of its Pull API that a script forwards.

A push has one lead in `RESPONSE`; an answer of the Pull API has a list there. The token is in the
URL: IndiaMART signs nothing. An item's data is the lead itself, without `RECEIVER_MOBILE`, which is
the seller's own number.

The vendor's pages on Push and on version 2 of the API could not be read (2026-11-29). The fields
and the words of QUERY_TYPE are from public integrations that quote them; so is that IndiaMART
switches a push off after some 48 hours without a 200.

https://help.indiamart.com/knowledge-base/lms-crm-integration-v2/ (not read)
https://help.indiamart.com/knowledge-base/why-migrate-lms-crm-api-v2/
"""

import re
from dataclasses import replace
from typing import Any, Final

from schemas.crm.forms import unpacked
from schemas.event import Item
from schemas.expression import Expression
from schemas.source import Incoming, Kind, Reply, Source, Token, id_text, item_by_paths

LEAD: Final = "lead.created"
# IndiaMART's word -> ours. A word that is not here keeps IndiaMART's spelling. A call is one that
# the buyer has made already, and a buyer who looked at a catalogue has asked for nothing: neither
# is a lead that routes for leads should call.
TYPES: Final = {
    "": LEAD,
    "W": LEAD,  # a direct enquiry
    "B": LEAD,  # a buy-lead
    "BL": LEAD,
    "WA": LEAD,  # an enquiry by WhatsApp
    "P": "call.received",
    "V": "catalog.viewed",
    "BIZ": "catalog.viewed",
}
_WORD: Final = re.compile(r"[A-Za-z0-9_]{0,16}")
# An object with none of these is no lead.
MARKS: Final = frozenset({"UNIQUE_QUERY_ID", "QUERY_TYPE", "SENDER_NAME", "SENDER_MOBILE"})
RESPONSE: Final = "RESPONSE"
RECEIVER: Final = "RECEIVER_MOBILE"
ID: Final = Expression.of("UNIQUE_QUERY_ID")
TIME: Final = Expression.of("QUERY_TIME")
ZONE: Final = "Asia/Kolkata"  # QUERY_TIME is "2026-01-01 12:30:00", without a zone


def count(content: Any) -> int:
    """Return how many items a body has."""
    return len(_leads(content))


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read the lead of a push, or each lead of a list."""
    leads = _leads(content)
    if len(leads) == 1:
        return [_item(leads[0], request, source)]
    return [_item(lead, request, source, index) for index, lead in enumerate(leads)]


def _leads(content: Any) -> list[Any]:
    found = content.get(RESPONSE, content) if isinstance(content, dict) else content
    found = unpacked(found)  # text in a form's field, as one public integration has it
    if isinstance(found, str):
        return [content]
    return found if isinstance(found, list) else [found]


def _item(lead: Any, request: Incoming, source: Source, index: int | None = None) -> Item:
    if not isinstance(lead, dict) or not MARKS & lead.keys():
        return Item(type=LEAD, data=lead, problem="The body has no lead of IndiaMART.")
    data = {name: value for name, value in lead.items() if name != RECEIVER}
    given = data.get("QUERY_TYPE") or ""
    word = given.strip() if isinstance(given, str) else None
    if word is None or not _WORD.fullmatch(word):
        return Item(type=LEAD, data=data, problem="The lead's QUERY_TYPE is not a short word.")
    paths = replace(
        source,
        id=source.id or ID,
        time=source.time or TIME,
        timezone=source.timezone or ZONE,
        default_type=TYPES.get(word.upper(), word),
    )
    subject = id_text(data.get("UNIQUE_QUERY_ID"))
    item = item_by_paths(data, request, paths, subject=subject, index=index)
    return replace(item, subject_type="lead")


KIND = Kind(
    name="indiamart",
    title="IndiaMART",
    auth=Token(),
    parse=parse,
    count=count,
    default_type=LEAD,
    secret_help="a token that you choose and put into the URL of the Push API, as ?token=…",
    ids=frozenset((name,) for name in ("UNIQUE_QUERY_ID", "QUERY_TIME", "CALL_DURATION")),
    region=Expression.of("SENDER_COUNTRY_ISO"),
    phones=Expression.of("[SENDER_MOBILE, SENDER_MOBILE_ALT, SENDER_PHONE, SENDER_PHONE_ALT]"),
    names=Expression.of("SENDER_NAME"),
    emails=Expression.of("SENDER_EMAIL || SENDER_EMAIL_ALT"),
    reply=Reply(status=200, body='{"CODE":200,"STATUS":"SUCCESS"}'),
    retries="not known; switched off after 48 hours without a 200",
)
