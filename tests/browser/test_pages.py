"""What a person does on the dashboard, in a real browser."""

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from support import API_TOKEN, Bridge, lead

from simulator import Simulator

OpenPage = Callable[..., Page]
Look = Callable[[Page, str], None]
CALL = "/call/outbound"
ONE, OTHER, THIRD = "+919876543210", "+919812345678", "+919900112233"


def test_nobody_looks_without_the_token(bridge: Bridge, open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_role("button", name="Sign out").click()
    page.goto("/deliveries?status=unknown")
    page.get_by_label("API token").fill("guessed")
    with page.expect_response("**/sign-in") as answer:
        page.get_by_role("button", name="Sign in").click()
    assert answer.value.status == 401
    expect(page.get_by_role("alert")).to_have_text("This token is wrong.")
    page.get_by_label("API token").fill(API_TOKEN)
    page.get_by_label("API token").press("Enter")
    expect(page).to_have_url(re.compile(r"/deliveries\?status=unknown$"))


def test_all_pages_read_well_at_every_width(
    bridge: Bridge, simulator: Simulator, open_page: OpenPage, look: Look, size: str
) -> None:
    page = open_page(size)
    look(page, f"{size}-overview-empty")
    fill(bridge, simulator)
    for name, path in (
        ("overview", "/"),
        ("deliveries", "/deliveries"),
        ("deliveries-none", "/deliveries?subject=nobody"),
        ("deliveries-wrong", "/deliveries?phone=12"),
        ("deliveries-many", "/deliveries/many?do=retry&status=failed"),
        ("events", "/events"),
        ("campaigns", "/campaigns"),
        ("suppressions", "/suppressions"),
        ("routes", "/routes"),
        ("connect", "/routes/connect"),
    ):
        page.goto(path)
        look(page, f"{size}-{name}")
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{name} is wider than the window"


def test_in_the_dark_too(
    bridge: Bridge, simulator: Simulator, open_page: OpenPage, look: Look
) -> None:
    fill(bridge, simulator)
    page = open_page(color_scheme="dark")
    for name, path in (("overview", "/"), ("deliveries", "/deliveries"), ("routes", "/routes")):
        page.goto(path)
        look(page, f"dark-{name}")
    page.goto("/deliveries?status=unknown")
    page.locator("#rows a").first.click()
    look(page, "dark-delivery")


def test_a_delivery_is_found_looked_at_and_retried(
    bridge: Bridge, simulator: Simulator, open_page: OpenPage, look: Look
) -> None:
    simulator.state.behave(path=CALL, times=1, status=400, body='{"status": "error"}')
    [failed] = bridge.send("website", lead(phone=ONE, name="Asha"))
    bridge.await_status(failed, "failed")
    [other] = bridge.send("website", lead(phone=OTHER))
    bridge.await_status(other, "delivered")
    page = open_page()
    page.goto("/deliveries")
    page.get_by_label("failed", exact=True).check()
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#rows tbody tr")).to_have_count(1)

    page.locator("#rows a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("failed")
    expect(page.locator("main")).not_to_contain_text(ONE)
    look(page, "desktop-delivery")
    page.get_by_role("link", name="Show numbers").click()
    expect(page.get_by_label("The request to CallKaro")).to_contain_text(ONE)
    page.get_by_role("button", name="Retry").click()

    # The page refreshes itself; nobody reloads it.
    expect(page.get_by_role("heading", level=1)).to_contain_text("delivered")


def test_a_number_is_filtered_by_and_stands_in_no_address(
    bridge: Bridge, open_page: OpenPage, look: Look, size: str
) -> None:
    ids = [one for number in (ONE, OTHER) for one in bridge.send("website", lead(phone=number))]
    for one in ids:
        bridge.await_status(one, "delivered")
    page = open_page(size)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/deliveries")
    unfold(page)
    page.get_by_label("Phone").fill(ONE)
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    expect(page.locator(f"#row-{ids[0]}")).to_be_visible()
    look(page, f"{size}-deliveries-of-one-number")
    with page.expect_response("**/deliveries/part*"):
        pass
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    assert not [url for url in asked if ONE[1:] in url]

    unfold(page)
    page.get_by_label("failed", exact=True).check()
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("heading", name="No delivery matches")).to_be_visible()
    page.get_by_role("link", name="Any number").click()
    expect(page).to_have_url(re.compile(r"/deliveries\?status=failed$"))


def test_an_unknown_is_resolved_and_a_number_suppressed(
    bridge: Bridge, simulator: Simulator, open_page: OpenPage, look: Look
) -> None:
    simulator.state.behave(path=CALL, times=1, status=502)
    [unknown] = bridge.send("website", lead(phone=ONE))
    bridge.await_status(unknown, "unknown")
    page = open_page("phone")
    page.goto(f"/deliveries/{unknown}")
    look(page, "phone-delivery")

    page.get_by_text("It was not called", exact=True).click()
    # The page refreshes itself meanwhile, and must not close what is open.
    with page.expect_response("**/part*"):
        pass
    expect(page.get_by_role("button", name="Yes: it was not called")).to_be_visible()
    page.get_by_role("button", name="Yes: it was not called").click()
    expect(page.get_by_role("status")).to_have_text("You marked the delivery as failed.")
    page.get_by_text("Suppress the number", exact=True).click()
    page.get_by_role("button", name="Yes: suppress the number").click()
    expect(page.get_by_role("status")).to_contain_text("No route calls this number any more.")

    [again] = bridge.send("website", lead(phone=ONE))
    assert bridge.await_status(again, "skipped")["reason"] == "suppressed"


def test_a_bulk_hold_is_counted_and_then_released(bridge: Bridge, open_page: OpenPage) -> None:
    visits = [lead(event_type="fair.visited", phone=f"+9198765002{one:02}") for one in range(6)]
    first, *ids = [one for visit in visits for one in bridge.send("website", visit)]
    bridge.await_status(first, "delivered")
    page = open_page()
    page.goto("/")
    page.locator("dd").get_by_role("link", name="5", exact=True).click()
    expect(page.locator("#rows tbody tr")).to_have_count(5)

    page.get_by_text("Change all deliveries that match").click()
    page.get_by_role("link", name="Release from bulk").click()
    expect(page.locator(".big")).to_contain_text("5 would be released.")
    assert {bridge.status(one) for one in ids} == {"held"}, "only counted"
    expect(page.get_by_text("5 phones will ring, the first at once.")).to_be_visible()
    page.get_by_label("How many, the newest first").fill("2")
    page.get_by_role("button", name="Release", exact=True).click()

    expect(page.get_by_role("status")).to_contain_text(
        "Deliveries released: 2. Could not be released: 0."
    )
    for one in ids[3:]:
        bridge.await_status(one, "delivered")
    assert {bridge.status(one) for one in ids[:3]} == {"held"}
    page.goto("/deliveries/many?do=release&reason=bulk")
    page.get_by_role("button", name="Release", exact=True).click()
    for one in ids:
        bridge.await_status(one, "delivered")


def test_what_comes_in_meanwhile_moves_nothing_under_the_readers_hand(
    bridge: Bridge, open_page: OpenPage
) -> None:
    [first] = bridge.send("website", lead(phone=ONE))
    page = open_page()
    page.goto("/deliveries")
    expect(page.locator("#rows tbody tr")).to_have_count(1)

    bridge.send("website", lead(phone=OTHER))

    newer = page.get_by_role("link", name="1 newer")
    newer.wait_for()
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    expect(page.locator(f"#row-{first}")).to_contain_text("delivered")
    newer.click()
    expect(page.locator("#rows tbody tr")).to_have_count(2)


def test_a_route_is_tried_and_nothing_is_sent(
    bridge: Bridge, simulator: Simulator, open_page: OpenPage, look: Look
) -> None:
    page = open_page()
    page.goto("/routes")
    page.locator("#try select[name=source]").select_option("website")
    page.locator("#try textarea[name=body]").fill(json.dumps(lead(phone=ONE, name="Asha")))
    page.get_by_role("button", name="Try it").click()

    result = page.get_by_role("region", name="What it would become")
    expect(result).to_contain_text("call back")
    expect(result).to_contain_text("/call/outbound")
    expect(result).to_contain_text("suppressed")
    look(page, "desktop-route-tried")
    assert simulator.state.requests_to("/call") == []


@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_every_page_can_be_used_by_keyboard(
    bridge: Bridge, open_page: OpenPage, width: str
) -> None:
    [one] = bridge.send("website", lead(phone=ONE))
    bridge.await_status(one, "delivered")
    page = open_page(width)
    page.goto("/deliveries")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "fold":
            page.keyboard.press("Space")
        reached.add(page.evaluate("document.activeElement.textContent.trim().slice(0, 30)"))
    assert {"Filter", "Sign out admin", "Overview", "Deliveries"} <= reached


def test_pages_work_without_javascript(bridge: Bridge, open_page: OpenPage) -> None:
    [one] = bridge.send("website", lead(phone=ONE))
    bridge.await_status(one, "delivered")
    page = open_page(java_script_enabled=False)
    page.goto("/deliveries?status=delivered")
    page.locator("#rows a").first.click()
    page.get_by_text("Suppress the number", exact=True).click()
    page.get_by_role("button", name="Yes: suppress the number").click()
    expect(page.get_by_role("status")).to_contain_text("No route calls this number any more.")


def unfold(page: Page) -> None:
    """Show the filters; on a phone they are folded."""
    if page.locator("label.fold").is_visible():
        page.locator("label.fold").click()


def fill(bridge: Bridge, simulator: Simulator) -> None:
    """Have something of everything to look at."""
    ways = [{}, {"status": 502}, {"status": 400, "body": '{"status": "error"}'}, {}]
    ids = []
    for number, way in zip((ONE, OTHER, THIRD, "+919876500001"), ways, strict=True):
        if way:
            simulator.state.behave(path=CALL, times=1, to_number=number, **way)
        ids += bridge.send("website", lead(phone=number, name="Asha", city="Pune"))
    ids += bridge.send("website", lead(phone="12"))
    for one in ids:
        bridge.await_status(one, "delivered", "unknown", "failed", "skipped")
    bridge.post("website", lead(event_type="other"))
    bridge.post("website", lead(event_type={}))
    for visitor in range(3):
        bridge.send("website", lead(event_type="fair.visited", phone=f"+9198765003{visitor:02}"))
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    said = {"message": "asked by mail"}
    address = f"{bridge.url}/api/suppressions/{THIRD}"
    assert bridge.session.put(address, json=said, headers=headers).status_code == 200


@pytest.mark.parametrize("how", ["503", "cut"])
def test_a_page_that_can_not_be_refreshed_says_so_until_it_can(
    chromium: Browser, bridge: Bridge, how: str
) -> None:
    # Without open_page, which takes what Chromium says of a failed request for a mistake.
    context = chromium.new_context(base_url=bridge.url)
    page = context.new_page()
    page.goto("/deliveries")
    page.get_by_label("API token").fill(API_TOKEN)
    page.get_by_role("button", name="Sign in").click()
    stale = page.get_by_text("This page is not updated since")
    expect(stale).to_be_hidden()

    def fail(route: Route) -> None:
        if how == "cut":
            route.abort()
        else:
            route.fulfill(status=503, body="away")

    for path in ("**/deliveries/part*", "**/overview/part*", "**/banners"):
        page.route(path, fail)
    page.goto("/")
    expect(stale).to_be_visible()
    expect(stale).to_contain_text(re.compile(r"not updated since \d\d:\d\d:"))
    page.unroute_all()
    expect(stale).to_be_hidden()
    context.close()


def test_an_address_without_a_page_and_a_paused_bridge_look_like_pages(
    bridge: Bridge, open_page: OpenPage, look: Look, size: str
) -> None:
    page = open_page(size)
    page.goto("/")
    page.get_by_text("Pause everything").first.click()
    page.get_by_role("button", name="Yes: pause everything").click()
    visits = [lead(event_type="fair.visited", phone=f"+9198765002{one:02}") for one in range(3)]
    for visit in visits:
        bridge.send("website", visit)
    for name, path in (
        ("paused-overview", "/"),
        ("paused-deliveries", "/deliveries"),
        ("paused-release", "/deliveries/many?do=release&reason=bulk"),
        ("paused-suppressions", "/suppressions"),
        ("misspelt", "/deliveries?route=call+bak"),
    ):
        page.goto(path)
        expect(page.get_by_text("Everything is paused: nobody is called.")).to_be_visible()
        look(page, f"{size}-{name}")
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{name} is wider than the window"
