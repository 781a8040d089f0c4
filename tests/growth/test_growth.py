"""What a stranger's or a CRM's bytes cost grows no faster than the bytes: time at n and at 4n.

Linear work takes four times as long for four times the input, quadratic work sixteen times.
"""

import contextlib
import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any

import orjson
import pytest
from marshmallow import ValidationError
from requests.structures import CaseInsensitiveDict
from support import each
from support.bodies import Place, changed_at, places_of
from support.makers import NOW, NUMBER, call_route, settings
from support.makers import claim as a_claim
from support.makers import event as an_event
from support.samples import content_of, headers_of, incoming, items, samples, shown, source_of

from bridge.http.body import read_beginning, read_body
from rules import erasing
from rules.candidate import candidate_of
from rules.mapping import map_call
from rules.matching import as_event, matching
from rules.number_list import read_numbers
from rules.numbers import choose_number
from schemas.callkaro import read_call_answer, read_campaign_answer, read_deletion_answer
from schemas.crm import kinds
from schemas.errors import RequestError
from schemas.expression import Expression, ExpressionError
from schemas.fields import PhoneError, e164, mask, mask_marked, mask_text, to_schedule_at
from schemas.outcome import number_of, read_outcome
from schemas.raw_text import beginning, mask_raw, without_secrets
from schemas.responses import EventResponse
from schemas.signatures import verify
from schemas.source import (
    STANDARD_WEBHOOKS,
    Auth,
    Basic,
    Signatures,
    Token,
    id_text,
    proof_headers,
    read_time,
    secret_of,
)
from store.records import event_record, read_event

MOST = 8.0  # times as long for four times the input
SURE = 5.0  # what takes at most this many times as long in one round needs no five rounds
ROUNDS = 5
# 8,000 steps of a pattern take less than this, the square of that far more. So what is
# faster does not grow, and the clock and the collector would weigh more than the work.
FAST_S = 0.005

Work = Callable[[], Any]


def cost_s(work: Work) -> float:
    """Return the CPU time of the fastest of five rounds."""
    return min(once_s(work) for _ in range(ROUNDS))


def once_s(work: Work) -> float:
    """Return the CPU time of one round, without the collector: what it does depends on the rest."""
    gc.disable()
    try:
        began = time.process_time()
        work()
        return time.process_time() - began
    finally:
        gc.enable()


def assert_linear(make: Callable[[int], Work], n: int) -> None:
    """Assert that what make(4n) returns takes at most 8 times as long as what make(n) returns."""
    small, large = make(n), make(4 * n)
    took_s = once_s(large)
    if took_s > FAST_S and took_s > SURE * once_s(small):
        assert cost_s(large) <= MOST * cost_s(small)


# --- texts --------------------------------------------------------------------------------------

# Each is a text of about n characters that a pattern may read again from each of its places.
TEXTS: dict[str, Callable[[int], str]] = {
    "digits": lambda n: "1" * n,
    "digits and a letter": lambda n: "1" * n + "a",
    "other digits": lambda n: "९" * n + "x",
    "single digits": lambda n: "1 " * (n // 2) + "x",
    "pairs": lambda n: "12-" * (n // 3) + "x",
    "short runs": lambda n: "1234567 a" * (n // 9),
    "numbers": lambda n: "+919876543210, " * (n // 15),
    "numbers in words": lambda n: "a+919876543210b" * (n // 15),
    "percent escapes": lambda n: "%31%20" * (n // 6),
    "JSON escapes": lambda n: "\\u0031\\n" * (n // 8),
    "HTML escapes": lambda n: "&amp;#49;&nbsp;" * (n // 15),
    "backslashes": lambda n: "\\" * n + "x",
    "half an escape": lambda n: "&amp;" * (n // 5) + "%u003",
    "words like secrets": lambda n: "token" * (n // 5),
    "half secrets": lambda n: "token:'" * (n // 7),
    "plus signs": lambda n: "+" * n + "1",
    "brackets": lambda n: "(" * n + "1",
    "blanks": lambda n: " " * n + "1",
    "blanks within": lambda n: "1" + " " * n + "1",
    "tabs and dots": lambda n: "1\t.\t" * (n // 4),
    "commas": lambda n: "," * n,
    "line ends": lambda n: "\n" * n,
    "zero width": lambda n: "\u200b" * n + "1",
    "dashes": lambda n: "-" * n,
    "dates": lambda n: "2026-11-28 " * (n // 11),
    "times": lambda n: "2026-11-28 09:30 " * (n // 17),
    "letters": lambda n: "a" * n,
    "percent": lambda n: "%" * n,
    "quotes": lambda n: '"' * n,
    "tel": lambda n: "tel:" + ";phone-context=" * (n // 15),
}


REFUSALS = (PhoneError, RequestError, ExpressionError, ValidationError, ValueError)


def quiet(work: Callable[..., Any], *args: Any) -> Work:
    """Return the work without the refusal that it may end in."""

    def run() -> None:
        with contextlib.suppress(*REFUSALS):
            work(*args)

    return run


READERS: dict[str, Callable[[str], Any]] = {
    "mask": mask,
    "mask of an object": lambda text: mask({text: [text]}),
    "mask_text": mask_text,
    "mask_marked": mask_marked,
    "the event's page": lambda text: EventResponse().dump(an_event({text: text, "id": text})),
    "e164": lambda text: e164(text, "IN"),
    "choose_number": lambda text: choose_number(text, region="IN", countries=None),
    "id_text": id_text,
    "read_time": read_time,
    "to_schedule_at": lambda text: to_schedule_at(text, "Asia/Kolkata"),
    "mentions": lambda text: erasing.mentions(text, NUMBER),
    "without": lambda text: erasing.without({text: text}, NUMBER),
    "mask_raw": mask_raw,
    "without_secrets": lambda text: without_secrets(text, ["a-secret", "another: secret"]),
    "beginning": lambda text: beginning(text, len(text) // 2),
    "is_in_raw_text": lambda text: erasing.is_in_raw_text(text, NUMBER, {"101", "7"}),
    "read_beginning": lambda text: [
        read_beginning(text.encode(), f"text/plain; charset={charset}", encoding, len(text))
        for charset in ("utf-8", "utf-16")
        for encoding in ("", "deflate")
    ],
    "read_numbers": lambda text: read_numbers(text.encode()),
    "read_outcome": lambda text: read_outcome(
        {
            "event": "call_ended",
            "data": {
                "callSid": "c1",
                "call_metadata": {"bridge_delivery_id": text},
                "batchId": text,
                "try_count": text,
                "call_duration": text,
                "time": text,
                "recordingUrl": f"https://{text}",
                "transcription": text,
                "disposition_reason": text,
                "post_call": {text: text},
            },
        },
        "Asia/Kolkata",
    ),
    "number_of": lambda text: number_of(
        {"data": {"to": text}},
        read_outcome({"event": "call_ended", "data": {"callSid": "c"}}, "UTC"),
    ),
    "read_call_answer": lambda text: [
        read({"status": "error", "message": text, "call_sid": "", "batch_id": text})
        for read in (read_call_answer, read_campaign_answer, read_deletion_answer)
    ],
    "JSON": lambda text: read_body(orjson.dumps({text: text}), "application/json"),
    "a form": lambda text: read_body(text.encode(), "application/x-www-form-urlencoded"),
    "a multipart form": lambda text: read_body(text.encode(), "multipart/form-data; boundary=1"),
    "a content type": lambda text: read_body(b"{}", f"text/plain; {text}"),
    "a token": lambda text: verified(Token(body=("token",)), text),
    "a user": lambda text: verified(Basic(), text),
    "a signature": lambda text: verified(STANDARD_WEBHOOKS, text),
    **{
        f"{name}'s proof": (lambda text, auth=kind.auth: verified(auth, text))
        for name, kind in kinds().items()
    },
    **{f"{name}'s fields": (lambda text, name=name: parsed(name, text)) for name in kinds()},
}


def verified(auth: Auth, text: str) -> None:
    """Verify a request with this text in each place of its proof, but not in that of a time."""
    before = "Basic " if isinstance(auth, Basic) else ""
    headers = {name: before + text for name in proof_headers(auth)}
    for scheme in auth.schemes if isinstance(auth, Signatures) else ():
        at = f"{NOW.timestamp() * (1000 if scheme.timestamp_unit == 'ms' else 1):.0f}"
        headers |= {name: text for name in [scheme.id_header] if name}
        headers |= {name: at for name in [scheme.timestamp_header] if name}
        if scheme.timestamp_key:
            headers[scheme.header] = f"{scheme.timestamp_key}={at},{scheme.signature_key}={text}"
    of = CaseInsensitiveDict(headers)
    request = incoming(text.encode(), headers=of, url=f"https://a.example/?token={text}")
    query = {"token": text} if isinstance(auth, Token) else {}
    secret = secret_of(auth, "a-secret-of-these-tests")
    verify(auth, [secret], replace(request, query=query), now=NOW, content={"token": text})


def parsed(name: str, text: str) -> None:
    for content, place, headers in read_in(name):
        for item in items(
            kinds()[name], changed_at(content, place, lambda _: text), headers=headers
        ):
            as_event(item, source_of(kinds()[name]), NOW, 60)


@cache
def read_in(name: str) -> list[tuple[Any, Place, Any]]:
    """Return the fields of a kind's samples that its module reads, each with body and headers."""
    kind = kinds()[name]
    found: dict[tuple[Any, ...], tuple[Any, Place, Any]] = {}
    for content, headers in bodies_of(name):
        usual = items(kind, content, headers=headers)
        for place in places_of((str, int, float), content):
            other = items(kind, changed_at(content, place, lambda _: "x y"), headers=headers)
            if [shown(item) for item in other] != [shown(item) for item in usual]:
                found.setdefault(names_in(place), (content, place, headers))
    return [*found.values()]


def bodies_of(name: str) -> Iterator[tuple[Any, Any]]:
    """Yield the content and the headers of each sample of a kind."""
    for sample in (path for path in samples() if path.parent.name == name):
        yield content_of(sample), headers_of(sample)


def names_in(place: Place) -> tuple[Any, ...]:
    """Return a place without the numbers of entries: those of a list are alike."""
    return tuple(key for key in place if isinstance(key, str))


@pytest.mark.slow
@each("text", TEXTS)
@each("reader", READERS)
def test_a_long_text_costs_no_more_than_its_length(reader: str, text: str) -> None:
    assert_linear(lambda n: quiet(READERS[reader], TEXTS[text](n)), 2_000)


# --- bodies with many parts -----------------------------------------------------------------------

ROUTE = call_route(
    "\n".join(
        (
            "match = \"contains(tags, 'a') || length(tags) > `3`\"",
            'when = "people[?age > `3`].name | length(@) > `0`"',
            'consent = "people[0].consent"',
        )
    ),
    'language = "people[0].language"',
    metadata='name = "people[0].name"\nall = "join(\', \', people[].name)"',
)
EXPRESSIONS = (
    "people[].name",
    "people[?age == `1`].name | [0]",
    "sort_by(people, &age)[0].name",
    "max_by(people, &age).name",
    "join(',', people[].name)",
    "contains(people[].name, 'nobody')",
    "*.name[]",
    "people[*].tags[]",
    "keys(@)",
    "values(@)[0]",
    "length(people)",
    "reverse(people)[0].name",
    "merge(@, {a: `1`})",
    "map(&name, people)",
)


def lead(n: int) -> dict[str, Any]:
    """Return a record of a size that grows with n."""
    people = [{"name": f"Asha {at}", "age": n - at, "tags": ["a", "b"]} for at in range(n)]
    return {"phone": NUMBER, "tags": [str(at) for at in range(n)], "people": people}


def alike(n: int) -> dict[str, Any]:
    """Return an object whose keys all have one mask."""
    return {f"+9198{at:06d}3210": at for at in range(n)}


def taken(n: int) -> dict[str, Any]:
    """Return an object with the very keys that keys which look alike are renamed to."""
    return {f"+91••••••3210 ({at})": at for at in range(n)} | alike(n)


def nested(n: int, depth: int = 30) -> Any:
    """Return lists of lists, n in all."""
    value: Any = ["9876543210"] * (n // depth)
    for _ in range(depth):
        value = [value, alike(n // depth)]
    return value


def hubspot_list(n: int) -> list[Any]:
    thin = {"portalId": 1, "subscriptionId": 2, "occurredAt": 1_795_869_896_273}
    word = {"subscriptionType": "contact.creation", "changeSource": "CRM"}
    return [{**thin, **word, "eventId": at, "objectId": at} for at in range(n)]


def zoho_list(n: int) -> dict[str, Any]:
    ids = [str(572_576_700_000_000_000 + at) for at in range(n)]
    return {
        "channel_id": 1,
        "server_time": 1_795_869_896_273,
        "module": "Leads",
        "operation": "insert",
        "ids": ids,
        "affected_fields": [{one: ["Phone"]} for one in ids],
        "affected_values": [{"record_id": one, "values": {"Phone": NUMBER}} for one in ids],
    }


def multipart(parts: int, *, header: int = 0) -> bytes:
    more = "".join(f"X-{at}: a\r\n" for at in range(header))
    part = f'--1\r\nContent-Disposition: form-data; name="a"\r\n{more}\r\nb\r\n'
    return (part * parts + "--1--\r\n").encode()


def parse_all(name: str, body: Any, headers: Any = None) -> None:
    kind = kinds()[name]
    for item in items(kind, body, headers=headers):
        record = event_record(as_event(item, source_of(kind), NOW, 60))
        read_event(record.decode())
        for expression in (kind.phones, kind.names, kind.emails, kind.region, kind.opt_out):
            if expression:
                with contextlib.suppress(ExpressionError):
                    expression.search(item.data)


def with_more(name: str, n: int) -> None:
    """Parse the samples of a kind with n entries in each list, and n more keys in each object."""
    seen = set()
    for content, headers in bodies_of(name):
        for place in places_of((list, dict), content):
            if (names := names_in(place)) not in seen:
                seen.add(names)
                parse_all(name, changed_at(content, place, lambda of: more_of(of, n)), headers)


def more_of(value: Any, n: int) -> Any:
    return (value * n)[:n] if isinstance(value, list) else value | alike(n)


def hydrate(name: str, n: int) -> None:
    hydration = kinds()[name].hydration
    assert hydration is not None
    records = [{"id": str(at), "properties": lead(1), **lead(1)} for at in range(n)]
    found = hydration.records({"data": records, "results": records})
    assert len(found) == n
    for one in (found["0"], {"id": "1", "properties": lead(n), **lead(n)}):
        hydration.merge({"notification": {}, **lead(n)}, one)
    hydration.fields(frozenset(("properties", f"p{at}") for at in range(n)))
    hydration.request("contacts", [*found], [f"p{at}" for at in range(n)])


def decide(n: int) -> None:
    made = settings(ROUTE)
    claimed = a_claim(lead(n))
    assert claimed.event is not None
    list(matching(claimed.event, made.routes))
    map_call(candidate_of(claimed, claimed.event.data, made, NOW))


PARTS: dict[str, Callable[[int], Any]] = {
    "keys that look alike": lambda n: mask(alike(n)),
    "keys that are taken": lambda n: mask(taken(n)),
    "nested": lambda n: mask(nested(n)),
    "numbers in a list": lambda n: mask([NUMBER] * n),
    "the event's page": lambda n: EventResponse().dump(an_event(alike(n))),
    "the event's page, in words": lambda n: EventResponse().dump(
        an_event({f"call 98{at:06d}3210": at for at in range(n)})
    ),
    "mentions": lambda n: erasing.mentions(nested(n), "+14155550123"),
    "without": lambda n: erasing.without(nested(n), NUMBER),
    "the first number": lambda n: choose_number([[]] * n, region=None, countries=None),
    "nested numbers": lambda n: choose_number(nested(n), region=None, countries=None),
    "JSON objects": lambda n: read_body(b"[" + b"{}," * n + b"{}]", "application/json"),
    "JSON keys": lambda n: read_body(orjson.dumps(alike(n)), "application/json"),
    "JSON levels": lambda n: read_body(b"[" * n + b"]" * n, "application/json"),
    "form fields": lambda n: read_body(b"a=b&" * n, "application/x-www-form-urlencoded"),
    "form names": lambda n: read_body(
        "&".join(f"a{at}=b" for at in range(n)).encode(), "application/x-www-form-urlencoded"
    ),
    "parts": lambda n: read_body(multipart(n), "multipart/form-data; boundary=1"),
    "part headers": lambda n: read_body(multipart(1, header=n), "multipart/form-data; boundary=1"),
    **{f"{name}'s lists and objects": partial(with_more, name) for name in kinds()},
    "HubSpot's list": lambda n: parse_all("hubspot", hubspot_list(n)),
    "HubSpot's properties": lambda n: parse_all("hubspot", {"vid": 1, "properties": alike(n)}),
    "Zoho's ids": lambda n: parse_all("zoho", zoho_list(n)),
    "Zoho's envelope": lambda n: parse_all("zoho", zoho_list(n) | {"query_params": "x" * 100 * n}),
    "Zoho's ids of one record": lambda n: parse_all("zoho", zoho_list(n) | {"ids": ["1"] * n}),
    "Zoho's list": lambda n: parse_all("zoho", [{"id": str(at)} for at in range(n)]),
    "a list": lambda n: parse_all("generic", [{"id": at} for at in range(n)]),
    "a lead": lambda n: parse_all("generic", lead(n)),
    "HubSpot's records": lambda n: hydrate("hubspot", n),
    "Zoho's records": lambda n: hydrate("zoho", n),
    "signatures": lambda n: verified(STANDARD_WEBHOOKS, "v1,AAAA " * n),
    "variables of an outcome": lambda n: read_outcome(
        {"event": "call_ended", "data": {"callSid": "c", "post_call": alike(n)}}, "UTC"
    ),
    "lines of a list": lambda n: read_numbers("\n".join(alike(n)).encode()),
    "columns of a list": lambda n: read_numbers(",".join(alike(n)).encode()),
    "quotes of a list": lambda n: read_numbers(b'a,"b\n9876543210\n' * n),
    "matching and mapping": decide,
}


@pytest.mark.slow
@each("parts", PARTS)
def test_many_parts_cost_no_more_than_their_number(parts: str) -> None:
    assert_linear(lambda n: quiet(PARTS[parts], n), 1_000)


@each("text", EXPRESSIONS)
def test_an_expression_costs_no_more_than_its_record(text: str) -> None:
    expression = Expression.of(text)

    def search(n: int) -> Work:
        data = lead(n)
        return quiet(expression.search, data)

    assert_linear(search, 1_000)
