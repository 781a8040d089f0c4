"""Alerts in Slack's form, against the rules of its documentation, which are written here again."""

import html
import re
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
from hypothesis import given
from hypothesis import strategies as st
from support import each, examples

from schemas.alert import SUMMARY, TEST, TYPES, Alert
from schemas.slack import escaped, slack_body

NOW = datetime(2026, 1, 31, tzinfo=UTC)
URL = "https://bridge.example"

# https://docs.slack.dev/reference/block-kit/blocks and …/composition-objects/text-object
TEXT = {
    "type": "object",
    "required": ["type", "text"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "mrkdwn"},
        "text": {"type": "string", "minLength": 1, "maxLength": 3000},
        "verbatim": {"type": "boolean"},
    },
}
MESSAGE = {
    "type": "object",
    "required": ["text"],
    "additionalProperties": False,
    "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": 40_000},
        "blocks": {
            "type": "array",
            "minItems": 1,
            "maxItems": 50,
            "items": {
                "oneOf": [
                    {
                        "type": "object",
                        "required": ["type", "text"],
                        "additionalProperties": False,
                        "properties": {"type": {"const": "section"}, "text": TEXT},
                    },
                    {
                        "type": "object",
                        "required": ["type", "elements"],
                        "additionalProperties": False,
                        "properties": {
                            "type": {"const": "context"},
                            "elements": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 10,
                                "items": TEXT,
                            },
                        },
                    },
                ]
            },
        },
    },
}
VALID = jsonschema_rs.Draft202012Validator(MESSAGE)
# All that Slack reads between < and >: links, people, channels. Ours are links to our own pages.
SPECIAL = re.compile(r"<[^>]*>")
OUR_LINK = re.compile(r"<https://bridge\.example/[^<>|]*\|Open the page>")


def checked(alert: Alert, url: str | None = URL) -> dict[str, Any]:
    body = slack_body(alert, url)
    VALID.validate(body)
    for text in texts_of(body):
        assert all(OUR_LINK.fullmatch(found) for found in SPECIAL.findall(text))
        assert not re.search(r"&(?!amp;|lt;|gt;)", text)
    return body


def texts_of(body: dict[str, Any]) -> list[str]:
    section, context = body["blocks"]
    return [body["text"], section["text"]["text"], *(one["text"] for one in context["elements"])]


def alert(kind: str, *, is_over: bool = False, **facts: Any) -> Alert:
    return Alert(id="msg_1", type=kind, at=NOW, is_over=is_over, facts=facts)


@each("kind", [*TYPES, SUMMARY, TEST, "moon.full"])
def test_each_alert_has_slacks_shape_with_and_without_an_address(kind: str) -> None:
    for is_over in (False, True):
        for url in (URL, f"{URL}/", None):
            body = checked(alert(kind, is_over=is_over, scope="all"), url)
            assert ("Open the page" in str(body)) == bool(url)


def test_a_pause_and_its_end() -> None:
    began = checked(alert("destination.paused", scope="callkaro", reason="breaker"))
    sentence = "CallKaro is paused: CallKaro failed many times in a row. The bridge tests whether "
    assert began == {
        "text": f":rotating_light: {sentence}it is back.",
        "blocks": [
            {
                "type": "section",
                "text": {
                    "type": "mrkdwn",
                    "text": f":rotating_light: {sentence}it is back.",
                    "verbatim": True,
                },
            },
            {
                "type": "context",
                "elements": [
                    {
                        "type": "mrkdwn",
                        "text": f"`destination.paused` · <{URL}/|Open the page>",
                        "verbatim": True,
                    }
                ],
            },
        ],
    }
    ended = checked(alert("destination.paused", is_over=True, scope="callkaro"))
    assert ended["text"] == ":white_check_mark: CallKaro is not paused any more."
    assert "`destination.paused.resolved`" in str(ended)


def test_the_page_of_a_link_keeps_its_filters() -> None:
    about = texts_of(checked(alert("bulk.held", count=3)))[2]
    assert about.endswith(f"<{URL}/deliveries?status=held&amp;reason=bulk|Open the page>")


@each(
    "name", ["<!channel>", "<@U123>", "<https://a.example|us>", "a & b", "x" * 5000, "&<>" * 2000]
)
def test_the_name_of_a_route_calls_nobody_and_breaks_nothing(name: str) -> None:
    body = checked(alert("destination.paused", scope=f"route:{name}", reason="person"))
    assert name[:9] in html.unescape(body["text"])


@given(st.text(), st.text(), st.integers(), st.booleans())
@examples(200)
def test_whatever_a_fact_is_the_message_keeps_slacks_rules(
    name: str, message: str, count: int, is_over: bool
) -> None:
    facts = {"scope": name, "route": name, "source": name, "message": message, "count": count}
    for kind in TYPES:
        checked(alert(kind, is_over=is_over, **facts))


@given(st.text(alphabet="a&<>é", max_size=40), st.integers(8, 60))
@examples(200)
def test_a_cut_leaves_no_half_of_an_escape(text: str, most: int) -> None:
    cut = escaped(text, most)
    assert len(cut) <= most
    plain = html.unescape(cut)
    assert plain == text or (plain.endswith("…") and text.startswith(plain[:-1]))
