"""Metric definitions match like Python's `re`, in linear time."""

from __future__ import annotations

import logging
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsweep.core.line_regex import MAX_BYTES, LineRegex, LineSearch
from smsweep.core.regex_syntax import RegexError, nested_quantifier, required_text

OF_DOCS = (  # from the documentation of AWS, Hugging Face and XGBoost, and the RL estimators of the SDK
    r"loss: ([0-9\.]+)",
    r".*\[[0-9]+\].*#011train-rmse:([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?).*",
    r"'train_runtime': ([0-9]+(.|e\-)[0-9]+),?",
    r"#quality_metric: host=\S+, train loss <loss>=(\S+)",
    r"train_error=(.*?);",
    r"^Training>.*Total reward=(.*?),",
    r"episode_reward_mean: ([-+]?[0-9]*[.]?[0-9]+([eE][-+]?[0-9]+)?)",
    r"\[1,.*?\].*acc=(\d+\.\d+)",
    r"(?i)Val_Loss\s*[:=]\s*(?P<value>[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?|nan|inf)",
)
OF_LOGS = (
    "epoch 3, loss: 0.25 acc=0.5",
    "[12]#011train-rmse:1.5e-3#011validation-rmse:2",
    "{'train_runtime': 12e-3, 'epoch': 1.0}",
    "#quality_metric: host=algo-1, train loss <loss>=0.125",
    "train_error=0.5;valid_error=0.25;",
    "Training> Name=main, Total reward=-12.5, Steps=7",
    "episode_reward_mean: -3.25e+2",
    "[1,0]<stdout>:acc=0.75",
    "VAL_LOSS : -0.5 val_loss=nan\u2003val_loss =\xa0inf",
    "größe loss: 1 \ud800",
)

LITERALS = [*"abl=: 1.,-_é٣K", r"\.", r"\[", r"\-", r"\:", r"\t", r"\x41", r"\u00e9", r"\_", r"\é", "{", "}"]
SETS = [
    *(r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", ".", "[0-9]", "[0-9.]", "[^,]", "[a-z]", r"[\d.]", r"[\w.-]"),
    *(
        r"[^\s,]",
        r"[\s\S]",
        r"[\W]",
        r"[^\W\d]",
        r"[^\S]",
        r"[\D]",
        "[]a]",
        "[^]a]",
        "[[a]",
        r"[\]]",
        r"[\x41-\x5a]",
    ),
]
REPEATS = ["", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}", "{,2}", "{,}", "{1,}", "{1,2}?"]
atoms = st.builds("{}{}".format, st.sampled_from(LITERALS + SETS), st.sampled_from(REPEATS))
groups = st.builds("(?:{}){}".format, st.lists(atoms, min_size=1, max_size=3).map("".join), st.sampled_from("?*+"))
sequences = st.lists(st.one_of(atoms, groups, st.sampled_from(["^", "$", r"\A", r"\Z"])), max_size=4).map("".join)
alternatives = st.builds("{}|{}".format, sequences, sequences)
patterns = st.builds("{}({}){}".format, sequences, st.one_of(sequences, alternatives), sequences)
repeated = st.builds(
    "{}(l{}){}{}".format, sequences, sequences, st.sampled_from(["?", "*", "+", "{2}"]), sequences
)
texts = st.text("abl=: 1.,-_é٣\t\x1c\u2003\u200bＡßK[]{}", max_size=14)


def groups_of(pattern: str, line: str) -> list[str]:
    found = LineRegex(pattern).first_groups(line.encode("utf-8", "replace"))
    return [text for text, _ in found if text]


def groups_by_python(pattern: str, line: str) -> list[str] | None:
    """Return the groups that Python finds. None if a match is empty: Python then retries at the same place."""
    matches = list(re.finditer(pattern, line))
    return None if any(not match[0] for match in matches) else [match[1] for match in matches if match[1]]


@pytest.mark.filterwarnings("ignore:Possible nested set")
@settings(deadline=None)  # the first of some patterns reads a table of all characters
@given(st.one_of(patterns, repeated), texts)
def test_pattern_matches_like_python(pattern: str, line: str) -> None:
    try:
        expected = groups_by_python(pattern, line)
    except re.error:  # for example `**`
        return
    if expected is not None:
        assert groups_of(pattern, line) == expected


@pytest.mark.parametrize("pattern", OF_DOCS)
def test_documented_pattern_matches_like_python(pattern: str) -> None:
    lines = [line.encode("utf-8", "replace").decode() for line in OF_LOGS]
    assert [groups_of(pattern, line) for line in lines] == [groups_by_python(pattern, line) for line in lines]
    assert any(groups_of(pattern, line) for line in lines)


@pytest.mark.filterwarnings("ignore:Possible nested set")
@settings(deadline=None)
@given(patterns, texts)
def test_line_without_required_text_has_no_match(pattern: str, line: str) -> None:
    try:
        has_match = re.search(pattern, line) is not None
    except re.error:
        return
    assert required_text(pattern) in line or not has_match


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("loss=([0-9.]+)", "loss="),
        (r"\[1,.*?\] acc: (.*)", "] acc: "),
        ("a*loss?=(.)", "los"),
        ("ab|loss=(.)", ""),
        ("(?i)loss=(.)", ""),
        ("(loss)=(.)", "="),
        ("los(?#c)*=(.)", "lo"),
    ],
)
def test_required_text_is_plain_and_outside_of_groups(pattern: str, text: str) -> None:
    assert required_text(pattern) == text


@pytest.mark.parametrize(
    ("pattern", "line", "found"),
    [
        (r"(?<loss>[0-9.]+) of", "0.5 of 3", ["0.5"]),
        (r"\p{L}+=([0-9]+)", "größe=7", ["7"]),
        (r"\Qa.b\E=([0-9]+)", "a.b=7 axb=8", ["7"]),
        (r"([0-9]+)\z", "1 2", ["2"]),
    ],
)
def test_syntax_of_other_languages_is_supported(pattern: str, line: str, found: list[str]) -> None:
    assert groups_of(pattern, line) == found


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(?<=loss=)([0-9]+)", "uses look-behind"),
        ("(?<!x)([0-9]+)", "uses look-behind"),
        ("([0-9]+)(?=;)", "uses look-ahead"),
        ("([0-9]+)(?!;)", "uses look-ahead"),
        (r"(a)\1", "uses a backreference"),
        (r"(?P<q>a)(?P=q)", "uses a backreference"),
        (r"(a)?(?(1)b|c)", "uses a conditional group"),
        (r"([0-9]{1,2000})", "repeats {1,2000} times, and 1000 is the most"),
        (r"(?x) ( [0-9] )", "uses the flag (?x)"),
        (r"(?a)(\d)", "uses the flag (?a)"),
        (r"\N{DIGIT ONE}([0-9])", r"uses \N{...}"),
        ("((a{1000}){1000})", "is not a valid regular expression"),
        ("(", "is not a valid regular expression: missing ), unterminated subpattern at position 0"),
        ("loss=[0-9]+", "has no group; put ( ) around the number"),
        (r"\h([0-9])", r"is not a valid regular expression: bad escape \h at position 0"),
        ("(" * 10_000 + "a", "is not a valid regular expression"),
    ],
)
def test_pattern_with_backtracking_is_refused_with_reason(pattern: str, why: str) -> None:
    with pytest.raises(RegexError) as refused:
        LineRegex(pattern)
    assert str(refused.value).startswith(why)


@pytest.mark.parametrize("pattern", [r"(a*+)b", r"(a++)b", r"(?>a)(b)"])
def test_possessive_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(RegexError):  # Python before 3.11 reports another reason
        LineRegex(pattern)


@pytest.mark.parametrize(
    ("pattern", "nested"),
    [
        ("([0-9]+)+;", "([0-9]+)+"),
        (r"x=(?:\w+\s?)*([0-9])", r"(?:\w+\s?)*"),
        ("((a*)b)*(c)", "((a*)b)*"),
        ("(a+){5,}(b)", "(a+){5,}"),
        ("(?:a{2,})*(b)", "(?:a{2,})*"),
        (r"([0-9]+)(?:\.[0-9]+)?", ""),
        ("(?:[a-z]=)+([0-9]+)", ""),
        (r"\(a+\)+([0-9])", ""),
        ("[(a+)]+([0-9])", ""),
        ("(a+)b*", ""),
        *[(pattern, "") for pattern in OF_DOCS],
    ],
)
def test_nested_repeat_is_matched(pattern: str, nested: str) -> None:
    assert nested_quantifier(pattern) == nested


def test_text_behind_the_first_64_kib_of_a_line_is_not_read() -> None:
    assert groups_of("=(.)", "x" * (MAX_BYTES - 2) + "=1") == ["1"]
    assert groups_of("=(.)", "x" * MAX_BYTES + "=1") == []


def test_large_pattern_falls_back_to_ascii_classes() -> None:
    assert groups_of(r"\w{0,1000}=([0-9])", "é abc=1") == ["1"]


def test_quadratic_pattern_is_limited_and_warned_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    search = LineSearch([("slow", LineRegex("([0-9])(?:.*x)?")), ("other", LineRegex("(9)"))])
    line = "1" * MAX_BYTES
    for _ in range(2):
        search.begin_page()
        assert search.begin(line)
        started_s = time.thread_time()
        found = list(search.find(line))
        assert time.thread_time() - started_s < 0.5, "the search took too long"
        assert 10 < len(found) < MAX_BYTES
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert "slow: its regex takes too long for a line of 65536 characters" in warning.getMessage()


def test_time_for_page_of_slow_lines_is_limited() -> None:
    search = LineSearch([("slow", LineRegex(r"((?:\w{0,30}){0,30})([0-9])"))])
    search.begin_page()
    started_s = time.thread_time()
    for line in ["x" * 1000] * 1000:
        if search.begin(line):
            list(search.find(line))
    assert time.thread_time() - started_s < 5, "the search took too long"


def test_many_matches_in_an_ordinary_line_all_count() -> None:
    search = LineSearch([("loss", LineRegex("loss=([0-9.]+)"))])
    line = " ".join(f"loss={number}" for number in range(1000))
    search.begin_page()
    assert search.begin(line)
    assert [text for _, text in search.find(line)] == [str(number) for number in range(1000)]
