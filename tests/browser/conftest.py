"""A headless Chromium, and pages that remember what they complained of. Skips where there is no Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = os.environ.get("SHARKBENCH_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium: tests/browser/install_chromium.sh installs it, SHARKBENCH_CHROMIUM names another one")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page with what its console said and what it asked the network for."""

    page: Page
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    # What is copied is kept where the test can read it: a headless browser has no clipboard to share.
    context.add_init_script(
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => { window.copied = text; }}})"
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    made = Visit(page)
    page.on("console", lambda message: made.console.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: made.console.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (made.console.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: made.requests.append(request.url))
    yield made
    context.close()
