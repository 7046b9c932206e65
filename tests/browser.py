"""A real Chromium without a window, which reaches nothing but the pages it is given."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Route, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Software drawing where there is no graphics card, which parallel coordinates need; root has no sandbox.
ARGS = ("--no-sandbox", "--enable-unsafe-swiftshader")
PATIENCE_MS = 90_000  # software drawing on a loaded machine is slow
Scheme = Literal["light", "dark"]


def find_chromium() -> str:
    """Return the path of a Chromium; "" where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), "")


@contextmanager
def chromium(*more: str) -> Iterator[Browser]:
    """Start a browser; without one the test is skipped aloud, in CI it fails. more: of its command line."""
    path = find_chromium()
    if not path:
        reason = "no Chromium; `python -m tests.services` installs one where it may"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*ARGS, *more])
        try:
            yield browser
        finally:
            browser.close()


@dataclass(kw_only=True, slots=True)
class Visit:
    """A page, and what it did that it should not have."""

    page: Page
    outside: list[str] = field(
        default_factory=list
    )  # URLs it asked for outside its own place; none was let through
    errors: list[str] = field(default_factory=list)  # of scripts and of the page's security policy


@contextmanager
def visit(browser: Browser, own: str, scheme: Scheme = "light") -> Iterator[Visit]:
    """Open an empty page whose network ends at URLs that begin with `own`."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    visited = Visit(page=context.new_page())

    def on_request(route: Route) -> None:
        url = route.request.url
        if url.startswith((own, "data:", "blob:")):
            route.continue_()
        else:
            visited.outside.append(url)
            route.abort()

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            visited.errors.append(message.text)

    def on_error(error: Error) -> None:
        visited.errors.append(str(error))

    context.route("**/*", on_request)
    visited.page.on("console", on_console)
    visited.page.on("pageerror", on_error)
    try:
        yield visited
    finally:
        context.close()


def see_all_figures(page: Page) -> None:
    """Bring every figure into view once and wait until it is drawn."""
    for figure in page.locator("[data-figure]").all():
        figure.scroll_into_view_if_needed()
        name = figure.get_attribute("data-figure")
        page.wait_for_selector(f'[data-figure="{name}"][data-is-drawn]')
