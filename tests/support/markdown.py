"""Code blocks, headings and links of a Markdown page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "smsweep" / "cli" / "skill.md"])
FENCE = re.compile(r"^```(\w*) ?(.*)$")
HEADING = re.compile(r"^(#+) (.*)$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A fenced block of code."""

    page: Path
    line: int  # line of its first fence
    section: str  # the last second-level heading above it; "" if there is none
    language: str  # "" if the fence has none
    title: str  # text after the language: a file name or a marker
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_file(self) -> bool:
        return "." in self.title


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    fenced: list[Block] = []
    section = ""
    opening: tuple[int, str, str] | None = None  # line, language and title of the current block
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if opening is None:
            if line.startswith("## "):
                section = line.removeprefix("## ")
            if fence:
                opening, lines = (number, fence[1], fence[2]), []
        elif line == "```":
            start, language, title = opening
            text = "".join(f"{line}\n" for line in lines)
            fenced.append(Block(page=page, line=start, section=section, language=language, title=title, text=text))
            opening = None
        else:
            lines.append(line)
    assert opening is None, f"{page}: a block has no end"
    return fenced


def prose(page: Path) -> list[tuple[int, str]]:
    """Return (number, line) for each line that is not code."""
    inside = {
        number for block in blocks(page) for number in range(block.line, block.line + block.text.count("\n") + 2)
    }
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
    return [(number, line) for number, line in lines if number not in inside]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, with the rules of GitHub."""
    seen: Counter[str] = Counter()
    slugs = set()
    for _, line in prose(page):
        if heading := HEADING.match(line):
            slug = re.sub(r"[^\w\- ]", "", heading[2].lower()).replace(" ", "-")
            slugs.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return slugs


def links(page: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, target) for each link."""
    for number, line in prose(page):
        for target in LINK.findall(SPAN.sub("", line)):
            yield number, target


def commands(page: Path) -> Iterator[tuple[int, str]]:
    """Yield each `smsweep ...` command on a page, in blocks and in text."""
    for block in blocks(page):
        for offset, line in enumerate(block.text.splitlines(), 1):
            if block.language == "bash" or line.startswith("$ "):
                for command in re.findall(r"\bsmsweep [^|;&#>)]*", line):
                    yield block.line + offset, command
    for number, line in prose(page):
        for span in SPAN.findall(line):
            if span.startswith("smsweep "):
                yield number, span.partition(" |")[0]
