"""The live page in a real browser without a network, with running sweeps."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

import smsweep
from smsweep.core.trial import MetricPoint
from smsweep.services.agents.records import order_agent
from smsweep.services.sweeps import create, remove
from smsweep.services.views import json_views
from smsweep.services.workspace import Workspace
from smsweep.web.server import Served, serving
from tests.support.recorded_requests import CONFIG, record
from tests.support.working_dir import use_own_workspace
from tools.browser import PATIENCE_MS, Scheme, Visit, brush_lowest, chromium, visit, wait_until

HOSTILE = '</script><img src=x onerror="document.title=1"><b>%{x}</b>$\\alpha$'
TRAIN = """
import pathlib, time
import smsweep
run = smsweep.init()
lr = run.config.lr
print("begins with", lr, flush=True)
for step in range(3):
    run.log({"loss": lr + 1 / (step + 1)})
print("waits <b>here</b>", flush=True)
gate = pathlib.Path(GATE)
while lr > 0.15 and not gate.exists():
    time.sleep(0.05)
if lr > 0.35:
    raise ValueError(f"lr of {lr} is too much")
print("ends", flush=True)
"""
SWEEP = """
program: train.py
name: steered
method: grid
metric: {name: loss, goal: minimize}
parameters:
  lr: {values: [0.1, 0.2, 0.3, 0.4]}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        expect.set_options(timeout=PATIENCE_MS)
        yield opened


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_own_workspace(tmp_path, monkeypatch)


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    with serving() as opened:
        yield opened


@contextmanager
def seen(browser: Browser, served: Served, path: str = "/", scheme: Scheme = "light") -> Iterator[Visit]:
    """Sign in with the printed URL, and open a page. Fails if the page has errors at the end."""
    with visit(browser, served.url, scheme) as visited:
        visited.page.goto(served.entry)
        expect(visited.page).to_have_url(f"{served.url}/")
        if path != "/":
            visited.page.goto(served.url + path)
        yield visited
        assert (visited.outside, visited.errors) == ([], [])


@pytest.fixture
def running(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """A sweep whose second trial waits, and the function that releases it."""
    gate = folder / "gate"
    (folder / "train.py").write_text(TRAIN.replace("GATE", repr(str(gate))))
    (folder / "sweep.yaml").write_text(SWEEP)
    sweep_id = create.sweep("sweep.yaml", seed=1)
    command = [sys.executable, "-m", "smsweep.cli.main", "agent", sweep_id]
    agent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield sweep_id, gate.touch
    finally:
        gate.touch()
        agent.send_signal(signal.SIGTERM)
        agent.wait(60)


def tick(page: Page, number: int) -> None:
    # With the keyboard, because a slow browser sends clicks to the frame before the scroll.
    box = page.get_by_label(f"select trial {number}", exact=True)
    box.press(" ")
    expect(box).to_be_checked()


def test_page_shows_and_controls_running_sweep(
    browser: Browser, served: Served, running: tuple[str, Callable[[], None]]
) -> None:
    sweep_id, release = running
    with seen(browser, served) as visited:
        page = visited.page
        page.get_by_role("link", name="steered").click()
        badge = page.locator(".head .badge")
        expect(page.get_by_role("heading", name="Running now")).to_be_visible()
        expect(page.get_by_role("row", name=re.compile("running")).first).to_contain_text("lr 0.2")

        page.get_by_role("button", name="Pause").click()
        expect(badge).to_have_text("paused")
        assert json_views.show(sweep_id)["state"] == "paused"
        release()
        expect(page.get_by_text("2 of 4 ended")).to_be_visible()
        page.keyboard.press("p")
        expect(badge).to_have_text("running")
        expect(page.get_by_text("4 of 4 ended")).to_be_visible()
        expect(badge).to_have_text("finished")
        expect(page.get_by_role("heading", name="Failures by reason")).to_be_visible()
        expect(page.locator(".reasons")).to_contain_text("lr of 0.4 is too much")

        page.get_by_role("button", name="Retry 1 failed").click()
        expect(page.locator("#notice")).to_contain_text("1 trial returned to the queue")
        expect(page.get_by_text("1 pending")).to_be_visible()


def test_cancel_needs_confirmation(
    browser: Browser, served: Served, running: tuple[str, Callable[[], None]]
) -> None:
    sweep_id, _ = running
    with seen(browser, served, f"/sweeps/{sweep_id}") as visited:
        page = visited.page
        expect(page.get_by_role("heading", name="Running now")).to_be_visible()
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("button", name="Keep it")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).not_to_be_visible()
        assert json_views.show(sweep_id)["state"] == "running"
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Cancel sweep").click()
        expect(page.locator(".head .badge")).to_have_text("cancelled")
        expect(page.get_by_text("1 killed")).to_be_visible()


def test_page_follows_growing_log(
    browser: Browser, served: Served, running: tuple[str, Callable[[], None]]
) -> None:
    sweep_id, release = running
    with seen(browser, served, f"/sweeps/{sweep_id}") as visited:
        visited.page.get_by_role("row", name="lr 0.2").first.get_by_role("link").click()
        log = visited.page.get_by_role("log")
        expect(log).to_contain_text("begins with 0.2")
        expect(log).to_contain_text("waits <b>here</b>")
        expect(log).not_to_contain_text("ends")
        release()
        expect(log).to_contain_text("ends")
        expect(visited.page.locator(".head .badge")).to_have_text("finished")
        visited.page.get_by_label("filter lines").fill("begins")
        expect(log.get_by_text("ends", exact=True)).not_to_be_visible()
        visited.page.wait_for_selector('[data-figure="curve"][data-is-drawn=true]')


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_draws_every_plot_without_network_requests(browser: Browser, served: Served, scheme: Scheme) -> None:
    sweep_id = record(30)
    with seen(browser, served, f"/sweeps/{sweep_id}", scheme) as visited:
        page = visited.page
        assert page.get_attribute("html", "data-theme") == scheme
        for tab in ("Overview", "Trials", "Analysis", "Config"):
            page.get_by_role("tab", name=tab).click()
            panel = page.get_by_role("tabpanel")
            expect(panel).to_be_visible()
            for figure in panel.locator("[data-figure]").all():
                figure.scroll_into_view_if_needed()
                expect(figure).to_have_attribute("data-is-drawn", "true")


def test_sweep_with_two_metrics_shows_pareto_front(browser: Browser, served: Served) -> None:
    metrics = [{"name": "loss", "goal": "minimize"}, {"name": "accuracy", "goal": "maximize"}]
    config = {name: value for name, value in CONFIG.items() if name != "metric"}
    sweep_id = record(12, config={**config, "method": "custom", "metrics": metrics})
    with seen(browser, served, f"/sweeps/{sweep_id}#analysis") as visited:
        page = visited.page
        page.wait_for_selector('[data-figure="front"][data-is-drawn=true]')
        page.get_by_role("tab", name="Overview").click()
        expect(page.get_by_role("heading", name="Pareto front")).to_be_visible()
        numbers = [trial["number"] for trial in json_views.front(sweep_id)]
        shown = page.locator("section", has=page.get_by_role("heading", name="Pareto front")).locator("tbody tr")
        expect(shown).to_have_count(len(numbers))


def test_page_keeps_selected_theme(browser: Browser, served: Served) -> None:
    record(1)
    with seen(browser, served) as visited:
        page = visited.page
        page.keyboard.press("t")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_selected_trials_are_compared_and_narrowed_to_new_sweep(
    browser: Browser, served: Served, folder: Path
) -> None:
    (folder / "train.py").write_text("import smsweep\n")
    sweep_id = record(12, config={**CONFIG, "program": "train.py"})
    with seen(browser, served, f"/sweeps/{sweep_id}#trials") as visited:
        page = visited.page
        for number in (2, 5):
            tick(page, number)
        page.get_by_role("button", name="Compare").click()
        page.wait_for_selector('[data-figure="curve"][data-is-drawn=true]')
        table = page.get_by_role("table", name="trials side by side")
        expect(table.get_by_role("columnheader")).to_have_count(3 + 2)  # and two titles of groups
        trials = {trial["number"]: trial for trial in json_views.list_trials(sweep_id)}
        momentum = table.get_by_role("row", name="optimizer.momentum")
        for number in (2, 5):
            expect(momentum).to_contain_text(f"{trials[number]['params']['optimizer']['momentum']:.5g}"[:5])

        page.get_by_role("link", name="New sweep from these").click()
        config = page.get_by_label("sweep.yaml")
        expect(config).to_have_value(re.compile("log_uniform_values"))
        assert page.get_by_role("textbox", name="Prior runs").input_value().split() == [
            f"{sweep_id}/2",
            f"{sweep_id}/5",
        ]
        text = config.input_value()
        config.fill(text + "\nfoo: 1\nmethod: nonsense\n")
        expect(page.get_by_text("2 problems to fix")).to_be_visible()
        expect(page.get_by_role("button", name="Create sweep")).to_be_disabled()
        config.fill(text.replace("random", "bayes"))
        expect(page.get_by_text("✓ valid")).to_be_visible()
        page.get_by_role("button", name="Create sweep").click()
        expect(page.get_by_role("heading", name="recorded, again")).to_be_visible()
        created = page.url.rpartition("/")[2]
        page.get_by_text("Start an agent on another machine").click()
        expect(page.get_by_text(f"smsweep agent {created}")).to_be_visible()
    with Workspace().store() as store:
        new = store.get_sweep(created)
    assert new.prior_runs == (f"{sweep_id}/2", f"{sweep_id}/5")
    assert new.config.method == "bayes"


def test_removed_trials_disappear_from_table(browser: Browser, served: Served) -> None:
    sweep_id = record(6)
    with seen(browser, served, f"/sweeps/{sweep_id}#trials") as visited:
        page = visited.page
        tick(page, 4)
        page.get_by_role("button", name="Remove", exact=True).last.click()
        page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
        expect(page.locator("#panel-trials tbody tr")).to_have_count(5)
        assert 4 not in [trial["number"] for trial in json_views.list_trials(sweep_id)]


def test_brushing_axis_filters_table(browser: Browser, served: Served) -> None:
    sweep_id = record(30)
    with seen(browser, served, f"/sweeps/{sweep_id}#trials") as visited:
        page = visited.page
        page.wait_for_selector('[data-figure="parallel_coordinates"][data-is-drawn=true]')
        table = page.locator("#panel-trials tbody tr")
        brush_lowest(page, "batch")
        scored = page.evaluate("""() => {
            const [trace] = document.querySelector("[data-figure=parallel_coordinates]").data;
            const { values } = trace.dimensions.find(({ label }) => label === "batch");
            return values.filter((value) => value === 0).length;
        }""")
        expect(table).to_have_count(scored)
        assert 0 < scored < 30
        axis = page.get_by_role("slider", name="batch")
        expect(axis).to_have_attribute("aria-valuetext", re.compile("16"))
        axis.press("Escape")
        expect(table).to_have_count(30)
        axis.press("Alt+ArrowDown")  # the highest value is not selected any more
        expect(table).not_to_have_count(30)


def test_point_of_a_figure_with_many_trials_opens_the_trial(browser: Browser, served: Served) -> None:
    sweep_id = record(500)  # more than a figure draws as elements
    with seen(browser, served, f"/sweeps/{sweep_id}") as visited:
        page = visited.page
        page.wait_for_selector("[data-figure=history][data-is-drawn=true]")
        assert page.locator("[data-figure=history] .scatterlayer path.point").count() < 100
        x, y, number, opacity = page.evaluate("""() => {
            const element = document.querySelector("[data-figure=history]");
            const { xaxis, yaxis } = element._fullLayout;
            const [point] = element.calcdata[0];
            const place = [xaxis._offset + xaxis.c2p(point.x), yaxis._offset + yaxis.c2p(point.y)];
            const scale = devicePixelRatio;
            const context = element.dots.getContext("2d");
            const pixel = context.getImageData(place[0] * scale, place[1] * scale, 1, 1).data;
            const box = element.dots.getBoundingClientRect();
            return [box.left + place[0], box.top + place[1], element.data[0].customdata[0], pixel[3]];
        }""")
        assert opacity > 0
        page.mouse.move(x - 2, y)
        page.mouse.move(x, y)
        expect(page.locator("[data-figure=history] .hoverlayer")).to_contain_text(f"trial {number}")
        page.mouse.click(x, y)
        page.wait_for_url(f"**/sweeps/{sweep_id}/trials/{number}")


def test_figures_below_the_screen_are_drawn_without_scrolling(browser: Browser, served: Served) -> None:
    sweep_id = record(30)
    with seen(browser, served, f"/sweeps/{sweep_id}#analysis") as visited:
        figures = visited.page.locator("#panel-analysis [data-figure]")
        expect(visited.page.locator("#panel-analysis [data-figure][data-is-drawn=true]")).to_have_count(
            figures.count()
        )
        assert figures.count() == 6
        assert visited.page.evaluate("scrollY") == 0


def test_figure_is_sketched_until_the_plotting_library_is_loaded(browser: Browser, served: Served) -> None:
    sweep_id = record(30)
    with visit(browser, served.url) as visited:
        page = visited.page
        requests: list[Route] = []

        def delay(request: Route) -> None:
            requests.append(request)

        page.route("**/plotly.js", delay)
        page.goto(served.entry)
        page.goto(f"{served.url}/sweeps/{sweep_id}", wait_until="domcontentloaded")
        for name in ("history", "curves"):
            page.wait_for_selector(f"[data-figure={name}][data-is-drawn=sketch]")
            colors = page.evaluate(
                """(name) => {
                    const canvas = document.querySelector(`[data-figure=${name}] .sketch`);
                    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                    return new Set(new Uint32Array(data.buffer)).size;
                }""",
                name,
            )
            assert colors > 10  # dots and curves, not only axes
        page.get_by_role("button", name="log", exact=True).first.click()
        with page.expect_download() as image:
            page.get_by_role("button", name="PNG of history").click()
            requests[-1].continue_()
        assert Path(image.value.path()).read_bytes().startswith(b"\x89PNG")
        page.wait_for_selector("[data-figure=history][data-is-drawn=true]")
        assert page.evaluate("document.querySelector('[data-figure=history]')._fullLayout.yaxis.type") == "log"
        expect(page.locator(".sketch")).to_have_count(0)
        assert visited.errors == []


def test_bars_of_many_trials_are_drawn_on_a_canvas(browser: Browser, served: Served) -> None:
    sweep_id = record(500)
    with seen(browser, served, f"/sweeps/{sweep_id}#analysis") as visited:
        page = visited.page
        page.wait_for_selector("[data-figure=timeline][data-is-drawn=true]")
        figure = page.locator("[data-figure=timeline]")
        figure.scroll_into_view_if_needed()
        assert figure.locator(".barlayer path").count() < 300
        x, y, number, opacity = page.evaluate("""() => {
            const element = document.querySelector("[data-figure=timeline]");
            const { xaxis, yaxis } = element._fullLayout;
            const at = element.data.findIndex(({ meta }) => meta?.lengths);
            const [point] = element.calcdata[at];
            const place = [xaxis._offset + xaxis.c2p(point.x), yaxis._offset + yaxis.c2p(point.y)];
            const [x, y] = place.map((px) => px * devicePixelRatio);
            const pixel = element.dots.getContext("2d").getImageData(x, y, 1, 1).data;
            const box = element.dots.getBoundingClientRect();
            return [box.left + place[0], box.top + place[1], element.data[at].customdata[0], pixel[3]];
        }""")
        assert opacity > 0
        page.mouse.move(x - 1, y)
        page.mouse.move(x, y)
        expect(figure.locator(".hoverlayer")).to_contain_text(f"trial {number}")


def test_table_has_a_hundred_rows_on_a_page(browser: Browser, served: Served) -> None:
    sweep_id = record(120)
    with seen(browser, served, f"/sweeps/{sweep_id}#trials") as visited:
        rows = visited.page.locator("#panel-trials tbody tr")
        expect(rows).to_have_count(100)
        visited.page.get_by_role("button", name="next").click()
        expect(rows).to_have_count(20)


def test_untrusted_names_and_texts_are_escaped(browser: Browser, served: Served) -> None:
    config = {
        "name": HOSTILE,
        "method": "random",
        "metric": {"name": HOSTILE, "goal": "minimize"},
        "parameters": {
            "choice": {"values": [HOSTILE, "javascript:alert(1)"]},
            "lr": {"min": 0.0, "max": 1.0},
        },
    }
    sweep_id = record(12, config=config)
    with Workspace().store() as store:
        trial = store.get_trial(sweep_id, 0)
        points = [MetricPoint(name=name, value=1.0, step=99, time=trial.created_at) for name in ("", "w" * 400)]  # type: ignore[arg-type]
        store.append_points(sweep_id, 0, points, "more", expect_cursor=trial.cursor)
    log = Workspace().jobs_dir / f"smsweep-{sweep_id}-0-0"
    log.mkdir(parents=True)
    (log / "output.log").write_text(f"{HOSTILE}\n\x1b[31mred\x1b[0m\n")
    with seen(browser, served) as visited:
        page = visited.page
        expect(page.get_by_role("link", name=HOSTILE)).to_be_visible()
        for path in (
            f"/sweeps/{sweep_id}",
            f"/sweeps/{sweep_id}#trials",
            f"/sweeps/{sweep_id}#analysis",
            f"/sweeps/{sweep_id}#config",
            f"/sweeps/{sweep_id}/trials/0",
            f"/compare?t={sweep_id}/0&t={sweep_id}/1",
            f"/new?t={sweep_id}/0",
        ):
            page.goto(served.url + path)
            page.reload()
            expect(page.locator("main h1")).to_be_visible()
            for figure in page.locator("[data-figure]:visible").all():
                figure.scroll_into_view_if_needed()
                expect(figure).to_have_attribute("data-is-drawn", "true")
            assert page.locator("main img, main b, main script").count() == 0
            assert page.title() != "1"
            assert page.evaluate(
                "document.documentElement.scrollWidth <= window.innerWidth"
            )  # no horizontal overflow
        page.goto(f"{served.url}/sweeps/{sweep_id}/trials/0")
        expect(page.get_by_label("metric", exact=True)).to_have_value(HOSTILE)  # the sweep's metric first
        expect(page.get_by_role("log")).to_contain_text(HOSTILE)
        expect(page.get_by_role("log")).to_contain_text(re.compile(r"^(?!.*\x1b).*red", re.S))


def test_names_of_javascript_object_properties_are_ordinary_names(browser: Browser, served: Served) -> None:
    other = record(1)
    parameters = {"constructor": {"values": ["built"]}, "lr": {"min": 0.0, "max": 1.0}}
    metric = {"name": "toString", "goal": "minimize"}
    sweep_id = record(1, config={"method": "random", "metric": metric, "parameters": parameters})
    with seen(browser, served, f"/compare?t={sweep_id}/0&t={other}/0") as visited:
        row = visited.page.get_by_role("row", name="constructor")
        expect(row.get_by_role("cell")).to_have_text(["built", "–"])
        expect(visited.page.get_by_label("metric", exact=True)).to_have_value("toString")
        expect(visited.page.locator('[data-figure="curve"]')).to_have_attribute("data-is-drawn", "true")


def test_lists_and_mappings_among_params_are_shown_as_json(browser: Browser, served: Served) -> None:
    parameters = {"sizes": {"value": [1, {"b": None}]}, "lr": {"min": 0.1, "max": 1.0}}
    sweep_id = record(3, config={**CONFIG, "parameters": parameters})
    with seen(browser, served, f"/sweeps/{sweep_id}/trials/0") as visited:
        expect(visited.page.get_by_role("row", name="sizes")).to_contain_text('[1,{"b":null}]')


def test_page_reports_deleted_sweep(browser: Browser, served: Served) -> None:
    sweep_id = record(0)
    with visit(browser, served.url) as visited:
        page = visited.page
        page.goto(served.entry)
        page.goto(f"{served.url}/sweeps/{sweep_id}")
        expect(page.get_by_role("heading", name="recorded")).to_be_visible()
        remove.remove([sweep_id])
        expect(page.get_by_text("Not found, or removed")).to_be_visible()
        page.goto(f"{served.url}/sweeps/%E0%A4%A")  # half an escape
        expect(page.get_by_text("is not a sweep id")).to_be_visible()
        assert all("Failed to load resource" in error for error in visited.errors)


def test_page_is_usable_with_keyboard(browser: Browser, served: Served) -> None:
    sweep_id = record(6)
    with seen(browser, served) as visited:
        page = visited.page
        expect(page.get_by_role("link", name="recorded")).to_be_visible()
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{served.url}/sweeps/{sweep_id}")
        expect(page.get_by_role("heading", name="Best trials")).to_be_visible()
        page.keyboard.press("2")
        expect(page.get_by_role("tab", name="Trials")).to_have_attribute("aria-selected", "true")
        expect(page.locator("#panel-trials tbody tr")).to_have_count(6)
        for key in ("j", "x", "j", "x", "c"):
            page.keyboard.press(key)
        expect(page).to_have_url(re.compile("/compare"))
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_contain_text("light or dark theme")
        page.keyboard.press("Escape")
        page.keyboard.press("g")
        expect(page).to_have_url(f"{served.url}/")
        page.keyboard.press("/")
        page.keyboard.type("nothing like it")
        expect(page.get_by_text("0 of 1 sweep")).to_be_visible()


def test_focused_element_keeps_focus_after_update(browser: Browser, served: Served) -> None:
    sweep_id = record(6)
    *_, gone = (trial["number"] for trial in json_views.list_trials(sweep_id))
    with seen(browser, served, f"/sweeps/{sweep_id}") as visited:
        page = visited.page
        link = page.locator(".card", has_text="Best trials").get_by_role("link").first
        link.focus()
        remove.remove([f"{sweep_id}/{gone}"])
        expect(page.get_by_text("5 ended")).to_be_visible()
        expect(link).to_be_focused()
        page.get_by_role("button", name="Pause").press("Enter")
        expect(page.get_by_role("button", name="Resume")).to_be_focused()

        page.goto(f"{served.url}/compare?t={sweep_id}%2F0&t={sweep_id}%2F1")
        box = page.get_by_label("only params that differ")
        box.press(" ")
        expect(box).to_be_focused()
        expect(box).not_to_be_checked()


def test_empty_folder_shows_first_steps(browser: Browser, served: Served) -> None:
    with seen(browser, served) as visited:
        expect(visited.page.get_by_text("smsweep run sweep.yaml --parallel 2")).to_be_visible()
        sweep_id = record(2)
        listed = visited.page.locator(f'li[data-id="{sweep_id}"]')
        expect(listed).to_be_visible()
        expect(listed).to_contain_text("optimizer.name")  # nested params, as in other views
        expect(listed).not_to_contain_text("[object")


def test_page_without_token_shows_sign_in_form(browser: Browser, served: Served) -> None:
    record(1)
    with visit(browser, served.url) as visited:
        page = visited.page
        page.goto(served.url)
        page.get_by_label("Token").fill(served.token)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("link", name="recorded")).to_be_visible()
        assert visited.outside == []


@pytest.mark.parametrize("file", ["app.js", "dom.js", "figures.js", "ui.css"])
def test_page_is_loaded_again_if_a_file_did_not_arrive(browser: Browser, served: Served, file: str) -> None:
    requested: list[str] = []

    def abort_twice(route: Route) -> None:
        requested.append(route.request.url)
        if len(requested) <= 2:
            route.abort("connectionreset")
        else:
            route.continue_()

    with visit(browser, served.url) as visited:
        visited.page.route(f"**/{file}", abort_twice)
        visited.page.goto(served.entry)
        while len(requested) < 3:  # by the third load
            visited.page.wait_for_timeout(50)
        visited.page.wait_for_load_state("load")
        expect(visited.page.get_by_role("heading", name="No sweeps yet")).to_be_visible()
        assert visited.page.url == f"{served.url}/"
        assert visited.page.evaluate("sessionStorage.length") == 0


def test_page_reports_outage_and_recovers(browser: Browser, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSWEEP_UI_TOKEN", "a token that stays the same")
    record(1)
    with serving() as first, visit(browser, first.url) as visited:
        page = visited.page
        page.goto(first.entry.replace(" ", "%20"))
        expect(page.locator(".live")).to_have_text("live")
        page.context.set_offline(True)
        expect(page.locator(".live")).to_have_text("server unavailable, retrying")
        page.context.set_offline(False)
        expect(page.locator(".live")).to_have_text("live")


def test_open_page_continues_after_sign_in_in_other_tab(browser: Browser, folder: Path) -> None:
    record(1)
    with serving() as first:
        port = urlsplit(first.url).port or 0
    with visit(browser, first.url) as visited:
        page = visited.page
        with serving(port=port) as first:
            page.goto(first.entry)
            expect(page.locator(".live")).to_have_text("live")
            page.route("**/api/**", lambda route: route.abort())  # no request between the two servers
            expect(page.locator(".live")).to_have_text("server unavailable, retrying")
        with serving(port=port) as second:
            other = page.context.new_page()
            other.goto(second.entry)
            expect(other.locator(".live")).to_have_text("live")
            page.unroute("**/api/**")
            expect(page.locator(".live")).to_have_text("live")
            expect(page.get_by_role("link", name="recorded")).to_be_visible()


def test_page_shows_end_reason_of_trial_after_outage(browser: Browser, served: Served) -> None:
    sweep_id = record(1)
    outage = [503]
    with visit(browser, served.url) as visited:
        page = visited.page
        page.goto(served.entry)
        page.route(
            "**/why", lambda route: route.fulfill(status=outage.pop(), body="{}") if outage else route.fallback()
        )
        page.goto(f"{served.url}/sweeps/{sweep_id}/trials/0")
        expect(page.locator(".why")).to_contain_text(f"smsweep reproduce {sweep_id}/0")
        assert all("Failed to load resource" in error for error in visited.errors)


@pytest.mark.slow
def test_five_thousand_trials_stay_quick_and_small(browser: Browser, served: Served) -> None:
    sweep_id = record(5_000)
    with seen(browser, served) as visited:
        page = visited.page
        expect(page.get_by_text("5000 trials")).to_be_visible()
        sizes: list[int] = []
        page.on("response", lambda got: sizes.append(len(got.body())) if f"{sweep_id}?since" in got.url else None)
        page.goto(f"{served.url}/sweeps/{sweep_id}#trials")
        expect(page.get_by_text("1–100 of 5000")).to_be_visible()
        page.get_by_label("filter trials").fill("lr<0.001")
        expect(page.locator("#panel-trials [role=status]")).to_have_text(re.compile(r"of 1[0-4]\d\d$"))
        page.wait_for_selector('[data-figure="parallel_coordinates"][data-is-drawn=true]')
        page.get_by_role("tab", name="Overview").click()
        page.wait_for_selector('[data-figure="curves"][data-is-drawn=true]')
        with Workspace().store() as store:  # a single new point is sent alone
            trial = store.get_trial(sweep_id, 7)
            point = MetricPoint(name="loss", value=0.5, step=99, time=trial.created_at)  # type: ignore[arg-type]
            store.append_points(sweep_id, 7, [point], "more", expect_cursor=trial.cursor)
        started = time.monotonic()
        while sizes[-1] > 20_000 and time.monotonic() < started + 60:
            page.wait_for_timeout(500)
        assert max(sizes) < 3_000_000
        assert sizes[-1] < 20_000


def test_command_prints_address_and_exits_at_signal(folder: Path) -> None:
    command = [sys.executable, "-m", "smsweep.cli.main", "ui", "--port", "0", "--json", "--no-open"]
    for number in (signal.SIGINT, signal.SIGTERM):
        shown = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)
        try:
            assert shown.stdout is not None
            output = json.loads(shown.stdout.readline())
            assert output["entry"] == f"{output['url']}/?token={output['token']}"
            shown.send_signal(number)
            _, talk = shown.communicate(timeout=60)
        finally:
            shown.kill()
            shown.communicate()
        assert shown.returncode == 0
        assert "Traceback" not in talk


def test_unavailable_address_is_reported(served: Served) -> None:
    port = served.url.rpartition(":")[2]
    for options, words in (
        (["--port", port], "Address already in use; give another --port"),
        (["--host", "no.such.host.invalid"], "no.such.host.invalid"),
    ):
        command = [sys.executable, "-m", "smsweep.cli.main", "ui", "--no-open", *options]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=60, check=False)
        assert done.returncode == 2
        assert words in done.stderr and "Traceback" not in done.stderr


OUTLIER = 50_000.0


def record_with_outlier(n_trials: int) -> str:
    """Record a sweep whose trial 0 has an extreme loss."""
    sweep_id = record(n_trials)
    with Workspace().store() as store:
        trial = store.get_trial(sweep_id, 0)
        assert trial.created_at is not None
        point = MetricPoint(name="accuracy", value=OUTLIER, step=99, time=trial.created_at)
        store.append_points(sweep_id, 0, [point], "more", expect_cursor=trial.cursor)
    return sweep_id


def drawn(page: Page, name: str) -> list[int]:
    """Return the numbers of the trials that a figure shows, in order."""
    page.wait_for_selector(f'[data-figure="{name}"][data-is-drawn=true]')
    numbers: list[int] = page.evaluate(
        """(name) => [...new Set(document.querySelector(`[data-figure="${name}"]`).data.flatMap((trace) =>
            trace.customdata ?? []))].filter((number) => number !== null).sort((a, b) => a - b)""",
        name,
    )
    return numbers


def range_of(page: Page, name: str) -> list[float]:
    """Return the range of the vertical axis, which the plotting library has chosen. A sketch has none."""
    page.wait_for_selector(f'[data-figure="{name}"][data-is-drawn=true]')
    ends: list[float] = page.evaluate(
        """(name) => document.querySelector(`[data-figure="${name}"]`)._fullLayout.yaxis.range""", name
    )
    return ends


def test_filter_of_table_applies_to_figures_and_is_in_the_url(browser: Browser, served: Served) -> None:
    sweep_id = record(30)
    trials = json_views.list_trials(sweep_id)
    low = [trial["number"] for trial in trials if trial["params"]["lr"] < 0.01]
    scored = [number for number in low if trials[number]["state"] != "failed"]
    with seen(browser, served, f"/sweeps/{sweep_id}#trials") as visited:
        page = visited.page
        text = page.get_by_label("filter trials")
        text.fill("lr<")
        expect(page.get_by_role("alert")).to_have_text("lr<: a value is missing, for example lr<0.01")
        expect(page.locator("#panel-trials tbody tr")).to_have_count(30)
        text.fill("lr<0.01")
        expect(page.locator("#panel-trials .problem")).to_have_text("")
        expect(page.locator("#panel-trials tbody tr")).to_have_count(len(low))
        page.get_by_role("button", name="noise", exact=True).click()
        page.get_by_text("columns", exact=True).click()
        page.get_by_role("checkbox", name="batch", exact=True).press(" ")  # with the keyboard, as in `tick`
        expect(page.get_by_role("columnheader", name="batch")).to_have_count(0)

        page.get_by_role("tab", name="Analysis").click()
        expect(page.get_by_text(f"Figures show {len(low)} of 30 trials: lr<0.01")).to_be_visible()
        page.get_by_label("scatter plot: y axis").select_option("params.noise")
        assert drawn(page, "scatter") == low
        page.reload()  # the URL has everything
        assert drawn(page, "scatter") == low
        expect(page.get_by_label("scatter plot: y axis")).to_have_value("params.noise")
        page.get_by_role("tab", name="Trials").click()
        expect(text).to_have_value("lr<0.01")
        expect(page.get_by_role("columnheader", name="noise ▲")).to_be_visible()
        expect(page.get_by_role("columnheader", name="batch")).to_have_count(0)
        page.get_by_role("tab", name="Overview").click()
        assert drawn(page, "history") == scored
        page.get_by_role("button", name="Show all trials").click()
        expect(page.locator(".filter-note")).not_to_be_visible()
        wait_until(page, "location.search.indexOf('filter') < 0")
        assert len(drawn(page, "history")) > len(scored)


def test_outlier_is_outside_of_the_range_until_the_full_range_is_chosen(browser: Browser, served: Served) -> None:
    sweep_id = record_with_outlier(30)
    query = "scatter.y=metrics.accuracy&scatter.x=number"
    with seen(browser, served, f"/sweeps/{sweep_id}?{query}#analysis") as visited:
        page = visited.page
        card = page.locator("section.card", has=page.get_by_role("heading", name="Scatter plot"))
        expect(card.get_by_text("1 trial is outside the range")).to_be_visible()
        assert range_of(page, "scatter")[1] < 10
        card.get_by_role("button", name="full range").click()
        expect(card.get_by_text("1 trial is outside the range")).not_to_be_visible()
        wait_until(page, "location.search.includes('figure.scatter=full')")
        assert range_of(page, "scatter")[1] > OUTLIER
        card.get_by_role("button", name="log", exact=True).click()
        wait_until(page, "document.querySelector('[data-figure=scatter]')._fullLayout.yaxis.type === 'log'")
        with page.expect_download() as table:
            card.get_by_role("button", name="CSV of scatter").click()
        lines = Path(table.value.path()).read_text().splitlines()
        assert lines[0] == "series,trial,x,y,x title,y title"
        assert f"finished,0,0,{OUTLIER:.0f},trial,accuracy" in lines
        with page.expect_download() as image:
            card.get_by_role("button", name="PNG of scatter").click()
        assert Path(image.value.path()).read_bytes().startswith(b"\x89PNG")


def test_agent_notes_and_model_on_the_page(browser: Browser, served: Served, folder: Path) -> None:
    (folder / "train.py").write_text(
        "import os, pathlib, smsweep\nrun = smsweep.init()\nrun.log({'loss': run.config.lr})\n"
        "pathlib.Path(os.environ['SM_MODEL_DIR'], 'weights').write_text('w')\n"
    )
    (folder / "sweep.yaml").write_text(SWEEP)
    sweep_id = create.sweep("sweep.yaml", seed=1)
    with seen(browser, served, f"/sweeps/{sweep_id}") as visited:
        page = visited.page
        page.get_by_role("button", name="Add notes").click()
        page.get_by_label("notes on this sweep").fill("<b>first</b> try")
        page.get_by_role("button", name="Save notes").click()
        expect(page.locator(".notes p")).to_have_text("<b>first</b> try")
        assert json_views.show(sweep_id)["notes"] == "<b>first</b> try"

        page.get_by_label("backend").select_option("sagemaker")
        page.get_by_role("button", name="Start agent").click()
        expect(page.get_by_role("dialog")).to_contain_text("costs money")
        page.get_by_role("button", name="Keep it").click()
        assert not (Workspace().dir / "agents").exists()
        page.get_by_label("backend").select_option("process")
        page.get_by_label("trials at the same time").fill("2")
        page.get_by_role("button", name="Start agent").click()
        expect(page.locator(".local .agent")).to_contain_text("--parallel=2 --backend=process")
        expect(page.locator(".local .badge")).to_have_text("ended")
        expect(page.get_by_text("4 of 4 ended")).to_be_visible()
        page.locator(".local summary").click()
        expect(page.locator(".local pre")).to_contain_text("finished")

        page.goto(f"{served.url}/sweeps/{sweep_id}/trials/0")
        expect(page.locator(".head .badge")).to_have_text("finished")
        expect(page.get_by_role("button", name="following")).to_have_count(0)
        with page.expect_download() as model:
            page.get_by_role("button", name="Download model").click()
        with tarfile.open(model.value.path()) as packed:
            assert packed.getnames() == ["weights"]


def test_agent_is_resized_and_drained_on_the_page(browser: Browser, served: Served, folder: Path) -> None:
    gate = folder / "gate"
    (folder / "train.py").write_text(
        "import os, time, smsweep\nrun = smsweep.init()\n"
        f"while not os.path.exists({str(gate)!r}):\n    time.sleep(0.05)\nrun.log({{'loss': run.config.lr}})\n"
    )
    (folder / "sweep.yaml").write_text(SWEEP)
    sweep_id = create.sweep("sweep.yaml", seed=1)
    argv = [sys.executable, "-m", "smsweep", "agent", sweep_id]
    agent = subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with seen(browser, served, f"/sweeps/{sweep_id}") as visited:
            page = visited.page
            line = page.locator(".all .agent")
            expect(line).to_contain_text("trials 0")
            expect(line.locator(".badge")).to_have_text("running")
            line.get_by_label("parallel of agent").fill("2")
            line.get_by_role("button", name="Set parallel").click()
            expect(line).to_contain_text("trials 0, 1")
            line.get_by_role("button", name="Drain").click()
            expect(line.locator(".badge")).to_have_text("draining")
            gate.touch()
            expect(page.locator(".all")).to_have_text("No agent works on this sweep.")
            assert json_views.show(sweep_id)["trials"] == {"finished": 2}
    finally:
        gate.touch()
        agent.wait()


def test_page_shows_agents_and_keeps_entered_text(browser: Browser, served: Served, folder: Path) -> None:
    gate = folder / "gate"
    (folder / "train.py").write_text(
        "import os, time, smsweep\nrun = smsweep.init()\n"
        f"while not os.path.exists({str(gate)!r}):\n    time.sleep(0.05)\nrun.log({{'loss': run.config.lr}})\n"
    )
    (folder / "sweep.yaml").write_text(SWEEP)
    sweep_id = create.sweep("sweep.yaml", seed=1)
    argv = [sys.executable, "-m", "smsweep", "agent", sweep_id]
    agents = []
    try:
        with seen(browser, served) as visited:
            page = visited.page
            expect(page.locator("li .badge")).to_have_text("pending")
            page.get_by_role("link", name="steered").click()
            badge = page.locator(".head .badge")
            expect(badge).to_have_text("pending")
            for n in (1, 2):
                agents.append(subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL))
                expect(page.locator(".all .agent")).to_have_count(n)
            expect(badge).to_have_text("running")
            expect(page.locator(".head")).to_contain_text("2 agents")
            second = page.locator(".all .agent").nth(1)
            number = second.get_by_label("parallel of agent")
            number.fill("3")
            first_id = page.locator(".all .agent").first.get_attribute("data-agent")
            order_agent(first_id or "", parallel=2)
            expect(page.locator(".all .agent").first).to_contain_text("2 slots")
            expect(number).to_have_value("3")
            expect(number).to_be_focused()
            page.get_by_role("tab", name="Config").click()
            lines = page.get_by_label("changes of the config")
            lines.fill("run_cap=9")
            smsweep.Api().sweep(sweep_id).update(run_cap=8)
            expect(page.get_by_label("Changes").get_by_text("revision 2")).to_be_visible()
            expect(lines).to_have_value("run_cap=9")
            page.get_by_role("button", name="Change config").click()
            expect(page.get_by_label("Changes").get_by_text("revision 3")).to_be_visible()
            expect(lines).to_have_value("")
            lines.fill("run_cap=9")
            page.get_by_role("button", name="Change config").click()
            expect(page.locator("#notice")).to_contain_text("nothing changed: revision 3 has these values already")
            for agent in agents:
                agent.kill()
                agent.wait()
            expect(badge).to_have_text("pending")
            page.get_by_role("link", name="sweeps").first.click()
            expect(page.locator("li .badge")).to_have_text("pending")
    finally:
        gate.touch()
        for agent in agents:
            agent.kill()
            agent.wait()


def test_narrow_page_cuts_nothing_and_scrolls_with_the_keyboard(browser: Browser, served: Served) -> None:
    sweep_id = record(12)
    scrolling = """() => [...document.querySelectorAll("main *")].filter((each) => {
        const style = getComputedStyle(each);
        const scrolls = /auto|scroll/.test(style.overflowX + style.overflowY) && each.checkVisibility();
        const isLarger = each.scrollWidth > each.clientWidth + 1 || each.scrollHeight > each.clientHeight + 1;
        const canFocus = each.tabIndex >= 0 || each.querySelector("a[href], button, input, [tabindex='0']");
        return scrolls && isLarger && !canFocus;
    }).map((each) => each.className)"""
    with seen(browser, served) as visited:
        page = visited.page
        page.set_viewport_size({"width": 390, "height": 844})
        for path in (f"/sweeps/{sweep_id}#trials", f"/new?t={sweep_id}/1", f"/sweeps/{sweep_id}#overview"):
            page.goto(served.url + path)
            page.reload()
            expect(page.locator("main table").first).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert page.evaluate(scrolling) == []
        params = page.locator(".with-params tbody tr").first.locator("td").last
        assert params.evaluate("(cell) => cell.getBoundingClientRect().right <= innerWidth")
        page.get_by_role("tab", name="Analysis").click()
        page.locator('[data-figure="slices"]').scroll_into_view_if_needed()
        page.wait_for_selector('[data-figure="slices"][data-is-drawn=true]')
        domains = page.evaluate(
            """() => Object.entries(document.querySelector('[data-figure="slices"]')._fullLayout)
                .filter(([name]) => /^xaxis/.test(name)).map(([, axis]) => axis.domain)"""
        )
        assert len(domains) == 5 and all(domain == [0, 1] for domain in domains)
