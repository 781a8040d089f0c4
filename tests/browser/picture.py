"""`make picture`: take the pictures of README.md anew, of a real `make run` with a day of leads."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "images"
PORT = int(os.environ.get("PORT") or 8000)
SIZE = {"width": 1280, "height": 1100}


@contextmanager
def day(token: str) -> Iterator[None]:
    """Run `make run` with a day of leads. Raises SystemExit if it does not come to serve."""
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.Popen(  # noqa: S603
            [sys.executable, *f"-m demo --serve --day --port {PORT} --data".split(), folder],
            cwd=ROOT,
            env={**os.environ, "API_TOKEN": token, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert run.stdout is not None
        try:
            if not any("serves at" in line for line in run.stdout):
                raise SystemExit("The bridge did not start.")
            yield
        finally:
            run.terminate()
            run.communicate(timeout=60)


def take(page: Page, token: str) -> None:
    """Take the pictures: the list of deliveries, and one call with its outcome."""
    page.goto("/deliveries")
    page.get_by_label("API token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.locator("#rows tbody tr").first.wait_for()
    page.screenshot(path=PICTURES / "deliveries.png")
    page.goto("/deliveries?source=hubspot&outcome=connected")
    ended = page.get_by_role("row").filter(has_text="interested: yes").first
    ended.get_by_role("link").first.click()
    page.locator("audio").wait_for()
    page.screenshot(path=PICTURES / "delivery.png")


def main() -> None:
    """Start everything, take the pictures, and end everything."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
    if path is None:
        raise SystemExit("There is no Chromium. make browser installs one where it may.")
    token = secrets.token_urlsafe(16)
    with day(token), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(
            viewport=SIZE, base_url=f"http://localhost:{PORT}", color_scheme="light"
        )
        take(page, token)
        browser.close()


if __name__ == "__main__":
    main()
