"""The page of figures, in a real browser."""

import random
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect
from support import Bridge

from rules.figures import hour_of
from store import Store
from store.base import P

OpenPage = Callable[..., Page]
Look = Callable[[Page, str], None]
ROUTES = ("call back", "call the visitors of the property fair in Pune, Hinjewadi")


def fill(store: Store) -> None:
    """Have figures of a week: by hour, weekday, route and version."""
    chance = random.Random(7)  # noqa: S311
    for ago in range(7):
        day, _ = hour_of(datetime.now(UTC) - timedelta(days=ago), ZoneInfo("Asia/Kolkata"))
        for hour in range(9, 20):
            for name in ROUTES:
                events = chance.randrange(20, 80)
                accepted = events - chance.randrange(0, 12)
                dialled = accepted - chance.randrange(0, 8)
                connected = int(dialled * chance.uniform(0.1, 0.6))
                rest = dialled - connected
                sums = [events, accepted, events - accepted, 0, 0, dialled, dialled, connected]
                sums += [rest // 4, rest - rest // 4, 0, 0, connected // 5, connected * 130]
                cell = [f"{hour:02d}", "website", name, f"batch-{name[:4]}", "agent-1", f"v{ago}"]
                field = "\t".join(cell)
                store.redis.hset(f"{P}figures:{day}", field, ",".join(map(str, sums)))
                store.redis.hset(f"{P}figures:changed", str(day), secrets.token_hex(4))


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_figures_read_well_and_lead_to_the_lists_behind_them(
    bridge: Bridge, store: Store, open_page: OpenPage, look: Look, size: str, colours: str
) -> None:
    page = open_page(size, color_scheme=colours)
    page.goto("/reports")
    expect(page.get_by_role("heading", name="No call in this time")).to_be_visible()
    fill(store)
    page.goto("/reports")
    look(page, f"{size}-{colours}-reports")
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0
    page.locator("select[name=of]").select_option("call back")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("route call back.")).to_be_visible()
    page.locator(".funnel a").last.click()
    expect(page).to_have_url(re.compile(r"/deliveries\?route=call"))
