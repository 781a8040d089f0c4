"""Google Ads lead forms: one lead a request, with the answers of the person who filled in the form.

Nothing is signed: the key that you set in the form comes in the body, as `google_key` or, in some
of Google's own texts, as `Google_key`. The answers are a list of columns. `data` has them flat in
`lead`, by `column_id`, because a column may have no name, and those names in `questions`. "Send
test data" sends `is_test` with the same `lead_id` each time.

https://developers.google.com/google-ads/webhook/docs/implementation
How often Google tries again is not known: its page was seen in part.
"""

from collections.abc import Mapping
from typing import Any, Final

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from schemas.crm.fields import RecordId, sentence
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression
from schemas.source import Incoming, Kind, Reply, Source, Token, id_text

KEYS: Final = ("google_key", "Google_key")
COLUMNS: Final = "user_column_data"  # where Google has the answers
LEAD: Final = "lead"  # where they are in our data, by column_id
QUESTIONS: Final = "questions"  # the columns' names, by column_id
# The columns with a number. Google's API names WORK_PHONE; WORK_PHONE_NUMBER is from public code.
PHONES: Final = ("PHONE_NUMBER", "WORK_PHONE", "WORK_PHONE_NUMBER")
CREATED: Final = "lead.created"
TEST: Final = "lead.test"
# What the lead_id of Google's test data begins with, in the bodies that people have published.
TEST_ID: Final = "TeSter-"
NO_TEST: Final = (None, False, "", "false", 0)
IDS: Final = (
    *("lead_id", "form_id", "campaign_id", "adgroup_id", "creative_id", "asset_group_id"),
    *("gcl_id", "lead_submit_time"),
)


class LeadSchema(Schema):
    """The fields of a lead that we need."""

    class Meta:
        """Google adds keys without notice."""

        unknown = EXCLUDE

    lead_id = RecordId(
        required=True, validate=validate.Length(max=1000, error="is longer than 1000 characters")
    )
    # Each column is read later, so that a bad one does not make the others unreadable.
    user_column_data = fields.List(
        fields.Raw(allow_none=True),
        required=True,
        error_messages={"required": "is missing", "null": "is null", "invalid": "must be a list"},
    )


_LEAD: Final = LeadSchema()


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read the lead of a request, or each of a list; Google sends no list."""
    return [_item(body) for body in (content if isinstance(content, list) else [content])]


def _item(body: Any) -> Item:
    if not isinstance(body, dict):
        return Item(type=CREATED, data=body, problem="The body is not a JSON object.")
    data = {name: value for name, value in body.items() if name not in KEYS}
    is_test = _is_test(data)
    event_type = TEST if is_test else CREATED
    try:
        known = _LEAD.load(data)
    except ValidationError as error:
        problem = sentence("lead", error.messages_dict)
        return Item(type=event_type, data=data, problem=problem, is_test=is_test)
    columns = [column for column in known[COLUMNS] if isinstance(column, dict)]
    answers = _by_column(columns, "string_value")
    flat = {LEAD: answers, QUESTIONS: _by_column(columns, "column_name")}
    return Item(
        type=event_type,
        data={**{name: value for name, value in data.items() if name != COLUMNS}, **flat},
        # All tests have one lead_id, so that each but the first would be a duplicate.
        source_event_id=None if is_test else known["lead_id"],
        subject=known["lead_id"],
        time=read_time(data.get("lead_submit_time")),
        is_test=is_test,
    )


def _is_test(data: Mapping[str, Any]) -> bool:
    """Say whether nobody filled in the form. What is unclear is a test: it calls nobody."""
    marked = data.get("is_test")
    return (marked not in NO_TEST) or (id_text(data.get("lead_id")) or "").startswith(TEST_ID)


def _by_column(columns: list[dict[str, Any]], key: str) -> dict[str, str]:
    """Return the first text of each column at this key, by the column's id, or else its name."""
    found: dict[str, str] = {}
    for column in columns:
        name = id_text(column.get("column_id")) or id_text(column.get("column_name"))
        text = id_text(column.get(key))
        if name and text:
            found.setdefault(name, text)
    return found


KIND = Kind(
    name="google-ads",
    title="Google Ads lead forms",
    auth=Token(body=KEYS),
    parse=parse,
    secret_help="the key that you choose, and set in the lead form beside the webhook's URL",
    default_type=CREATED,
    ids=frozenset((name,) for name in IDS),
    phones=Expression.of(f"[{', '.join(f'{LEAD}.{name}' for name in PHONES)}]"),
    names=Expression.of(f"{LEAD}.FULL_NAME || [{LEAD}.FIRST_NAME, {LEAD}.LAST_NAME]"),
    emails=Expression.of(f"{LEAD}.EMAIL || {LEAD}.WORK_EMAIL"),
    # Whether Google takes 202 as a success is not known.
    reply=Reply(status=200),
)
