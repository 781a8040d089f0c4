"""A request that arrives in pieces: when it is whole, and what gunicorn's parser then reads."""

import pytest
from gunicorn.config import Config
from gunicorn.http import get_parser
from hypothesis import given
from hypothesis import strategies as st
from support import examples

from bridge.http.arriving import HEAD_BYTES, MAX_CHUNKS, TRY_PATH, Arriving
from config.settings import MAX_BODY_BYTES

POST = b"POST /webhooks/website?token=x HTTP/1.1\r\nHost: a\r\n"


def fed(*pieces: bytes) -> Arriving:
    arriving = Arriving()
    for piece in pieces:
        arriving.feed(piece)
    return arriving


def body_of(arriving: Arriving) -> bytes:
    request = next(get_parser(Config(), arriving, ("127.0.0.1", 1)))
    body: bytes = request.body.read()
    return body


def chunked(body: bytes, sizes: list[int], more: bytes, trailers: bytes) -> bytes:
    made, at = b"", 0
    for size in sizes:
        piece, at = body[at : at + size], at + size
        made += b"%x%s\r\n%s\r\n" % (len(piece), more, piece) if piece else b""
    rest = body[at:]
    made += b"%X\r\n%s\r\n" % (len(rest), rest) if rest else b""
    return made + b"0\r\n" + trailers + b"\r\n"


@examples(200)
@given(
    body=st.binary(max_size=300),
    cuts=st.lists(st.integers(0, 700), max_size=8),
    sizes=st.none() | st.lists(st.integers(1, 60), max_size=6),
    more=st.sampled_from([b"", b";a=1", b'; b="\\"x"']),
    trailers=st.sampled_from([b"", b"X-Sum: 1\r\n", b"X-Sum: 1\r\nX-More: 2\r\n"]),
    after=st.sampled_from([b"", b"G", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"]),
)
def test_a_request_is_whole_at_its_last_byte_however_it_is_cut(
    body: bytes,
    cuts: list[int],
    sizes: list[int] | None,
    more: bytes,
    trailers: bytes,
    after: bytes,
) -> None:
    if sizes is None:
        raw = POST + b"content-LENGTH : %d\r\n\r\n".replace(b" :", b":") % len(body) + body
    else:
        raw = POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, sizes, more, trailers)
    arriving, at = Arriving(), 0
    for cut in sorted({cut for cut in cuts if cut < len(raw)}):
        arriving.feed(raw[at:cut])
        at = cut
        assert not arriving.is_ready
    arriving.feed(raw[at:] + after)

    assert arriving.is_ready
    assert arriving.is_whole
    assert arriving.path == b"/webhooks/website"
    assert body_of(arriving) == body
    assert arriving.recv(1) == b""
    arriving.end()
    assert len(arriving) == len(after)
    assert arriving.is_ready == (len(after) > 1)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\nHost: a\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: abc\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_a_head_without_a_length_is_whole_at_its_empty_line(head: bytes) -> None:
    assert not fed(head[:-1]).is_ready
    assert fed(*(bytes([byte]) for byte in head)).is_whole


@pytest.mark.parametrize(
    "raw",
    [
        b"Content-Length: %d\r\n\r\n{" % (MAX_BODY_BYTES + 1),
        b"Content-Length: 99999999999999999999999999\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 9000,
        b"Transfer-Encoding: gzip\r\n\r\n\x1f\x8b\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n"
        + b"fffff0\r\n"
        + b"x" * (MAX_BODY_BYTES * 5 // 4 + 1),
    ],
)
def test_what_can_never_be_taken_is_judged_at_once(raw: bytes) -> None:
    arriving = fed(POST + raw)
    assert arriving.is_ready
    assert not arriving.is_whole


def test_the_chunks_of_a_body_are_counted() -> None:
    most = POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * (MAX_CHUNKS - 1)
    assert body_of(fed(most + b"0\r\n\r\n")) == b"x" * (MAX_CHUNKS - 1)

    arriving = fed(most + b"1\r\nx\r\n" * 2)
    assert arriving.is_ready
    assert not arriving.is_whole


def test_a_body_of_the_largest_size_is_awaited_and_the_form_that_tries_one_may_be_longer() -> None:
    length = b"Content-Length: %d\r\n\r\n{"
    assert not fed(POST + length % MAX_BODY_BYTES).is_ready
    tried = b"POST %s HTTP/1.1\r\n" % TRY_PATH
    assert not fed(tried + length % (4 * MAX_BODY_BYTES)).is_ready
    assert fed(tried + length % (4 * MAX_BODY_BYTES + 1)).is_ready


def test_a_head_has_a_limit() -> None:
    assert fed(b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES).has_large_head
    assert fed(b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES + b"\r\n\r\n").has_large_head
    assert not fed(b"GET / HTTP/1.1\r\nX: " + b"x" * (HEAD_BYTES - 100)).has_large_head


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue", b" 100-continue "])
def test_who_waits_for_a_continue_is_told_once(value: bytes) -> None:
    arriving = fed(POST + b"Expect:" + value + b"\r\nContent-Length: 2\r\n\r\n")
    assert arriving.wants_continue
    arriving.feed(b"{}")
    assert arriving.is_whole
    raw = arriving.recv(999)
    assert b"xpect" not in raw
    assert raw.endswith(b"Content-Length: 2\r\n\r\n{}")


def test_nobody_is_told_to_send_a_body_that_is_too_large() -> None:
    length = b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1)
    assert not fed(POST + b"Expect: 100-continue\r\n" + length).wants_continue
