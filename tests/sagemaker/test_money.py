"""What trials cost, and that a budget holds."""

from __future__ import annotations

from smsweep.sdk import views
from smsweep.trials import TrialState
from tests.sagemaker.conftest import Account

PRICED = {"price_per_hour": 3.6, "max_run": 100}  # at worst 10 cents a trial


def test_cost_follows_from_billable_seconds(account: Account) -> None:
    account.run(1, job=PRICED)
    (trial,) = account.trials()
    assert trial.usage["usd"] == round(trial.usage["billable_s"] * 0.001, 6)
    assert trial.usage["instance_type"] == "ml.m5.large"
    assert views.show(trial.sweep_id)["usage"]["usd"] == trial.usage["usd"]


def test_a_spot_trial_costs_its_billable_seconds_only(account: Account) -> None:
    (account.folder / "train.py").write_text("import smsweep, time; smsweep.log({'loss': 1}); time.sleep(3)")
    account.run(1, job={**PRICED, "use_spot_instances": True, "max_wait": 900})
    (trial,) = account.trials()
    assert 0 < trial.usage["billable_s"] <= 2


def test_no_more_trials_are_active_than_the_budget_covers_at_worst(account: Account) -> None:
    account.run(4, job={**PRICED, "budget": {"usd": 0.25}}, parallel=4)
    client = account.client("sagemaker")
    jobs = [client.describe_training_job(TrainingJobName=name) for name in account.created()]
    starts, ends = [job["CreationTime"] for job in jobs], [job["TrainingEndTime"] for job in jobs]
    most = max(sum(a <= at < b for a, b in zip(starts, ends, strict=True)) for at in starts)
    assert most == 2
    assert [trial.state for trial in account.trials()] == [TrialState.FINISHED] * 4


def test_a_used_up_budget_finishes_the_sweep(account: Account) -> None:
    (account.folder / "train.py").write_text("import smsweep, time; smsweep.log({'loss': 1}); time.sleep(2)")
    job = {"max_run": 3, "budget": {"hours": 4 / 3600}}
    assert account.run(4, job=job).ended == {TrialState.FINISHED: 1}
    (sweep,) = views.list_sweeps()
    assert sweep["state"] == "finished"
