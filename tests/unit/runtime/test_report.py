"""Tests of init, log, finish and the active run."""

from __future__ import annotations

import contextvars
import enum
import functools
import json
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import smsweep
from smsweep.runtime.script import api
from smsweep.runtime.script.api import activate
from smsweep.runtime.script.records import MARK, MAX_RECORD_BYTES
from smsweep.runtime.script.run import Run

TRIAL = {"sweep_id": "s1", "number": 2, "attempt": 1, "params": {"lr": 0.1}, "project": "p", "entity": "e"}


class Channel:
    """Collects the records of one trial."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line.removeprefix(MARK)) for line in self.lines]

    @property
    def rows(self) -> list[tuple[int, dict[str, Any]]]:
        return [(record["step"], record["metrics"]) for record in self.records]


@pytest.fixture
def channel() -> Iterator[Channel]:
    """The records of an active function trial."""
    channel = Channel()
    with activate(TRIAL, channel.lines.append):
        yield channel


def test_run_has_the_data_of_its_trial(channel: Channel) -> None:
    run = smsweep.init()
    assert (run.id, run.name, run.sweep_id, run.number, run.attempt) == ("s1-2", "s1-2", "s1", 2, 1)
    assert (run.project, run.entity, run.config.lr) == ("p", "e", 0.1)


def test_keywords_of_wandb_init_are_accepted(channel: Channel) -> None:
    with smsweep.init(project="x", tags=["a"], mode="online", reinit=True, config={"epochs": 3}) as run:
        assert run.config.as_dict() == {"lr": 0.1, "epochs": 3}


def test_login_accepts_arguments_of_wandb(channel: Channel) -> None:
    assert smsweep.login("never", key="k" * 40, relogin=True, host="https://h", timeout=3) is True
    assert channel.lines == []


def test_module_has_config_and_summary_of_the_active_run(channel: Channel) -> None:
    run = smsweep.init()
    assert smsweep.config is run.config
    assert smsweep.summary is run.summary
    assert smsweep.active_run() is run


def test_init_returns_the_active_run_until_finish(channel: Channel) -> None:
    first = smsweep.init()
    assert smsweep.init() is first
    smsweep.finish()
    assert smsweep.init() is not first


def test_rows_of_a_run_follow_those_of_the_previous_run(channel: Channel) -> None:
    for fold in range(2):
        with smsweep.init() as run:
            run.log({"fold": fold})
            run.log({"open": fold}, step=1)
            assert [row["_step"] for row in run.history()] == [0, 1]
    smsweep.log({"mean": 0.5}, step=9)
    smsweep.finish()
    smsweep.log({"end": True})
    rows = [{"fold": 0}, {"open": 0}, {"fold": 1}, {"open": 1}, {"mean": 0.5}, {"end": True}]
    assert channel.rows == list(zip([0, 1, 2, 3, 13, 14], rows, strict=True))


def test_log_without_init_works(channel: Channel) -> None:
    smsweep.log({"loss": 1.0})
    assert channel.rows == [(0, {"loss": 1.0})]


@pytest.mark.parametrize(
    ("calls", "steps"),
    [
        ([{}, {}, {}], [0, 1, 2]),
        ([{"step": 5}, {}, {}], [5, 5, 6]),
        ([{"commit": False}, {}, {}], [0, 0, 1]),
        ([{"step": 3, "commit": True}, {}], [3, 4]),
        ([{"step": 3}, {"step": 3}, {"step": 4}], [3, 3, 4]),
    ],
)
def test_steps_count_as_in_wandb(channel: Channel, calls: list[dict[str, Any]], steps: list[int]) -> None:
    for call in calls:
        smsweep.log({"x": 1}, **call)
    assert [record["step"] for record in channel.records] == steps


def test_decreasing_step_is_ignored_with_a_warning(channel: Channel, capsys: pytest.CaptureFixture[str]) -> None:
    smsweep.log({"x": 1}, step=5)
    smsweep.log({"x": 2}, step=4)
    smsweep.log({"x": 3}, step=3)
    assert channel.rows == [(5, {"x": 1})]
    assert capsys.readouterr().err == (
        "smsweep: step 4 comes after step 5; ignored, as in W&B: steps must not decrease\n"
    )


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1),
        (True, True),
        (None, None),
        ("text", "text"),
        (float("inf"), float("inf")),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([2.5]), 2.5),
        (np.array(4), 4),
        (np.float64(0.25), 0.25),
        (np.str_("s"), "s"),
        (Decimal("0.5"), 0.5),
        (Fraction(1, 4), 0.25),
        (Colour.RED, "red"),
        (Level.LOW, 3),
        (10**30, 1e30),
    ],
)
def test_scalars_of_all_types_become_plain_values(channel: Channel, value: object, expected: object) -> None:
    smsweep.log({"x": value})
    ((_, row),) = channel.rows
    assert (row, type(row["x"])) == ({"x": expected}, type(expected))


def test_nan_is_logged_as_nan(channel: Channel) -> None:
    smsweep.log({"x": float("nan")})
    assert channel.lines[0].endswith('"metrics": {"x": NaN}}')


class Hostile:
    def item(self) -> float:
        raise RuntimeError("on fire")


@pytest.mark.parametrize(
    "value", [[1], (1,), {1}, b"x", object(), np.array([1, 2]), Hostile(), 1j, 10**400, print]
)
def test_unsupported_value_is_skipped_with_one_warning(
    channel: Channel, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    smsweep.log({"bad": value, "good": 1})
    smsweep.log({"bad": value})
    assert channel.rows == [(0, {"good": 1})]
    assert capsys.readouterr().err.count("bad is not logged: ") == 1


@pytest.mark.parametrize("data", [None, 3, "x", [1]])
def test_data_that_is_not_a_dict_is_ignored(
    channel: Channel, data: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    smsweep.log(data)
    assert channel.lines == []
    assert "log accepts a dict, not" in capsys.readouterr().err


def test_recursive_dict_does_not_raise(channel: Channel, capsys: pytest.CaptureFixture[str]) -> None:
    data: dict[str, Any] = {"x": 1}
    data["self"] = data
    smsweep.log(data)
    assert channel.lines == []
    assert "not logged: RecursionError" in capsys.readouterr().err


def test_nested_dicts_are_flattened(channel: Channel) -> None:
    data: dict[Any, Any] = {"val": {"loss": 1, "by": {"cat": 2}}, 3: 4}
    smsweep.log(data)
    assert channel.rows == [(0, {"val.loss": 1, "val.by.cat": 2, "3": 4})]


def test_large_dict_becomes_several_records_of_one_step(channel: Channel) -> None:
    data = {f"metric/{i:04}": float(i) for i in range(1000)}
    smsweep.log(data)
    assert len(channel.lines) > 5
    assert all(len(line) < MAX_RECORD_BYTES for line in channel.lines)
    assert {record["step"] for record in channel.records} == {0}
    assert {name: value for _, row in channel.rows for name, value in row.items()} == data


@pytest.mark.parametrize("text", ["x" * 100_000, "🚀" * 100_000, "\x00\x1b\n" * 10_000, "\ud800" * 5_000])
def test_long_strings_are_cut_to_one_printable_line(channel: Channel, text: str) -> None:
    smsweep.log({text: text})
    (line,) = channel.lines
    assert (line.isascii(), line.isprintable(), len(line) < MAX_RECORD_BYTES) == (True, True, True)
    (((name, value),),) = (row.items() for _, row in channel.rows)
    assert (text.startswith(name), text.startswith(value), len(value) > 100) == (True, True, True)


def test_summary_set_by_the_script_is_reported(channel: Channel) -> None:
    smsweep.init()
    smsweep.summary["best"] = np.float32(0.5)
    smsweep.summary.update({"epochs": 3})
    assert [record["summary"] for record in channel.records] == [{"best": 0.5}, {"epochs": 3}]


def test_logged_value_replaces_summary_set_by_the_script(channel: Channel) -> None:
    smsweep.summary["loss"] = 9
    smsweep.log({"loss": 5, "x": 1})
    smsweep.log({"x": 2})
    assert [record["summary"] for record in channel.records if "summary" in record] == [{"loss": 9}, {"loss": 5}]


def test_summary_has_last_logged_values(channel: Channel) -> None:
    smsweep.log({"loss": 2})
    smsweep.log({"loss": 1})
    assert smsweep.summary["loss"] == 1
    assert smsweep.summary.loss == 1


def test_define_metric_sets_summary_and_step_metric_as_in_wandb(channel: Channel) -> None:
    smsweep.define_metric("val.*", step_metric="epoch", summary="min,mean")
    smsweep.log({"epoch": 3})
    for loss in (4, 2):
        smsweep.log({"val": {"loss": loss}})
    assert [record["metrics"] for record in channel.records if "metrics" in record] == [
        {"epoch": 3},
        {"val.loss": 4, "epoch": 3},
        {"val.loss": 2, "epoch": 3},
    ]
    assert (smsweep.summary["val.loss.min"], smsweep.summary["val.loss.mean"]) == (2, 3)


def test_result_of_define_metric_can_be_a_step_metric(channel: Channel) -> None:
    epoch = smsweep.define_metric("epoch")
    smsweep.define_metric("acc", step_metric=epoch, summary="best", goal="maximize", hidden=True)
    for number, acc in enumerate((3, 4, 2)):
        smsweep.log({"epoch": number})
        smsweep.log({"acc": acc})
    assert [record["metrics"] for record in channel.records if "acc" in record.get("metrics", {})] == [
        {"acc": 3, "epoch": 0},
        {"acc": 4, "epoch": 1},
        {"acc": 2, "epoch": 2},
    ]
    assert smsweep.summary["acc.best"] == 4


def test_step_sync_false_adds_no_step_metric(channel: Channel) -> None:
    smsweep.init().define_metric("loss", step_metric="epoch", step_sync=False)
    smsweep.log({"loss": 1})
    assert channel.rows == [(0, {"loss": 1})]


def test_history_has_one_row_per_step(channel: Channel) -> None:
    run = smsweep.init()
    run.log({"a": 1}, commit=False)
    run.log({"b": 2})
    run.log({"a": 3})
    assert run.history() == [{"_step": 0, "a": 1, "b": 2}, {"_step": 1, "a": 3}]


def test_records_have_the_time_of_the_clock() -> None:
    channel = Channel()
    Run(TRIAL, channel.lines.append, clock=lambda: 1735689600.25).log({"x": 1})
    assert channel.lines == ['@smsweep {"step": 0, "time": 1735689600.250000, "metrics": {"x": 1}}']


def test_write_error_does_not_stop_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    def write(line: str) -> None:
        raise BrokenPipeError("gone")

    with activate(TRIAL, write):
        smsweep.log({"x": 1})
        smsweep.log({"x": 2})
    assert capsys.readouterr().err.count("metrics cannot be written: BrokenPipeError: gone") == 1


def test_trials_in_threads_are_independent() -> None:
    channels = [Channel() for _ in range(4)]
    start = threading.Barrier(4)

    def run(number: int) -> None:
        with activate({**TRIAL, "number": number, "params": {"n": number}}, channels[number].lines.append):
            start.wait()
            for _ in range(50):
                smsweep.log({"n": smsweep.config.n})

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [channel.rows for channel in channels] == [[(i, {"n": n}) for i in range(50)] for n in range(4)]


def run_in_thread(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=lambda: contextvars.Context().run(call))  # some Pythons copy ours
    thread.start()
    thread.join()


def test_thread_of_the_only_function_trial_logs_to_it(channel: Channel) -> None:
    run_in_thread(lambda: api.log({"loss": 1}))
    api.log({"loss": 2})
    assert [record["metrics"] for record in channel.records] == [{"loss": 1}, {"loss": 2}]
    assert [record["step"] for record in channel.records] == [0, 1]


def test_thread_of_one_of_several_trials_is_warned(
    channel: Channel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SMSWEEP_PARAMS_FILE", raising=False)
    monkeypatch.setattr(api, "_has_warned_of_thread", False)
    with activate({**TRIAL, "number": 3}, channel.lines.append):
        for n in range(3):
            run_in_thread(functools.partial(api.log, {"loss": n}))
        run_in_thread(api.finish)
    assert capsys.readouterr().err.count("logged in a thread") == 1
    assert not channel.lines


def test_trials_do_not_share_state() -> None:
    first, second = Channel(), Channel()
    with activate(TRIAL, first.lines.append):
        smsweep.init(config={"extra": 1})
        smsweep.log({"x": 1})
    with activate({**TRIAL, "number": 3}, second.lines.append):
        smsweep.log({"x": 2})
        assert "extra" not in smsweep.config
    assert (first.rows, second.rows) == ([(0, {"x": 1})], [(0, {"x": 2})])


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run a process outside any sweep."""
    monkeypatch.delenv("SMSWEEP_PARAMS_FILE", raising=False)
    yield
    api.finish()


def test_log_outside_a_sweep_prints_readable_lines(alone: None, capsys: pytest.CaptureFixture[str]) -> None:
    run = smsweep.init(config={"lr": 0.5})
    run.config.lr = 0.25
    run.log({"loss": 1 / 3, "phase": "warm"})
    run.summary["best"] = 1
    assert (run.is_in_sweep, run.config.lr) == (False, 0.25)
    assert capsys.readouterr().out == "step 0: loss=0.333333, phase=warm\nsummary: best=1\n"


def test_missing_params_file_is_warned_about(
    alone: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SMSWEEP_PARAMS_FILE", str(tmp_path / "gone.json"))
    assert smsweep.init(config={"lr": 1}).config.lr == 1
    assert "the trial's params cannot be read: " in capsys.readouterr().err
