"""Tests of the report file: the values of the export, no secrets, no injected HTML."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from smsweep.core.trial import MetricPoint, TrialState
from smsweep.errors import UsageError
from smsweep.report.figures.common import BLUE, BY_AGE, GREY
from smsweep.report.figures.registry import FIGURES
from smsweep.services import export, report
from smsweep.services.views import json_views
from smsweep.services.workspace import Workspace
from tests.support.recorded_requests import CONFIG, record

KEY = "ghp_" + "Zx81" * 9
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SMSWEEP_DIR", "SMSWEEP_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="smsweep-data">(.*?)</script>', html, re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_table_has_the_values_of_the_export() -> None:
    sweep_id = record(30)
    data = data_of(report.report(sweep_id))
    exported = json.loads(export.export(sweep_id, form="json").text)
    columns, rows = json_views.table(exported)
    result = [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]]
    assert result == [{name: row.get(name) for name in data["columns"]} for row in rows]
    assert set(data["columns"]) == set(columns)


def test_large_integer_keeps_its_digits() -> None:
    config = {**CONFIG, "parameters": {**CONFIG["parameters"], "key": {"value": 2**53 + 1}}}
    data = data_of(report.report(record(1, config=config)))
    assert dict(zip(data["columns"], data["rows"][0], strict=True))["params.key"] == "9007199254740993"


def test_history_has_the_objectives_of_the_export() -> None:
    sweep_id = record(30)
    figure = report.figure(sweep_id, "history")
    drawn = {
        x: y
        for trace in figure["data"]
        if trace["mode"] == "markers"
        for x, y in zip(trace["x"], trace["y"], strict=True)
    }
    ended_well = [trial for trial in json_views.list_trials(sweep_id) if trial["state"] != "failed"]
    assert drawn == {trial["number"]: trial["objective"] for trial in ended_well}


@pytest.mark.parametrize("n_trials", [0, 1, 5])
def test_sweep_without_trials_has_a_report(n_trials: int) -> None:
    assert len(data_of(report.report(record(n_trials)))["rows"]) == n_trials


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_valid_for_plotly(name: str) -> None:
    figure = report.figure(record(30), name)
    assert len(report.plotly_figure(figure).data) == len(figure["data"])


def test_points_of_learning_curves_have_their_trial() -> None:
    sweep_id = record(30)
    traces = report.figure(sweep_id, "curves")["data"]
    known = {n for trace in traces for n in trace["customdata"]} - {None}
    assert known == {trial["number"] for trial in json_views.list_trials(sweep_id) if trial["metrics"]}
    assert all(len(trace["customdata"]) == len(trace["x"]) == len(trace["y"]) for trace in traces)


def test_caption_of_slices_describes_their_colors() -> None:
    assert BY_AGE == [[0, GREY], [1, BLUE]]
    assert "Early trials are grey, late trials blue." in FIGURES["slices"].about


def test_one_outlier_does_not_change_the_colors_of_parallel_coordinates() -> None:
    sweep_id = record(20)
    with Workspace().store() as store:
        trial = store.get_trial(sweep_id, 2)
        assert trial.created_at is not None
        low = MetricPoint(name="loss", value=-1e9, step=99, time=trial.created_at)
        store.append_points(sweep_id, 2, [low], "more", expect_cursor=trial.cursor)
    (trace,) = report.figure(sweep_id, "parallel_coordinates")["data"]
    values = trace["dimensions"][-1]["values"]
    assert min(values) == -1e9
    by_value = [rank for _, rank in sorted(zip(values, trace["line"]["color"], strict=True), reverse=True)]
    assert by_value == list(range(len(values)))


def test_untrusted_names_stay_text() -> None:
    config = {
        **CONFIG,
        "name": HOSTILE,
        "metric": {"name": HOSTILE, "goal": "minimize"},
        "parameters": {"a": {"values": [HOSTILE, "<a href='https://example.org'>x</a>"]}},
    }
    html = report.report(record(12, config=config))
    assert tags(html).count("script") == tags(report.report(record(1))).count("script")
    assert "img" not in tags(html)


def test_right_to_left_name_does_not_affect_other_text() -> None:
    html = report.report(record(3, config={**CONFIG, "name": "new \u202e sweep"}))
    assert "<h1>new \\u202e sweep <span" in html


def test_secret_of_the_environment_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SERVICE_TOKEN", "correct-horse-battery")
    config = {**CONFIG, "description": "uses correct-horse-battery"}
    html = report.report(record(12, config=config | {"name": "correct-horse-battery"}))
    assert "correct-horse" not in html


def test_values_with_the_form_of_a_key_are_masked() -> None:
    sweep_id = record(12)
    with Workspace().store() as store:
        trial = store.get_trial(sweep_id, 9)
        store.move(sweep_id, 9, [trial.state], TrialState.PENDING, reason=f"bad key {KEY}")
    assert KEY not in report.report(sweep_id)


def test_missing_plotly_is_reported_with_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(UsageError, match=r"pip install 'smsweep\[report\]'"):
        report.report(record(1))


def tags(html: str) -> list[str]:
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            found.append(tag)

    Reader().feed(html)
    return found


def test_mapping_as_param_value_is_a_category() -> None:
    values = [{"flip": True, "crop": [1, 2], "deep": {"a": 1}}, {"flip": False}]
    config = {**CONFIG, "parameters": {"augment": {"values": values}, "lr": {"min": 0.1, "max": 1.0}}}
    figure = report.figure(record(30, config=config), "slices")
    (xs,) = [trace["x"] for trace in figure["data"] if set(trace["x"]) <= {0.0, 1.0}]
    assert len(xs) == 27
    assert set(xs) == {0.0, 1.0}


def test_similar_values_have_different_labels() -> None:
    config = {
        **CONFIG,
        "parameters": {"x": {"values": [1, "1", True, "true", "one"]}, "lr": {"min": 0.1, "max": 1.0}},
    }
    sweep_id = record(60, config=config)
    labels = ["1", '"1"', "true", '"true"', "one"]
    trace = report.figure(sweep_id, "parallel_coordinates")["data"][0]
    (axis,) = [each for each in trace["dimensions"] if each["label"] == "x"]
    assert axis["ticktext"] == labels
    assert set(axis["values"]) == {0, 1, 2, 3, 4}
    layout = report.figure(sweep_id, "slices")["layout"]
    (ticks,) = [
        each["ticktext"] for name, each in layout.items() if name.startswith("xaxis") and "ticktext" in each
    ]
    assert ticks == labels


def test_long_labels_show_both_ends() -> None:
    models = ["google/vit-base-patch16-224-in21k", "google/vit-large-patch16-384-in21k"]
    config = {**CONFIG, "parameters": {"model": {"values": models}, "lr": {"min": 0.1, "max": 1.0}}}
    sweep_id = record(30, config=config)
    labels = ["google/vi…-224-in21k", "google/vi…-384-in21k"]
    trace = report.figure(sweep_id, "parallel_coordinates")["data"][0]
    (axis,) = [each for each in trace["dimensions"] if each["label"] == "model"]
    assert axis["ticktext"] == labels
    layout = report.figure(sweep_id, "slices")["layout"]
    assert {each.get("tickangle") for name, each in layout.items() if name[:5] == "xaxis"} == {-30, None}


def test_extreme_numbers_on_parallel_coordinates_are_not_html() -> None:
    config = {**CONFIG, "parameters": {"tiny": {"min": 0.0, "max": 1e-20}, "lr": {"min": 0.1, "max": 1.0}}}
    trace = report.figure(record(30, config=config), "parallel_coordinates")["data"][0]
    assert {each["label"]: each.get("tickformat") for each in trace["dimensions"]} == {
        "tiny": ".3~g",
        "lr": None,
        "loss": None,
    }


def test_html_is_escaped_only_where_plotly_renders_it() -> None:
    config = {**CONFIG, "parameters": {"x": {"values": ["R&D", "<b>"]}, "lr": {"min": 0.1, "max": 1.0}}}
    sweep_id = record(30, config=config)
    trace = report.figure(sweep_id, "parallel_coordinates")["data"][0]
    (axis,) = [each for each in trace["dimensions"] if each["label"] == "x"]
    assert axis["ticktext"] == ["R&D", "<b>"]
    layout = report.figure(sweep_id, "slices")["layout"]
    (ticks,) = [
        each["ticktext"] for name, each in layout.items() if name.startswith("xaxis") and "ticktext" in each
    ]
    assert ticks == ["R&amp;D", "&lt;b&gt;"]
