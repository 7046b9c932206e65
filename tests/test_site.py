"""Check the documentation site: it builds without warnings, has every page, and loads nothing from other hosts."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from smsweep.config_files.job_models import JobSection
from smsweep.config_files.sweep_rules import SweepSection
from tests.support.markdown import ROOT
from tools.browser import chromium, visit
from tools.environments import oracle

# Elements that make the browser request a URL, and CSS that does.
FETCHED = re.compile(
    r"<(?:script|link|img|iframe|source|object)\b[^>]+(?:src|href|data)=\"?((?:https?:)?//[^\" >]+)"
)
IN_CSS = re.compile(r"(?:url\(|@import )[\"']?((?:https?:)?//[^\"')]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    mkdocs = oracle("docs").python.with_name("mkdocs")
    done = subprocess.run(
        [str(mkdocs), "build", "--quiet", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.oracle
def test_navigation_has_every_page(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} | {"python", "schema"}
    assert {page for page in pages if f'href="{page}/"' not in home} == set()


@pytest.mark.oracle
def test_file_block_has_file_name_as_title(site: Path) -> None:
    assert 'class="filename">sweep.yaml<' in (site / "start-laptop" / "index.html").read_text(encoding="utf-8")


@pytest.mark.oracle
def test_python_page_has_every_public_name(site: Path) -> None:
    import smsweep

    shown = (site / "python" / "index.html").read_text(encoding="utf-8")
    assert [name for name in smsweep.__all__ if f'.{name}"' not in shown] == []


@pytest.mark.oracle
def test_keys_page_has_type_of_every_key(site: Path) -> None:
    shown = (site / "schema" / "index.html").read_text(encoding="utf-8")
    keys = re.findall(r"<td><code>(\w+)</code></td>\s*<td>(?!</td>)", shown)
    models = (SweepSection, JobSection)
    assert {field.alias or name for model in models for name, field in model.model_fields.items()} <= set(keys)


@pytest.mark.oracle
def test_llms_txt_lists_every_page_as_markdown(site: Path) -> None:
    text = (site / "llms.txt").read_text(encoding="utf-8")
    assert text.startswith("# smsweep\n\n> W&B sweeps as Amazon SageMaker training jobs")
    links = re.findall(
        r"^- \[[^\]]+\]\(https://raw.githubusercontent.com/smsweep/smsweep/main/(\S+)\)", text, re.M
    )
    assert {link for link in links if not (ROOT / link).is_file()} == set()
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert {*pages, "smsweep/cli/skill.md"} == set(links)
    assert (
        "- [Command line](https://raw.githubusercontent.com/smsweep/smsweep/main/docs/cli.md): `smsweep COMMAND"
        in text
    )


@pytest.mark.oracle
def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    patterns = {"*.html": FETCHED, "*.css": IN_CSS}
    fetched = {
        (file.name, found)
        for kind, pattern in patterns.items()
        for file in site.rglob(kind)
        for found in pattern.findall(file.read_text(encoding="utf-8"))
    }
    assert fetched == set()


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.mark.oracle
def test_browser_requests_nothing_from_other_hosts(site: Path, browser: Browser) -> None:
    handler = functools.partial(QuietHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own = f"http://127.0.0.1:{server.server_port}/"
        with visit(browser, own) as visited:
            for path in ("", "start-laptop/", "schema/", "python/"):
                visited.page.goto(f"{own}{path}", wait_until="networkidle")
            visited.page.locator("input[name=query]").click()  # loads the search
            visited.page.keyboard.type("early stopping")
            visited.page.locator("a.md-search-result__link").first.wait_for()
        server.shutdown()
    assert (visited.outside, visited.errors) == ([], [])


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        pass
