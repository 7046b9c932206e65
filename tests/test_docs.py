"""Check all documentation pages: links resolve, blocks are valid code, commands and flags exist.

Other tests run the blocks of single pages: tests/acceptance/test_readme.py, test_faq.py, test_from_wandb.py,
test_several_metrics.py, test_extending.py, and tests/unit/runtime/test_in_the_script.py.
"""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from smsweep.cli.lazy_group import COMMANDS as COMMAND_NAMES
from smsweep.cli.lazy_group import GROUPS, load_command
from smsweep.config_files.job_yaml import parse_job
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.config_files.yaml_reader import read_yaml
from tests.support.markdown import PAGES, ROOT, Block, anchors, blocks, commands, links

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
