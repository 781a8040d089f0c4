"""The lists in a real browser: long names, whole rows, folded filters, kept views."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from support import ALL_ROUTES, API_TOKEN, Bridge, lead, route

OpenPage = Callable[..., Page]
Look = Callable[[Page, str], None]
LONG = "call_everybody_who_filled_in_the_form_of_the_trade_fair_in_pune_and_asked_for_a_call_back"
# Counts how often the banner #stale was hidden.
COUNT_HIDDEN = """() => {
  const banner = document.getElementById("stale");
  window.timesHidden = 0;
  const count = () => { window.timesHidden += banner.hidden; };
  new MutationObserver(count).observe(banner, { attributes: true });
}"""
NUMBER = "+919876543210"


@pytest.fixture
def bridge(start_bridge: Callable[..., Bridge]) -> Bridge:
    """A bridge with a route whose name is one long word."""
    return start_bridge(ALL_ROUTES + route(LONG, event="fair.visited"), own_web=True)


def test_long_names_push_nothing_and_a_whole_row_is_a_link(
    bridge: Bridge, open_page: OpenPage, look: Look, size: str
) -> None:
    [one] = bridge.send("website", lead(event_type="fair.visited", phone=NUMBER, name="Asha"))
    bridge.await_status(one, "delivered")
    event = str(bridge.get(f"/api/deliveries/{one}")["event_id"])
    page = open_page(size)
    for name, path in (
        ("overview", "/"),
        ("deliveries", "/deliveries"),
        ("filtered", f"/deliveries?status=delivered&status=failed&route={LONG}"),
        ("events", "/events"),
        ("routes", "/routes"),
        ("delivery", f"/deliveries/{one}"),
    ):
        page.goto(path)
        look(page, f"{size}-long-{name}")
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{name} is wider than the window"
        for link in page.get_by_label("Pages").get_by_role("link").all():
            box = link.bounding_box()
            assert box
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= page.evaluate("window.innerWidth")
    for path, target in (("/deliveries", f"/deliveries/{one}"), ("/events", f"/events/{event}")):
        page.goto(path)
        row = page.locator("#rows tbody tr").first
        box = row.bounding_box()
        assert box
        row.click(position={"x": box["width"] / 2, "y": box["height"] - 3})
        expect(page).to_have_url(re.compile(f"{target}$"))


def test_filters_are_folded_on_a_phone_and_a_view_is_kept(
    bridge: Bridge, open_page: OpenPage, look: Look
) -> None:
    [one] = bridge.send("website", lead(phone=NUMBER))
    bridge.await_status(one, "delivered")
    page = open_page("phone", java_script_enabled=False)
    page.goto("/deliveries")
    expect(page.get_by_role("button", name="Filter", exact=True)).to_be_hidden()
    page.get_by_label("Filters").focus()
    page.keyboard.press("Space")
    page.get_by_label("failed", exact=True).check()
    page.get_by_label("unknown", exact=True).check()
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page).to_have_url(re.compile(r"status=unknown&status=failed$"))
    expect(page.get_by_label("Filters (1 set)")).to_be_visible()

    page.get_by_text("Keep this view").click()
    page.get_by_label("Name").fill("To look at")
    page.get_by_role("button", name="Keep", exact=True).click()
    page.goto("/deliveries")
    page.get_by_role("link", name="To look at").click()
    expect(page).to_have_url(re.compile(r"status=unknown&status=failed$"))
    page.get_by_role("button", name="Remove the view To look at").click()
    expect(page.get_by_role("link", name="To look at")).to_have_count(0)


def test_a_part_that_can_not_be_refreshed_is_not_hidden_by_one_that_can(
    chromium: Browser, bridge: Bridge
) -> None:
    bridge.send("website", lead(phone=NUMBER))
    # Without open_page, which takes what Chromium says of a failed request for a mistake.
    context = chromium.new_context(base_url=bridge.url)
    page = context.new_page()
    page.goto("/deliveries")
    page.get_by_label("API token").fill(API_TOKEN)
    page.get_by_role("button", name="Sign in").click()

    def fail(route: Route) -> None:
        route.fulfill(status=503, body="away")

    page.route("**/deliveries/part*", fail)
    stale = page.get_by_text("This page is not updated since")
    expect(stale).to_be_visible()
    page.evaluate(COUNT_HIDDEN)
    with page.expect_response("**/banners"):  # this part can be refreshed
        pass
    with page.expect_response("**/deliveries/part*"):
        pass
    assert page.evaluate("window.timesHidden") == 0
    page.unroute_all()
    expect(stale).to_be_hidden()
    context.close()
