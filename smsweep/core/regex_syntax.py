"""Patterns in Python's syntax, translated for RE2, and what their text alone shows."""

from __future__ import annotations

import functools
import re
import warnings

MANY = 10  # repeats from which a quantifier around another counts as nested
MOST_REPEATS = 1_000  # that RE2 takes

_TOKEN = re.compile(
    r"""
    (?P<escape>\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|0[0-7]{0,2}|[1-7][0-7]{2}|.))
    |(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])
    |(?P<comment>\(\?\#[^)]*\))
    |(?P<flags>\(\?[a-zA-Z]+\))
    |(?P<open>\((?:\?(?:<[=!]|P=|P?<[^>]*>|[a-zA-Z]*(?:-[a-zA-Z]+)?:|.))?)
    |(?P<close>\))
    |(?P<repeat>[*+?]|\{(?:\d+,?\d*|,\d*)\})(?P<how>[?+]?)
    |(?P<literal>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_IN_SET = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-7]{1,3}|.)|.", re.DOTALL)

# The members of \d, \w and \s: of Python in lines of ASCII, where those of \W are few, and in all others.
ASCII = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t-\r\x1c- ", "W": r"\x00-/:-@\[-\^`{-\x7f"}
UNICODE = {
    "d": r"\p{Nd}",
    "w": r"\p{L}\p{N}_",
    "s": r"\t-\r\x1c- \x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}",
}
_NOT_SPACE = (
    r"\x00-\x08\x0e-\x1b!-\x84\x86-\x9f\xa1-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}"
    r"\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff}"
)
_UNSUPPORTED = {
    "(?=": "look-ahead",
    "(?!": "look-ahead",
    "(?<=": "look-behind",
    "(?<!": "look-behind",
    "(?>": "an atomic group",
    "(?(": "a conditional group",
    "(?P=": "a backreference",
}


class RegexError(ValueError):
    """Say why a pattern cannot be used, and what to write instead; the sentence begins with its verb."""


def why_invalid(pattern: str) -> str:
    """Return why Python cannot read a pattern; "" if it can."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sets that a future Python may read in another way
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as err:
            return str(err)
    return ""


def nested_quantifier(pattern: str) -> str:
    """Return the first part of a pattern that repeats what repeats itself, such as `([0-9]+)+`; "" if none does.

    An engine that backtracks may need exponential time for it.
    """
    groups = [(0, False)]  # of each open group: where it begins, whether it holds a repeat
    start, holds_repeat = 0, False  # of what the next quantifier repeats
    for token in _TOKEN.finditer(pattern):
        if token["open"]:
            groups.append((token.start(), False))
        elif token["close"] and len(groups) > 1:
            start, holds_repeat = groups.pop()
            groups[-1] = groups[-1][0], groups[-1][1] or holds_repeat
            continue
        elif token["repeat"] and _most(token["repeat"]) >= MANY:
            if holds_repeat:
                return pattern[start : token.end()]
            groups[-1] = groups[-1][0], True
        holds_repeat = False
    return ""


def required_text(pattern: str) -> str:
    """Return a text that is in every match of a valid pattern: the longest that is plain. "" if there is none."""
    runs, depth = [""], 0
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if (text == "|" and depth == 0) or (token["flags"] and "i" in text):
            return ""
        if token["comment"]:
            continue
        depth += bool(token["open"]) - bool(token["close"])
        if token["repeat"]:
            runs[-1:] = [runs[-1][:-1], ""]  # what it repeats may be missing
        elif depth == 0 and token["literal"] and text not in "^$.":
            runs[-1] += text
        elif depth == 0 and token["escape"] and not text[1].isalnum():
            runs[-1] += text[1]
        else:
            runs.append("")
    return max(runs, key=len)


def translated(pattern: str, classes: dict[str, str]) -> str:
    """Return a pattern that is valid in Python in RE2's syntax. Only its first group still captures.

    Args:
        classes: ASCII or UNICODE.

    Raises:
        RegexError: If the pattern needs what RE2 does not have.
    """
    parts, flags, has_group = [], "", False
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if token["escape"]:
            parts.append(_escape(text, classes))
        elif token["set"]:
            parts.append(_set(text, classes))
        elif token["flags"]:
            flags += _flags(text)
        elif token["open"]:
            _refuse_group(text)
            captures = text == "(" or text.startswith("(?P<")
            parts.append(text if not captures else "(?:" if has_group else "(")
            has_group |= captures
        elif token["repeat"]:
            parts.append(_repeat(token["repeat"], token["how"]))
        elif not token["comment"]:
            parts.append(text)
    return (f"(?{flags})" if flags else "") + "".join(parts)


def _most(repeat: str) -> float:
    """Return how often a quantifier repeats at most."""
    if repeat == "?":
        return 1
    last = repeat.strip("{}*+").rpartition(",")[2]
    return int(last) if last else float("inf")


def _escape(text: str, classes: dict[str, str]) -> str:
    """Return an escape outside sets."""
    kind = text[1]
    if kind.lower() in classes:
        return f"[{'^' if kind.isupper() else ''}{classes[kind.lower()]}]"
    if kind == "Z":
        return r"\z"
    if kind in "123456789" and len(text) < 4:
        raise _unsupported("a backreference")
    return _character(text)


def _character(text: str) -> str:
    r"""Return an escape of one character, such as \x41, \u00e9, \n or \., as RE2 writes it."""
    kind, code = text[1], text[2:]
    if kind == "N":
        raise RegexError(r"uses \N{...}, which is not supported; write the character itself")
    if kind in "xuU":
        return f"\\x{{{code}}}"
    if kind.isdecimal():
        return f"\\x{{{int(text[1:], 8):x}}}"
    if kind.isascii() and kind.isalpha():
        return text
    return f"\\x{{{ord(kind):x}}}"


def _set(text: str, classes: dict[str, str]) -> str:
    """Return a set of characters."""
    negation = "^" if text.startswith("[^") else ""
    items = _IN_SET.findall(text[1 + len(negation) : -1])
    return f"[{negation}{''.join(_in_set(item, classes) for item in items)}]"


def _in_set(item: str, classes: dict[str, str]) -> str:
    if item in ("[", "]"):
        return f"\\{item}"
    if not item.startswith("\\"):
        return item
    whole = {"D": r"\P{Nd}", "S": _NOT_SPACE, "b": r"\x08", **classes}.get(item[1])
    return whole or (_not_word() if item == r"\W" else _character(item))


@functools.cache
def _not_word() -> str:
    """Return all characters that are not part of a word: RE2 cannot subtract one set from another."""
    ranges, start = [], 0
    for code in [*filter(lambda code: chr(code).isalnum() or code == ord("_"), range(0x110000)), 0x110000]:
        if code > start:
            ranges.append(f"\\x{{{start:x}}}-\\x{{{code - 1:x}}}")
        start = code + 1
    return "".join(ranges)


def _flags(text: str) -> str:
    """Return the flags of a whole pattern, wherever in it they are."""
    kept = text[2:-1].replace("u", "")  # which holds for text anyhow
    if unknown := kept.strip("ims"):
        raise _unsupported(f"the flag (?{unknown[0]})")
    return kept


def _repeat(repeat: str, how: str) -> str:
    if how == "+":
        raise _unsupported("a possessive quantifier")
    if repeat.startswith("{,"):  # which only Python has
        repeat = "*" if repeat == "{,}" else f"{{0{repeat[1:]}"
    if max(map(int, re.findall(r"\d+", repeat)), default=0) > MOST_REPEATS:
        raise RegexError(f"repeats {repeat} times, and {MOST_REPEATS} is the most that is supported; write * or +")
    return repeat + how


def _refuse_group(text: str) -> None:
    for beginning, name in _UNSUPPORTED.items():
        if text.startswith(beginning):
            raise _unsupported(name)


def _unsupported(name: str) -> RegexError:
    return RegexError(
        f"uses {name}, which is not supported, because lines are matched in linear time; "
        "write what is around the number outside of its ( )"
    )
