"""Published files: reproducible builds, an SBOM, and a wheel that runs sweeps and pages without the checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from playwright.sync_api import Browser, expect

from smsweep.errors import DOCS
from tests.support.installation import install
from tests.support.markdown import ROOT, blocks
from tests.support.walkthrough import clean_environment, sweep_ids, walk
from tools import dist
from tools.browser import PATIENCE_MS, chromium, see_all_figures, visit
from tools.environments import oracle
from tools.interpreters import find_python, supported
from tools.pins import BASE, read

PARTS = ("smsweep", "hydra_plugins", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md")
# What RELEASING.md changes on the day of a release.
RELEASED = (("CHANGELOG.md", "(unreleased)", "(2027-01-31)"), ("README.md", "is not released yet", "is released"))
RAW = "https://raw.githubusercontent.com/smsweep/smsweep/v0.1.0/docs/"  # of images
TRAIN = "import smsweep\nwith smsweep.init() as run:\n    run.log({'loss': run.config.x})\n"
SWEEP = {
    "program": "train.py",
    "method": "grid",
    "metric": {"name": "loss"},
    "parameters": {"x": {"values": [2, 1]}},
}
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
print(JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read()))
"""
HOOK = """
import os, time
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

class Hook(BuildHookInterface):
    def initialize(self, version, build_data):
        umask = os.umask(0)
        os.umask(umask)
        values = {"umask": umask, "zone": time.strftime("%H", time.localtime(0)), "locale": os.environ["LC_ALL"]}
        values |= {"year": time.gmtime(time.time()).tm_year, "home": os.path.expanduser("~"), "seed": hash("x")}
        for name, value in values.items():
            with open(os.path.join(self.root, "smsweep", f"{name}.txt"), "w") as file:
                file.write(str(value))
"""


def commit(folder: Path) -> Path:
    """Turn a folder into a repository with one commit of its content."""
    git = ["git", "-C", str(folder), "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "all"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    return folder


def copy_source(folder: Path) -> Path:
    """Copy the parts of the package, and prepare them for the release of today."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, folder)
    for name, old, new in RELEASED:
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose last commit is the current working tree."""
    return commit(copy_source(tmp_path_factory.mktemp("source")))


@pytest.fixture(scope="module")
def published(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the output of `make dist`."""
    out = tmp_path_factory.mktemp("published") / "dist"
    dist.make(out, "v0.1.0", source)
    return out


@pytest.mark.oracle
def test_sbom_is_reproducible(source: Path, published: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.json"
    dist.write_sbom(source, again, tmp_path / "venv")
    assert again.read_bytes() == (published / "smsweep-0.1.0.cdx.json").read_bytes()


@pytest.mark.oracle
def test_checksums_are_of_all_files(published: Path) -> None:
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=published,
        capture_output=True,
        text=True,
        check=True,
    )
    names = sorted(line.partition(": ")[0] for line in checked.stdout.splitlines())
    files = ["smsweep-0.1.0-py3-none-any.whl", "smsweep-0.1.0.cdx.json", "smsweep-0.1.0.tar.gz"]
    assert names == sorted([dist.NOTES, *files])
    assert {path.name for path in published.iterdir()} == {*names, "SHA256SUMS"}


@pytest.mark.oracle
def test_unreproducible_build_is_not_published(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    copy_source(folder)
    (folder / "hatch_build.py").write_text(HOOK)
    with (folder / "pyproject.toml").open("a") as file:
        file.write("\n[tool.hatch.build.hooks.custom]\n")
    out = tmp_path / "dist"
    with pytest.raises(ValueError, match="two builds of the same commit differ") as error:
        dist.make(out, source=commit(folder))
    wheel = re.search(r"smsweep-0\.1\.0-py3-none-any\.whl \((.*?)\)", str(error.value))
    assert wheel is not None
    files = {f"smsweep/{name}.txt" for name in ("home", "locale", "seed", "umask", "year", "zone")}
    assert set(wheel[1].split(", ")) == {*files, "smsweep-0.1.0.dist-info/RECORD"}
    assert not out.exists()


def test_release_notes_are_the_newest_section_of_the_changelog(tmp_path: Path) -> None:
    notes = dist.release_notes(copy_source(tmp_path), "0.1.0", "v0.1.0")
    assert notes.startswith("### Sweeps\n")
    assert "\n## " not in notes


@pytest.mark.parametrize(
    ("name", "old", "new", "tag", "error"),
    [
        ("README.md", "", "", "v9.9", r"the tag is v9\.9, but the version in smsweep/_version\.py is 0\.1\.0"),
        ("CHANGELOG.md", "(2027-01-31)", "(unreleased)", "v0.1.0", "start it with '0.1.0 [(]YEAR-MONTH-DAY[)]'"),
        ("README.md", "is released", "is not released yet", "v0.1.0", "the status is 'not released yet'"),
    ],
)
def test_checkout_that_is_not_ready_for_a_tag_is_refused(
    tmp_path: Path, name: str, old: str, new: str, tag: str, error: str
) -> None:
    copy_source(tmp_path)
    text = (tmp_path / name).read_text(encoding="utf-8")
    (tmp_path / name).write_text(text.replace(old, new) if old else text, encoding="utf-8")
    with pytest.raises(ValueError, match=error):
        dist.release_notes(tmp_path, "0.1.0", tag)


@pytest.mark.oracle
def test_readme_on_pypi_has_absolute_links_to_existing_files(published: Path) -> None:
    with tarfile.open(next(published.glob("*.tar.gz"))) as archive:
        file = archive.extractfile("smsweep-0.1.0/PKG-INFO")
        assert file is not None
        metadata = file.read()
    with zipfile.ZipFile(next(published.glob("*.whl"))) as wheel:
        assert wheel.read("smsweep-0.1.0.dist-info/METADATA") == metadata
    readme = metadata.decode().partition("\n\n")[2]  # the headers end at the first empty line
    page = MarkdownIt().enable("table").render(readme)
    shown, linked = (set(re.findall(rf'{name}="([^"]*)"', page)) for name in ("src", "href"))
    files = {url for url in linked if url.startswith("https://github.com/smsweep/smsweep/blob/v0.1.0/")}
    assert {url for url in linked if not url.startswith("https://")} == set()
    assert {url for url in shown if not url.startswith(RAW)} == set()
    assert (len(shown), len(files) > 30) == (2, True)
    paths = {re.sub(r".*/v0\.1\.0/|#.*", "", url) for url in files | shown}
    assert {path for path in paths if not (ROOT / path).exists()} == set()


@pytest.mark.oracle
def test_metadata_has_project_urls_authors_and_classifiers(published: Path) -> None:
    with zipfile.ZipFile(next(published.glob("*.whl"))) as wheel:
        metadata = message_from_bytes(wheel.read("smsweep-0.1.0.dist-info/METADATA"))
    urls = dict(str(url).split(", ") for url in metadata.get_all("Project-URL", []))
    assert sorted(urls) == ["Changelog", "Documentation", "Homepage", "Issues", "Repository"]
    assert urls["Documentation"] == DOCS
    assert metadata["Author"]
    assert {"Operating System :: MacOS", "Typing :: Typed"} <= set(metadata.get_all("Classifier", []))


@pytest.mark.oracle
def test_file_that_pypi_does_not_accept_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "tool-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tool-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tool\nVersion: 1.0\n")
    with pytest.raises(ValueError, match="long_description"):
        dist.check(tmp_path)


@pytest.mark.oracle
def test_sbom_is_valid_and_lists_base_install(published: Path) -> None:
    text = (published / "smsweep-0.1.0.cdx.json").read_text(encoding="utf-8")
    argv = [str(oracle("tools").python), "-c", VALIDATE]
    assert subprocess.run(argv, input=text, capture_output=True, text=True, check=True).stdout == "None\n"
    sbom = json.loads(text)
    assert (sbom["bomFormat"], sbom["metadata"]["component"]["name"]) == ("CycloneDX", "smsweep")
    pinned = [Requirement(pin) for pin in read(BASE)]
    assert {(canonicalize_name(found["name"]), found["version"]) for found in sbom["components"]} == {
        (canonicalize_name(pin.name), str(pin.specifier).removeprefix("=="))
        for pin in pinned
        if pin.marker is None or pin.marker.evaluate()
    }
    assert [found["name"] for found in sbom["components"] if not found.get("licenses")] == []
    (direct,) = (found["dependsOn"] for found in sbom["dependencies"] if found["ref"] == "root-component")
    declared = re.findall(r"\ndependencies = \[\n(.*?)\n\]", (ROOT / "pyproject.toml").read_text(), re.S)[0]
    wanted = {canonicalize_name(Requirement(found).name) for found in re.findall(r'"([^"]+)"', declared)}
    assert {canonicalize_name(ref.partition("==")[0]) for ref in direct} == wanted


@pytest.mark.oracle
def test_wheel_includes_pins_for_remote_agents_hydra_plugin_and_skill(published: Path) -> None:
    python = str(oracle("tools").python)
    listed = subprocess.run(
        [python, "-m", "zipfile", "--list", str(next(published.glob("*.whl")))], check=True, capture_output=True
    )
    assert b"smsweep/requirements/base.txt" in listed.stdout
    assert b"smsweep/requirements/postgres.txt" in listed.stdout
    assert b"hydra_plugins/smsweep_launcher/_launch.py" in listed.stdout
    assert b"smsweep/cli/skill.md" in listed.stdout


@pytest.mark.oracle
@pytest.mark.parametrize("minor", supported())
def test_wheel_runs_sweep_on(minor: int, published: Path, tmp_path: Path) -> None:
    if find_python(minor) is None:
        pytest.skip(f"there is no python3.{minor}")
    python = str(oracle(f"python3.{minor}").python)
    wheel = next(published.glob("*.whl"))
    installed = tmp_path / "installed"
    uv = str(oracle("tools").python.with_name("uv"))
    into = ["--quiet", "--python", python, "--target", str(installed)]
    argv = [uv, "pip", "install", "--no-deps", "--no-index", str(wheel), *into]
    subprocess.run(argv, check=True, capture_output=True)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "sweep.yaml").write_text(json.dumps(SWEEP))
    done = subprocess.run(
        [python, str(installed / "bin" / "smsweep"), "run", "sweep.yaml", "--json", "-q"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed), "SMSWEEP_DIR": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["best"]["objective"] == 1


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.mark.oracle
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_installed_release_runs_example_report_page_and_emulator_sweep(
    browser: Browser, published: Path, tmp_path: Path
) -> None:
    programs = install(next(published.glob("*.whl")), tmp_path / "venv", "release")
    local, aws = tmp_path / "local", tmp_path / "aws"
    local.mkdir()
    aws.mkdir()
    walk([block for block in blocks(ROOT / "README.md") if block.section == "Example"], local, programs)
    (sweep_id,) = sweep_ids(local)
    environment = clean_environment(local, programs)
    report = [str(programs / "smsweep"), "report", sweep_id, "-o", "report.html"]
    subprocess.run(report, cwd=local, env=environment, check=True, capture_output=True)
    url = (local / "report.html").as_uri()
    with visit(browser, url) as seen:
        seen.page.goto(url)
        see_all_figures(seen.page)
        assert (seen.outside, seen.errors) == ([], [])
    page = [str(programs / "smsweep"), "ui", "--port", "0", "--json", "--no-open"]
    with subprocess.Popen(page, cwd=local, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            output = json.loads(server.stdout.readline())
            with visit(browser, output["url"]) as seen:
                seen.page.goto(output["entry"])
                seen.page.get_by_role("link", name=sweep_id).click()
                expect(seen.page.get_by_text("3 of 3 ended")).to_be_visible(timeout=PATIENCE_MS)
                assert (seen.outside, seen.errors) == ([], [])
        finally:
            server.terminate()
    files = [block for block in blocks(ROOT / "docs/start-laptop.md") if block.title in ("train.py", "sweep.yaml")]
    walk([*files, *blocks(ROOT / "docs/start-sagemaker.md")], aws, programs)
