"""The pages that call a list, in a real browser: from the file to the phones."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect
from support import Bridge, until

from simulator import Simulator
from store import Store
from store.suppression import Suppressions

OpenPage = Callable[..., Page]
Look = Callable[[Page, str], None]
ROUTE = "call new leads"
COLOURS = {"desktop": "light", "phone": "dark"}


def thirty_rows() -> str:
    """30 rows: 3 duplicates, 2 bad numbers, 1 suppressed."""
    rows = [f"98765{row:05},Person {row},lead" for row in range(24)]
    rows += [f"+91 98765 {row:05},Again,lead" for row in (3, 4, 5)]
    rows += ["9.19E+11,Bad,lead", "hello,Bad,lead", "+919876500029,Off,lead"]
    return "\n".join(["Mobile number,First name,Lifecycle stage", *rows, ""])


def test_a_list_is_mapped_counted_held_and_called_in_part(
    bridge: Bridge,
    store: Store,
    simulator: Simulator,
    open_page: OpenPage,
    look: Look,
    size: str,
) -> None:
    Suppressions(store=store).suppress("+919876500029")
    page = open_page(size, color_scheme=COLOURS[size])
    page.goto("/routes")
    page.get_by_label(f"Route {ROUTE}").get_by_role("link", name="Call a list").click()
    expect(page.get_by_label("Route")).to_have_value(ROUTE)
    look(page, f"{size}-call-list")
    page.get_by_label("CSV file").set_input_files(
        {"name": "Diwali leads.csv", "mimeType": "text/csv", "buffer": thirty_rows().encode()}
    )
    page.get_by_role("button", name="Next: the columns").click()
    # No name is like the one of the path, so the person chooses: by keyboard. The page says so.
    expect(page.get_by_role("alert")).to_contain_text("No column leads to the number.")
    look(page, f"{size}-call-list-unmapped")
    page.get_by_label("properties.phone").select_option("Mobile number")
    page.get_by_label("properties.lifecyclestage").focus()
    page.keyboard.type("Lifecycle")
    page.get_by_role("button", name="Check again").press("Enter")
    expect(page.get_by_role("button", name="Hold 24 rows")).to_be_visible()
    page.get_by_text("Unreadable lines").click()
    page.get_by_text("The request and the guards").first.click()
    look(page, f"{size}-call-list-columns")
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0
    page.get_by_role("button", name="Hold 24 rows").click()
    expect(page).to_have_url(re.compile(r"/deliveries\?status=held&reason=bulk&route="))
    expect(page.get_by_text("Held until you release them: 24 of 30 rows.")).to_be_visible()
    look(page, f"{size}-call-list-held")
    page.goto(f"/deliveries/many?do=release&reason=bulk&route={ROUTE}")
    page.get_by_label("How many").fill("5")
    page.get_by_role("button", name="Release").click()
    until(lambda: len(simulator.state.calls) == 5, what="five calls")
    numbers = {call.to_number for call in simulator.state.calls}
    assert numbers == {f"+9198765{row:05}" for row in range(5)}
