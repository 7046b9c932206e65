"""Headless Chromium without network access, except to the pages of the test."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, sync_playwright

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
ARGS = (
    "--no-sandbox",  # root has no sandbox
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
PATIENCE_MS = 90_000  # the browser is slow on a busy machine
Scheme = Literal["light", "dark"]


def find_chromium() -> str:
    """Return the path of Chromium; "" if it is not installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), "")


@contextmanager
def chromium(*more: str) -> Iterator[Browser]:
    """Start a browser. Without Chromium, the test is skipped, or fails in CI. more: command-line options."""
    path = find_chromium()
    if not path:
        reason = "Chromium is not installed; install it with `python -m tools.services`"
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
    """A page, with its forbidden requests and its errors."""

    page: Page
    outside: list[str] = field(default_factory=list)  # requests for other URLs than its own
    unanswered: dict[int, str] = field(
        default_factory=dict
    )  # id -> URL of each request without a complete response
    errors: list[str] = field(default_factory=list)  # errors of scripts and of the page's security policy


@contextmanager
def visit(browser: Browser, own: str, scheme: Scheme = "light") -> Iterator[Visit]:
    """Open an empty page that may request only URLs with the prefix `own`.

    Nothing intercepts the requests, because that delays each of them.
    """
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    visited = Visit(page=context.new_page())

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            visited.errors.append(message.text)

    def on_error(error: Error) -> None:
        visited.errors.append(str(error))

    def on_start(request: Request) -> None:
        visited.unanswered[id(request)] = request.url
        if not request.url.startswith((own, "data:", "blob:")):
            visited.outside.append(request.url)

    def on_end(request: Request) -> None:
        visited.unanswered.pop(id(request), None)

    def on_failure(request: Request) -> None:
        visited.unanswered[id(request)] = f"{request.url}: {request.failure}"

    visited.page.on("console", on_console)
    visited.page.on("pageerror", on_error)
    visited.page.on("request", on_start)
    visited.page.on("requestfinished", on_end)
    visited.page.on("requestfailed", on_failure)
    try:
        yield visited
    except BaseException:
        body = visited.page.inner_text("body")[:1000]
        print(visited.page.url, visited.errors, list(visited.unanswered.values()), body, sep="\n")
        raise
    finally:
        context.close()


def wait_until(page: Page, expression: str, arg: object = None) -> None:
    """Wait until an expression of the page is true.

    `Page.wait_for_function` needs `unsafe-eval`, which the security policy of our pages forbids.
    """
    until = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(expression, arg):
        assert time.monotonic() < until, f"not true after {PATIENCE_MS} ms: {expression}"
        page.wait_for_timeout(50)


def see_all_figures(page: Page) -> None:
    """Scroll to each figure, and wait until it is drawn."""
    for figure in page.locator("[data-figure]").all():
        figure.scroll_into_view_if_needed()
        name = figure.get_attribute("data-figure")
        page.wait_for_selector(f'[data-figure="{name}"][data-is-drawn=true]')


def brush_lowest(page: Page, label: str) -> None:
    """Select the lowest values on an axis of the parallel coordinates."""
    area = page.get_by_role("slider", name=label).locator(".brush")
    area.scroll_into_view_if_needed()
    place = area.bounding_box()
    assert place is not None
    x, low = place["x"] + place["width"] / 2, place["y"] + place["height"] - 2
    page.mouse.move(x, low)
    page.mouse.down()
    page.mouse.move(x, low - 40, steps=3)
    page.mouse.up()
