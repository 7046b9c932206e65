"""`Api().sweep(..).to_dataframe()` with pandas, which smsweep does not depend on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.environments import oracle

pytestmark = pytest.mark.oracle

ASK = """
import json, sys, smsweep

def train():
    run = smsweep.init()
    run.log({"loss": run.config.opt["lr"] * 2})

json.load(sys.stdin)
config = {"method": "grid", "parameters": {"opt": {"parameters": {"lr": {"values": [1, 2]}}}}}
sweep_id = smsweep.sweep(config)
smsweep.agent(sweep_id, function=train)
frame = smsweep.Api().sweep(sweep_id).to_dataframe()
history = smsweep.Api().run(f"{sweep_id}/1").history()
rows = frame[["State", "opt.lr", "loss"]].values.tolist()
print(json.dumps([list(frame.columns), rows, history["loss"].tolist()]))
"""


def test_dataframe_has_row_per_run_with_wandb_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path / "sweeps"))
    monkeypatch.setenv("WANDB_SILENT", "true")  # stdout has only the answer
    (tmp_path / "ask.py").write_text(ASK)
    columns, rows, history = oracle("pandas").ask(tmp_path / "ask.py", None)
    assert columns == ["Name", "State", "Created", "Runtime", "Sweep", "ID", "opt.lr", "loss"]
    assert rows == [["finished", 1, 2], ["finished", 2, 4]]
    assert history == [4]
