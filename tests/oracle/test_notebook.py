"""smsweep in a Jupyter kernel: progress, and the display of sweeps, runs, figures and reports."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from tests.support.markdown import blocks
from tools.environments import ROOT, oracle

SETUP = """
import time, smsweep
HOSTILE = "<script>alert(1)</script><img src=x>"

def train():
    with smsweep.init() as run:
        for step in range(4):
            run.log({"loss": run.config.x + 1 / (step + 1), HOSTILE: step}, step=step)
            time.sleep(0.2)
        if run.config.x == 3:
            raise ValueError(HOSTILE)

parameters = {"x": {"values": [1, 2, 3]}, "text": {"value": HOSTILE}}
config = {"name": HOSTILE, "method": "grid", "metric": {"name": "loss"}, "parameters": parameters}
"""
CELLS = {
    "setup": SETUP,
    "progress": "sweep_id = smsweep.sweep(config); outcome = smsweep.agent(sweep_id, train)",
    "sweep": "sweep = smsweep.Api().sweep(sweep_id); sweep",
    "sweeps": "smsweep.Api().sweeps()",
    "runs": "sweep.runs",
    "run": "sweep.runs[2]",
    "plots": "sweep.plot",
    "figure": "sweep.plot.history()",
    "report": "sweep.report()",
    "run again": "smsweep.run(config, function=train, count=1)",
    "scale": "SCALE = 10",
    "processes": """
import os

def jobs():
    run = smsweep.init()
    if run.config.x == 3:
        raise ValueError("three")  # a line of the cell
    smsweep.log({"loss": run.config.x * SCALE, "pid": os.getpid()})

sweep_id = smsweep.sweep({"method": "grid", "parameters": {"x": {"values": [1, 2, 3]}}})
smsweep.agent(sweep_id, jobs, parallel=3)
runs = smsweep.Api().sweep(sweep_id).runs
assert len({os.getpid(), *(run.summary.get("pid") for run in runs)}) == 4
[(run.summary.get("loss"), run.trial.reason) for run in runs]
""",
}
Output = dict[str, Any]


def execute(cells: list[str], folder: Path) -> list[list[Output]]:
    question = {"cells": cells, "environ": {"SMSWEEP_DIR": str(folder), "SMSWEEP_STORE": ""}}
    answers: list[list[Output]] = oracle("notebook").ask(
        ROOT / "tests/oracle/ask_notebook.py", question, timeout_s=300
    )
    return answers


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Output]]:
    answers = execute(list(CELLS.values()), tmp_path_factory.mktemp("notebook"))
    return dict(zip(CELLS, answers, strict=True))


def html(outputs: list[Output]) -> str:
    (output,) = [output for output in outputs if "text/html" in output.get("data", {})]
    return str(output["data"]["text/html"])


def test_progress_is_single_display_until_sweep_ends(outputs: dict[str, list[Output]]) -> None:
    (output,) = [output for output in outputs["progress"] if output["output_type"] == "display_data"]
    assert "is finished: 3 of 3 trials ended" in output["data"]["text/plain"]
    for part in ("finished", "3 of 3", "minimize loss", "failures"):
        assert part in output["data"]["text/html"]


def test_run_shows_progress(outputs: dict[str, list[Output]]) -> None:
    created, shown, result = outputs["run again"]
    assert created["text"].startswith("Create sweep with ID: ")
    assert "1 of 3 trials ended" in shown["data"]["text/plain"]
    assert result["output_type"] == "execute_result"


def test_function_of_cell_runs_in_processes(outputs: dict[str, list[Output]]) -> None:
    (result,) = [output for output in outputs["processes"] if output["output_type"] == "execute_result"]
    first, second, (loss, reason) = ast.literal_eval(result["data"]["text/plain"])
    assert [first, second, loss] == [(10, ""), (20, ""), None]
    assert reason.startswith("ValueError: three (exit code 1)\nTraceback")
    assert 'raise ValueError("three")  # a line of the cell' in reason


@pytest.mark.parametrize("name", ["progress", "sweep", "sweeps", "runs", "run"])
def test_untrusted_text_is_escaped(outputs: dict[str, list[Output]], name: str) -> None:
    shown = html(outputs[name])
    assert "<script" not in shown
    assert "<img" not in shown
    assert "&lt;script&gt;" in shown


@pytest.mark.parametrize("name", ["sweep", "sweeps", "runs", "run"])
def test_html_loads_no_external_resource(outputs: dict[str, list[Output]], name: str) -> None:
    shown = html(outputs[name])
    assert not any(word in shown for word in ("http:", "https:", "url(", "@import", "<link", "<style"))


def test_sweep_html_shows_best_trials_first(outputs: dict[str, list[Output]]) -> None:
    shown = html(outputs["sweep"])
    assert shown.index(">0*<") < shown.index(">1<") < shown.index(">2<")


def test_run_html_shows_curve_and_failure_reason(outputs: dict[str, list[Output]]) -> None:
    shown = html(outputs["run"])
    assert "<polyline" in shown
    assert "ValueError" in shown


def test_plots_lists_available_plots(outputs: dict[str, list[Output]]) -> None:
    (output,) = outputs["plots"]
    assert "parallel_coordinates" in output["data"]["text/plain"]


def test_figure_is_plotly_figure(outputs: dict[str, list[Output]]) -> None:
    (output,) = [output for output in outputs["figure"] if "application/vnd.plotly.v1+json" in output["data"]]
    figure = output["data"]["application/vnd.plotly.v1+json"]
    assert "best so far" in [trace.get("name") for trace in figure["data"]]


def test_report_is_sandboxed_frame(outputs: dict[str, list[Output]]) -> None:
    shown = html(outputs["report"])
    assert shown.startswith('<iframe sandbox="allow-scripts"')
    assert "default-src" in shown
    assert "<script" not in shown  # all content is inside the attribute


def test_cells_of_docs_page_run(tmp_path: Path) -> None:
    cells = [block.text for block in blocks(ROOT / "docs/notebooks.md") if block.title == "notebook"]
    first, second = execute(cells, tmp_path)
    created, progress, *_ = first
    assert created["text"].startswith("Create sweep with ID: ")
    assert "is finished: 20 of 20 trials ended" in progress["data"]["text/plain"]
    assert second
