"""Just enough Markdown to test what our pages say: code blocks, headings, links."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*) ?(.*)$")
HEADING = re.compile(r"^(#+) (.*)$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A fenced block of code."""

    page: Path
    line: int  # of its first fence
    section: str  # the nearest heading of the second level above it; "" above the first
    language: str  # "" where the fence names none
    title: str  # what follows the language: the name of the file it is, or a mark
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_file(self) -> bool:
        return "." in self.title


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    section = ""
    opening: tuple[int, str, str] | None = None  # line, language, title of the block we are in
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
            found.append(Block(page=page, line=start, section=section, language=language, title=title, text=text))
            opening = None
        else:
            lines.append(line)
    assert opening is None, f"{page}: a block never ends"
    return found


def prose(page: Path) -> list[tuple[int, str]]:
    """Return the numbered lines that are not code."""
    inside = {
        number for block in blocks(page) for number in range(block.line, block.line + block.text.count("\n") + 2)
    }
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
    return [(number, line) for number, line in lines if number not in inside]


def anchors(page: Path) -> set[str]:
    """Return what a link may name after `#`, made from the headings as GitHub makes it."""
    seen: Counter[str] = Counter()
    found = set()
    for _, line in prose(page):
        if heading := HEADING.match(line):
            slug = re.sub(r"[^\w\- ]", "", heading[2].lower()).replace(" ", "-")
            found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return found


def links(page: Path) -> Iterator[tuple[int, str]]:
    for number, line in prose(page):
        for target in LINK.findall(SPAN.sub("", line)):
            yield number, target


def commands(page: Path) -> Iterator[tuple[int, str]]:
    """Yield every `smsweep ...` that a page shows, in a block or in the text."""
    for block in blocks(page):
        for offset, line in enumerate(block.text.splitlines(), 1):
            if block.language == "bash" or line.startswith("$ "):
                for command in re.findall(r"\bsmsweep [^|;&#>)]*", line):
                    yield block.line + offset, command
    for number, line in prose(page):
        for span in SPAN.findall(line):
            if span.startswith("smsweep "):
                yield number, span.partition(" |")[0]
