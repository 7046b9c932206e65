"""The content and size of the live view, without a terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from smsweep.cli.display.dashboard import Dashboard
from smsweep.services.views.watcher import Slot, SweepView

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
USAGE = {"jobs": 3, "hours": 1.5, "usd": 2.25, "budget": {"usd": 10.0}, "set_aside": {"usd": 0.5}, "price": None}
SHOWN: dict[str, Any] = {
    "id": "abcd1234",
    "name": "digits",
    "state": "running",
    "method": "bayes",
    "metrics": [],
    "metric": {"name": "loss", "goal": "minimize", "target": None},
    "expected_trial_count": 20,
    "trials": {"finished": 3, "failed": 2, "running": 2},
    "front": [],
    "best": {"number": 1, "objective": 0.25, "params": {"lr": 0.123456, "epochs": 9}},
    "outlook": "",
    "usage": USAGE,
    "waiting": [],
    "places": [],
}


def slot(number: int, *curve: float, params: dict[str, Any] | None = None, **more: Any) -> Slot:
    trial: Any = {"number": number, "state": "running", "params": params or {"lr": 0.5, "epochs": 9}}
    return Slot(trial=trial, step=len(curve) or None, curve=curve, **more)


def look(**more: Any) -> SweepView:
    slots = [slot(5, 3, 2, 1), slot(6)]
    reasons = [("ValueError: bad", 1), ("KeyError: worse", 1)]
    begun = {"started_at": NOW - timedelta(seconds=90), "eta_s": 200.0, "at": NOW, "is_over": False}
    plain = {"slots": slots, "reasons": reasons, "n_ended": 5, "fixed": frozenset({"epochs"})}
    return SweepView(**{"document": SHOWN, **plain, **begun, **more})


def drawn(board: SweepView, width: int = 100, height: int = 30, encoding: str = "utf-8") -> list[str]:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=stream, width=width, height=height, force_terminal=True, color_system=None)
    console.print(Dashboard(board, note="a note"))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding).splitlines()


def test_board_shows_sweep_trials_best_cost_and_failures() -> None:
    text = "\n".join(drawn(look()))
    for part in (
        "abcd1234  running  digits  bayes  minimize loss",
        "5/20  1m30s  about 3m20s left",
        "5  running  step 3  1  █▅▁",
        "lr=0.5",
        "3 finished, 2 failed",
        "best loss=0.25 (abcd1234/1)  lr=0.1235",
        "$2.25 of $10; $0.50 reserved",
        "1 x ValueError: bad",
        "a note",
    ):
        assert part in text


def test_board_hides_params_with_one_value() -> None:
    assert "epochs" not in "\n".join(drawn(look()))


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [10, 20, 40, 63, 64, 80, 200])
def test_board_is_never_wider_than_the_terminal(width: int, encoding: str) -> None:
    long = {"name": "日本語" * 20, "optimizer": {"momentum": 0.123456789, "text": "x" * 300}}
    wide = look(slots=[slot(n, *range(n), params=long) for n in range(12)], reasons=[("語" * 99, 5)])
    assert all(cell_len(line) <= width for line in drawn(wide, width, encoding=encoding))


@pytest.mark.parametrize("width", [40, 100])
@pytest.mark.parametrize("n_slots", [0, 1, 7, 500])
def test_board_is_never_higher_than_the_terminal(width: int, n_slots: int) -> None:
    crowded = look(slots=[slot(n, 1, 2) for n in range(n_slots)], reasons=[(f"reason {n}", 1) for n in range(9)])
    lines = drawn(crowded, width, 24)
    assert len(lines) < 24
    if n_slots == 500:
        assert any("more running" in line for line in lines)
    assert any(line.startswith("and 6 failures") for line in lines)


def test_board_shows_why_a_trial_waits() -> None:
    waiting = [{"number": 6, "for": "quota", "reason": "no more than 2 ml.p3", "since": "2026-01-01T00:00:00"}]
    shown = {**SHOWN, "waiting": waiting}
    text = "\n".join(drawn(look(document=shown, slots=[slot(6, waits_for="quota"), slot(7, 1, is_lost=True)])))
    for part in ("6  waiting: quota", "waiting: no more than 2 ml.p3", "7  lost", "smsweep agent abcd1234"):
        assert part in text


def test_board_of_an_unlimited_sweep_has_no_bar() -> None:
    endless = {**SHOWN, "expected_trial_count": None}
    assert drawn(look(document=endless, eta_s=None))[1] == "5 trials ended  1m30s"


def test_board_of_an_idle_sweep_names_the_next_command() -> None:
    assert "smsweep agent abcd1234" in "\n".join(drawn(look(slots=[])))
    paused = {**SHOWN, "state": "paused"}
    assert "smsweep sweep --resume abcd1234" in "\n".join(drawn(look(document=paused)))


def test_board_of_several_metrics_shows_the_front() -> None:
    metrics = [{"name": "loss", "goal": "minimize"}, {"name": "size", "goal": "minimize"}]
    shown: Any = {**SHOWN, "metrics": metrics, "metric": None, "best": None, "front": [2, 3]}
    several = replace(look(), document=shown)
    assert "front: 2 trials: 2 3" in "\n".join(drawn(several))


def test_board_escapes_control_characters() -> None:
    odd = "\x1b]0;owned\x07[bold]x\x1b[2J"
    steered = look(
        document={**SHOWN, "name": odd, "outlook": odd},
        slots=[slot(5, params={odd: odd})],
        reasons=[(odd, 1)],
    )
    text = "\n".join(drawn(steered))
    assert "\x1b]" not in text
    assert "\x1b[2J" not in text
    assert "[bold]x" in text
