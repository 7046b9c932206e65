"""Check all documentation pages: links resolve, blocks are valid code, commands and flags exist.

Other tests run the blocks of single pages: tests/acceptance/test_readme.py, test_faq.py, test_from_wandb.py,
test_several_metrics.py, test_extending.py, and tests/unit/runtime/test_in_the_script.py.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.brief import SHORT
from benchmarks.ratios import Check, checks, outdated
from smsweep.cli.lazy_group import COMMANDS as COMMAND_NAMES
from smsweep.cli.lazy_group import GROUPS, load_command
from smsweep.config_files.job_yaml import parse_job
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.config_files.yaml_reader import read_yaml
from tests.support.markdown import HEADING, LINK, PAGES, ROOT, SPAN, Block, anchors, blocks, commands, links, prose

# Marks that can follow a block's language. A block with a mark is not run with the other blocks of its page.
MARKS = {
    "slurm": "needs a SLURM cluster",
    "make": "installs everything: tests/acceptance/test_readme.py runs `make quickstart` in a fresh copy",
    "fails": "fails on purpose: its own test expects the error",
    "wandb": "needs W&B's package, which has its own environment",
    "aws": "needs an AWS account: tests/sagemaker runs such sweeps against the emulator",
    "notebook": "a notebook cell: tests/oracle/test_notebook.py runs it in a kernel",
    "sweep": "a complete sweep.yaml, parsed below",
    "job": "a complete job.yaml, parsed below",
}
LANGUAGES = ("bash", "console", "python", "yaml", "toml", "text", "json", "gitignore", "csv", "diff", "")
# Its commands exist only after its changes are applied: tests/acceptance/test_extending.py applies them.
EXTENDING = ROOT / "docs" / "extending.md"
# Pages by file name in a message. Only skill.md is in the wheel: `smsweep skill` prints it, for a file SKILL.md.
PAGE_NAME = re.compile(r"\b(?!skill\.md|SKILL\.md)[\w/-]+\.md\b")
BLOCKS = [block for page in PAGES for block in blocks(page)]


def flags_by_verb() -> dict[str, set[str]]:
    return {
        name: {
            *("--help", "-h"),
            *(flag for param in load_command(name).params for flag in (*param.opts, *param.secondary_opts)),
        }
        for name in COMMAND_NAMES
    }


FLAGS = flags_by_verb()
COMMANDS = [
    (f"{page.name}:{line}", command) for page in PAGES if page != EXTENDING for line, command in commands(page)
]


def in_language(*languages: str) -> list[object]:
    return [pytest.param(block, id=block.place) for block in BLOCKS if block.language in languages]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    for line, target in links(page):
        path, _, anchor = target.partition("#")
        if target.startswith(("https://", "mailto:")):
            continue
        linked = page.parent / path if path else page
        assert linked.exists(), f"{page.name}:{line}: {path} does not exist"
        assert not anchor or anchor in anchors(linked), f"{page.name}:{line}: {linked.name} has no #{anchor}"


def test_every_page_is_linked_from_readme() -> None:
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page not in reached and page.suffix == ".md" and page.exists():
            reached.add(page)
            ahead += [
                (page.parent / path).resolve() for _, target in links(page) if (path := target.split("#")[0])
            ]
    assert {page for page in PAGES if page.parent.name == "docs"} <= reached


def test_block_has_known_language_and_mark() -> None:
    assert [block.place for block in BLOCKS if block.language not in LANGUAGES] == []
    marked = [block for block in BLOCKS if block.title and not block.is_file]
    assert [(block.place, block.title) for block in marked if block.title not in MARKS] == []


@pytest.mark.parametrize("block", in_language("yaml"))
def test_yaml_block_is_valid(block: Block) -> None:
    read = read_yaml(block.text, block.place).data
    if block.page == EXTENDING:
        return
    if block.title.startswith("job"):
        parse_job(read)
    elif block.title == "sweep" or "method" in read:
        parse_sweep(read)


@pytest.mark.parametrize("block", in_language("python"))
def test_python_block_compiles(block: Block) -> None:
    compile(block.text, block.place, "exec", dont_inherit=True)


@pytest.mark.parametrize("block", in_language("python"))
def test_python_block_imports_existing_names(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "smsweep":
            exec(compile(ast.Module(body=[node], type_ignores=[]), block.place, "exec"), {})


@pytest.mark.parametrize("block", in_language("bash"))
def test_bash_block_parses(block: Block) -> None:
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)


def test_messages_link_to_urls_of_existing_pages() -> None:
    linked, wrong = 0, []
    for file in (ROOT / "smsweep").rglob("*.py"):
        place, tree = str(file.relative_to(ROOT)), ast.parse(file.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                wrong += [(place, text) for text in re.findall(PAGE_NAME, node.value)]
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("docs_url"):
                name, _, anchor = str(ast.literal_eval(node.args[0])).partition("#")
                page = ROOT / "docs" / f"{name}.md"
                linked += 1
                if not page.exists() or (anchor and anchor not in anchors(page)):
                    wrong.append((place, f"{name}#{anchor}"))
    assert wrong == []
    assert linked > 5


def test_commands_and_flags_exist() -> None:
    wrong = []
    for place, command in COMMANDS:
        verb, *words = command.partition(", ")[0].split()[1:]  # "smsweep logs, each line"
        if verb in GROUPS and words:
            verb = f"{verb} {words.pop(0)}"
        flags = [word.split("=")[0] for word in words if word.startswith("-")]
        if verb not in (*FLAGS, *GROUPS, "--help", "--version", "...", "COMMAND"):
            wrong.append((place, command))
        wrong += [(place, flag) for flag in flags if flag not in FLAGS.get(verb, {"--help"})]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_test_files_exist(page: Path) -> None:
    named = re.findall(r"`(?:tests/)?((?:\w+/)*test_\w+\.py)`", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / "tests" / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_paths_exist(page: Path) -> None:
    if page == EXTENDING:  # names files of the plug-in that it builds
        return
    pattern = r"`((?:tests|tools|benchmarks)/[\w/.]+|smsweep/[\w/]+\.(?:py|json|txt))`"
    named = re.findall(pattern, page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_pytest_mark_is_used() -> None:
    assert set(MARKS) == {block.title for block in BLOCKS if block.title and not block.is_file}


MEASUREMENTS = ROOT / "docs" / "measurements.md"
# A number with a unit of time, size or ratio, a number with an error, or a table cell with a decimal fraction.
QUANTITY = re.compile(
    r"(?<![\w.\-/`=])\d[\d,]*(?:\.\d+)? ?(?:ms|s|seconds?|minutes?|µs|[kKMG]i?B|%|times)(?![\w/])"
    r"|± ?\d[\d.]*|(?<=\| )[-+]?\d+\.\d+(?= [|(±]| and)"
)
# Quantities that are settings of smsweep, limits of other programs, or examples. measurements.md has all others.
SETTINGS = {
    "README.md": {"10 s"},
    "cli.md": {"120 s", "1 second"},
    "concepts.md": {"120 s"},
    "emulator.md": {"70 %", "1 %"},
    "faq.md": {"150 seconds"},
    "exports.md": {"20 s", "5 s", "90 s"},
    "faults.md": {"10 seconds", "100 MB", "15 s", "20 s", "5 minutes", "5 s", "60 s"},
    "in-the-script.md": {"128 KiB", "2 KB", "64 KiB", "120 seconds"},
    "job-yaml.md": {"120 seconds", "95 %"},
    "local-plus-sagemaker.md": {"15 seconds"},
    "many-machines.md": {
        *("40 seconds", "2 seconds", "10 seconds", "5 minutes"),
        *("200 kB", "100 kB", "1 MB", "30 MB"),
    },
    "mcp.md": {"200 GB"},
    "notifications.md": {"15 seconds"},
    "report.md": {"15 MB"},
    "sagemaker.md": {"120 seconds"},
    "scale.md": {"10 minutes", "5 s", "10 s", "8 MiB"},
    "search.md": {"32 times", "5 %"},
    "security.md": {"50 ms"},
    "several-metrics.md": {"1 MB"},
    "slurm.md": {"150 seconds", "120 seconds", "20 times"},
    "source.md": {"256 MiB", "1 MiB", "64 MiB"},
    "sweep-yaml.md": {"1 MiB"},
    "ui.md": {"20 kB", "3 MB", "300 ms", "95 %"},
    "verified.md": {"120 seconds", "600 seconds"},
}


def sections(page: Path) -> Iterator[tuple[list[str], str]]:
    """Yield (anchors of its headings, text without code) for each section of a page."""
    headings: list[tuple[int, str]] = []
    lines: list[str] = []
    for _, line in [*prose(page), (0, "# ")]:
        if heading := HEADING.match(line):
            if lines:
                yield [anchor for _, anchor in headings], "\n".join(lines)
            level, lines = len(heading[1]), []
            anchor = re.sub(r"[^\w\- ]", "", heading[2].lower()).replace(" ", "-")
            headings = [*((above, name) for above, name in headings if above < level), (level, anchor)]
        else:
            lines.append(line)


def measured_sections() -> dict[tuple[str, str], list[str]]:
    """Return the cells of a row of measurements.md by page and anchor."""
    rows = {}
    for _, line in prose(MEASUREMENTS):
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| [") and (link := LINK.match(cells[0])):
            page, _, anchor = link[1].partition("#")
            rows[page, anchor] = cells
    return rows


def section_text(page: str, anchor: str) -> str:
    return "\n".join(text for names, text in sections(ROOT / "docs" / page) if anchor in names)


def test_each_quantity_is_a_setting_or_has_command_machine_and_date() -> None:
    measured, unknown, found = measured_sections(), [], dict[str, set[str]]()
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for names, text in sections(page):
            if page == MEASUREMENTS or any((page.name, name) in measured for name in names):
                continue
            quantities = {match.group() for match in QUANTITY.finditer(SPAN.sub("``", text))}
            found.setdefault(page.name, set()).update(quantities)
            new = quantities - SETTINGS.get(page.name, set())
            unknown += [f"{page.name}#{names[-1]}: {quantity}" for quantity in sorted(new)]
    assert unknown == [], "add the section to docs/measurements.md, or the number to SETTINGS"
    assert {name: numbers - found[name] for name, numbers in SETTINGS.items() if numbers - found[name]} == {}


def test_measurements_name_command_machine_date_and_a_section_that_links_to_them() -> None:
    text = MEASUREMENTS.read_text(encoding="utf-8")
    machines = re.findall(r"^\| (\w+) \| (?:a|the) ", text, re.M)
    measured = measured_sections()
    assert len(measured) > 15
    for (page, anchor), (_, command, machine, date) in measured.items():
        (module, *_) = re.findall(r"`python -m ([\w.]+)", command)
        source = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        flags = re.findall(r"--[a-z-]+", command)
        assert [flag for flag in flags if f'"{flag}"' not in source] == [], command
        assert machine in machines
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", date)
        assert "measurements.md" in section_text(page, anchor), f"{page}#{anchor} has no link to measurements.md"


def test_checked_numbers_are_in_their_section_and_measured_by_a_benchmark() -> None:
    documented = checks(MEASUREMENTS.read_text(encoding="utf-8"))
    assert len(documented) > 10
    for check in documented:
        page, _, anchor = LINK.findall(check.link)[0].partition("#")
        assert check.documented in section_text(page, anchor), check
        assert check.low <= check.high
    assert {name for name in SHORT if not (ROOT / "benchmarks" / f"{name}.py").exists()} == set()


def test_number_that_no_longer_holds_is_reported() -> None:
    check = Check(quantity="requests", link="[costs](costs.md)", documented="4", low=3.9, high=4.5)
    assert outdated([check], {"requests": 4.1}) == []
    (message,) = outdated([check], {"requests": 6.0})
    assert message == "requests: [costs](costs.md) has '4', which no longer holds: measured 6, not 3.9 to 4.5"
    (message,) = outdated([check], {})
    assert message.endswith("but no benchmark measured it")
