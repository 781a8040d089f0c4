"""Elementor Pro: the form action "Webhook" of a WordPress site, with or without "Advanced Data".

Without it, a field's name is its label ("Your phone"), beside `form_id` and `form_name`. With it,
names are nested as PHP writes them: `fields[phone][value]`. An item's data has objects in their
place: fields.phone.value. A submission has no id, and nothing is signed: the token is in the URL.

Elementor counts every status but 200 as an error of the form, and sends nothing again. So says its
source, modules/forms/actions/webhook.php of Elementor Pro, in public copies (2026-11-29).

https://developers.elementor.com/docs/form-actions/
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from schemas.event import Item
from schemas.expression import Expression
from schemas.source import Incoming, Kind, Reply, Source, Token, item_by_paths

# fields[phone][value], form[id], meta[page_url][value]; checkboxes have one level more.
_NESTED: Final = re.compile(r"(form|fields|meta)((?:\[[^\[\]]*\]){1,3})")


def parse(content: Any, request: Incoming, source: Source) -> list[Item]:
    """Read the one submission of a request."""
    if not isinstance(content, dict):
        problem = "The body is not a form."
        return [Item(type=source.default_type, data=content, problem=problem)]
    return [item_by_paths(_nested(content), request, source)]


def _nested(form: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a form with objects in the place of PHP's nested names. JSON stays as it is."""
    if any(isinstance(value, dict) for value in form.values()):
        return form
    made: dict[str, Any] = {}
    for name, value in form.items():
        found = _NESTED.fullmatch(name)
        _put(made, [found[1], *found[2][1:-1].split("][")] if found else [name], value)
    return made


def _put(made: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        inside = made.get(key)
        if not isinstance(inside, dict):  # as in PHP, the later name counts
            inside = made[key] = {}
        made = inside
    made[keys[-1]] = value


KIND = Kind(
    name="elementor",
    title="Elementor forms",
    auth=Token(),
    parse=parse,
    count=lambda content: 1,
    secret_help="a token that you choose and put into the Webhook URL of the form, as ?token=…",
    ids=frozenset({("form", "id"), ("form_id",)}),
    # With "Advanced Data", the type of a field is known. Without, these are usual labels.
    phones=Expression.of(
        "[(fields.* | [?type == 'tel'].value), [Phone, phone, Mobile, mobile, Telephone]][]"
    ),
    names=Expression.of("fields.name.value || Name || name"),
    emails=Expression.of("(fields.* | [?type == 'email'].value | [0]) || Email || email"),
    reply=Reply(status=200),
    retries="none",
)
