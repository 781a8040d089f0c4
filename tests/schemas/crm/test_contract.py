"""The contract of every CRM module: a new one needs sample bodies here, and no test of its own.

A sample is tests/payloads/<kind>/<name>.body.json (or .form, .xml), with the items that it should
become in <name>.expected.json beside it. Where a header says what a body is about, it is in
<name>.headers.json.
"""

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from requests.structures import CaseInsensitiveDict
from support import ROOT, each
from support.bodies import changed_at, children, places_of
from support.samples import (
    CONTENT_TYPES,
    NOW,
    PAYLOADS,
    content_of,
    expected,
    headers_of,
    incoming,
    items,
    kind_of,
    label,
    samples,
    shown,
    source_of,
)

from bridge.http.body import read_body
from rules.numbers import candidates_of
from schemas.crm import kinds
from schemas.errors import BadSignature, TooLarge
from schemas.event import Item
from schemas.route import Route
from schemas.routes_toml import load_routes
from schemas.signatures import check_secret, sign, verify
from schemas.source import MAX_ITEMS, Incoming, Kind, Signatures, read_items, secret_of

JUNK: list[Any] = [
    None,
    True,
    0,
    1.5,
    "",
    "text",
    [],
    {},
    [None],
    [[]],
    [{}],
    ["x", 1, {}],
    {"": None},
]


def has_time(sample: Path) -> bool:
    """Say whether the strongest scheme of a sample's kind signs a time."""
    auth = kind_of(sample).auth
    return isinstance(auth, Signatures) and auth.schemes[0].timestamp_header is not None


SIGNED = [path for path in samples() if isinstance(kind_of(path).auth, Signatures)]
HYDRATING = [kind for kind in kinds().values() if kind.hydration]


def changed(content: Any, **more: Any) -> Any:
    """Return the body with keys set in each of its objects."""
    if isinstance(content, list):
        return [changed(item, **more) for item in content]
    return {**content, **more} if isinstance(content, dict) else content


def secret(kind: Kind, text: str = "a-made-up-secret-of-the-tests") -> str:
    """Return a webhook secret that suits a kind."""
    return secret_of(kind.auth, text)


def signed(kind: Kind, sample: Path) -> Incoming:
    request = incoming(sample.read_bytes(), CONTENT_TYPES[sample.suffix])
    headers = sign(kind.auth, secret(kind), request, now=NOW)
    return replace(request, headers=CaseInsensitiveDict(headers))


@pytest.mark.parametrize("name", kinds())
def test_every_kind_brings_a_sample(name: str) -> None:
    brought = [path for path in samples() if path.parent.name == name]
    assert brought, f"add tests/payloads/{name}/<event>.body.json"


def test_every_directory_of_samples_belongs_to_a_kind() -> None:
    assert {path.name for path in PAYLOADS.iterdir() if path.is_dir()} == set(kinds())


@each("sample", samples(), ids=label)
def test_a_sample_becomes_the_expected_items(sample: Path) -> None:
    assert [
        shown(item)
        for item in items(kind_of(sample), content_of(sample), headers=headers_of(sample))
    ] == expected(sample)


@each("sample", samples(), ids=label)
def test_an_unknown_key_is_ignored(sample: Path) -> None:
    content = changed(content_of(sample), aKeyOfNextYear={"nested": [1]})
    assert [
        shown(item) for item in items(kind_of(sample), content, headers=headers_of(sample))
    ] == expected(sample)


@each("sample", samples(), ids=label)
def test_a_resend_has_the_same_ids(sample: Path) -> None:
    resent = changed(content_of(sample), attemptNumber=7)
    ids = [
        item.source_event_id for item in items(kind_of(sample), resent, headers=headers_of(sample))
    ]
    assert ids == [item["source_event_id"] for item in expected(sample)]


@each("sample", samples(), ids=label)
def test_good_items_of_a_request_have_ids_that_differ(sample: Path) -> None:
    ids = [item["source_event_id"] for item in expected(sample) if item["source_event_id"]]
    assert len(ids) == len(set(ids))


@each("kind", kinds().values(), ids=lambda kind: kind.name)
@each("content", JUNK, ids=repr)
def test_junk_becomes_items_and_never_an_exception(kind: Kind, content: Any) -> None:
    assert all(isinstance(item, Item) for item in items(kind, content))


@each("sample", samples(), ids=label)
def test_a_signed_sample_is_accepted(sample: Path) -> None:
    kind = kind_of(sample)
    verify(kind.auth, [secret(kind, "rotated out"), secret(kind)], signed(kind, sample), now=NOW)


@each("sample", samples(), ids=label)
def test_an_unsigned_sample_is_refused(sample: Path) -> None:
    kind = kind_of(sample)
    unsigned = replace(signed(kind, sample), headers=CaseInsensitiveDict())
    with pytest.raises(BadSignature):
        verify(kind.auth, [secret(kind)], unsigned, now=NOW, content=content_of(sample))


@each("sample", samples(), ids=label)
def test_a_sample_signed_with_another_secret_is_refused(sample: Path) -> None:
    kind = kind_of(sample)
    with pytest.raises(BadSignature):
        verify(kind.auth, [secret(kind, "another")], signed(kind, sample), now=NOW)


@each("sample", SIGNED, ids=label)
def test_a_signed_sample_with_another_body_is_refused(sample: Path) -> None:
    kind = kind_of(sample)
    forged = replace(signed(kind, sample), body=sample.read_bytes() + b" ")
    with pytest.raises(BadSignature):
        verify(kind.auth, [secret(kind)], forged, now=NOW)


@each("sample", [path for path in SIGNED if has_time(path)], ids=label)
@each("minutes", [-6, 6])
def test_a_stale_sample_is_refused(sample: Path, minutes: int) -> None:
    kind = kind_of(sample)
    with pytest.raises(BadSignature):
        verify(
            kind.auth, [secret(kind)], signed(kind, sample), now=NOW + timedelta(minutes=minutes)
        )


@pytest.mark.parametrize("kind", kinds().values(), ids=lambda kind: kind.name)
def test_where_a_stranger_can_extend_a_body_it_is_read_as_json_alone(kind: Kind) -> None:
    ways = [kind.auth, *(choice.auth for choice in kind.signatures.values())]
    schemes = [one for auth in ways if isinstance(auth, Signatures) for one in auth.schemes]
    assert kind.is_json_only or not any(one.is_extendable for one in schemes)
    assert not kind.signatures or kind.auth == next(iter(kind.signatures.values())).auth


@pytest.mark.parametrize("kind", kinds().values(), ids=lambda kind: kind.name)
def test_an_empty_secret_is_no_secret(kind: Kind) -> None:
    assert check_secret(kind.auth, secret(kind)) is None
    assert check_secret(kind.auth, " ")
    with pytest.raises(BadSignature):
        verify(kind.auth, ["", " "], incoming(b"{}"), now=NOW, content={"token": ""})


@pytest.mark.parametrize("kind", HYDRATING, ids=lambda kind: kind.name)
def test_what_hydrates_also_says_where_its_login_stands(kind: Kind) -> None:
    hydration = kind.hydration
    assert hydration is not None
    suffixes = {variable.suffix for variable in kind.variables}
    assert {*hydration.login.needs, hydration.api_url} <= suffixes
    assert hydration.batch > 0
    for answer in JUNK:
        assert hydration.records(answer) == {}
        assert hydration.alone is None or hydration.alone.record(answer) is None
        assert hydration.refused_for is None or hydration.refused_for(answer) is None
    # Of many ids, a 404 means that the address is wrong.
    assert 404 not in hydration.none_statuses or hydration.batch == 1


@pytest.mark.parametrize("kind", HYDRATING, ids=lambda kind: kind.name)
@pytest.mark.parametrize("record_id", ["", "1/2", "../5", "1?x=2", "1 2", "1\n", "#", "\u0663"])
def test_an_id_that_is_no_id_goes_into_no_url(kind: Kind, record_id: str) -> None:
    alone = kind.hydration and kind.hydration.alone
    assert not alone or alone.request("contacts", record_id, ["phone"]) is None


@pytest.mark.parametrize("kind", kinds().values(), ids=lambda kind: kind.name)
def test_a_stand_in_gets_every_address_and_no_default_of_the_crm(kind: Kind) -> None:
    given = source_of(kind).simulated_variables("http://stand-in.example")
    for variable in kind.variables:
        value = given.pop(source_of(kind).variable_prefix + variable.suffix)
        assert (value == "http://stand-in.example") is (variable.holds == "address")
        assert value.strip()
        assert value != variable.default or variable.holds == "version"
        if variable.default:
            assert variable.default.startswith("http") is (variable.holds == "address")
    assert given == {}


@pytest.mark.parametrize("kind", kinds().values(), ids=lambda kind: kind.name)
def test_what_judges_events_judges_any_body_and_never_raises(kind: Kind) -> None:
    of_kind = [path for path in samples() if kind_of(path) is kind]
    known = [item.data for path in of_kind for item in items(kind, content_of(path))]
    for data in [*JUNK, *known]:
        if kind.opt_out:
            said = kind.opt_out.search(data)
            assert said is None or isinstance(said, bool)
        if kind.region:
            said = kind.region.search(data)
            assert said is None or isinstance(said, str)
        if kind.is_import:
            assert isinstance(kind.is_import(data), bool)
        if kind.is_own_change:
            for event_type in ("", "contact.updated", "call.created"):
                assert isinstance(kind.is_own_change(event_type, data), bool)
        if kind.write_back and kind.write_back.is_own_call:
            for event_type in ("", "contact.updated", "activity.created"):
                assert kind.write_back.is_own_call(event_type, data, {}) is False
        own_user = kind.hydration and kind.hydration.own_user
        if own_user:
            assert own_user.is_change(data, "1", frozenset({"x"})) is False
            assert own_user.is_out_of_scope(data) is False
            assert own_user.read(data) is None


@each("sample", samples(), ids=label)
def test_the_count_of_items_is_known_before_they_are_parsed(sample: Path) -> None:
    kind, content = kind_of(sample), content_of(sample)
    assert kind.count(content) >= len(items(kind, content))


@each("kind", kinds().values())
@each("junk", JUNK)
def test_the_count_of_items_is_known_of_any_body(kind: Kind, junk: Any) -> None:
    assert kind.count(junk) >= len(items(kind, junk))


@each("kind", kinds().values())
def test_a_body_with_too_many_items_is_refused_before_it_is_parsed(kind: Kind) -> None:
    def parse(*_: Any) -> list[Item]:
        pytest.fail("it was parsed")

    ids = [str(n) for n in range(MAX_ITEMS + 1)]
    marks = {"channel_id": 1, "server_time": 1, "module": "Leads"}
    bodies: list[Any] = [ids, [{}] * (MAX_ITEMS + 1), {**marks, "ids": ids}]
    many = [body for body in bodies if kind.count(body) > 1]
    assert many or all(len(items(kind, body)) == 1 for body in bodies)
    for body in many:
        with pytest.raises(TooLarge):
            read_items(source_of(replace(kind, parse=parse)), body, incoming())


@each("sample", [path for path in samples() if path.suffix == ".json"], ids=label)
def test_half_an_emoji_costs_nothing(sample: Path) -> None:
    kind, content = kind_of(sample), content_of(sample)
    odd = json.dumps(changed(content, aKeyOfNextYear="HALF")).replace("HALF", "\\ud83d")
    found = items(kind, read_body(odd.encode(), "application/json"), headers=headers_of(sample))
    assert [shown(item) for item in found] == expected(sample)
    orjson.dumps([item.data for item in found])


def without_id(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item as it is shown, without its id: that may be made of the whole body."""
    return {**item, "source_event_id": None}


def is_within(wanted: list[Any], found: list[Any]) -> bool:
    """Say whether all that is wanted is there, in the same order, with more between."""
    rest = iter(found)
    return all(any(one == other for other in rest) for one in wanted)


@each("sample", samples(), ids=label)
@each("broken", [None, 5, "text", {}, []], ids=repr)
def test_a_broken_item_does_not_cost_its_neighbours(sample: Path, broken: Any) -> None:
    kind, content, headers = kind_of(sample), content_of(sample), headers_of(sample)
    good = [without_id(item) for item in expected(sample) if not item["problem"]]
    for place in places_of(list, content):
        more = changed_at(content, place, lambda entries: [*entries[:1], broken, *entries[1:]])
        made = items(kind, more, headers=headers)
        assert is_within(good, [without_id(shown(item)) for item in made]), place


# --- whose number ---------------------------------------------------------------------------------

# The words in keys of people at the customer's: their number must never be called. Google's "user"
# is the person who filled in the form.
COLLEAGUE: Final = re.compile(
    r"receiver|seller|owner|agent|assign|creator|host|organi[sz]er|user(?!_column)", re.I
)
PLANTED: Final = "+911234599990"
PLANTS: Final = dict.fromkeys(
    ("owner_phone", "agentPhone", "RECEIVER_MOBILE", "user_mobile", "host", "seller[mobile]"),
    PLANTED,
)
PLANTED_PEOPLE: Final = {
    word: {"phone": PLANTED, "mobile": PLANTED}
    for word in ("user", "owner", "seller", "agent", "organizer")
}


def digits_of(value: Any) -> str:
    """Return the last ten digits of a number; "": it has fewer."""
    return re.sub(r"\D", "", str(value))[-10:] if len(re.sub(r"\D", "", str(value))) >= 10 else ""


def colleagues_in(value: Any, *, is_one: bool = False) -> set[str]:
    """Return the numbers of colleagues in a body, without those that somebody else has there."""
    found: set[str] = set()
    for key, child in children(value):
        found |= colleagues_in(child, is_one=is_one or bool(COLLEAGUE.search(str(key))))
    if is_one and not isinstance(value, dict | list):
        found.add(digits_of(value))
    return found - {""}


def planted(value: Any) -> Any:
    """Return a body with a colleague's number in each object, under the usual names.

    An object of objects alone is left as it is: people name its fields, and one of them may be the
    number of the person.
    """
    if isinstance(value, list):
        return [planted(one) for one in value]
    if not isinstance(value, dict):
        return value
    of = {key: planted(child) for key, child in value.items()}
    is_map = bool(of) and all(isinstance(child, dict) for child in of.values())
    # The fields of a form are texts.
    people = {} if all(isinstance(child, str) for child in of.values()) else PLANTED_PEOPLE
    return of if is_map else {**PLANTS, **people, **of}


def guide_routes(kind: Kind) -> list[Route]:
    """Return the routes of a kind's guide; of HubSpot and Zoho, those of the repository."""
    folder = ROOT / "examples" / kind.name
    file = (folder if folder.is_dir() else ROOT) / "routes.toml"
    routes = load_routes(file.read_text("utf-8"), file=file.name, kinds=kinds()).routes
    return [one for one in routes if one.source == kind.name]


ROUTES: Final = {kind.name: guide_routes(kind) for kind in kinds().values()}


def called(kind: Kind, content: Any, sample: Path) -> set[str]:
    """Return the numbers that a kind knows in a body, and those that its guide's route reads."""
    found = []
    for item in items(kind, content, headers=headers_of(sample)):
        found += [kind.phones.search(item.data)] if kind.phones else []
        routes = [one for one in ROUTES[kind.name] if one.wants(kind.name, item.type)]
        found += [one.request["to_number"].search(item.data) for one in routes]
    return {digits_of(number) for raw in found for number in candidates_of(raw)} - {""}


@pytest.mark.parametrize("kind", kinds().values(), ids=lambda kind: kind.name)
def test_the_numbers_of_the_samples_are_known_or_fetched(kind: Kind) -> None:
    """So that the next test has something to look at."""
    of_kind = [path for path in samples() if kind_of(path) is kind]
    assert kind.hydration or any(called(kind, content_of(path), path) for path in of_kind)


@each("sample", samples(), ids=label)
def test_the_phone_is_that_of_the_person_and_of_no_colleague(sample: Path) -> None:
    kind, content = kind_of(sample), content_of(sample)
    numbers = called(kind, content, sample)
    assert not numbers & colleagues_in(content)
    assert called(kind, planted(content), sample) == numbers
