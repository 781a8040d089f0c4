"""A real browser before a real bridge: Chromium, gunicorn, a worker and a stand-in for CallKaro."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright
from support import ALL_ROUTES, API_TOKEN, Bridge, route

Look = Callable[[str], None]
FLOODED = route(
    "call the fair's visitors", event="fair.visited", flood='{ over = 1, within = "5m" }'
)
expect.set_options(timeout=60_000)  # of what is surely shown, however slow the machine is
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
# Where to look at what a person sees: tests/browser/screenshots, or wherever this says.
SHOTS = Path(os.environ.get("SCREENSHOTS", Path(__file__).parent / "screenshots"))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A Chromium; `make browser` installs it where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
    assert path, "there is no Chromium: make browser installs one where it may"
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that a container does not give.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def bridge(start_bridge: Callable[..., Bridge]) -> Bridge:
    """A bridge with a web process of its own, and a route that holds floods."""
    return start_bridge(ALL_ROUTES + FLOODED, own_web=True)


@pytest.fixture(params=SIZES)
def size(request: pytest.FixtureRequest) -> str:
    """The name of a window's size."""
    return str(request.param)


@pytest.fixture
def open_page(chromium: Browser, bridge: Bridge) -> Iterator[Callable[..., Page]]:
    """Open a window that is signed in; whatever the page says to the console is a mistake."""
    said: list[str] = []
    contexts = []

    def opened(size: str = "desktop", *, token: str = API_TOKEN, **more: Any) -> Page:
        width, height = SIZES[size]
        context = chromium.new_context(
            viewport={"width": width, "height": height}, base_url=bridge.url, **more
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: said.append(message.text) if _is_bad(message) else None)
        page.on("response", lambda one: said.append(one.url) if one.status == 400 else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        sign_in(page, token)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


def _is_bad(message: Any) -> bool:
    # A wrong token is answered 401, and Chromium says so.
    return message.type in ("error", "warning") and "401" not in message.text


def sign_in(page: Page, token: str = API_TOKEN) -> None:
    page.goto("/")
    page.get_by_label("API token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()


@pytest.fixture
def look(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Have axe look at a page for serious faults, and keep a picture of it for people."""

    def at(page: Page, name: str) -> None:
        SHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SHOTS / f"{name}.png", full_page=True)
        found = Axe().run(page).response["violations"]
        serious = [
            f"{one['id']}: {one['nodes'][0]['html'][:150]}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert serious == [], name

    return at
