"""An operator calls a part of a list, and an admin reads who did it; without a mouse."""

from collections.abc import Callable

import pytest
from browser.by_keyboard import look_by_day_and_night, press, tab_to
from playwright.sync_api import Page, expect
from support import API_TOKEN, CALL_BACK, Bridge, until

from simulator import Simulator

OpenPage = Callable[..., Page]
Look = Callable[[Page, str], None]
OPERATOR = "the-token-of-a-person-in-operations"
NUMBERS = [f"+91981234{one:04}" for one in range(25)]
SUPPRESSED = NUMBERS[0]
RELEASED = 5


def thirty_rows() -> bytes:
    """Return a list of 25 people, three of them twice, and of two numbers that can't be called."""
    numbers = [*NUMBERS, *NUMBERS[4:7], "12", "no number"]
    rows = [f"Visitor {place},{number}" for place, number in enumerate(numbers)]
    return "\n".join(["Name,Phone", *rows]).encode()


@pytest.fixture
def bridge(start_bridge: Callable[..., Bridge]) -> Bridge:
    """A bridge with a token of an operator, on which a number is suppressed."""
    bridge = start_bridge(CALL_BACK, own_web=True, API_TOKENS=f"bela:operator:{OPERATOR}")
    answer = bridge.session.put(
        f"{bridge.url}/api/suppressions/{SUPPRESSED}",
        json={"message": "asked by mail"},
        headers={"Authorization": f"Bearer {API_TOKEN}"},
    )
    assert answer.status_code == 200
    return bridge


def test_an_operator_releases_five_of_a_list_and_the_audit_says_who(
    bridge: Bridge, simulator: Simulator, open_page: OpenPage, look: Look, size: str
) -> None:
    page = open_page(size, token=OPERATOR)
    page.goto("/call-lists")
    look_by_day_and_night(page, look, f"{size}-list-choose")
    tab_to(page, page.get_by_label("Name of the list"))
    page.keyboard.type("Fair in Pune")
    page.get_by_label("CSV file").set_input_files(
        {"name": "fair.csv", "mimeType": "text/csv", "buffer": thirty_rows()}
    )
    press(page, "Next: the columns")

    counts = page.get_by_role("region", name="3. Hold the rows")
    expect(counts).to_contain_text("Rows30")
    expect(counts).to_contain_text("Duplicates3Suppressed1Unreadable2")
    look_by_day_and_night(page, look, f"{size}-list-counted")
    press(page, "Hold 24 rows")

    expect(page.get_by_text("Duplicates: 3. Suppressed: 1.")).to_be_visible()
    expect(page.get_by_text("Lines without a call: 2.")).to_be_visible()
    assert simulator.state.calls == []
    tab_to(page, page.get_by_text("Change all deliveries that match"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("link", name="Release from bulk"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_label("How many, the newest first"))
    page.keyboard.press("Control+A")
    page.keyboard.type(str(RELEASED))
    press(page, "Release")
    expect(page.get_by_text(f"Deliveries released: {RELEASED}.")).to_be_visible()

    until(lambda: len(simulator.state.calls) == RELEASED, what="five calls")
    assert bridge.get("/api/status")["deliveries"]["held"] == 24 - RELEASED
    assert SUPPRESSED not in {call.to_number for call in simulator.state.calls}

    admin = open_page(size)
    admin.goto("/audit")
    for action, count in (("call list", "24"), ("release", str(RELEASED))):
        row = admin.get_by_role("row").filter(has_text=action)
        expect(row).to_contain_text("bela")
        expect(row).to_contain_text(count)
    look_by_day_and_night(admin, look, f"{size}-list-audit")
