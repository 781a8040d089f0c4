"""Salesforce's messages at the running web process: its Ack, and what gets none."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support import Web, each, keys_of, route
from support.draining import MakeSettings, OpenWeb
from support.samples import PAYLOADS

from bridge.http.xml_body import read_xml
from schemas.crm.salesforce import ACK
from store import Store

OURS = "00D00000000000S"  # as Salesforce's page of the company shows it: 15 characters
ROUTES = route(
    source="salesforce",
    event="lead.triggered",
    request={"to_number": '"Phone"', "agent_id": '{ value = "a" }'},
)
Post = Callable[..., Any]


def message(name: str) -> bytes:
    return (PAYLOADS / "salesforce" / f"{name}.body.xml").read_bytes()


@pytest.fixture
def post(make_settings: MakeSettings, open_web: OpenWeb) -> Post:
    """Open the web process of an organization, and post a message to it."""

    def posted(
        body: bytes,
        *,
        organization_id: str | None = OURS,
        token: str = "a-long-token",  # noqa: S107  (a made-up one)
        content_type: str = "text/xml; charset=UTF-8",
        **headers: str,
    ) -> Any:
        made = make_settings(ROUTES)
        of = {"ORGANIZATION_ID": organization_id} if organization_id else {}
        settings = replace(
            made,
            secrets={**made.secrets, "salesforce": ("a-long-token",)},
            variables={**made.variables, "salesforce": of},
        )
        web: Web = open_web(settings)
        headers = {"Content-Type": content_type, "SOAPAction": '""', **headers}
        path = f"/webhooks/salesforce?token={token}"
        return web.client.post(path, data=body, headers=headers)

    return posted


def stored(store: Store) -> int:
    return sum(store.counts().values())


@each("name", ["lead", "several_and_broken", "no_notifications", "user", "lead_deleted"])
@each("organization_id", [OURS, OURS + "AAA", f"00D00000000000X, {OURS}", None])
def test_what_is_stored_gets_an_ack(post: Post, name: str, organization_id: str | None) -> None:
    answer = post(message(name), organization_id=organization_id)
    assert (answer.status_code, answer.mimetype, answer.text) == (200, "text/xml", ACK)


def test_a_lead_is_one_delivery_however_often_it_is_sent(post: Post, store: Store) -> None:
    for _ in range(2):
        assert post(message("lead")).text == ACK
    assert stored(store) == 1


@each(
    ("changed", "status"),
    [
        ({"organization_id": "00D00000000000X"}, 401),
        ({"token": "another"}, 401),
        ({"content_type": "application/json"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"content_type": "text/xml; charset=utf-16"}, 415),
        ({"Content-Encoding": "gzip"}, 415),
    ],
)
def test_what_is_refused_gets_no_ack_and_is_not_stored(
    post: Post, store: Store, changed: dict[str, str], status: int
) -> None:
    answer = post(message("lead"), **changed)
    assert answer.status_code == status
    assert "Ack" not in answer.text
    assert keys_of(store) == set()


def test_an_entity_bomb_is_refused(post: Post, store: Store) -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]>'
    answer = post(message("lead").replace(b"?>\n", b"?>\n" + bomb, 1))
    assert (answer.status_code, answer.json["error"]) == (400, "bad_payload")
    assert stored(store) == 0


def test_while_the_store_is_away_there_is_no_ack(
    post: Post, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.redis.config_set("maxmemory", 1)
    answer = post(message("lead"))
    assert answer.status_code == 503
    assert "Ack" not in answer.text


def test_the_ack_is_soap(post: Post) -> None:
    answer = read_xml(post(message("no_notifications")).data)
    assert answer["Envelope"]["Body"]["notificationsResponse"] == {"Ack": "true"}
