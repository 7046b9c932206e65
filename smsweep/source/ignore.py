"""The pattern language of .gitignore and .smsweepignore.

This is not a library, because a walk that skips folders must know whether a pattern matches a path *itself*. The
available libraries answer for the path or any parent folder, and then the patterns `*`, `!*/`, `!*.py` fail.
Source: gitignore(5), and `git check-ignore` as the oracle of the tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# POSIX character classes in brackets, as git implements them: ASCII only.
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\s",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """One line of an ignore file."""

    regex: re.Pattern[str]  # for the path below the ignore file's folder, or only for its last part
    is_anchored: bool  # contains a slash before its end: matches the whole path
    is_negated: bool  # starts with `!`: includes paths that an earlier line excludes
    is_dir_only: bool  # ends with a slash

    def matches(self, name: str, is_dir: bool) -> bool:
        """Return True if the pattern matches a path below the ignore file's folder."""
        if self.is_dir_only and not is_dir:
            return False
        return self.regex.fullmatch(name if self.is_anchored else name.rpartition("/")[2]) is not None


@dataclass(frozen=True, slots=True)
class Rules:
    """The ignore files that apply to the entries of one folder: its own and those of its parents."""

    layers: tuple[tuple[str, tuple[Pattern, ...]], ...] = ()  # (folder as "" or "a/b/", its lines), root first

    def below(self, folder: str, text: str) -> Rules:
        """Return the rules inside a folder ("" or "a/b/") with an ignore file of content `text`."""
        patterns = parse(text)
        return Rules((*self.layers, (folder, patterns))) if patterns else self

    def verdict(self, name: str, is_dir: bool) -> bool | None:
        """Return True if a path is excluded, False if it is included, None if no line matches.

        The nearest ignore file takes precedence, and in it the last line that matches.

        Args:
            name: Path relative to the root, such as `a/b`. Its parent folders must not be excluded.
            is_dir: Whether it is a folder.
        """
        for folder, patterns in reversed(self.layers):
            relative = name.removeprefix(folder)
            for pattern in reversed(patterns):
                if pattern.matches(relative, is_dir):
                    return not pattern.is_negated
        return None


def parse(text: str) -> tuple[Pattern, ...]:
    """Parse an ignore file. Drops blank lines, comments and lines that can never match, like git."""
    patterns = (_parse_line(line.removesuffix("\r")) for line in text.split("\n"))
    return tuple(pattern for pattern in patterns if pattern)


def _parse_line(line: str) -> Pattern | None:
    # Trailing spaces count only after a backslash; a backslash at the end matches nothing.
    trimmed = re.fullmatch(r"((?:\\.|[^\\])*?) *", line)
    if line.startswith("#") or trimmed is None:
        return None
    glob = trimmed[1]
    is_negated = glob.startswith("!")
    glob = glob.removeprefix("!")
    is_dir_only = glob.endswith("/")
    glob = glob.removesuffix("/")
    is_anchored = "/" in glob
    regex = _translate(glob.removeprefix("/"))
    if not regex:
        return None
    return Pattern(
        regex=re.compile(regex, re.DOTALL),
        is_anchored=is_anchored,
        is_negated=is_negated,
        is_dir_only=is_dir_only,
    )


def _translate(glob: str) -> str | None:
    """Return the regular expression of a glob; None if it can never match, "" for an empty glob."""
    regex, at = "", 0
    while at < len(glob):
        char = glob[at]
        if char == "*":
            stars = re.compile(r"\*+").match(glob, at)
            assert stars
            starts_name = at == 0 or glob[at - 1] == "/"
            ends_name = stars.end() == len(glob) or glob[stars.end()] == "/"
            if len(stars[0]) > 1 and starts_name and ends_name:
                regex += "(?:.*/)?" if stars.end() < len(glob) else ".*"
                at = stars.end() + 1
            else:
                regex += "[^/]*"
                at = stars.end()
        elif char == "?":
            regex += "[^/]"
            at += 1
        elif char == "[":
            bracket = _translate_bracket(glob, at + 1)
            if bracket is None:
                return None
            regex, at = regex + bracket[0], bracket[1]
        else:
            at += char == "\\"
            if at == len(glob):
                return None
            regex += re.escape(glob[at])
            at += 1
    return regex


def _translate_bracket(glob: str, at: int) -> tuple[str, int] | None:
    """Return the expression of `[...]` and the position after it; None without a closing bracket.

    at: the position after the opening bracket.
    """
    is_negated = glob[at : at + 1] in ("!", "^")
    at += is_negated
    members, first, start = "", at, ""  # start: the first character of a range, if a `-` follows
    while at < len(glob) and (glob[at] != "]" or at == first):
        named = re.compile(r"\[:(\w*):\]").match(glob, at)
        if named:
            if named[1] not in _CLASSES:
                return None
            members, at, start = members + _CLASSES[named[1]], named.end(), ""
            continue
        is_range = glob[at] == "-" and start != "" and glob[at + 1 : at + 2] not in ("", "]")
        at += is_range
        at += glob[at] == "\\"
        if at >= len(glob):
            return None
        char = glob[at]
        at += 1
        if is_range:
            if start <= char:
                members += f"{re.escape(start)}-{re.escape(char)}"
            start = ""
        else:
            members, start = members + re.escape(char), char
    if at >= len(glob):
        return None
    if is_negated:
        return f"[^/{members}]", at + 1
    return (f"(?!/)[{members}]" if members else "(?!)"), at + 1
