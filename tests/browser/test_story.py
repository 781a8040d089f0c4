"""What a salesperson does from "how did it end with Meera?" to the recording, without a mouse."""

import re
from collections.abc import Callable

import pytest
from browser.by_keyboard import heard_s, look_by_day_and_night, tab_to
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect
from support import AGENT, CALL_BACK, Bridge, lead, notification, route

from simulator import Simulator

OpenPage = Callable[..., Page]
Look = Callable[[Page, str], None]
SALES = "the-token-of-a-person-in-sales"
HUBSPOT = "https://hubspot.example"
MEERA, OTHER = "+919845011223", "+919812345678"
ROUTES = CALL_BACK + route(
    "call new leads",
    source="hubspot",
    event="contact.created",
    request={
        "to_number": '"properties.phone"',
        "agent_id": f'{{ value = "{AGENT}" }}',
        "metadata.name": "\"join(' ', [properties.firstname, properties.lastname])\"",
    },
)
SAID = """Agent: Hello Meera, this is Riya of Sunrise Homes. Is it a good time to talk?
User: Yes, tell me about the flat in Baner."""


@pytest.fixture
def bridge(start_bridge: Callable[..., Bridge]) -> Bridge:
    """A bridge with a token for sales, whose links to HubSpot lead to a stand-in."""
    return start_bridge(
        ROUTES,
        own_web=True,
        API_TOKENS=f"sales:viewer:{SALES}",
        HUBSPOT_APP_URL=HUBSPOT,
    )


@pytest.fixture
def meera(bridge: Bridge, simulator: Simulator) -> str:
    """Meera's delivery, among those of other people; her call has ended."""
    simulator.state.put_record(
        "hubspot",
        "contacts",
        "551",
        {"firstname": "Meera", "lastname": "Iyer", "phone": MEERA, "lifecyclestage": "lead"},
    )
    [one] = bridge.send("hubspot", [notification("551")])
    for name in ("Asha", "Kiran"):
        bridge.send("website", lead(phone=OTHER, name=name))
    bridge.await_status(one, "delivered")
    status = simulator.end_call(
        f"{bridge.url}/callbacks/callkaro/a-callback-token",
        delivery_id=one,
        call_duration=299,
        transcription=SAID,
        post_call={"interested": "yes"},
        recordingUrl=f"{simulator.url}/simulator/recording.wav",
    )
    assert status == 200
    return one


def find(page: Page, text: str) -> Locator:
    """Search with keys alone, and return the rows that are found."""
    page.goto("/deliveries")
    page.keyboard.press("/")
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"[?&]search="))
    return page.locator("#rows tbody tr")


def open_stand_in_for_hubspot(context: BrowserContext) -> None:
    """Answer for HubSpot's app, which no test may reach."""

    def answer(route: Route) -> None:
        route.fulfill(content_type="text/html", body="<title>HubSpot</title>The record of Meera")

    context.route(f"{HUBSPOT}/**", answer)


def test_a_salesperson_finds_meera_hears_her_call_and_opens_her_record(
    bridge: Bridge, meera: str, open_page: OpenPage, look: Look, size: str
) -> None:
    page = open_page(size, token=SALES)
    open_stand_in_for_hubspot(page.context)
    for text in ("meera", MEERA[-4:], "551"):
        rows = find(page, text)
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text("Connected, 4 min 59 s")
        assert text not in page.url
    look_by_day_and_night(page, look, f"{size}-story-found")

    tab_to(page, rows.get_by_role("link").first)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/deliveries/{meera}$"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("Connected, 4 min 59 s")
    expect(page.get_by_text("tell me about the flat in Baner")).to_be_visible()
    expect(page.locator("main")).not_to_contain_text(MEERA)
    look_by_day_and_night(page, look, f"{size}-story-read")

    tab_to(page, page.locator("audio"))
    page.keyboard.press("Space")
    assert heard_s(page) > 0

    record = page.get_by_role("link", name="Open the record in the CRM")
    expect(record).to_have_attribute("href", f"{HUBSPOT}/contacts/62515/record/0-1/551")
    record.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{HUBSPOT}/**")
    expect(page.get_by_text("The record of Meera")).to_be_visible()


def test_a_viewer_can_not_retry(
    bridge: Bridge, simulator: Simulator, open_page: OpenPage, look: Look, size: str
) -> None:
    simulator.state.behave(path="/call/outbound", times=1, status=400, body='{"status": "error"}')
    [failed] = bridge.send("website", lead(phone=MEERA, name="Meera"))
    bridge.await_status(failed, "failed")
    page = open_page(size, token=SALES)
    page.goto(f"/deliveries/{failed}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("failed")
    for name in ("Retry", "Call again", "Suppress the number", "Show numbers"):
        expect(page.get_by_text(name, exact=True)).to_have_count(0)
    look_by_day_and_night(page, look, f"{size}-story-viewer")

    page.goto("/deliveries")  # every form of a session has the same CSRF token
    csrf = page.locator("form.search input[name=csrf]").get_attribute("value")
    answer = page.request.post(
        f"/deliveries/{failed}/retry", form={"csrf": csrf or ""}, headers={"Referer": bridge.url}
    )
    assert answer.status == 403
    assert bridge.status(failed) == "failed"
    assert simulator.state.calls_to(MEERA) == []
