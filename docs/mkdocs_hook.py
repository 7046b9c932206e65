"""How the site shows these pages, which are written to be read where they lie as well.

A hook of MkDocs: https://www.mkdocs.org/user-guide/configuration/#hooks
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

import smsweep

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/smsweep/smsweep/blob/main/"
FENCE = re.compile(r"^```(\w+) +(\S.*)$", re.M)  # a second word: a file's name, or how a test treats the block
LINK = re.compile(r"\]\((?!https?:|#)([^)\s]+)\)")
TOUR = "## A tour in five minutes"


def on_files(files: Any, *, config: Any) -> None:
    """Add the pages that are made of something else: the README's two halves, and the docstrings."""
    top, _, tour = (ROOT / "README.md").read_text(encoding="utf-8").partition(TOUR)
    made = {
        "index.md": _from_root(top),
        "tutorial.md": _from_root(f"# Tutorial\n{tour}"),
        "python.md": _python(),
    }
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turn what only a repository has into what a site has: files' names over their text, links to files."""
    markdown = FENCE.sub(_fence, markdown)
    return LINK.sub(
        lambda link: f"]({REPOSITORY}{link[1][3:]})" if link[1].startswith("../") else link[0], markdown
    )


def _from_root(text: str) -> str:
    """Return a text of the repository's top folder as if it were written in this one."""

    def moved(link: re.Match[str]) -> str:
        target = link[1]
        return f"]({target.removeprefix('docs/')})" if target.startswith("docs/") else f"](../{target})"

    return LINK.sub(moved, text)


def _python() -> str:
    sections = [f"::: {smsweep._HOMES[name]}.{name}" for name in smsweep.__all__]
    return "# Python\n\n" + "\n\n".join(["What `import smsweep` offers.", *sections])


def _fence(found: re.Match[str]) -> str:
    language, word = found.groups()
    return f'```{language} title="{word}"' if "." in word else f"```{language}"
