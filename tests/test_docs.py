"""What all pages have in common: links lead somewhere, code is code, commands exist.

That what they show is also so is tested page by page: tests/acceptance/test_readme.py and test_faq.py,
tests/unit/runtime/test_in_the_script.py.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from smsweep.cli.lazy_group import COMMANDS as COMMAND_NAMES
from smsweep.cli.lazy_group import GROUPS, load_command
from smsweep.config_files.job_yaml import parse_job
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.config_files.yaml_reader import read_yaml
from tests.markdown import PAGES, ROOT, Block, anchors, blocks, commands, links

# Words that may follow a block's language, and why such a block is not run where others of its page are.
MARKS = {
    "slurm": "needs a SLURM cluster",
    "make": "installs everything: tests/acceptance/test_readme.py runs `make quickstart` in a fresh copy",
    "fails": "ends with an error: its own test wants to see that",
    "wandb": "needs W&B's package, which has an environment of its own",
    "aws": "needs an AWS account: tests/sagemaker runs such sweeps against the stand-in of the API",
    "notebook": "a notebook's cell: tests/oracle/test_notebook.py runs them in a kernel",
    "sweep": "a whole sweep.yaml, read below",
    "job": "a whole job.yaml, read below",
}
LANGUAGES = ("bash", "console", "python", "yaml", "toml", "text", "json", "gitignore", "csv", "diff", "")
# What it shows exists once it has been followed: tests/acceptance/test_extending.py follows it.
EXTENDING = ROOT / "docs" / "extending.md"
BLOCKS = [block for page in PAGES for block in blocks(page)]


def flags_by_verb() -> dict[str, set[str]]:
    return {
        name: {"--help", "-h", *(option for parameter in load_command(name).params for option in parameter.opts)}
        for name in COMMAND_NAMES
    }


FLAGS = flags_by_verb()
COMMANDS = [
    (f"{page.name}:{line}", command) for page in PAGES if page != EXTENDING for line, command in commands(page)
]


def in_language(*languages: str) -> list[object]:
    return [pytest.param(block, id=block.place) for block in BLOCKS if block.language in languages]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for line, target in links(page):
        path, _, anchor = target.partition("#")
        if target.startswith(("https://", "mailto:")):
            continue
        linked = page.parent / path if path else page
        assert linked.exists(), f"{page.name}:{line}: there is no {path}"
        assert not anchor or anchor in anchors(linked), f"{page.name}:{line}: {linked.name} has no #{anchor}"


def test_every_page_in_docs_can_be_reached_from_the_readme() -> None:
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page not in reached and page.suffix == ".md" and page.exists():
            reached.add(page)
            ahead += [
                (page.parent / path).resolve() for _, target in links(page) if (path := target.split("#")[0])
            ]
    assert {page for page in PAGES if page.parent.name == "docs"} <= reached


def test_a_block_has_a_known_language_and_mark() -> None:
    assert [block.place for block in BLOCKS if block.language not in LANGUAGES] == []
    marked = [block for block in BLOCKS if block.title and not block.is_file]
    assert [(block.place, block.title) for block in marked if block.title not in MARKS] == []


@pytest.mark.parametrize("block", in_language("yaml"))
def test_yaml_is_read_by_our_own_reader(block: Block) -> None:
    read = read_yaml(block.text, block.place).data
    if block.page == EXTENDING:
        return
    if block.title.startswith("job"):
        parse_job(read)
    elif block.title == "sweep" or "method" in read:
        parse_sweep(read)


@pytest.mark.parametrize("block", in_language("python"))
def test_python_compiles(block: Block) -> None:
    compile(block.text, block.place, "exec", dont_inherit=True)


@pytest.mark.parametrize("block", in_language("bash"))
def test_bash_parses(block: Block) -> None:
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)


def test_a_command_and_its_flags_exist() -> None:
    wrong = []
    for place, command in COMMANDS:
        verb, *words = command.split()[1:]
        if verb in GROUPS and words:
            verb = f"{verb} {words.pop(0)}"
        flags = [word.split("=")[0] for word in words if word.startswith("-")]
        if verb not in (*FLAGS, *GROUPS, "--help", "--version", "...", "COMMAND"):
            wrong.append((place, command))
        wrong += [(place, flag) for flag in flags if flag not in FLAGS.get(verb, {"--help"})]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_file_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"`(?:tests/)?((?:\w+/)*test_\w+\.py)`", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / "tests" / name).exists()] == []


def test_every_mark_is_needed() -> None:
    assert set(MARKS) == {block.title for block in BLOCKS if block.title and not block.is_file}
