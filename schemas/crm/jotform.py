"""Jotform: each submission of a form, as a multipart form with the answers as JSON in a field.

`rawRequest` is JSON text: the answers by `q<number>_<name>`, and Jotform's own keys. A phone is an
object (`{"full": …}`, or `area` and `phone`), a name has `first` and `last`. Routes also get
`answers`: each answer by its name alone, a phone as one text.

A webhook is not signed. Its token is in its URL, which Jotform repeats in the body as `webhookURL`.

https://www.jotform.com/help/245-how-to-setup-a-webhook-with-jotform/
https://asyncapi.apis.io/asyncapis/jotform/jotform-asyncapi/
The keys are those of bodies that public projects have recorded:
https://github.com/zulip/zulip/tree/main/zerver/webhooks/jotform/fixtures
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from schemas.crm.forms import by_question, each_object, unpacked
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression
from schemas.source import Incoming, Kind, Source, Token, id_text

RAW: Final = "rawRequest"
# The URL has our token.
SECRETS: Final = ("webhookURL", "token")
_QUESTION: Final = re.compile(r"q[0-9]+_(.+)", re.DOTALL)


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read the one submission of a request."""
    return each_object(content, source.default_type, lambda body: _item(body, source))


def _item(body: Mapping[str, Any], source: Source) -> Item:
    kept = {name: value for name, value in body.items() if name not in SECRETS}
    raw = unpacked(kept.get(RAW))
    if not isinstance(raw, dict):
        problem = "The submission's rawRequest is missing or is not a JSON object."
        return Item(type=source.default_type, data=kept, problem=problem)
    submission = id_text(kept.get("submissionID"))
    return Item(
        type=source.default_type,
        data={**kept, RAW: raw, "answers": by_question(_named(raw))},
        # A submission that its author edits later has the same id: nobody is called again.
        source_event_id=submission,
        subject=submission,
        # When the person pressed the button, in ms by their clock: not in older bodies.
        time=read_time(raw.get("submitDate"), source.timezone),
    )


def _named(raw: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    for key, value in raw.items():
        if found := _QUESTION.fullmatch(key):
            yield found[1], _answer(value)


def _answer(value: Any) -> Any:
    """Return an answer, a phone as one text."""
    if not isinstance(value, dict):
        return value
    full = value.get("full")
    if isinstance(full, str):
        return full
    parts = [value.get(part) for part in ("country", "area", "phone")]
    given = [part for part in parts if isinstance(part, str) and part]
    if not isinstance(value.get("phone"), str):
        return value
    # A country is its code, with or without the plus.
    if parts[0] in given and not given[0].startswith("+"):
        given[0] = f"+{given[0]}"
    return " ".join(given)


KIND = Kind(
    name="jotform",
    title="Jotform",
    auth=Token(),
    parse=parse,
    secret_help="a token that you choose and put into the webhook's URL as ?token=…",
    ids=frozenset({("submissionID",), ("formID",), (RAW, "submitDate"), (RAW, "buildDate")}),
    # The names that Jotform's own fields have in a new form.
    phones=Expression.of("[answers.phoneNumber, answers.phone, answers.mobile]"),
    emails=Expression.of("answers.email"),
    names=Expression.of(
        "[answers.name.first || answers.fullName.first, answers.name.last || answers.fullName.last]"
    ),
)
