"""What is GoHighLevel's own: its words, which times are an event's, and do-not-disturb."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from support import each
from support.samples import NOW, PAYLOADS, content_of, incoming, items, source_of

from rules.person import digits_of, name_of
from schemas.crm.gohighlevel import HYDRATION, KIND, OPT_OUT, PUBLIC_KEYS, TYPES
from schemas.errors import BadSignature
from schemas.event import is_guarded_type
from schemas.public_keys import public_keys
from schemas.signatures import verify

OFF: Any = {"status": "inactive", "message": "", "code": "101"}


def event(word: Any = "ContactCreate", **more: Any) -> dict[str, Any]:
    return {"type": word, "locationId": "loc-1", "id": "c-1", "phone": "+911234500001", **more}


@each(
    ("word", "expected"),
    [
        ("ContactCreate", "contact.created"),
        ("ContactUpdate", "contact.updated"),
        ("ContactDelete", "contact.deleted"),
        ("ContactDndUpdate", "contact.dnd_updated"),
        ("ContactTagUpdate", "contact.tag_updated"),
        ("OpportunityCreate", "opportunity.created"),
        ("OpportunityUpdate", "opportunity.updated"),
        ("OpportunityDelete", "opportunity.deleted"),
        ("OpportunityStageUpdate", "opportunity.stage_updated"),
        ("OpportunityStatusUpdate", "opportunity.status_updated"),
        ("OpportunityAssignedToUpdate", "opportunity.assigned_to_updated"),
        ("OpportunityMonetaryValueUpdate", "opportunity.monetary_value_updated"),
        ("TaskComplete", "task.completed"),
        ("InvoicePaid", "InvoicePaid"),
        ("contactcreate", "contactcreate"),
        ("contact.created", "contact.created"),
    ],
)
def test_words(word: str, expected: str) -> None:
    [item] = items(KIND, event(word))
    assert (item.type, item.problem) == (expected, None)


def test_every_deletion_is_one_that_no_glob_calls_for() -> None:
    deletions = [ours for word, ours in TYPES.items() if word.endswith("Delete")]
    assert len(deletions) > 5
    assert all(map(is_guarded_type, deletions))


def test_the_data_is_the_body_as_it_came() -> None:
    body = event("OpportunityCreate", contactId="c-2", somethingNew=[1])
    [item] = items(KIND, body)
    assert item.data == body


# --- opportunities ----------------------------------------------------------------------------


def test_an_opportunity_leads_to_its_contact() -> None:
    [item] = items(KIND, event("OpportunityCreate", id="o-1", contactId="c-2"))
    assert (item.subject, item.subject_type, item.hydrate) == ("c-2", "contact", "contacts")


@each(
    ("word", "contact", "subject"),
    [
        ("OpportunityDelete", "c-2", "c-2"),
        ("OpportunityCreate", None, "o-1"),
        ("OpportunityCreate", {"id": "c-2"}, "o-1"),
        ("OpportunityCreate", "../users/1", "o-1"),
        ("OpportunityCreate", "c-2\n", "o-1"),
        ("ContactUpdate", "c-2", "o-1"),
    ],
)
def test_nothing_is_fetched_of_what_is_gone_or_names_no_contact(
    word: str, contact: Any, subject: str
) -> None:
    [item] = items(KIND, event(word, id="o-1", contactId=contact))
    assert (item.subject, item.hydrate, item.problem) == (subject, None, None)


def test_the_request_for_a_contact_is_as_documented() -> None:
    request = HYDRATION.request("contacts", ["c-2"], [])
    assert (request.method, request.path) == ("GET", "/contacts/c-2")
    assert request.headers == {"Version": "2021-07-28"}


def test_the_contact_comes_under_its_own_key() -> None:
    contact = {"id": "c-2", "phone": "+911234500002", "firstName": "Asha"}
    records = HYDRATION.records({"contact": contact})
    assert records == {"c-2": contact}
    body = event("OpportunityCreate", contactId="c-2")
    assert HYDRATION.merge(body, records["c-2"]) == {**body, "contact": contact}


@each(
    ("contact", "expected"),
    [
        ({"dnd": True}, True),
        ({"dndSettings": {"Call": {"status": "active"}}}, True),
        ({"dnd": False, "dndSettings": {"Call": OFF}}, False),
        ("junk", False),
    ],
)
def test_the_do_not_disturb_of_an_opportunitys_contact_counts(contact: Any, expected: bool) -> None:
    assert OPT_OUT.search(event("OpportunityCreate", contact=contact)) is expected


@each(
    ("data", "expected"),
    [
        ({"pipelineId": "p-1", "name": "A deal", "contact": {"firstName": "Asha"}}, "Asha"),
        ({"pipelineId": "p-1", "name": "A deal"}, None),
        ({"name": "Asha Rao", "firstName": "asha"}, "Asha Rao"),
        ({"firstName": "Asha", "lastName": "Rao"}, "Asha Rao"),
    ],
)
def test_the_name_is_the_persons_and_not_the_deals(
    data: dict[str, Any], expected: str | None
) -> None:
    assert name_of(None, data, KIND) == expected


@each(
    "more",
    [
        [{"phone": "+911234500002"}, {"phone": "+911234500003", "phoneLabel": None}],
        ["+911234500002", {"phone": "+911234500003"}, 7, None],
    ],
)
@each("place", [lambda data: data, lambda data: {"contact": data}])
def test_a_contact_may_have_more_numbers(more: list[Any], place: Any) -> None:
    data = place({"phone": "+911234500001", "additionalPhones": more})
    found = set(digits_of(data, KIND, None))
    assert found == {"1234500001", "1234500002", "1234500003"}


# --- ids --------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["webhook-id", "Idempotency-Key"])
def test_the_webhook_id_wins_over_a_header_and_a_header_over_nothing(header: str) -> None:
    [item] = items(KIND, event(webhookId="w-1"), headers={header: "h-1"})
    assert item.source_event_id == "w-1"
    [item] = items(KIND, event(), headers={header: "h-1"})
    assert item.source_event_id == "h-1"
    [item] = items(KIND, event())
    assert item.source_event_id is None


@pytest.mark.parametrize("odd", [None, "", True, ["w-1"], {"id": "w-1"}])
def test_an_odd_webhook_id_is_none_and_costs_no_lead(odd: Any) -> None:
    [item] = items(KIND, event(webhookId=odd))
    assert (item.source_event_id, item.problem) == (None, None)


def test_a_source_may_say_where_its_id_and_time_stand_but_the_word_is_the_type() -> None:
    body = event(
        webhookId="w-1", timestamp="2026-03-01T00:00:00Z", own={"key": 5, "at": 1767250800}
    )
    source = source_of(KIND, event="own", id="own.key", time="own.at")
    [item] = KIND.parse(body, incoming(), source)
    assert (item.type, item.source_event_id, item.time) == ("contact.created", "5", NOW)
    [item] = KIND.parse(body, incoming(), source_of(KIND, time="own.nothing"))
    assert item.time is None


def test_a_path_that_can_not_be_worked_out_is_a_problem_that_quotes_nothing() -> None:
    source = source_of(KIND, id="join('-', id)")
    [item] = KIND.parse(event(id="+911234500001"), incoming(), source)
    assert item.type == "contact.created"
    assert item.problem
    assert "+911234500001" not in item.problem


# --- times ------------------------------------------------------------------------------------

BORN, MADE = "2025-12-01T07:00:00.000Z", "2026-01-01T07:00:00.000Z"


@each(
    ("word", "times", "expected"),
    [
        ("ContactCreate", {"timestamp": MADE, "dateAdded": BORN}, "2026-01-01"),
        ("ContactCreate", {"dateAdded": BORN}, "2025-12-01"),
        ("ContactCreate", {"timestamp": "soon", "dateAdded": BORN}, "2025-12-01"),
        ("ContactCreate", {"timestamp": 1767250800000}, "2026-01-01"),
        ("ContactCreate", {"timestamp": {}, "dateAdded": []}, None),
        ("ContactCreate", {}, None),
        ("OpportunityCreate", {"dateAdded": BORN}, "2025-12-01"),
        ("ContactUpdate", {"timestamp": MADE, "dateAdded": BORN}, "2026-01-01"),
        ("ContactUpdate", {"dateAdded": BORN, "dateUpdated": MADE}, None),
        ("ContactTagUpdate", {"dateAdded": BORN}, None),
        ("OpportunityStageUpdate", {"dateAdded": BORN}, None),
        ("SomethingNew", {"dateAdded": BORN}, None),
    ],
)
def test_the_time_is_the_events_own_and_never_a_records_birthday(
    word: str, times: dict[str, Any], expected: str | None
) -> None:
    [item] = items(KIND, event(word, **times))
    assert item.problem is None
    assert (item.time.date().isoformat() if item.time else None) == expected


# --- what can't be read -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "shown", "cause"),
    [
        ({"type": None}, "unknown", "type is null"),
        ({"type": ""}, "unknown", "type is empty"),
        ({"type": ["+911234500001"]}, "unknown", "type must be text"),
        ({"id": None}, "contact.created", "id is null"),
        ({"id": ""}, "contact.created", "id must be an id"),
        ({"id": {"phone": "+911234500001"}}, "contact.created", "id must be an id"),
        ({"type": 7, "id": True}, "unknown", "id must be an id, type must be text"),
    ],
)
def test_a_broken_event_is_one_item_with_a_problem_that_quotes_nothing(
    broken: dict[str, Any], shown: str, cause: str
) -> None:
    [item] = items(KIND, {**event(), **broken})
    assert item.problem == f"The event can't be read: {cause}."
    assert (item.type, item.subject, item.source_event_id) == (shown, None, None)


@pytest.mark.parametrize("content", [None, [], [event()], "text", 7, True])
def test_what_is_no_object_is_one_item_with_a_problem(content: Any) -> None:
    [item] = items(KIND, content)
    assert (item.type, item.data, item.problem) == (
        "unknown",
        content,
        "The body is not a JSON object.",
    )


# --- do-not-disturb ---------------------------------------------------------------------------


@each(
    ("body", "expected"),
    [
        ({}, False),
        ({"dnd": False}, False),
        ({"dnd": None}, False),
        ({"dnd": ""}, False),
        ({"dnd": "false"}, False),
        ({"dnd": True}, True),
        ({"dnd": "true"}, True),
        ({"dnd": "yes"}, True),
        ({"dnd": 1}, True),
        ({"dnd": []}, True),
        ({"dnd": {"status": "inactive"}}, True),
        # One flag for every channel: it counts whatever the entry for calls says.
        ({"dnd": True, "dndSettings": {"Call": OFF}}, True),
        ({"dndSettings": {"Call": OFF}}, False),
        ({"dndSettings": {"Call": {"status": "active"}}}, True),
        ({"dnd": False, "dndSettings": {"Call": {"status": "active"}}}, True),
        ({"dndSettings": {"Call": {"status": "permanent"}}}, True),
        ({"dndSettings": {"Call": {"status": "a word of next year"}}}, True),
        ({"dndSettings": {"Call": {"status": ["active"]}}}, True),
        ({"dndSettings": {"Call": {"status": None}}}, False),
        ({"dndSettings": {"Call": {}}}, False),
        # Other channels say nothing of calls, nor does what comes in.
        ({"dndSettings": {"SMS": {"status": "active"}, "WhatsApp": {"status": "active"}}}, False),
        ({"inboundDndSettings": {"all": {"status": "active"}}}, False),
        # Of no shape that is documented, but no error either.
        ({"dndSettings": None}, False),
        ({"dndSettings": []}, False),
        ({"dndSettings": "active"}, False),
        ({"dndSettings": {"Call": "active"}}, False),
        ({"dndSettings": {"Call": [{"status": "active"}]}}, False),
    ],
)
def test_who_is_not_to_be_called(body: dict[str, Any], expected: bool) -> None:
    assert OPT_OUT.search(event(**body)) is expected


@each("content", [None, True, 0, 1.5, "", "dnd", [], ["dnd"], [{"dnd": True}]])
def test_what_is_no_object_is_nobodys_do_not_disturb(content: Any) -> None:
    assert OPT_OUT.search(content) is False


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "id", "dnd", "dndSettings", "Call", "status", "webhookId"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(ANY_JSON)
def test_no_body_at_all_raises(content: Any) -> None:
    assert isinstance(OPT_OUT.search(content), bool)
    assert len(items(KIND, content)) == 1


def test_the_samples_that_must_not_ring() -> None:
    samples = PAYLOADS / "gohighlevel"
    opted_out = {
        path.name.partition(".")[0]
        for path in samples.glob("*.body.json")
        if OPT_OUT.search(content_of(path))
    }
    assert opted_out == {"contact_create_with_dnd", "contact_dnd_update"}


def test_the_fields_it_reads_are_known() -> None:
    assert OPT_OUT.paths >= {("dnd",), ("dndSettings", "Call", "status")}


# --- how a request proves itself, and what it gets when there is no room ------------------------


def test_a_token_in_the_url_is_enough_and_one_in_the_body_is_not() -> None:
    verify(KIND.auth, ["made-up"], incoming(query={"token": "made-up"}), now=NOW)
    for request in (incoming(), incoming(query={"token": "other"})):
        with pytest.raises(BadSignature):
            verify(KIND.auth, ["made-up"], request, now=NOW, content=event(token="made-up"))


ED25519 = Ed25519PrivateKey.generate()
RSA = generate_private_key(public_exponent=65537, key_size=2048)
STRANGER = Ed25519PrivateKey.generate()
BODY = b'{"type": "ContactCreate", "id": "c-1"}'


def shown(key: Any) -> str:
    return base64.b64encode(
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).decode()


OURS = {"PUBLIC_KEYS": f"{shown(RSA)},{shown(ED25519)}"}


def by(key: Any, body: bytes = BODY) -> str:
    more = (PKCS1v15(), SHA256()) if key is RSA else ()
    return base64.b64encode(key.sign(body, *more)).decode()


def is_accepted(
    headers: dict[str, str],
    *,
    body: bytes = BODY,
    token: str = "made-up",  # noqa: S107  (no secret)
    variables: dict[str, str] = OURS,
) -> bool:
    request = incoming(body, headers=headers, query={"token": token} if token else {})
    try:
        verify(KIND.auth, ["made-up"], request, now=NOW, variables=variables)
    except BadSignature:
        return False
    return True


@each(("header", "key"), [("X-GHL-Signature", ED25519), ("X-WH-Signature", RSA)])
def test_a_signature_beside_the_token_must_be_right(header: str, key: Any) -> None:
    good = by(key)
    assert is_accepted({header: good})
    assert is_accepted({header.lower(): f" {good} "})
    assert not is_accepted({header: good}, body=BODY[:-1] + b" }")
    changed = ("A" if good[0] != "A" else "B") + good[1:]
    for forged in (changed, by(STRANGER), "", "n/a", "Zm9yZ2Vk", "\xe9", good[:-4], good + "AAAA"):
        assert not is_accepted({header: forged}), forged


@each(("header", "key"), [("X-GHL-Signature", ED25519), ("X-WH-Signature", RSA)])
def test_a_right_signature_replaces_no_token(header: str, key: Any) -> None:
    assert not is_accepted({header: by(key)}, token="")
    assert not is_accepted({header: by(key)}, token="other")


def test_without_a_signature_the_token_alone_counts() -> None:
    assert is_accepted({})
    assert is_accepted({"X-GHL-Signature": "N/A"})
    assert is_accepted({"X-GHL-Signature": "N/A", "X-WH-Signature": by(RSA)})
    assert not is_accepted({"X-GHL-Signature": "N/A", "X-WH-Signature": by(STRANGER)})


def test_a_weaker_signature_does_not_help_a_wrong_stronger_one() -> None:
    assert not is_accepted({"X-GHL-Signature": by(STRANGER), "X-WH-Signature": by(RSA)})
    assert is_accepted({"X-GHL-Signature": by(ED25519), "X-WH-Signature": "old"})


def test_a_key_of_the_other_algorithm_signs_nothing() -> None:
    assert not is_accepted({"X-GHL-Signature": by(RSA)})
    assert not is_accepted({"X-WH-Signature": by(ED25519)})
    only_rsa = {"PUBLIC_KEYS": shown(RSA)}
    assert not is_accepted({"X-GHL-Signature": by(ED25519)}, variables=only_rsa)


def test_without_keys_every_signature_is_wrong() -> None:
    assert not is_accepted({"X-GHL-Signature": by(ED25519)}, variables={})
    assert is_accepted({}, variables={})


def test_the_vendors_keys_are_the_default() -> None:
    first, second = public_keys(PUBLIC_KEYS)
    assert isinstance(first, Ed25519PublicKey)
    assert isinstance(second, RSAPublicKey)
    assert second.key_size == 4096


def test_it_is_told_to_come_again_by_the_one_status_it_comes_again_for() -> None:
    assert KIND.full_status == 429
