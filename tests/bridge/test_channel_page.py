"""The page Routes shows a source's notification channel."""

from datetime import UTC, datetime, timedelta

from support import API_TOKEN, Web

from schemas.channel import Channel
from store import Store


def test_the_channel_of_a_source_is_shown(web: Web, store: Store) -> None:
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    assert "Last notification" not in web.client.get("/routes").text
    store.watch("zoho")
    page = web.client.get("/routes").text
    assert "not made yet" in page
    assert "none yet" in page
    past = datetime.now(UTC) - timedelta(hours=1)
    message = "Zoho CRM answered 503."
    store.keep_channel(Channel(source="zoho", expires_at=past, failures=2, message=message))
    page = web.client.get("/routes").text
    assert ">lapsed</span> until" in page
    assert "<dt>2 failures</dt><dd>Zoho CRM answered 503.</dd>" in page
