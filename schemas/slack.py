"""An alert as Slack's incoming webhooks take it: `text` for notifications, and blocks.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and
https://docs.slack.dev/reference/block-kit/blocks: at most 50 blocks; a section's text has 1 to
3,000 characters; a context has at most 10 elements. &, < and > must be escaped: a `<!channel>` in
the name of a route would call everybody.
"""

from typing import Any, Final

from schemas.alert import SUMMARY, Alert

MOST: Final = 3000  # characters of a text, once it is escaped
_ESCAPED: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_IN_A_LINK: Final = {**_ESCAPED, "|": "%7C"}


def slack_body(alert: Alert, public_url: str | None) -> dict[str, Any]:
    """Return the body to send. public_url: as in Alert.as_body()."""
    data = alert.as_body(public_url)["data"]
    said = f"{_sign(alert)} {escaped(data['message'], MOST - 40)}"
    url = "".join(_IN_A_LINK.get(char, char) for char in data["url"] or "")
    about = f"`{alert.full_type}`" + (f" · <{url}|Open the page>" if url else "")
    return {
        "text": said,
        "blocks": [
            {"type": "section", "text": _text(said)},
            {"type": "context", "elements": [_text(about[:MOST])]},
        ],
    }


def escaped(text: str, most: int) -> str:
    """Return a text with Slack's control characters escaped; what is beyond `most` is cut off."""
    found: list[str] = []
    left = most - 1  # for the mark of a cut
    for char in text:
        piece = _ESCAPED.get(char, char)
        if len(piece) > left:
            return "".join(found) + "…"
        left -= len(piece)
        found.append(piece)
    return "".join(found)


def _sign(alert: Alert) -> str:
    """Return the emoji that says at a glance what a message is."""
    if alert.type == SUMMARY:
        return ":bar_chart:"
    return ":white_check_mark:" if alert.is_over else ":rotating_light:"


def _text(text: str) -> dict[str, Any]:
    # verbatim: Slack makes no links of words that look like an address or a channel.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
