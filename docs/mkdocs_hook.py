"""How the site shows these pages, which are written to be read where they lie as well.

A hook of MkDocs: https://www.mkdocs.org/user-guide/configuration/#hooks
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

import smsweep
from smsweep.config_files.job_models import JobSection
from smsweep.config_files.json_schema import sweep_schema

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/smsweep/smsweep/blob/main/"
FENCE = re.compile(r"^```(\w+) +(\S.*)$", re.M)  # a second word: a file's name, or how a test treats the block
LINK = re.compile(r"\]\((?!https?:|#)([^)\s]+)\)")
KINDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "`true` or `false`",
    "object": "a mapping",
}
TOUR = "## A tour in five minutes"


def on_files(files: Any, *, config: Any) -> None:
    """Add the pages that are made of something else: the README's two halves, and the docstrings."""
    top, _, tour = (ROOT / "README.md").read_text(encoding="utf-8").partition(TOUR)
    made = {
        "index.md": _from_root(top),
        "tutorial.md": _from_root(f"# Tutorial\n{tour}"),
        "python.md": _python(),
        "schema.md": _schema(),
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
    sections = [f"::: {smsweep._MODULES[name]}.{name}" for name in smsweep.__all__]
    return "# Python\n\n" + "\n\n".join(["What `import smsweep` offers.", *sections])


def _schema() -> str:
    """Return the keys of both files as the models that read them have them."""
    parts = [
        "# Schema",
        "Every key, made from the models that read the files. [Configuration](config.md) explains them.",
    ]
    for file, schema in (("sweep.yaml", sweep_schema()), ("job.yaml", JobSection.model_json_schema())):
        rows = [
            f"| `{key}` | {_kind(field)} | {field.get('description', '')} |"
            for key, field in schema["properties"].items()
        ]
        parts.append(f"## {file}\n\n| key | takes | is |\n|---|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _kind(field: Mapping[str, Any]) -> str:
    """Say in words what a JSON schema lets through; null is left out, as the key may be."""
    if "anyOf" in field:
        return " or ".join(_kind(each) for each in field["anyOf"] if each.get("type") != "null")
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"a list of: {_kind(field['items'])}" if field.get("items") else "a list"
    return KINDS.get(field.get("type", "object"), "anything")


def _fence(found: re.Match[str]) -> str:
    language, word = found.groups()
    return f'```{language} title="{word}"' if "." in word else f"```{language}"
