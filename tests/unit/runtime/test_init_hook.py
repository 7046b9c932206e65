"""Tests that a script's W&B metrics reach the sweep. The oracle tests do the same with W&B itself."""

from __future__ import annotations

from pathlib import Path

from tests.unit.runtime.jobs import Job

WANDB = {  # the real wandb has the same names
    "wandb/__init__.py": "from wandb.sdk.wandb_run import Run; from wandb.sdk.wandb_init import init",
    "wandb/sdk/__init__.py": "",
    "wandb/sdk/wandb_init.py": "def init(**given): print('init', given)",
    "wandb/sdk/wandb_run.py": """
from wandb.sdk.wandb_summary import Summary
class Run:
    "A run."
    def __init__(self): self.summary = Summary()
    def log(self, data, step=None, commit=None):
        "Log."
        if "raise" in data: raise ValueError("wandb's own")
        return "returned"
    def define_metric(self, name, step_metric=None, step_sync=None, hidden=None, summary=None): pass
    def _set_run_obj(self, run_obj): pass
    @property
    def sweep_id(self): return None
""",
    "wandb/sdk/wandb_summary.py": """
from types import SimpleNamespace
class SummaryDict:
    def __init__(self, parent=None, key=None): self.parent, self.key = parent, key
    def __getitem__(self, key): return SummaryDict(self, key)
    def __setitem__(self, key, value): self.update({key: value})
    def update(self, d):
        self._update(SimpleNamespace(update=[SimpleNamespace(key=(k,), value=v) for k, v in d.items()]))
    def _update(self, record):
        for item in record.update: item.key = (self.key, *item.key)
        self.parent._update(record)
class Summary(SummaryDict):
    def _update(self, record): pass
""",
}


def records(job: Job, script: str) -> str:
    return job.trial({**WANDB, "train.py": "import wandb\nrun = wandb.Run()\n" + script}).run().out


def test_wandb_metrics_are_reported_and_returned(job: Job) -> None:
    found = records(job, "print(run.log({'loss': 1, 'v': {'acc': 2}, 'image': object()}), run.log.__doc__)")
    assert ('"metrics": {"loss": 1, "v.acc": 2}}' in found, found.endswith("returned Log.\n")) == (True, True)
    assert "image" not in found


def test_steps_equal_those_of_wandb(job: Job) -> None:
    found = records(job, "run.log({'x': 1}, step=5); run.log({'x': 2}, 7); run.log({'x': 3}, commit=True)")
    assert [line.split(",")[0] for line in found.splitlines()] == [f'@smsweep {{"step": {n}' for n in (5, 7, 7)]


def test_wandb_summary_is_reported(job: Job) -> None:
    assert '"summary": {"best": 3}}' in records(job, "run.summary['best'] = 3")


def test_nested_wandb_summary_is_reported(job: Job) -> None:
    found = records(job, "run.summary['acc']['top5'] = 3; run.summary.update({'a': 1, 'b': {'c': 2}})")
    assert '"summary": {"acc.top5": 3}}' in found
    assert '"summary": {"a": 1, "b.c": 2}}' in found


def test_logged_value_replaces_wandb_summary(job: Job) -> None:
    found = records(job, "run.summary['loss'] = 9; run.log({'loss': 5, 'x': 1}); run.log({'x': 2})")
    result = [line.partition('"summary": ')[2] for line in found.splitlines() if "summary" in line]
    assert result == ['{"loss": 9}}', '{"loss": 5}}']


def test_row_has_the_last_value_of_its_step_metric(job: Job) -> None:
    script = "run.define_metric('val/*', step_metric='epoch'); run.log({'epoch': 3}); run.log({'val/loss': 1})"
    assert '"metrics": {"val/loss": 1, "epoch": 3}}' in records(job, script)


def test_rank_with_disabled_wandb_reports_nothing(job: Job) -> None:
    script = """
import os
for rank, mode in ("0", "disabled"), ("1", None), ("1", "disabled"):
    os.environ["RANK"] = rank
    wandb.init(mode=mode)
    run.log({"loss": f"{rank} {mode}"}); run.summary["best"] = f"{rank} {mode}"
"""
    result = [line for line in records(job, script).splitlines() if line.startswith("@smsweep")]
    assert [line.rpartition(": ")[2] for line in result] == [*['"0 disabled"}}'] * 2, *['"1 None"}}'] * 2]


def test_sweep_sets_the_run_id(job: Job) -> None:
    found = records(job, "wandb.init(id='mine', project='mine', name='mine'); print(run.sweep_id)")
    assert "init {'id': 's1-7', 'project': 'mine', 'name': 'mine'}" in found  # the sweep has no project
    assert found.startswith(
        "smsweep: wandb.init(id='mine') is ignored in a sweep, as in W&B; the sweep sets s1-7\n"
    )
    assert found.endswith("s1\n")


def test_values_that_wandb_refuses_are_not_reported(job: Job) -> None:
    found = records(job, "run.log({'raise': 1})")
    assert ("ValueError: wandb's own" in found, "@smsweep" in found) == (True, False)


def test_unknown_wandb_version_is_not_wrapped(job: Job) -> None:
    files = {"wandb/__init__.py": "", "wandb/sdk/__init__.py": "", "wandb/sdk/wandb_run.py": ""}
    done = job.trial({**files, "train.py": "import wandb.sdk.wandb_run; print('fine')"}).run()
    assert "smsweep: cannot follow wandb's metrics" in done.out
    assert done.out.endswith("fine\n")


def test_job_inside_a_job_starts_without_an_error(job: Job, tmp_path: Path) -> None:
    outer = tmp_path / "outer.zip"  # the outer job's runtime, which its environment names
    outer.write_bytes((job.channel / "runtime.zip").read_bytes())
    (job.channel / "sitecustomize.py").write_text("import sys; sys.mine = 'ran'")
    job.environ["PYTHONPATH"] = f"{outer}:{job.channel}"
    assert job.trial({"train.py": "import sys; print(sys.mine)"}).run().out == "ran\n"


def test_sitecustomize_of_the_image_runs(job: Job) -> None:
    (job.channel / "sitecustomize.py").write_text("import sys; sys.mine = 'ran'")
    job.environ["PYTHONPATH"] = str(job.channel)
    assert job.trial({"train.py": "import sys; print(sys.mine)"}).run().out == "ran\n"
