"""Which links a page shows, and which host its policy names."""

import pytest

from bridge.dashboard.recording import link, origin_of, playable_origin


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://recordings.example/c-1.mp3", "https://recordings.example"),
        ("HTTPS://Recordings.Example/c-1.mp3?a=b;c", "https://recordings.example"),
        (
            "https://bucket.s3.ap-south-1.amazonaws.com:8443",
            "https://bucket.s3.ap-south-1.amazonaws.com:8443",
        ),
        ("http://127.0.0.1:8001/x", "http://127.0.0.1:8001"),
        ("https://a.example?x=1", "https://a.example"),
    ],
)
def test_the_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert (origin_of(url), link(url)) == (origin, url)


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "ftp://a.example/x",
        "javascript:alert(1)",
        "//a.example/x",
        "https:/a.example",
        "https://*/x",
        "https://*.example/x",
        "https://a.example;script-src/x",
        "https://a.example,b.example",
        "https://a.example'unsafe-inline'",
        "https://user@a.example/x",
        "https://a.example\\@b.example/x",
        "https://a.example:99999/x",
        "https://a.example:port/x",
        "https://[::1]/x",
        "https://a_b.example/x",
        "https://a.example /x",
        "https://a.example/x\nmedia-src *",
        "https://ä.example/x",
    ],
)
def test_a_link_to_no_plain_host_is_no_link(url: str | None) -> None:
    assert (origin_of(url), link(url)) == (None, None)


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
