"""Parses metrics from log lines: records of `smsweep.log`, and printed lines that a metric definition matches."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from smsweep.core.line_regex import MAX_BYTES, LineRegex, LineSearch
from smsweep.core.regex_syntax import RegexError
from smsweep.core.trial import MetricPoint, Scalar
from smsweep.errors import ConfigError
from smsweep.runtime.job.failure import MARKUP
from smsweep.runtime.script.records import MARK, MAX_INT, MAX_RECORD_BYTES, METRICS, SUMMARY

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # NUL and lone surrogates: databases reject them
_JSON = json.JSONDecoder()


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedLines:
    """The metrics in some lines of a job's log."""

    points: list[MetricPoint]  # in the order of the lines
    summary: dict[str, Scalar]  # values that the script set in its summary; later values replace earlier ones


class MetricParser:
    """Parses pages of log lines. The result of a page does not depend on earlier pages.

    Args:
        definitions: (name, regex) as in SageMaker's MetricDefinitions. The first group of the regex is a number.
            Every match in a line counts.
        redact: Masks secrets in metrics that are texts.

    Raises:
        ConfigError: If a regex cannot be used.
    """

    def __init__(
        self, definitions: Sequence[tuple[str, str]] = (), redact: Callable[[str], str] = lambda text: text
    ) -> None:
        self._redact = redact
        self._search = LineSearch([(name, _compiled(name, regex)) for name, regex in definitions])

    def read(self, lines: Iterable[str], at: datetime) -> ParsedLines:
        """Parse one page of lines.

        Args:
            lines: In order, without line ends.
            at: Time of the points that have no time of their own, aware UTC.

        Returns:
            The points and the summary of the page.
        """
        points: list[MetricPoint] = []
        summary: dict[str, Scalar] = {}
        self._search.begin_page()
        for line in lines:
            text = line
            if MARK in line:
                text, records = split_records(line)
                for record in records:
                    summary.update(self._scalars(record.get(SUMMARY)))
                    points += self._points(record, at)
            points += self._matches(text, at)
        return ParsedLines(points=points, summary=summary)

    def _matches(self, text: str, at: datetime) -> Iterator[MetricPoint]:
        has_markup = "\x1b" in text  # it can be inside a metric name
        if not self._search.begin(text, is_plain=not has_markup):
            return
        # A progress bar writes a carriage return before each update, so each update is a line of its own.
        for state in text.split("\r"):
            plain = MARKUP.sub("", state[:MAX_BYTES]) if has_markup else state
            for name, raw in self._search.find(plain):
                value = _number(raw)
                if value is not None:
                    yield MetricPoint(name=name, value=value, time=at)

    def _points(self, record: dict[str, Any], at: datetime) -> Iterator[MetricPoint]:
        step = record.get("step")
        is_step = isinstance(step, int) and not isinstance(step, bool) and abs(step) < MAX_INT
        time = _time(record.get("time"), at)
        for name, value in self._scalars(record.get(METRICS)).items():
            yield MetricPoint(name=name, value=value, step=step if is_step else None, time=time)

    def _scalars(self, values: object) -> dict[str, Scalar]:
        """Return the valid metric values, in a form that every database accepts, with secrets masked."""
        if not isinstance(values, dict):
            return {}
        kept: dict[str, Scalar] = {}
        for name, value in values.items():
            if isinstance(value, str):
                kept[_storable(name)] = self._redact(_storable(value))
            elif isinstance(value, int) and not isinstance(value, bool) and abs(value) >= MAX_INT:
                kept[_storable(name)] = _as_float(value)
            elif value is None or isinstance(value, (bool, int, float)):
                kept[_storable(name)] = value
        return kept


def _compiled(name: str, regex: str) -> LineRegex:
    try:
        return LineRegex(regex)
    except RegexError as err:
        raise ConfigError(f"metric_definitions: {name}: {regex!r} {err}") from err


def split_records(line: str) -> tuple[str, list[dict[str, Any]]]:
    """Split a line into its text and its records. A damaged record is dropped with the text up to the next one."""
    text, *candidates = line.split(MARK)
    records = []
    for candidate in candidates:
        try:
            record, end = _JSON.raw_decode(candidate[:MAX_RECORD_BYTES])
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            records.append(record)
            text += candidate[end:]
    return text, records


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


def _storable(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def _time(seconds: object, at: datetime) -> datetime:
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool):
        try:
            return datetime.fromtimestamp(seconds, timezone.utc)
        except (ValueError, OverflowError, OSError):
            pass  # out of range
    return at


def _number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)  # only Python accepts 1_000
    except ValueError:
        return None
