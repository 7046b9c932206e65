"""Find secrets in files that are about to leave this machine: the source, job.yaml, sweep.yaml."""

from __future__ import annotations

import bisect
import codecs
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from smsweep.errors import SourceError, docs_url
from smsweep.secrets.rules import (
    ASSIGNMENTS,
    GENERIC,
    KNOWN,
    SHAPES,
    Rule,
    counts_up,
    is_likely_random,
    is_placeholder,
    known_rule,
)

SHOWN_FINDINGS = 20  # in one error

_ALLOWED = re.compile(r"smsweep:\s*allow-secret")
_CONFIG_SUFFIXES = frozenset(
    ("", ".bash", ".cfg", ".conf", ".env", ".ini", ".properties", ".sh", ".toml", ".txt", ".yaml", ".yml")
)
_LOCK_FILES = frozenset({"package-lock.json", "pnpm-lock.yaml", "conda-lock.yml", "npm-shrinkwrap.json", "go.sum"})
_KEY_BEFORE = re.compile(
    r"""(?<![\w./-])([\w.-]{1,60})["']?\]?\s*(?::\s*\w{1,20}\s*=|=>|[=:,(])\s*(?:type\s*=\s*\w{1,20}\s*,\s*)?(?:default\s*=\s*)?[rb]?["']{0,3}$"""
)
# A parameter of a sweep: `name: {value: `, `name:\n  values: [`.
_PARAMETER = re.compile(
    r"""(?<![\w./-])([\w.-]{1,60})["']?\s*:\s*\{?\s*["']?values?["']?\s*:(?:\s*-[ \t]*|[^\n}]*)["']?$"""
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The location of a secret, without the secret."""

    file: str  # name as passed to the scan
    line: int  # of the start of the value, starting at 1
    key: str  # the name that the value is assigned to; "" for none
    kind: str  # "a W&B API key"
    excerpt: str  # `WANDB_API_KEY = ***`: the text to search for, without the secret

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.excerpt}: looks like {self.kind}"


def scan_text(name: str, text: str, known: Iterable[str] = ()) -> list[Finding]:
    """Return the secrets in a text, in order of line, each once.

    Placeholders are ignored, and values with a comment `smsweep: allow-secret` on their line or on the line above.

    Args:
        name: Name of the file. Its suffix distinguishes configuration, with values without quotes, from code.
        text: Content of the file.
        known: Secrets that are found in any context.
    """
    spans, claimed = _find(name, text, known)
    lines = text.split("\n") if spans else []
    starts = _line_starts(lines)
    findings = [
        _finding(name, bisect.bisect_right(starts, start), text, start, rule, claimed) for start, _, rule in spans
    ]
    allowed = _allowed_lines(lines)
    return [finding for finding in findings if finding.line not in allowed]


def find_spans(name: str, text: str, known: Iterable[str] = ()) -> list[tuple[int, int]]:
    """Return the spans of the secrets that `scan_text` finds, sorted. They do not overlap."""
    spans, _ = _find(name, text, known)
    lines = text.split("\n") if spans else []
    starts, allowed = _line_starts(lines), _allowed_lines(lines)
    return [(start, end) for start, end, _ in spans if bisect.bisect_right(starts, start) not in allowed]


def _line_starts(lines: Sequence[str]) -> list[int]:
    return [0, *itertools.accumulate(len(line) + 1 for line in lines)]


def _find(name: str, text: str, known: Iterable[str]) -> tuple[list[tuple[int, int, Rule]], bytearray]:
    """Return the start, end and rule of each secret, sorted, and the claimed characters of the text."""
    # The first rule that matches a value determines its kind.
    rules = [*SHAPES, *ASSIGNMENTS, GENERIC, *(known_rule(value) for value in known if value in text)]
    file = PurePosixPath(name)
    if file.name in _LOCK_FILES or file.suffix == ".lock":  # they contain many hashes
        rules.remove(GENERIC)
    is_config = file.suffix.lower() in _CONFIG_SUFFIXES
    claimed = bytearray(len(text))
    spans: list[tuple[int, int, Rule]] = []
    for rule in rules:
        for start, end in secret_spans(rule, text):
            is_expression = rule is GENERIC and not is_config and text[start - 1] not in "\"'"
            if not is_expression and not any(claimed[start:end]):
                spans.append((start, end, rule))
                claimed[start:end] = b"\1" * (end - start)
    return sorted(spans, key=lambda item: item[0]), claimed


def secret_spans(rule: Rule, text: str) -> list[tuple[int, int]]:
    """Return the spans of the secrets that a rule finds, without placeholders."""
    if rule.hint not in text:
        return []
    group = rule.regex.groupindex["value"]
    return [
        match.span(group)
        for match in rule.regex.finditer(text)
        if rule.is_certain or _is_secret(rule, match[group])
    ]


def _is_secret(rule: Rule, value: str) -> bool:
    if is_placeholder(value) or counts_up(value):
        return False
    return is_likely_random(value) or not rule.must_be_random


def refuse_secrets(findings: Sequence[Finding]) -> None:
    """Raise SourceError with file and key of each finding. Does nothing without findings."""
    if findings:
        places = "\n".join(f"  {finding}" for finding in findings[:SHOWN_FINDINGS])
        if len(findings) > SHOWN_FINDINGS:
            places += f"\n  and {len(findings) - SHOWN_FINDINGS} more"
        raise SourceError(
            f"a secret would be stored with the sweep and in every job:\n{places}\n"
            "remove it and use `secrets:` in job.yaml, or exclude the file with .smsweepignore; "
            "if it is not a secret, write `# smsweep: allow-secret` on its line\n"
            f"see {docs_url('source#secrets')}"
        )


def _finding(name: str, line: int, text: str, start: int, rule: Rule, claimed: bytearray) -> Finding:
    nearby = max(0, start - 200)
    before = _PARAMETER.search(text, nearby, start) or _KEY_BEFORE.search(
        text, max(nearby, text.rfind("\n", nearby, start) + 1), start
    )
    key = ""
    # The text before a value may be a secret, too, as in a table of tokens.
    if before and not is_likely_random(before[1]) and not any(claimed[before.start(1) : before.end(1)]):
        key = before[1]
    masked = f"{text[start : start + rule.prefix_length]}***"
    return Finding(
        file=name,
        line=line,
        key=key,
        kind=rule.kind,
        excerpt=f"{key} = {masked}" if key else masked,
    )


def _allowed_lines(lines: Sequence[str]) -> set[int]:
    """Return the numbers of lines that may contain a secret. A comment line also allows the line below it."""
    allowed = set()
    for number, line in enumerate(lines, start=1):
        if _ALLOWED.search(line):
            allowed |= {number, number + 1} if line.lstrip().startswith(("#", "//")) else {number}
    return allowed


SCANNED_BYTES = 1024**2  # of each text, from its start


class FileScan:
    """Scans a file while it is read.

    Args:
        name: Name of the file, see scan_text.
        known: Secrets that are found in any context.
    """

    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        self._name = name
        self._known = known
        self._head = bytearray()
        self._unseen = [value.encode() for value in known]
        self._locations: list[tuple[int, int]] = []  # offset and line of the first occurrence of each known secret
        self._overlap = max(map(len, self._unseen), default=1) - 1
        self._window = b""  # end of the data so far, because a secret may span two pieces
        self._offset, self._line = 0, 1  # of the start of the window

    def feed(self, data: bytes) -> None:
        """Scan the next piece of the file."""
        self._head += data[: SCANNED_BYTES - len(self._head)]
        if self._unseen:
            self._search(self._window + data)

    def findings(self) -> list[Finding]:
        """Return the findings. Call it after the whole file was fed."""
        text = _decode(bytes(self._head))
        in_text = [] if text is None else scan_text(self._name, text, self._known)
        behind = 0 if text is None else len(self._head)
        elsewhere = [line for offset, line in sorted(self._locations) if offset >= behind]
        return in_text + [
            Finding(file=self._name, line=line, key="", kind=KNOWN, excerpt="***") for line in elsewhere
        ]

    def _search(self, window: bytes) -> None:
        for value in list(self._unseen):
            at = window.find(value)
            if at >= 0:
                self._locations.append((self._offset + at, self._line + window.count(b"\n", 0, at)))
                self._unseen.remove(value)
        cut = max(0, len(window) - self._overlap)
        self._line += window.count(b"\n", 0, cut)
        self._offset += cut
        self._window = window[cut:]


def _decode(data: bytes) -> str | None:
    """Return the text of a file, or None for a binary file."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    return None if b"\0" in data[:8192] else data.decode(errors="replace")
