"""What a person does on a page without a mouse, and what a test asks of the page then."""

from collections.abc import Callable

from playwright.sync_api import Locator, Page

MOST_TABS = 120  # more than any page has to stop at


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until the element is focused, as a person without a mouse does."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if wanted.evaluate("one => one === document.activeElement"):
            return
    raise AssertionError("Tab does not lead there")


def press(page: Page, name: str) -> None:
    """Press the button of this name with keys alone."""
    tab_to(page, page.get_by_role("button", name=name, exact=True))
    page.keyboard.press("Enter")


def look_by_day_and_night(page: Page, look: Callable[[Page, str], None], name: str) -> None:
    """Look at a page in light and in dark colours; nothing may be wider than the window."""
    for colours in ("light", "dark"):
        page.emulate_media(color_scheme=colours)  # type: ignore[arg-type]
        page.evaluate("Promise.allSettled(document.getAnimations().map((one) => one.finished))")
        look(page, f"{name}-{colours}")
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


def heard_s(page: Page) -> float:
    """Wait until the recording on the page sounds, and return the second at which it is."""
    script = """async () => {
        const audio = document.querySelector("audio");
        const next = () => new Promise((go) => audio.ontimeupdate = go);
        do await next(); while (audio.paused || audio.currentTime === 0);
        return audio.currentTime;
    }"""
    return float(page.evaluate(script))
