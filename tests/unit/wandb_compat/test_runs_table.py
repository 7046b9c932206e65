from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.sweep import Metric
from smsweep.errors import NotFound, UsageError
from smsweep.wandb_compat.runs_table import RunsCsv, read_runs_csv

CONFIG = parse_sweep(
    """
method: bayes
metric: {name: val.loss}
parameters:
  lr: {distribution: log_uniform_values, min: 1e-5, max: 0.1}
  layers: {min: 1, max: 4}
  act: {values: [relu, tanh, null, true, 8]}
  optimizer: {parameters: {momentum: {values: [0.8, 0.9]}}}
  epochs: {value: 10}
"""
).config

# W&B's export of its table of runs: every cell is quoted, and mappings are flattened with dots.
EXPORTED = """\
"Name","State","Notes","User","Tags","Created","Runtime","Sweep","act","epochs","layers","lr","optimizer.momentum","epoch","val.loss"
"good-sweep-1","finished","-","me","","2026-01-01T00:00:00.000Z","61","ab12cd34","relu","10","2","0.001","0.9","9","0.25"
"good-sweep-2","finished","","me","","2026-01-01T00:00:00.000Z","61","ab12cd34","true","10","4","1e-05","0.8","9","1.5"
"bad-sweep-3","crashed","","me","","2026-01-01T00:00:00.000Z","3","ab12cd34","8","10","1","0.1","0.8","",""
"""


def read(folder: Path, text: str) -> RunsCsv:
    (folder / "runs.csv").write_text(text, encoding="utf-8")
    return read_runs_csv(folder / "runs.csv", CONFIG.space, CONFIG.all_metrics)


def run(state: str, value: float | None, **params: Any) -> dict[str, Any]:
    momentum = params.pop("momentum", None)
    nested = {} if momentum is None else {"optimizer": {"momentum": momentum}}
    return {"state": state, "values": {"val.loss": value}, "params": {**params, **nested}}


def test_table_exported_from_wandb_is_parsed(tmp_path: Path) -> None:
    read_back = read(tmp_path, EXPORTED)
    assert read_back.warnings == ()
    assert list(read_back.runs) == [
        run("finished", 0.25, act="relu", epochs=10, layers=2, lr=0.001, momentum=0.9),
        run("finished", 1.5, act=True, epochs=10, layers=4, lr=1e-5, momentum=0.8),
        run("crashed", None, act=8, epochs=10, layers=1, lr=0.1, momentum=0.8),
    ]


@pytest.mark.parametrize("kind", ["min", "best", "last"])
def test_summary_metric_of_script_is_parsed(tmp_path: Path, kind: str) -> None:
    summed_up = EXPORTED.replace('"val.loss"', f'"val.loss.max","val.loss.{kind}"').replace('"0.25"', '"9","0.25"')
    assert read(tmp_path, summed_up).runs[0]["values"]["val.loss"] == 0.25


def test_byte_order_mark_and_crlf_are_accepted(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeff" + EXPORTED.replace("\n", "\r\n")) == read(tmp_path, EXPORTED)


def test_smsweep_export_is_parsed(tmp_path: Path) -> None:
    columns = "number,state,objective,params.lr,params.optimizer.momentum,metrics.val.loss"
    text = f"{columns}\n0,finished,0.5,0.01,0.9,0.5\n"
    assert read(tmp_path, text).runs == (run("finished", 0.5, lr=0.01, momentum=0.9),)


def test_empty_cell_is_null_if_space_lists_null(tmp_path: Path) -> None:
    text = "params.act,params.lr,params.optimizer.momentum,metrics.val.loss\n,0.01,,0.5\n,,,0.5\n"
    read_back = read(tmp_path, text)
    assert read_back.runs == (run("finished", 0.5, lr=0.01, act=None),)
    assert "none of the sweep's parameters: 1 of 2 runs" in read_back.warnings[0]


def test_mappings_in_cells_are_read(tmp_path: Path) -> None:
    summary, config = "{'val': {'loss': 0.5}}", "{'lr': 0.01, 'act': None, 'optimizer': {'momentum': 0.9}}"
    text = f',summary,config,name\n0,"{summary}","{config}",one\n'
    assert read(tmp_path, text).runs == (run("finished", 0.5, lr=0.01, act=None, momentum=0.9),)


@pytest.mark.parametrize(
    "summary",
    [
        "{'val': {'loss': 0.5}, 'acc': nan, 'low': -inf}",
        '{"val": {"loss": 0.5}, "acc": NaN, "low": -Infinity, "ok": true, "note": null}',
    ],
)
def test_python_and_json_mappings_accept_nan(tmp_path: Path, summary: str) -> None:
    quoted = summary.replace('"', '""')
    (run,) = read(tmp_path, f'summary,lr\n"{quoted}",0.01\n').runs
    assert run["values"]["val.loss"] == 0.5


def test_row_outside_space_is_skipped_with_warning_per_reason(tmp_path: Path) -> None:
    text = "State,lr,layers,act,val.loss\n" + "".join(
        f"{row}\n"
        for row in (
            "finished,0.5,2,relu,1",  # lr is out of range
            "finished,0.01,2,gelu,2",  # act is not listed
            "finished,0.01,9,gelu,3",
            "running,0.01,2,relu,4",
            "finished,0.01,2,relu,NaN",
            "finished,,,,5",
        )
    )
    read_back = read(tmp_path, text)
    assert [item["params"] for item in read_back.runs] == [
        {"layers": 2, "act": "relu"},
        {"lr": 0.01, "layers": 2},
        {"lr": 0.01},
    ]
    assert [warning.partition("runs.csv: ")[2] for warning in read_back.warnings] == [
        "act outside the space: 2 of 6 runs",
        "layers outside the space: 1 of 6 runs",
        "lr outside the space: 1 of 6 runs",
        "none of the sweep's parameters: 1 of 6 runs",
        "not ended yet: 1 of 6 runs",
        "without optimizer.momentum: 3 of 6 runs",
        "without val.loss: 1 of 6 runs",
    ]


def test_last_value_is_preferred_for_each_of_several_metrics(tmp_path: Path) -> None:
    metrics = (Metric(name="error"), Metric(name="size"))
    (tmp_path / "runs.csv").write_text(
        "State,lr,error.min,error.last,size\nfinished,0.01,1,2,3\nfinished,0.1,1,2,\n"
    )
    found = read_runs_csv(tmp_path / "runs.csv", CONFIG.space, metrics)
    assert [one["values"] for one in found.runs] == [{"error": 2.0, "size": 3.0}]
    assert any("without size: 1 of 2 runs" in warning for warning in found.warnings)


def test_table_without_runs_is_reported(tmp_path: Path) -> None:
    assert [read(tmp_path, text).warnings for text in ("", "lr,val.loss\n")] == [
        (f"{tmp_path / 'runs.csv'}: contains no runs",)
    ] * 2


def test_unrelated_table_gives_no_runs_and_no_error(tmp_path: Path) -> None:
    read_back = read(tmp_path, "a,b\n1,2\n")
    assert read_back.runs == ()
    assert len(read_back.warnings) == 1


def test_missing_or_binary_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        read_runs_csv(tmp_path / "runs.csv", CONFIG.space, ())
    (tmp_path / "runs.csv").write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read as CSV"):
        read_runs_csv(tmp_path / "runs.csv", CONFIG.space, ())


cells = st.sampled_from(
    ["", "1", "1e400", "nan", "{", "{'a': 1}", "[1, 2", "[[1]]", "9" * 500, "true", "-", '"', "\x00", "finished"]
) | st.text(max_size=5)


@given(
    st.lists(
        st.fixed_dictionaries({"State": cells, "lr": cells, "act": cells, "val.loss": cells, "config": cells}),
        max_size=4,
    )
)
def test_malformed_files_raise_only_usage_error(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]
) -> None:
    lines = ["State,lr,act,val.loss,config", *(",".join(row.values()) for row in rows)]
    try:
        read(tmp_path_factory.mktemp("csv"), "\n".join(lines))
    except (UsageError, UnicodeEncodeError):
        return


def test_config_column_is_preferred_over_bare_column(tmp_path: Path) -> None:
    read_back = read(
        tmp_path, "state,lr,config.lr,layers,params.layers,metrics.val.loss\nfinished,0.05,0.01,1,3,0.5\n"
    )
    assert list(read_back.runs) == [run("finished", 0.5, lr=0.01, layers=3)]
