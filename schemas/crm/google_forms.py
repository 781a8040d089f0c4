"""Google Forms and Sheets: a script in the form or the sheet posts each response as JSON.

Google Forms has no webhooks; examples/google-forms/ has the script (Apps Script), so the shape is
ours:

    {"form": {"id": …, "title": …}, "response": {"id": …, "submitted_at": …, "email": …},
     "answers": {"Your phone": "…"}}

`answers` has the questions' titles. `is_test` marks what the script's own sendTest() posts.

https://developers.google.com/apps-script/reference/forms/form-response
https://developers.google.com/apps-script/guides/triggers/installable
"""

from collections.abc import Mapping
from typing import Any

from schemas.crm.forms import each_object, mapping
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression
from schemas.source import Incoming, Kind, Source, Token, id_text


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read a response, or each of a list."""
    return each_object(content, source.default_type, lambda body: _item(body, source))


def _item(body: Mapping[str, Any], source: Source) -> Item:
    if not isinstance(body.get("answers"), dict):
        problem = "The response has no answers. The script must send them by their titles."
        return Item(type=source.default_type, data=body, problem=problem)
    response = mapping(body.get("response"))
    # An edited response keeps its id: nobody is called again.
    response_id = id_text(response.get("id"))
    return Item(
        type=source.default_type,
        data=body,
        source_event_id=response_id,
        subject=response_id,
        time=read_time(response.get("submitted_at"), source.timezone),
        is_test=body.get("is_test") is True,
    )


KIND = Kind(
    name="google-forms",
    title="Google Forms",
    auth=Token(),
    parse=parse,
    secret_help="a token that you choose and write into the script's TOKEN",
    ids=frozenset({("form", "id"), ("response", "id"), ("response", "submitted_at")}),
    phones=Expression.of('[answers.Phone, answers."Phone number", answers.Mobile]'),
    emails=Expression.of("response.email || answers.Email"),
    names=Expression.of('answers.Name || answers."Full name"'),
    # The script tries three times, and then Google mails its owner.
    retries="3 times in a minute",
)
