"""Which links a page shows, which host its policy names, and which links have a number."""

from support import each

from schemas.web_address import has_number, origin_of, web_address

NUMBER = "+919876543210"


@each(
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
    assert (origin_of(url), web_address(url)) == (origin, url)


@each(
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
        "https://-a.example/x",
        f"https://{'a' * 64}.example/x",
        f"https://a.example/{'x' * 2000}",
    ],
)
def test_a_link_to_no_plain_host_is_no_link(url: str | None) -> None:
    assert (origin_of(url), web_address(url)) == (None, None)


@each(
    "rest",
    [
        "919876543210.mp3",
        "9876543210/1",
        "09876543210",
        "%2B919876543210",
        "+91-98765-43210.mp3",
        "?to=%2B91%2098765%2043210",
        "?to=91+98765+43210&x=1",
        "?next=https%3A%2F%2Fa.example%2F%252B919876543210",
        "%39%38%37%36%35%34%33%32%31%30",
        "call_919876543210_1",
        "1732861923-98765.43210-a.mp3",
    ],
)
def test_a_link_has_the_number_in_any_spelling(rest: str) -> None:
    assert has_number(f"https://a.example/{rest}", NUMBER)


@each(
    "rest",
    [
        "c-1.mp3",
        "6803fa770b666a64ab1694c1.mp3",
        "1732861923000.mp3?expires=1732865523",  # ids and times are no number
        "3210.mp3",  # a mask shows these digits, too
        "98765x43210",
        "%zz%2",
    ],
)
def test_a_link_without_the_number_has_none(rest: str) -> None:
    assert not has_number(f"https://a.example/{rest}", NUMBER)


@each(
    ("url", "has_one"),
    [
        ("https://a.example/919876543210.mp3", True),
        ("https://a.example/?to=98765%2043210", True),
        ("https://a.example/call?id=1234567", False),
        ("https://a.example/6803fa770b666a64ab1694c1.mp3", False),
    ],
)
def test_any_long_run_of_digits_may_be_a_number_that_is_not_known(url: str, has_one: bool) -> None:
    assert has_number(url, None) is has_one


def test_a_number_of_somebody_else_counts_where_a_plus_marks_it() -> None:
    assert has_number("https://a.example/?from=%2B442071838750", NUMBER)
