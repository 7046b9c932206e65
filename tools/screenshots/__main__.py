"""Create the pictures of the docs from real pages of a real sweep: `python -m tools.screenshots [folder]`.

Runs the sweep in this folder on this machine, and takes pictures during the run and after its end.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page

from smsweep.services.views import json_views
from smsweep.web.server import Served, serving
from tools.browser import chromium, visit

FOLDER = Path(__file__).parent
IMAGES = FOLDER.parent.parent / "docs" / "images"
SEED = "3"
WIDE, NARROW = (1280, 960), (390, 844)
QUALITY = 88
Scheme = Literal["light", "dark"]


def save_picture(
    browser: Browser, served: Served, into: Path, name: str, path: str, wait: str, scheme: Scheme
) -> None:
    """Save a picture of a page after an element is visible."""
    with visit(browser, served.url, scheme) as seen:
        page: Page = seen.page
        width, height = NARROW if name.endswith("narrow") else WIDE
        page.set_viewport_size({"width": width, "height": height})
        page.goto(served.entry)
        page.goto(served.url + path)
        page.wait_for_selector(wait)
        page.wait_for_timeout(1_000)
        picture = page.context.new_cdp_session(page).send(
            "Page.captureScreenshot", {"format": "webp", "quality": QUALITY}
        )
        (into / f"{name}.webp").write_bytes(base64.b64decode(picture["data"]))
        assert (seen.outside, seen.errors) == ([], []), (name, seen.outside, seen.errors)
        print(into / f"{name}.webp", (into / f"{name}.webp").stat().st_size)


def main(into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        for file in ("train.py", "sweep.yaml"):
            shutil.copy(FOLDER / file, scratch)
        os.environ["SMSWEEP_DIR"] = f"{scratch}/.smsweep"
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        command = [
            sys.executable,
            "-m",
            "smsweep.cli.main",
            "run",
            "sweep.yaml",
            "--parallel",
            "3",
            "--seed",
            SEED,
        ]
        running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        with chromium() as browser, serving() as served:
            while not (sweeps := json_views.list_sweeps()) or sweeps[0]["trials"].get("finished", 0) < 3:
                time.sleep(0.5)
            own = f"/sweeps/{sweeps[0]['id']}"

            def shoot(name: str, path: str, wait: str, scheme: Scheme = "light") -> None:
                save_picture(
                    browser,
                    served,
                    into,
                    name,
                    own + path if path.startswith(("#", "/t", "!")) else path,
                    wait,
                    scheme,
                )

            shoot("ui-sweep", "#overview", "[data-figure=curves][data-is-drawn=true]")
            running.wait()
            best_trial = json_views.show(sweeps[0]["id"])["best"]
            assert best_trial is not None
            best = best_trial["number"]
            others = [
                trial["number"]
                for trial in json_views.list_trials(sweeps[0]["id"])
                if trial["state"] == "finished"
            ]
            chosen = [best, *(number for number in others if number != best)][:4]
            query = "&".join(f"t={sweeps[0]['id']}/{number}" for number in chosen)
            curve = "[data-figure=curve][data-is-drawn=true]"
            shoot("ui-trials-dark", "#trials", "[data-figure=parallel_coordinates][data-is-drawn=true]", "dark")
            shoot("ui-trial", f"/trials/{best}", curve)
            shoot("ui-compare-dark", f"/compare?{query}", curve, "dark")
            shoot("ui-new", f"/new?{query}&narrow=1", ".verdict table")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute() if sys.argv[1:] else IMAGES)
