"""Standard Webhooks' own library verifies what a receiver of write-backs gets: `make clients`."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from support import WEBSITE, lead, route
from support.draining import MakeSettings, OpenWeb, RunDrain, found
from support.receiver import CUT, Receiver, serving

from schemas.outcome import Outcome, Result
from schemas.settings import WebhookOut
from store import Store

KEY, OTHER = ("whsec_" + base64.b64encode(text).decode() for text in (b"a made-up key", b"another"))
ROUTES = WEBSITE + route() + '[route.write_back]\non = ["outcome"]\n'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving() as receiver:
        yield receiver


def test_a_signed_webhook_verifies_and_comes_again_with_its_id_after_a_lost_answer(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    run_drain: RunDrain,
    receiver: Receiver,
) -> None:
    out = WebhookOut(url=receiver.url, secrets=(OTHER, KEY))
    settings = make_settings(ROUTES, webhooks_out={"website": out})
    store.note_write_back_routes({"call back": ["outcome"]})
    (id_,) = open_web(settings).send("website", lead())
    run_drain(settings)
    call = found(store, id_)
    receiver.answers = [CUT, 204]
    store.keep_outcome(
        Outcome(
            call_sid=call.call_sid,
            delivery_id=call.id,
            try_count=0,
            result=Result.CONNECTED,
            is_final=True,
            ended_at=datetime.now(UTC),
        )
    )
    run_drain(settings)
    (told,) = store.write_backs_of(call.id)
    store.redis.zadd("bridge:due:write_back", {told.id: 1})
    run_drain(settings)

    assert found(store, told.id).status == "delivered"
    assert [headers["webhook-id"] for headers, _ in receiver.got] == [told.id, told.id]
    for headers, body in receiver.got:
        for key in (KEY, OTHER):
            assert Webhook(key).verify(body, headers)["outcome"]["result"] == "connected"
        changed = json.dumps({**json.loads(body), "moment": "failed"})
        with pytest.raises(WebhookVerificationError):
            Webhook(KEY).verify(changed, headers)
