"""CPU milliseconds of the slowest metric definitions on the slowest line, compared with Python's `re`.

smsweep gets lines of 64 KiB, the most that it reads of a line. `re` gets shorter lines where they are slow
enough, and at most `--limit` seconds; its process is then killed. The benchmark fails if smsweep needs more
than 50 ms for a line.

    python -m benchmarks.worst_regexes [--limit 5]
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import time
from datetime import datetime, timezone

from benchmarks.ratios import keep, leave
from smsweep.core.line_regex import MAX_BYTES, LineRegex
from smsweep.engine.metric_parser import MetricParser

MOST_MS = 50.0
ROUNDS = 3  # runs per line; the fastest counts
NOW = datetime.now(timezone.utc)

# (pattern, repeated part of its slowest line, length of the line for re)
WORST = (
    (r"[\w ]*loss=([0-9.]+)", "a ", MAX_BYTES),
    (r"\s*loss: ([0-9.]+)", " ", MAX_BYTES),
    (r"(.*?)loss=(.*?);", "loss=", MAX_BYTES),
    (r"([0-9]+)+;", "1", 40),
    (r"(x+x+)+y", "x", 40),
    (r"(a|aa)+$", "a", 60),
    (r"(a|a)*b", "a", 40),
    (r"^(\w+\s?)*$", "word ", 60),
    (r"(([a-z])+.)+[A-Z]([a-z])+$", "a", 40),
    (r"((1+)+)+;", "1", 40),
    (r"(?:.*,){20}([0-9])$", "x,", 200),
    (r"([0-9.]+)e", "1", MAX_BYTES),
    (r"(.*)(.*)(.*)(.*)(.*)([0-9]);", "1", 400),
    (r"(1)(?:.*Z)?", "1", MAX_BYTES),
    (r"([0-9])(?:.*x)?(?:.*y)?", "1", MAX_BYTES),
    (r"((a?){0,300}b?)*c([0-9])", "a", MAX_BYTES),
    (r"((?:(?:\w{0,10}){0,10}){0,10})([0-9])z", "x", MAX_BYTES),
    (r"(?:[^,]*,?){100}([0-9])$", "10", MAX_BYTES),
    (r"(?:(?:1|0|10|01|11|00)*){30}([0-9])$", "10", MAX_BYTES),
    (r"(?i)(?:[^\W\d_]|\w|.)*?([0-9])z", "é1", MAX_BYTES // 3),
)
BY_RE = """
import re, sys, time
started = time.thread_time()
for match in re.finditer(sys.argv[1], sys.stdin.read()):
    pass
print(1000 * (time.thread_time() - started))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=float, default=5.0, help="time limit for re, in seconds")
    limit_s = parser.parse_args().limit
    logging.disable(logging.WARNING)  # no warnings about limited lines
    ours, theirs = [], []
    print("| metric definition | line of | smsweep, ms | re, ms | re's line |\n|---|---|---|---|---|")
    for pattern, piece, length in WORST:
        line = (piece * MAX_BYTES)[: MAX_BYTES // len(piece.encode()) * len(piece)]
        ours.append(by_smsweep(pattern, line))
        theirs.append(by_re(pattern, line[:length] + "!", limit_s))
        shown = f"{theirs[-1]:.1f}" if theirs[-1] < 1000 * limit_s else f"> {theirs[-1]:.0f}"
        cells = pattern.replace("|", r"\|"), piece, f"{ours[-1]:.2f}", shown, length
        print("| `{}` | `{}` | {} | {} | {} |".format(*cells))
    keep("slowest of the worst regexes, ms", max(ours))
    leave("slowest line of 20 bad regexes, ms", "re, stopped", max(ours), max(theirs))
    if max(ours) > MOST_MS:
        sys.exit(f"the slowest line takes {max(ours):.0f} ms; the limit is {MOST_MS:.0f} ms")


def by_smsweep(pattern: str, line: str) -> float:
    """Return the milliseconds of the slowest variant of a line, with or without the pattern's required text."""
    reader = MetricParser([("metric", pattern)])
    reader.read(["1é"], NOW)  # compiles both programs
    literal = LineRegex(pattern).literal  # a line without this text is not searched
    variants = (line, literal + line[len(literal) :], line[: -len(literal) - 1] + literal + "!")
    return max(min(milliseconds(reader, variant) for _ in range(ROUNDS)) for variant in variants)


def milliseconds(reader: MetricParser, line: str) -> float:
    started_s = time.thread_time()
    reader.read([line], NOW)
    return 1000 * (time.thread_time() - started_s)


def by_re(pattern: str, line: str, limit_s: float) -> float:
    argv = [sys.executable, "-W", "ignore", "-c", BY_RE, pattern]
    try:
        done = subprocess.run(argv, input=line, capture_output=True, text=True, timeout=limit_s, check=True)
    except subprocess.TimeoutExpired:
        return 1000 * limit_s
    return float(done.stdout)


if __name__ == "__main__":
    main()
