"""Adapt the pages for the documentation site, and list them in llms.txt for coding agents.

The pages also work in the repository, without the site.

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
MARKDOWN = "https://raw.githubusercontent.com/smsweep/smsweep/main/"
FENCE = re.compile(r"^```(\w+) +(\S.*)$", re.M)  # the second word is a file name or a mark for the tests
LINK = re.compile(r"\]\((?!https?:|#)([^)\s]+)\)")
INLINE_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
KINDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "`true` or `false`",
    "object": "a mapping",
}


def on_files(files: Any, *, config: Any) -> None:
    """Add the generated files: the home page from the README, the Python API, the keys of the files, llms.txt."""
    generated = {
        "index.md": _from_root((ROOT / "README.md").read_text(encoding="utf-8")),
        "python.md": _python(),
        "schema.md": _schema(),
        "llms.txt": _llms_txt(config),
    }
    for name, text in generated.items():
        files.append(File.generated(config, name, content=text))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Convert block titles and links to repository files into the form that the site needs."""
    markdown = FENCE.sub(_fence, markdown)
    return LINK.sub(
        lambda link: f"]({REPOSITORY}{link[1][3:]})" if link[1].startswith("../") else link[0], markdown
    )


def _from_root(text: str) -> str:
    """Return a text from the top folder of the repository with its links relative to `docs`."""

    def relative_to_docs(link: re.Match[str]) -> str:
        target = link[1]
        return f"]({target.removeprefix('docs/')})" if target.startswith("docs/") else f"](../{target})"

    return LINK.sub(relative_to_docs, text)


def _llms_txt(config: Any) -> str:
    """Return the list of all pages in the form of https://llmstxt.org. Its links lead to Markdown."""
    skill = f"- [Instructions for coding agents]({MARKDOWN}smsweep/cli/skill.md): the output of `smsweep skill`"
    parts = [f"# {config['site_name']}", f"> {config['site_description']}", skill]
    for section in config["nav"]:
        if not isinstance(section, dict):
            continue  # the home page
        for title, pages in section.items():
            links = [_llms_link(name, page) for entry in pages for name, page in entry.items()]
            parts.append(f"## {title}\n\n" + "\n".join(links))
    return "\n\n".join(parts) + "\n"


def _llms_link(name: str, page: str) -> str:
    """Return a link to a page, with the first sentence of the page."""
    path = ROOT / "docs" / page
    if not path.exists():
        return f"- [{name}]({page.removesuffix('.md')}/)"  # a generated page
    paragraph = path.read_text(encoding="utf-8").split("\n\n")[1].replace("\n", " ")
    sentence = re.match(r"[\w`].*?\.(?= |$)", INLINE_LINK.sub(r"\1", paragraph))
    return f"- [{name}]({MARKDOWN}docs/{page})" + (f": {sentence[0]}" if sentence else "")


def _python() -> str:
    # `sweep`, `agent` and `run` wrap the functions that have the signatures and the docstrings.
    wrapped = {name: getattr(getattr(smsweep, name), "__wrapped__", None) for name in smsweep.__all__}
    modules = {name: each.__module__ if each else smsweep._MODULES[name] for name, each in wrapped.items()}
    sections = [f"::: {module}.{name}" for name, module in modules.items()]
    return "# Python API\n\n" + "\n\n".join(["The public names of `import smsweep`.", *sections])


def _schema() -> str:
    """Return tables of all keys of both files, generated from the models that read them."""
    parts = [
        "# All keys",
        "Every key of both files. [sweep.yaml](sweep-yaml.md) and [job.yaml](job-yaml.md) explain them.",
    ]
    for file, schema in (("sweep.yaml", sweep_schema()), ("job.yaml", JobSection.model_json_schema())):
        rows = [
            f"| `{key}` | {_kind(field)} | {field.get('description', '')} |"
            for key, field in schema["properties"].items()
        ]
        parts.append(f"## {file}\n\n| key | type | description |\n|---|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _kind(field: Mapping[str, Any]) -> str:
    """Describe the type that a JSON schema accepts, without null."""
    if "anyOf" in field:
        return " or ".join(_kind(each) for each in field["anyOf"] if each.get("type") != "null")
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"a list of: {_kind(field['items'])}" if field.get("items") else "a list"
    types = field.get("type", "object")
    if isinstance(types, list):
        return " or ".join(_kind({**field, "type": each}) for each in types if each != "null")
    return KINDS.get(types, "anything")


def _fence(match: re.Match[str]) -> str:
    language, word = match.groups()
    return f'```{language} title="{word}"' if "." in word else f"```{language}"
