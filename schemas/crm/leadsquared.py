"""LeadSquared: webhooks that post a lead, or {Before, After} for a change of one.

A body does not name its event. A new lead is flat; so is the lead of an automation. An item's data
is the lead as it is now, with what it was under `Before`. What belongs to an activity or a task is
no lead's event; an activity has its lead under `Current`. The token is in the URL or in a custom
header.

"Your webhook code should return 200 OK to LeadSquared. Even if errors were encountered": otherwise
the webhook may be switched off. HEAD asks whether the URL is there.

https://apidocs.leadsquared.com/webhooks/
https://apidocs.leadsquared.com/webhook-best-practices/
https://support.leadsquared.com/support/solutions/articles/3000074525-overview-on-how-to-write-webhook-in-lsq
{Before, After} and the bodies of activities are from public integrations; the bodies of landing
pages, tasks and opportunities were not seen (2026-11-29).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from schemas.crm.fields import instant, one_is_on
from schemas.crm.leadsquared_writing import WRITE_BACK, is_own_change
from schemas.crm_api import Variable
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression
from schemas.source import Incoming, Kind, Reply, Source, Token, id_text, item_by_paths

BEFORE, AFTER = "Before", "After"
UNKNOWN: Final = "lead.unknown"
# The key of a record's own id -> what the record is, with the key of its lead's id.
RECORDS: Final = {
    "ProspectActivityId": ("activity", "RelatedProspectId"),
    "UserTaskId": ("task", "RelatedEntityId"),  # as its API names them; no webhook was seen
    "ProspectID": ("lead", "ProspectID"),
}
# A flat lead that was changed longer than this after it was created is not a new one.
NEW: Final = timedelta(minutes=5)
MODIFIED, CREATED = "ModifiedOn", "CreatedOn"

# A flag is "0" or "1", and may be a word.
OPT_OUT: Final = one_is_on("DoNotCall", "Current.DoNotCall")


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read the one event of a request."""
    if not isinstance(content, dict):
        return [Item(type=UNKNOWN, data=content, problem="The body is not a JSON object.")]
    now = content.get(AFTER, content)
    if not isinstance(now, dict):
        return [Item(type=UNKNOWN, data=content, problem=f"{AFTER} is not a JSON object.")]
    was = content.get(BEFORE) if AFTER in content else None
    data = {**now, BEFORE: was} if was else now
    found = next((key for key in RECORDS if id_text(now.get(key))), None)
    if found is None:
        problem = "The event can't be read: ProspectID is missing."
        return [Item(type=UNKNOWN, data=data, problem=problem)]
    return [_item(found, data, request, source)]


def _item(key: str, data: Mapping[str, Any], request: Incoming, source: Source) -> Item:
    name, lead_key = RECORDS[key]
    is_new = not data.get(BEFORE) and not _is_old(data)
    event_type = f"{name}.{'created' if is_new else 'updated'}"
    paths = replace(source, default_type=event_type)
    item = item_by_paths(data, request, paths, subject=id_text(data.get(lead_key)))
    time = item.time if source.time else read_time(data.get(MODIFIED), source.timezone)
    own_id = _event_id(str(id_text(data[key])), data, is_new=is_new)
    given = item.source_event_id
    return replace(item, source_event_id=given or own_id, subject_type="lead", time=time)


def _is_old(record: Mapping[str, Any]) -> bool:
    created, modified = instant(record.get(CREATED)), instant(record.get(MODIFIED))
    return bool(created and modified and modified - created > NEW)


def _event_id(record_id: str, record: Mapping[str, Any], *, is_new: bool) -> str | None:
    """Return the id of an event; None: nothing tells this change from another.

    A record is created once. Several webhooks may tell of one change; they are one event.
    """
    if is_new:
        return f"{record_id}-created"
    at = instant(record.get(MODIFIED))
    return f"{record_id}-{at.isoformat()}" if at else None


def record_page(subject_type: str, data: Any) -> str | None:
    """Return where LeadSquared shows a lead; from links in public code, unconfirmed."""
    return "LeadManagement/LeadDetails?LeadID=" if subject_type == "lead" else None


KIND = Kind(
    name="leadsquared",
    title="LeadSquared",
    auth=Token(),
    parse=parse,
    count=lambda content: 1,
    write_back=WRITE_BACK,
    variables=(
        Variable(
            suffix="ACCESS_KEY",
            holds="id",
            help="the access key of an administrator, to tell it of calls",
        ),
        Variable(suffix="SECRET_KEY", holds="secret", help="the secret key of that access key"),
        Variable(
            suffix="API_URL",  # no default: each region has its own
            holds="address",
            help="the address of its API, such as https://api-in21.leadsquared.com",
        ),
        Variable(
            suffix="ACTIVITY_EVENT",
            holds="id",
            pattern="[0-9]{1,9}",
            sample="201",
            help="the code of the type of activity that calls become, such as 201",
        ),
        Variable(
            suffix="APP_URL",  # no default: each region has its own
            holds="address",
            help="the address of its pages, for links to leads, such as https://in21.leadsquared.com",
        ),
    ),
    default_type=UNKNOWN,
    ids=frozenset((name,) for name in ("ProspectID", "ProspectAutoId", CREATED, MODIFIED)),
    is_own_change=is_own_change,
    opt_out=OPT_OUT,
    phones=Expression.of("[Mobile, Phone, Current.Mobile, Current.Phone]"),
    names=Expression.of("[FirstName || Current.FirstName, LastName || Current.LastName]"),
    emails=Expression.of("EmailAddress || Current.EmailAddress"),
    record_page=record_page,
    reply=Reply(status=200, body='{"Status":"Success","StatusReason":""}', is_always=True),
    retries="not known; may be switched off after failures",
)
