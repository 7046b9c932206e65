"""Latency of the web page in headless Chromium: `python -m benchmarks.web_page [--trials N] [--rounds N]`.

Prints the time until each view of a sweep is drawn, and the longest frames while the page is scrolled and while an
axis of the parallel coordinates is brushed. Limits: 300 ms for a view, 60 ms for a frame (95th percentile).
A figure counts as drawn when it shows its data, even if the drawing is a sketch that Plotly later replaces.
On a busy machine, compare CPU time, which other processes change little: of scripts and of all tasks on the main
thread of the page (both from the DevTools protocol), and of the server and all processes of the browser together.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import CDPSession, Page

from smsweep.web.server import serving
from tests.support.recorded_requests import record
from tools.browser import chromium

TABS = ("overview", "trials", "analysis", "config")
MAX_VIEW_MS, MAX_FRAME_MS = 300.0, 60.0
IDLE_MS = 3_000  # before the first measurement: the time that a user needs to find the tab
STEPS = 40
COLUMNS = ("wall", "scripts", "main thread", "all CPU")
Row = tuple[float, float, float, float]  # milliseconds of the columns

# Resolve to the milliseconds from a click until all figures on the screen are drawn.
OPEN_VIEW = """async ({click, region}) => {
    const started = performance.now();
    document.querySelector(click).click();
    const isOnScreen = (element) => {
        const box = element.getBoundingClientRect();
        return element.checkVisibility() && box.top < innerHeight && box.bottom > 0;
    };
    const isReady = () => {
        const panel = document.querySelector(region);
        if (!panel || !panel.checkVisibility() || !panel.innerText.trim()) return false;
        const figures = [...panel.querySelectorAll("[data-figure]")].filter(isOnScreen);
        return figures.every((each) => each.dataset.isDrawn);
    };
    while (!isReady()) {
        if (performance.now() - started > 60000) return 60000; // not drawn in a minute
        await new Promise((resolve) => requestAnimationFrame(resolve));
    }
    return performance.now() - started;
}"""
RECORD_FRAMES = """() => {
    globalThis.frameTimes = [];
    let before = performance.now();
    const turn = (now) => {
        frameTimes.push(now - before);
        before = now;
        globalThis.frameRequest = requestAnimationFrame(turn);
    };
    globalThis.frameRequest = requestAnimationFrame((now) => { before = now; turn(now); });
}"""
STOP_FRAMES = "() => { cancelAnimationFrame(globalThis.frameRequest); return globalThis.frameTimes.slice(2); }"


def browser_cpu_ms() -> float:
    """Return the CPU time of this process and its descendants: the server and all processes of the browser."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        parents[int(stat.parent.name)] = int(fields[1])
        used[int(stat.parent.name)] = (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")
    own = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in own} - own:
        own |= more
    return sum(used.get(pid, 0.0) for pid in own)


def main_thread_ms(session: CDPSession) -> tuple[float, float]:
    """Return the CPU time of scripts and of all tasks on the main thread of the page."""
    found = {each["name"]: each["value"] * 1000 for each in session.send("Performance.getMetrics")["metrics"]}
    return found["ScriptDuration"], found["TaskDuration"]


def open_views(page: Page, sweep_id: str) -> dict[str, Row]:
    """Return times by view, each opened for the first time on this page."""
    page.wait_for_selector("li[data-id]")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    times: dict[str, Row] = {}

    def open_view(name: str, click: str, region: str) -> None:
        page.wait_for_timeout(IDLE_MS)
        before = browser_cpu_ms()
        script, tasks = main_thread_ms(session)
        wall = page.evaluate(OPEN_VIEW, {"click": click, "region": region})
        script_after, tasks_after = main_thread_ms(session)
        times[name] = wall, script_after - script, tasks_after - tasks, browser_cpu_ms() - before
        print(
            f"{name}: " + ", ".join(f"{each} {ms:.0f} ms" for each, ms in zip(COLUMNS, times[name], strict=True)),
            file=sys.stderr,
        )

    open_view("sweep (overview)", f'a[href="/sweeps/{sweep_id}"]', "#panel-overview")
    for name in TABS[1:]:
        open_view(name, f"#tab-{name}", f"#panel-{name}")
    page.evaluate("document.querySelector('#tab-trials').click()")
    open_view("trial", f'#panel-trials a[href="/sweeps/{sweep_id}/trials/7"]', "main .sides")
    return times


def frames(page: Page, do: object) -> list[float]:
    page.evaluate(RECORD_FRAMES)
    assert callable(do)
    do()
    times: list[float] = page.evaluate(STOP_FRAMES)
    return times


def scroll(page: Page) -> None:
    page.mouse.move(640, 600)
    for step in range(STEPS):
        page.mouse.wheel(0, 120 if step < STEPS / 2 else -120)
        page.wait_for_timeout(25)


def brush(page: Page) -> list[float]:
    """Drag along an axis of the parallel coordinates, and return the times of the frames."""
    page.locator("[data-figure=parallel_coordinates]").scroll_into_view_if_needed()
    box = page.locator(".parallel .brush").nth(1).bounding_box()
    assert box is not None
    x, top, height = box["x"] + box["width"] / 2, box["y"], box["height"]

    def drag() -> None:
        page.mouse.move(x, top + height * 0.1)
        page.mouse.down()
        for step in range(STEPS):
            page.mouse.move(x, top + height * (0.1 + 0.7 * step / STEPS))
            page.wait_for_timeout(25)
        page.mouse.up()
        page.wait_for_timeout(200)

    return frames(page, drag)


Times = dict[str, list[Row]]


def measure(n_trials: int, n_rounds: int, *, has_frames: bool) -> tuple[Times, dict[str, list[float]]]:
    views: Times = {}
    slow: dict[str, list[float]] = {}
    sweep_id = record(n_trials)
    with chromium() as browser, serving() as served:
        for _ in range(n_rounds):
            # `tools.browser.visit` sends each request through this process, which delays it by 10 ms or more.
            with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
                page = context.new_page()
                page.goto(served.entry)
                for name, ms in open_views(page, sweep_id).items():
                    views.setdefault(name, []).append(ms)
                for name in TABS[:3] if has_frames else ():
                    page.goto(f"{served.url}/sweeps/{sweep_id}#{name}")
                    page.reload()
                    page.wait_for_selector(f"#panel-{name} [data-is-drawn]")
                    page.wait_for_timeout(IDLE_MS)
                    found = frames(page, lambda: scroll(page))  # noqa: B023 - called at once
                    slow.setdefault(f"scroll {name}", []).extend(found)
                    print(f"scroll {name}: {len(found)} frames, worst {max(found):.0f} ms", file=sys.stderr)
                if not has_frames:
                    continue
                page.goto(f"{served.url}/sweeps/{sweep_id}#trials")
                page.reload()
                page.wait_for_selector("[data-figure=parallel_coordinates][data-is-drawn]")
                page.wait_for_timeout(IDLE_MS)
                slow.setdefault("brush parallel coordinates", []).extend(brush(page))
    return views, slow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-frames", action="store_true", help="Measure the views only.")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["SMSWEEP_DIR"] = f"{scratch}/sweeps"
        os.environ.pop("SMSWEEP_STORE", None)
        os.chdir(scratch)
        views, slow = measure(args.trials, args.rounds, has_frames=not args.no_frames)
    print(f"{args.trials} trials, {args.rounds} rounds")
    print(f"{'view, median ms':30}" + "".join(f" {each:>11}" for each in COLUMNS))
    for name, rows in views.items():
        medians = [statistics.median(column) for column in zip(*rows, strict=True)]
        mark = "" if medians[0] <= MAX_VIEW_MS else f"  over {MAX_VIEW_MS:.0f}"
        print(f"{name:30}" + "".join(f" {ms:11.0f}" for ms in medians) + mark)
    print(f"{'frames':30} {'median ms':>10} {'95 % ms':>10} {'worst ms':>10}")
    for name, times in slow.items():
        ordered = sorted(times)
        most = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
        mark = "" if most <= MAX_FRAME_MS else f"  over {MAX_FRAME_MS:.0f}"
        print(f"{name:30} {statistics.median(ordered):10.0f} {most:10.0f} {ordered[-1]:10.0f}{mark}")


if __name__ == "__main__":
    main()
