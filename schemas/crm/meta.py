"""Meta Lead Ads: a lead form of Facebook or Instagram was sent.

A request carries one or more entries, each of a Page, and each with one or more changes. A change
is thin: it has the lead's id, and so the lead is fetched from the Graph API. Its answers,
`field_data`, are a list of names with lists of values; `lead` has them flat. Subscriptions to other
fields of a Page come in the same way, and are no leads.

https://developers.facebook.com/docs/graph-api/webhooks/getting-started
https://developers.facebook.com/docs/graph-api/webhooks/getting-started/webhooks-for-leadgen
https://developers.facebook.com/docs/marketing-api/guides/lead-ads/retrieving
https://developers.facebook.com/docs/graph-api/guides/error-handling
That a Bearer header counts as `access_token`, that a read has at most 50 ids, and that one id that
is not there costs the whole read is from public code, not from these pages.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from marshmallow import EXCLUDE, Schema, ValidationError, validate

from schemas.crm.fields import RecordId, sentence
from schemas.crm.meta_webhooks import (
    CHALLENGE,
    SECRET_HELP,
    SIGNATURE,
    VERIFY_TOKEN,
    Subscription,
    count_changes,
    list_of,
    object_id,
    parse_changes,
)
from schemas.crm_api import BearerLogin, CrmRequest, Hydration, RefusedFor, Variable
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression, Path
from schemas.source import Incoming, Kind, Reply, Signatures, Source, id_text

# --- notifications --------------------------------------------------------------------------

CREATED: Final = "lead.created"
TEST: Final = "lead.test"
UNKNOWN: Final = "lead.unknown"
# The lead of the "Test" button in the app's webhooks. There is no such lead; from public code.
SAMPLE_ID: Final = "444444444444"
LEAD: Final = "lead"  # where the answers are, by the name of their question
FIELD_DATA: Final = "field_data"
IDS: Final = (
    *("leadgen_id", "form_id", "page_id", "ad_id", "adgroup_id", "created_time"),
    *("id", "adset_id", "campaign_id"),
)


class LeadSchema(Schema):
    """The field of a lead's change that we need."""

    class Meta:
        """Meta adds keys without notice, and leaves out those of a lead without an ad."""

        unknown = EXCLUDE

    # It becomes part of a comma-separated list.
    leadgen_id = RecordId(
        required=True,
        validate=validate.Regexp(r"[0-9]{1,32}\Z", error="must be digits"),
    )


_LEAD: Final = LeadSchema()


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read each change of each entry of a notification."""
    return parse_changes(content, LEADS)


def _leads(entry: Mapping[str, Any], change: Mapping[str, Any]) -> list[Item]:
    value: Any = change.get("value")
    try:
        lead_id = _LEAD.load(value)["leadgen_id"]
    except ValidationError as error:
        return [Item(type=CREATED, data=change, problem=sentence("lead", error.messages_dict))]
    is_test = lead_id == SAMPLE_ID
    lead = Item(
        type=TEST if is_test else CREATED,
        data={LEADS.id_name: object_id(entry.get("id")), **value},
        # All samples have one id, so that each but the first would be a duplicate.
        source_event_id=None if is_test else lead_id,
        subject=lead_id,
        time=read_time(value.get("created_time")) or read_time(entry.get("time")),
        hydrate=None if is_test else "leads",
        is_test=is_test,
    )
    return [lead]


LEADS: Final = Subscription(
    object="page",
    title="a Page",
    id_name="page_id",
    prefix="page",
    unknown=UNKNOWN,
    field="leadgen",
    read=_leads,
)


# --- hydration ------------------------------------------------------------------------------

# What a lead has besides its answers. A field that the Graph API does not know makes it refuse the
# whole question. Those of the ad need the permission ads_management, so they are asked for only if
# a route reads them. A change has `ad_id` and `created_time` itself.
# https://developers.facebook.com/docs/marketing-api/reference/user-lead-gen-info
FIELDS: Final = frozenset(
    {
        *("form_id", "ad_name", "adset_id", "adset_name", "campaign_id", "campaign_name"),
        *("is_organic", "partner_name", "platform", "custom_disclaimer_responses"),
        *("home_listing", "post", "retailer_item_id", "vehicle"),
    }
)
# What the testing tool writes as the answer to each question; from public code.
# https://developers.facebook.com/docs/marketing-api/guides/lead-ads/testing-troubleshooting
DUMMY: Final = "<test lead:"
# Codes of errors, which the status does not tell: an expired token is answered 400, too. 100 is
# also the code of a field that is not known; 33, its subcode, that of a missing permission.
LOGIN_ERRORS: Final = frozenset({3, 10, 102, 190, *range(200, 300)})
BUSY_ERRORS: Final = frozenset({1, 2, 4, 17, 32, 341, 368, 613, 80005})
ID_ERRORS: Final = frozenset({100, 803})


def _request(_: str, ids: Sequence[str], wanted: Sequence[str]) -> CrmRequest:
    return CrmRequest(
        method="GET",
        path="/{API_VERSION}/",
        params={"ids": ",".join(ids), "fields": ",".join(sorted({"id", *wanted}))},
    )


def _records(answer: Any) -> dict[str, dict[str, Any]]:
    """Return the leads by id: of a read of several, {"<id>": {…}}, or of one, the lead itself."""
    if not isinstance(answer, dict):
        return {}
    if isinstance(answer.get(FIELD_DATA), list):
        lead_id = id_text(answer.get("id"))
        return {lead_id: answer} if lead_id else {}
    return {key: lead for key, lead in answer.items() if isinstance(lead, dict) and "id" in lead}


def _merge(data: Any, record: Mapping[str, Any]) -> Any:
    about = {name: value for name, value in record.items() if name != FIELD_DATA}
    answers = _answers(record.get(FIELD_DATA))
    # A test lead has no answers, so it has no number, whatever else its author made up.
    is_test = any(DUMMY in str(value).lower() for value in answers.values())
    return {**about, **data, LEAD: {"is_test": True} if is_test else answers}


def _answers(field_data: Any) -> dict[str, Any]:
    """Return the answers by the name of their question; several of one question as a list."""
    answers: dict[str, Any] = {}
    for field in list_of(field_data):
        name = id_text(field.get("name")) if isinstance(field, dict) else None
        values = [value for value in list_of(field.get("values")) if id_text(value)] if name else []
        if name and values:
            answers.setdefault(name, values[0] if len(values) == 1 else values)
    return answers


def _fields(paths: frozenset[Path]) -> frozenset[str]:
    return frozenset({FIELD_DATA, *FIELDS.intersection(path[0] for path in paths)})


def _refused_for(answer: Any) -> RefusedFor | None:
    """Return why the Graph API refuses, by its own code: {"error": {"code": 190, …}}."""
    error = answer.get("error") if isinstance(answer, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    if not isinstance(code, int):
        return None
    if code in LOGIN_ERRORS:
        return "login"
    if code in BUSY_ERRORS:
        return "busy"
    return "ids" if code in ID_ERRORS else None


KIND = Kind(
    name="meta",
    title="Meta Lead Ads",
    auth=Signatures(schemes=(SIGNATURE,)),
    parse=parse,
    count=count_changes,
    secret_help=SECRET_HELP,
    hydration=Hydration(
        batch=50,
        rate=50,
        login=BearerLogin(token="ACCESS_TOKEN"),
        api_url="API_URL",
        request=_request,
        records=_records,
        merge=_merge,
        fields=_fields,
        refused_for=_refused_for,
    ),
    variables=(
        VERIFY_TOKEN,
        Variable(
            suffix="ACCESS_TOKEN",
            sample="EAAMadeUpPageToken0000000000000000",
            help="a Page access token that may read leads (leads_retrieval)",
        ),
        Variable(suffix="API_URL", holds="address", default="https://graph.facebook.com"),
        Variable(
            suffix="API_VERSION",
            holds="version",
            default="v26.0",
            pattern=r"v[1-9][0-9]?\.[0-9]",
            sample="v26.0",
            help="the version of the Graph API; Meta supports each for about two years",
        ),
    ),
    default_type=UNKNOWN,
    ids=frozenset((name,) for name in IDS),
    phones=Expression.of(f"[{LEAD}.phone_number, {LEAD}.work_phone_number]"),
    names=Expression.of(f"{LEAD}.full_name || [{LEAD}.first_name, {LEAD}.last_name]"),
    emails=Expression.of(f"{LEAD}.email || {LEAD}.work_email"),
    region=Expression.of(f"{LEAD}.country"),
    reply=Reply(status=200),
    challenge=CHALLENGE,
    retries="36 hours",
)
