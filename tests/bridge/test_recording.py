"""Which host the policy of a page names, so that it can play a recording."""

import pytest

from bridge.dashboard.recording import playable_origin


@pytest.mark.parametrize(
    ("url", "page", "origin"),
    [
        ("https://a.example/x", "https://bridge.example", "https://a.example"),
        ("https://a.example/x", "http://localhost:8000", "https://a.example"),
        ("http://a.example/x", "http://localhost:8000", "http://a.example"),
        ("http://a.example/x", "https://bridge.example", None),
        ("http://a.example/x", "HTTPS://bridge.example", None),
        (None, "https://bridge.example", None),
    ],
)
def test_a_page_by_https_plays_nothing_by_http(
    url: str | None, page: str, origin: str | None
) -> None:
    assert playable_origin(url, page) == origin
