"""Regular expressions on log lines, matched in linear time: no pattern and no line can stall an agent.

The engine is RE2, which does not backtrack. Patterns have Python's syntax, and mean what they mean to Python's re.
A pattern that needs what RE2 does not have is refused: look-around, backreferences, possessive quantifiers, repeat
counts above 1,000. Two differences remain: `\\b` knows ASCII letters only, and a match of no characters may be
found in another place.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import re2

from smsweep.core.regex_syntax import ASCII, UNICODE, RegexError, required_text, translated, why_invalid

log = logging.getLogger(__name__)

MAX_BYTES = 65_536  # of one line that a pattern reads
# Steps are bytes times the size of the program. They bound the work of a search: RE2 needs at most 5 ns for each.
MAX_STEPS = 4_000_000  # of one search: 20 ms
STEPS_PER_SEARCH = 1_000  # beyond those of the line's bytes: what a call costs
STEP_S = 1e-8  # no search is charged more for a step, so that a pause of the interpreter cuts nothing short
LARGE = 2_000  # size of a program that may need more than 5 ns for a step


class LineRegex:
    """A compiled pattern, whose first group is a metric's value.

    Args:
        pattern: In Python's syntax. If Python cannot read it, in RE2's own, which has `(?<name>...)`, `\\p{...}`,
            `\\Q...\\E` and `\\z` in common with other languages.

    Raises:
        RegexError: If the pattern is not valid, has no group, or needs what RE2 does not have.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._ascii = _compiled(pattern, ASCII)
        if not self._ascii.groups:
            raise RegexError("has no group; put ( ) around the number")
        self._unicode: Any = None  # compiled for the first line that needs it
        self.literal = "" if why_invalid(pattern) else required_text(pattern)  # only lines with it can match
        self._size: int = max(1, self._ascii.programsize)
        self._max_bytes = min(MAX_BYTES, MAX_STEPS // self._size // (1 + self._size // LARGE))

    def first_groups(self, line: bytes) -> Iterator[tuple[str | None, int]]:
        """Yield the first group of each match in a line, None if it took no part, and the search's steps.

        At the end comes None with the steps of the search that found nothing more.

        Args:
            line: One line in UTF-8, without its end. Bytes behind the first `MAX_BYTES` are not read; of a pattern
                that compiles to a large program, fewer are.
        """
        line = line[: self._max_bytes]
        regex = self._ascii if line.isascii() else self._for_unicode()
        n_remaining = len(line)
        for match in regex.finditer(line):
            value: bytes | None = match[1]
            yield None if value is None else value.decode("utf-8", "replace"), self._steps(n_remaining)
            n_remaining = len(line) - match.end()
        yield None, self._steps(n_remaining)

    def _steps(self, n_bytes: int) -> int:
        return STEPS_PER_SEARCH + self._size * n_bytes

    def _for_unicode(self) -> Any:
        if self._unicode is None:
            try:
                self._unicode = _compiled(self._pattern, UNICODE)
            except RegexError:  # a thousand times \w is too large a program
                self._unicode = self._ascii
        return self._unicode


class _Budget:
    """CPU seconds for searches, counted only once they have taken so many steps that it may be too long."""

    def __init__(self, free_steps: int, seconds: float, s_per_character: float) -> None:
        self._first = free_steps, seconds
        self._s_per_character = s_per_character
        self._free_steps, self._remaining_s = self._first

    def begin(self) -> None:
        self._free_steps, self._remaining_s = self._first

    def add(self, n_characters: int) -> None:
        self._remaining_s += self._s_per_character * n_characters

    def count(self, n_steps: int) -> bool:
        """Count steps; return whether seconds are to be counted, too."""
        self._free_steps -= n_steps
        return self._free_steps < 0

    def spend(self, seconds: float) -> None:
        if self._free_steps < 0:
            self._remaining_s -= seconds

    @property
    def is_spent(self) -> bool:
        return self._remaining_s <= 0


class LineSearch:
    """Searches pages of lines for several patterns, in bounded time.

    A single search is fast. But a pattern like `([0-9])(?:.*x)?` reads the rest of a line again for each of
    thousands of matches, and a page has thousands of lines. What takes too long is skipped, with a warning: a
    pattern may take 50 ms for a line of 64 KiB, and two seconds for a page of a megabyte. Ordinary patterns need
    much less, so that nothing of theirs is skipped, not on a slow machine either.

    Args:
        patterns: (name, pattern), in the order in which they are searched for.
    """

    def __init__(self, patterns: Sequence[tuple[str, LineRegex]]) -> None:
        self._patterns = patterns
        self._wanted = patterns  # of this line
        self._length = 0  # of this line
        self._line = _Budget(1_000_000, 0.02, 3e-7)
        self._page = _Budget(200_000_000, 1.0, 7e-7)
        self._is_timed = False  # whether seconds are counted, and since when, of this thread's CPU time
        self._since_s = 0.0
        self._slow: set[str] = set()  # names that were warned of

    def begin_page(self) -> None:
        """Begin a page of lines, each of which is then given to `begin`."""
        self._page.begin()

    def begin(self, line: str, *, is_plain: bool = True) -> bool:
        """Begin a line, whose parts are then given to `find`. Return False if nothing is to be found in it.

        Args:
            is_plain: Its parts hold no text that is not in it.
        """
        self._wanted = [it for it in self._patterns if it[1].literal in line] if is_plain else self._patterns
        self._length = len(line)
        self._line.begin()
        self._line.add(len(line) * len(self._wanted))
        self._page.add(len(line) * len(self._wanted))
        if self._wanted and self._page.is_spent:
            self._stop(self._wanted[0][0])
        return bool(self._wanted)

    def find(self, part: str) -> Iterator[tuple[str, str]]:
        """Yield (name, text of the first group) for each match in a part of the line, in order of the patterns."""
        line = b""
        for name, regex in self._wanted if part else ():
            if regex.literal not in part:
                continue
            line = line or part[:MAX_BYTES].encode("utf-8", "replace")
            for text, n_steps in regex.first_groups(line):
                if self._is_timed:  # with all that was done since the last search, as far as that is little
                    seconds = min(time.thread_time() - self._since_s, STEP_S * n_steps)
                    self._line.spend(seconds)
                    self._page.spend(seconds)
                if text is not None:
                    yield name, text
                if self._line.is_spent or self._page.is_spent:
                    self._stop(name)
                    return
                self._is_timed = self._line.count(n_steps) | self._page.count(n_steps)
                self._since_s = time.thread_time() if self._is_timed else 0.0

    def _stop(self, name: str) -> None:
        self._wanted = ()
        if name not in self._slow:
            self._slow.add(name)
            log.warning(
                "metric_definitions: %s: its regex takes too long for a line of %d characters, so what is left of "
                "such lines is not read; simplify the regex, or print shorter lines",
                name,
                self._length,
            )


def _compiled(pattern: str, classes: dict[str, str]) -> Any:
    options = re2.Options()
    options.log_errors = False
    why = why_invalid(pattern)
    try:
        return re2.compile(pattern if why else translated(pattern, classes), options)
    except (re2.error, UnicodeEncodeError) as err:
        (message, *_) = err.args or ("",)
        text = message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)
        raise RegexError(f"is not a valid regular expression: {why or text}") from err
