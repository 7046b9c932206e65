"""Figures and reports as objects: they are the same as in the report file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import smsweep
from smsweep.api import api
from smsweep.api.plots import Plots
from smsweep.errors import UsageError
from smsweep.report.figures.registry import FIGURES
from smsweep.services import report as reporting
from tests.support.recorded_requests import record
from tests.unit.report.test_report import data_of

SECRET = "correct-horse-battery"


@pytest.fixture
def sweep_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("SMSWEEP_STORE", raising=False)
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path))
    return record(12)


def test_plots_have_a_method_for_each_figure() -> None:
    assert {name for name in dir(Plots) if not name.startswith("_")} == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_the_same_as_in_the_report(sweep_id: str, name: str) -> None:
    figure = getattr(smsweep.Api().sweep(sweep_id).plot, name)()
    reported = reporting.figure(sweep_id, name)
    assert json.loads(figure.to_json()) == json.loads(reporting.plotly_figure(reported).to_json())


def test_saved_report_has_the_data_of_the_report_command(sweep_id: str, tmp_path: Path) -> None:
    report = smsweep.Api().sweep(sweep_id).report()
    path = report.save(tmp_path / "report.html")
    assert data_of(path.read_text())["rows"] == data_of(reporting.report(sweep_id))["rows"]
    assert f"Report of {sweep_id}" in repr(report)


@pytest.mark.parametrize("what", ["plot.history", "report"])
def test_missing_plotly_error_names_the_extra(sweep_id: str, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    for name in ("plotly.offline", "plotly.graph_objects"):
        monkeypatch.setitem(sys.modules, name, None)
    asked: Any = smsweep.Api().sweep(sweep_id)
    for part in what.split("."):
        asked = getattr(asked, part)
    with pytest.raises(UsageError, match=r"pip install 'smsweep\[report\]'"):
        asked()


def test_secret_is_masked_in_a_notebook(sweep_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SERVICE_TOKEN", SECRET)
    named = record(3, config={**api.Api().sweep(sweep_id).config, "name": SECRET})
    sweep = smsweep.Api().sweep(named)
    shown: list[Any] = [sweep, sweep.runs, sweep.runs[0], smsweep.Api().sweeps()]
    assert not any(SECRET in each._repr_html_() for each in shown)
    assert "***" in sweep._repr_html_()
