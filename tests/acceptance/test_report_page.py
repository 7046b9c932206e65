"""The report in a real browser without a network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from smsweep.services import report
from tests.support.recorded_requests import record
from tools.browser import PATIENCE_MS, Scheme, brush_lowest, chromium, see_all_figures, visit, wait_until

MAX_BYTES = 15_000_000  # for 5,000 trials; the plot library has 5 of them


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        expect.set_options(timeout=PATIENCE_MS)
        yield opened


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SMSWEEP_STORE", raising=False)
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path / "sweeps"))
    return tmp_path


def write(folder: Path, n_trials: int) -> str:
    file = folder / "report.html"
    file.write_text(report.report(record(n_trials)))
    return file.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_draws_every_plot_without_network_requests(browser: Browser, folder: Path, scheme: Scheme) -> None:
    url = write(folder, 30)
    with visit(browser, url, scheme) as seen:
        seen.page.goto(url)
        see_all_figures(seen.page)
        assert seen.page.get_attribute("html", "data-theme") == scheme
        assert (seen.outside, seen.errors) == ([], [])


def test_printed_report_has_every_plot_in_light_theme_and_page_width(browser: Browser, folder: Path) -> None:
    url = write(folder, 30)
    with visit(browser, url, "dark") as seen:
        page = seen.page
        page.goto(url)
        page.wait_for_selector('[data-figure="history"][data-is-drawn]')
        widths = "[...document.querySelectorAll('[data-is-drawn] .main-svg')].map((svg) => svg.clientWidth)"
        wide = min(page.evaluate(widths))
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        wait_until(page, "!document.querySelector('[data-figure]:not([data-is-drawn])')")
        assert max(page.evaluate(widths)) < 700 < wide
        assert page.get_attribute("html", "data-theme") == "light"
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        wait_until(page, f"wide => Math.min(...{widths}) === wide", arg=wide)
        assert page.get_attribute("html", "data-theme") == "dark"
        assert (seen.outside, seen.errors) == ([], [])


def test_table_can_be_filtered_and_sorted(browser: Browser, folder: Path) -> None:
    url = write(folder, 30)
    with visit(browser, url) as seen:
        page = seen.page
        page.goto(url)
        page.get_by_label("filter trials").fill("batch=32")
        batches = page.locator("#trials tbody tr td:nth-child(4)").all_inner_texts()
        assert batches and set(batches) == {"32"}
        page.get_by_label("filter trials").fill("")
        page.get_by_role("button", name="objective").first.click()
        objectives = list(map(float, page.locator("#trials tbody tr td:nth-child(3)").all_inner_texts()))
        assert objectives == sorted(objectives)
        assert len(objectives) == 30


def test_brushing_axis_filters_table(browser: Browser, folder: Path) -> None:
    url = write(folder, 30)
    with visit(browser, url) as seen:
        page = seen.page
        page.goto(url)
        see_all_figures(page)
        brush_lowest(page, "batch")
        chosen = page.evaluate(
            """() => document.querySelector('[data-figure="parallel_coordinates"]').data[0].dimensions
                .find(({ label }) => label === "batch").values.filter((value) => value === 0).length"""
        )
        assert page.locator("#trials tbody tr").count() == chosen > 0
        assert set(page.locator("#trials tbody tr td:nth-child(4)").all_inner_texts()) == {"16"}


def test_trial_details_show_reproduce_command(browser: Browser, folder: Path) -> None:
    url = write(folder, 5)
    with visit(browser, url) as seen:
        page = seen.page
        page.goto(url)
        page.get_by_role("button", name="3", exact=True).focus()
        page.keyboard.press("Enter")
        assert page.locator("dialog code").inner_text().startswith("smsweep reproduce ")
        page.keyboard.press("Escape")
        assert not page.locator("dialog").is_visible()


@pytest.mark.slow
def test_five_thousand_trials_stay_usable(browser: Browser, folder: Path) -> None:
    url = write(folder, 5_000)
    assert (folder / "report.html").stat().st_size < MAX_BYTES
    with visit(browser, url) as seen:
        page = seen.page
        page.goto(url)
        page.wait_for_selector('[data-figure="history"][data-is-drawn]')
        page.get_by_label("filter trials").fill("lr<0.001")
        expect(page.locator("#trials [role=status]")).to_have_text(re.compile(r"of 1[0-4]\d\d$"))
        assert (seen.outside, seen.errors) == ([], [])
