"""JustDial: one lead in a GET's query, in a form or in JSON. The token is in the URL.

JustDial publishes no description, and its account manager enters the URL. The fields and the answer
`RECEIVED` are from public integrations that quote JustDial's document; one account is said to
expect `SUCCESS` (unconfirmed, 2026-11-29).

https://help.leadsquared.com/integrate-justdial-with-leadsquared/ ("the GET method")
https://support.kylas.io/portal/en/kb/articles/how-to-integrate-justdial-to-get-leads-in-kylas-crm
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Final

from schemas.crm.fields import one_is_on
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression
from schemas.source import Incoming, Kind, Reply, Source, Token, id_text, item_by_paths

LEAD: Final = "lead.created"
# An object with none of these is no lead.
MARKS: Final = frozenset({"leadid", "mobile", "phone"})
ID: Final = Expression.of("leadid")
ZONE: Final = "Asia/Kolkata"
# 1: the number is on the do-not-disturb list. One number that is on the list is enough: the route
# may call either.
IS_DND: Final = one_is_on("dncmobile", "dncphone")


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read the one lead of a request."""
    if not isinstance(content, dict) or not MARKS & content.keys():
        return [Item(type=LEAD, data=content, problem="The request has no lead of JustDial.")]
    paths = replace(source, id=source.id or ID, timezone=source.timezone or ZONE)
    item = item_by_paths(content, request, paths, subject=id_text(content.get("leadid")))
    time = item.time if source.time else _time(content, paths.timezone)
    return [replace(item, subject_type="lead", time=time)]


def _time(lead: Mapping[str, Any], zone: str | None) -> datetime | date | None:
    """Return when it happened: `date` is "2026-01-01", and `time` is "12:30:00"."""
    day, clock = lead.get("date"), lead.get("time")
    if not isinstance(day, str):
        return None
    day = day.strip().replace("/", "-")
    at = read_time(f"{day} {clock.strip()}", zone) if isinstance(clock, str) else None
    return at or read_time(day, zone)


KIND = Kind(
    name="justdial",
    title="JustDial",
    auth=Token(),
    parse=parse,
    count=lambda content: 1,
    default_type=LEAD,
    secret_help="a token that you choose and put into the URL that you give to JustDial, as "
    "?token=…",
    ids=frozenset((name,) for name in ("leadid", "parentid", "date", "time")),
    region=Expression.of("'IN'"),  # its numbers are 10 digits
    phones=Expression.of("[mobile, phone]"),
    names=Expression.of("name"),
    emails=Expression.of("email"),
    is_dnd=IS_DND,
    takes_get=True,
    reply=Reply(status=200, body="RECEIVED", media_type="text/plain"),
)
