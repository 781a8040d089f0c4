"""Typeform: each response of a form, signed.

`form_response.answers` has the answers by type and field; a field's text (`title`) is elsewhere, in
`definition.fields`. So routes also get `answers`: each answer's value by the field's title and by
its `ref`, which its author can choose. The number is in an answer of the type phone_number.

https://www.typeform.com/developers/webhooks/example-payload/
https://www.typeform.com/developers/webhooks/secure-your-webhooks/
https://www.typeform.com/developers/webhooks/ (retries)
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from schemas.crm.forms import by_question, each_object, mapping, objects
from schemas.event import Item
from schemas.event_time import read_time
from schemas.expression import Expression
from schemas.source import Incoming, Kind, Signature, Signatures, Source, id_text

# base64 HMAC-SHA256 over the body, without a time.
SIGNATURE: Final = Signature(header="Typeform-Signature", encoding="base64", prefix="sha256=")
SUBMITTED: Final = "form.submitted"
# Typeform's word -> ours. A partial response is one that its person has not finished; its body was
# not seen. A word that is not here keeps Typeform's spelling.
# https://www.typeform.com/developers/webhooks/reference/create-or-update-webhook/
TYPES: Final = {"form_response": SUBMITTED, "form_response_partial": "form.partly_submitted"}
# What "Send test request" fills in, in bodies that several public projects keep as samples; the
# documentation does not say so. A number beside them is made up, too.
TEST_TEXT: Final = "Lorem ipsum dolor"
TEST_EMAIL: Final = "an_account@example.com"


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read the one response of a request."""
    return each_object(content, source.default_type, lambda body: _item(body, source))


def _item(body: Mapping[str, Any], source: Source) -> Item:
    word, response = body.get("event_type"), body.get("form_response")
    event_type = TYPES.get(word, word) if isinstance(word, str) and word else source.default_type
    if not isinstance(response, dict):
        problem = "The body has no form_response."
        return Item(type=event_type, data=body, problem=problem)
    # The token is the response's own id. The event_id is not known to be the same in a resend.
    token = id_text(response.get("token"))
    answers = objects(response.get("answers"))
    return Item(
        type=event_type,
        data={**body, "answers": by_question(_named(response, answers))},
        source_event_id=token and (token if event_type == SUBMITTED else f"{word}-{token}"),
        subject=token,
        time=read_time(response.get("submitted_at"), source.timezone),
        is_test=any(_is_test(answer) for answer in answers),
    )


def _named(response: Mapping[str, Any], answers: list[dict[str, Any]]) -> Iterator[tuple[Any, Any]]:
    """Yield the answers' values by title, then by ref, then by the names of hidden fields."""
    fields = objects(mapping(response.get("definition")).get("fields"))
    titles = {id_text(field.get("id")): field.get("title") for field in fields}
    asked = [(mapping(answer.get("field")), _value(answer)) for answer in answers]
    yield from ((titles.get(id_text(field.get("id"))), value) for field, value in asked)
    yield from ((field.get("ref"), value) for field, value in asked)
    yield from mapping(response.get("hidden")).items()


def _value(answer: Mapping[str, Any]) -> Any:
    """Return an answer's value, which is under the name of its type; a choice is its label."""
    kind = answer.get("type")
    value = answer.get(kind) if isinstance(kind, str) else None
    if not isinstance(value, dict):
        return value
    return value.get("label") or value.get("labels") or value.get("other") or value


def _is_test(answer: Mapping[str, Any]) -> bool:
    return answer.get("text") == TEST_TEXT or answer.get("email") == TEST_EMAIL


KIND = Kind(
    name="typeform",
    title="Typeform",
    auth=Signatures(schemes=(SIGNATURE,)),
    parse=parse,
    secret_help="the secret that you write into the webhook in Typeform",
    secret_is_chosen=True,
    ids=frozenset({("event_id",), ("form_response", "form_id"), ("form_response", "token")}),
    phones=Expression.of("form_response.answers[?type == 'phone_number'].phone_number"),
    emails=Expression.of("form_response.answers[?type == 'email'].email | [0]"),
    names=Expression.of(
        "answers.name || answers.full_name || [answers.first_name, answers.last_name]"
    ),
    # "If the 429, 408, 503 or 423 code is received, every 2-3 minutes for 10 hours."
    retries="10 hours",
)
