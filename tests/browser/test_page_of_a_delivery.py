"""How a call ended, as a salesperson reads and hears it, in a real browser."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from browser.by_keyboard import heard_s
from playwright.sync_api import Page, expect
from support import Bridge, lead

from simulator import Simulator

OpenPage = Callable[..., Page]
Look = Callable[[Page, str], None]
ONE = "+919876543210"
SAID = """Agent: Hello Asha, this is Riya of Sunrise Homes. Is it a good time to talk?
User: Yes, tell me.
Agent: You asked about the flats in Baner. Are you still looking for one?
User: हाँ, लेकिन अभी नहीं। Please call me after 5 pm on Monday.
Agent: Of course. I will call on Monday, after five."""
NOTED = {"interested": "no", "call_after": "Monday, 5 pm", "budget": {"from": 60, "to": 75}}
REASONS = {
    "interested": {"value": "no", "comment": "She said that now is not the time."},
    "call_after": {"value": "Monday, 5 pm", "comment": "She asked for it herself."},
}


@pytest.fixture
def recording(simulator: Simulator) -> str:
    """The address of a recording."""
    return f"{simulator.url}/simulator/recording.wav"


def ended(bridge: Bridge, delivery_id: str, **more: Any) -> None:
    data = {"callSid": f"c-{delivery_id}", "call_metadata": {"bridge_delivery_id": delivery_id}}
    body = {"event": "call_ended", "data": {**data, "hangup_reason": "CLIENT_INITIATED", **more}}
    address = f"{bridge.url}/callbacks/callkaro/a-callback-token"
    assert bridge.session.post(address, json=body).status_code == 200


def a_call(bridge: Bridge, recording: str) -> str:
    [one] = bridge.send("website", lead(phone=ONE, name="Asha"))
    bridge.await_status(one, "delivered")
    found = {"call_link": "https://callkaro.example/call-history?call_id=1"}
    ended(
        bridge,
        one,
        **found,
        hangup_reason="USER_UNAVAILABLE",
        next_call_scheduled=True,
        time="2026-11-28 10:02:00",
    )
    ended(
        bridge,
        one,
        **found,
        try_count=1,
        call_duration=299,
        recordingUrl=recording,
        transcription=SAID,
        post_call=NOTED,
        post_call_detail=REASONS,
        disposition_reason="Wants to be called back.",
        time="2026-11-28 10:42:00",
    )
    return one


def play(page: Page) -> float:
    """Play the recording until it sounds, and return the second at which it is."""
    page.evaluate("document.querySelector('audio').play()")
    return heard_s(page)


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_salesperson_reads_how_the_call_ended_and_plays_it(
    bridge: Bridge, recording: str, open_page: OpenPage, look: Look, size: str, colours: str
) -> None:
    one = a_call(bridge, recording)
    page = open_page(size, color_scheme=colours)
    page.goto(f"/deliveries/{one}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Connected, 4 min 59 s")
    expect(page.get_by_role("heading", level=1)).to_contain_text("interested: no")
    expect(page.get_by_text("Please call me after 5 pm on Monday.")).to_be_visible()
    look(page, f"{size}-{colours}-delivery-ended")
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0

    heard_s = play(page)
    with page.expect_response(re.compile(r"/part\b")):  # a refresh does not stop it
        pass
    assert page.evaluate("document.querySelector('audio').paused") is False
    assert play(page) > heard_s


def test_a_recording_that_comes_while_the_page_is_open_is_played_after_one_click(
    bridge: Bridge, recording: str, open_page: OpenPage
) -> None:
    [one] = bridge.send("website", lead(phone=ONE, name="Asha"))
    bridge.await_status(one, "delivered")
    page = open_page()
    page.goto(f"/deliveries/{one}")
    ended(bridge, one, recordingUrl=recording, call_duration=60)
    expect(page.locator("audio")).to_have_count(0)
    page.get_by_role("link", name="Play the recording here").click()
    expect(page.locator("audio")).to_have_count(1)
    assert play(page) > 0


def test_an_unknown_call_says_where_to_look(
    bridge: Bridge, simulator: Simulator, open_page: OpenPage, look: Look, size: str
) -> None:
    simulator.state.behave(path="/call/outbound", times=1, status=502)
    [unknown] = bridge.send("website", lead(phone=ONE))
    bridge.await_status(unknown, "unknown")
    page = open_page(size)
    page.goto(f"/deliveries/{unknown}")
    expect(page.get_by_label("The command")).not_to_contain_text(ONE[1:])
    look(page, f"{size}-delivery-unknown")
    page.get_by_role("link", name="show numbers", exact=True).click()
    expect(page.get_by_label("The command")).to_contain_text(f"ck calls list --to {ONE[1:]}")
