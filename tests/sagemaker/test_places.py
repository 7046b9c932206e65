"""One sweep over this machine and SageMaker."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from typer.testing import CliRunner

from smsweep.cli.main import app
from smsweep.core.trial import TrialState
from smsweep.errors import UsageError
from smsweep.services.agents.run_agent import agent, run
from smsweep.services.aws_setup import policies
from smsweep.services.doctor import examine
from smsweep.services.sweeps import costs, create
from smsweep.services.views.why import why
from tests.sagemaker.conftest import Account
from tests.support.account import client_of

SPOT = {"use_spot_instances": True, "max_wait": 1200}


def run_on(account: Account, n: int, *on: str, job: dict[str, Any] | None = None) -> dict[TrialState, int]:
    return run(account.sweep(n), job={**account.job, **(job or {})}, on=on).ended


def run_in_two_regions(account: Account, n: int, **changes: Any) -> dict[TrialState, int]:
    """Run a sweep at EAST_THEN_WEST, with the default bucket of each region."""
    for region in EAST_THEN_WEST["region"]:
        s3 = client_of(account.emulator, "s3", region_name=region)
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=f"sagemaker-{region}-123456789012", **where)
    del account.job["output_path"]
    return run_on(account, n, job={"places": [{**EAST_THEN_WEST, **changes}]})


def places(account: Account) -> list[str]:
    return [trial.place_name for trial in account.trials()]


def test_sweep_overflows_from_this_machine_to_sagemaker(account: Account) -> None:
    assert run_on(account, 6, "local:1", "sagemaker:3") == {TrialState.FINISHED: 6}
    assert {trial.place.partition("@")[0] for trial in account.trials()} == {"process", "sagemaker"}
    on_sagemaker = {trial.job_name for trial in account.trials() if trial.place_name == "sagemaker"}
    assert set(account.created()) == on_sagemaker


def test_spot_quota_moves_trials_to_on_demand(account: Account) -> None:
    account.emulator.faults.set({"quota": 1})
    assert run_on(account, 4, "sagemaker:spot:2", "sagemaker:2") == {TrialState.FINISHED: 4}
    assert {trial.attempt for trial in account.trials()} == {0}
    assert set(places(account)) == {"sagemaker:spot", "sagemaker"}


def test_missing_spot_capacity_moves_trials_to_next_place(account: Account) -> None:
    account.emulator.faults.set({"no_capacity": [{}]})
    assert run_on(account, 1, "sagemaker:spot", "local") == {TrialState.FINISHED: 1}
    (trial,) = account.trials()
    assert (trial.attempt, trial.place_name, trial.retries) == (1, "local", {"capacity": 1})
    explained = why(trial.label)
    assert explained["placement"][0].startswith("sagemaker:spot rests until ")
    assert "CapacityError" in explained["placement"][0]


def test_job_without_a_machine_moves_to_on_demand_and_next_instance_type(account: Account) -> None:
    """The first type never starts. The job waits for its machine, on-demand as well, then the next type runs."""
    account.emulator.faults.set({"no_capacity": [{"instance_type": "ml.m5.large", "times": 99, "after_s": 600}]})
    cloud = {
        "backend": "sagemaker",
        "name": "cloud",
        "instance_type": ["ml.m5.large", "ml.m5.xlarge"],
        "give_up_after": 1,
        **SPOT,
    }
    assert run_on(account, 1, job={"places": [cloud]}) == {TrialState.FINISHED: 1}
    (trial,) = account.trials()
    assert (trial.place_name, trial.attempt, trial.retries) == ("cloud/3", 2, {})
    assert trial.usage["instance_type"] == "ml.m5.xlarge"


EAST_THEN_WEST: dict[str, Any] = {
    "backend": "sagemaker",
    "name": "cloud",
    "region": ["us-east-1", "eu-west-1"],
    "slots": 2,
}


def regions(account: Account) -> list[str]:
    """Return the region of each trial, and check that each region has only the last jobs of its trials."""
    trials = account.trials()
    for region in EAST_THEN_WEST["region"]:
        client = client_of(account.emulator, "sagemaker", region_name=region)
        listed = client.list_training_jobs(MaxResults=100)["TrainingJobSummaries"]
        completed = {job["TrainingJobName"] for job in listed if job["TrainingJobStatus"] == "Completed"}
        assert completed == {trial.job_name for trial in trials if trial.place == f"sagemaker@{region}"}
    return [trial.place.partition("@")[2] for trial in trials]


def test_quota_of_a_region_moves_trials_to_the_next_region(account: Account) -> None:
    """Their jobs run in both regions at once, and a trial whose job was refused keeps its attempt."""
    account.emulator.faults.set({"quota": 1})
    assert run_in_two_regions(account, 4) == {TrialState.FINISHED: 4}
    assert set(regions(account)) == {"us-east-1", "eu-west-1"}
    assert {trial.attempt for trial in account.trials()} == {0}
    moved = next(trial for trial in account.trials() if trial.place == "sagemaker@eu-west-1")
    assert moved.place_name == "cloud/2"
    assert why(moved.label)["placement"][0].startswith("cloud rests until ")
    assert "loss" in moved.metrics  # from the logs of its region


def test_region_without_capacity_moves_trials_to_the_next_region(account: Account) -> None:
    account.emulator.faults.set({"no_capacity": [{"region": "us-east-1", "times": 99}]})
    assert run_in_two_regions(account, 2) == {TrialState.FINISHED: 2}
    assert regions(account) == ["eu-west-1"] * 2
    assert {trial.retries.get("capacity", 0) for trial in account.trials()} <= {0, 1}


def test_job_that_waits_too_long_in_a_region_runs_in_the_next_region(account: Account) -> None:
    account.emulator.faults.set({"no_capacity": [{"region": "us-east-1", "times": 99, "after_s": 600}]})
    assert run_in_two_regions(account, 1, give_up_after=1) == {TrialState.FINISHED: 1}
    assert regions(account) == ["eu-west-1"]
    (trial,) = account.trials()
    assert (trial.attempt, trial.retries) == (1, {})


def test_budget_counts_sagemaker_and_not_this_machine(account: Account) -> None:
    job = {"price_per_hour": 6.0, "budget": {"usd": 1.0}}  # one trial of 600 s at a time
    assert run_on(account, 6, "local:1", "sagemaker:4", job=job) == {TrialState.FINISHED: 6}
    usage = {trial.place_name: trial.usage["usd"] for trial in account.trials()}
    assert usage["local"] == 0
    assert 0 < usage["sagemaker"] < 1
    assert places(account).count("local") > 1


def test_each_place_has_its_own_price_and_keys(account: Account) -> None:
    job = {
        "price_per_hour": 1.0,
        "places": [
            {"backend": "process", "name": "desk", "price_per_hour": 0.5, "environment": {"WHERE": "desk"}},
            {"backend": "sagemaker", "name": "cloud", "slots": 2, "instance_type": "ml.m5.xlarge"},
        ],
    }
    launch = costs.launch_of_config(account.sweep(2), job={**account.job, **job})
    assert launch is not None
    assert [(each["name"], each["slots"], each["price_per_hour"]) for each in launch["places"]] == [
        ("desk", 1, 0.5),
        ("cloud", 2, 1.0),
    ]
    assert launch["instances"] == [{"type": "ml.m5.xlarge", "count": 1}]
    assert launch["parallel"] == 3


def test_agents_with_different_backends_share_a_sweep(account: Account) -> None:
    sweep_id = create.sweep(account.sweep(4), job=account.job, backend="sagemaker")
    assert agent(sweep_id, backend="process", count=2).ended == {TrialState.FINISHED: 2}
    assert agent(sweep_id, backend="sagemaker").ended == {TrialState.FINISHED: 2}
    kinds = [trial.place.partition("@")[0] for trial in account.trials()]
    assert kinds == ["process", "process", "sagemaker", "sagemaker"]


WAITS_FOR_FOUR = """
import os, pathlib, smsweep, time
run = smsweep.init()
began = pathlib.Path(BEGAN)
(began / str(os.getpid())).touch()
while len(list(began.iterdir())) < 4:
    time.sleep(0.05)
smsweep.log({"loss": run.config["x"] * 2})
"""


def test_agents_with_different_backends_run_trials_at_the_same_time(
    account: Account, tmp_path_factory: pytest.TempPathFactory
) -> None:
    began = tmp_path_factory.mktemp("began")
    (account.folder / "train.py").write_text(WAITS_FOR_FOUR.replace("BEGAN", repr(str(began))))
    sweep_id = create.sweep(account.sweep(8), job=account.job, backend="sagemaker")
    with ThreadPoolExecutor(2) as pool:
        agents = [pool.submit(agent, sweep_id, backend=name, parallel=2) for name in ("sagemaker", "process")]
        ended = [each.result().ended[TrialState.FINISHED] for each in agents]
    trials = account.trials()
    on_sagemaker = {trial.job_name for trial in trials if trial.place.startswith("sagemaker@")}
    assert ended == [len(on_sagemaker), 8 - len(on_sagemaker)]
    assert 0 < len(on_sagemaker) < 8
    assert set(account.created()) == on_sagemaker
    assert {(trial.state, trial.attempt) for trial in trials} == {(TrialState.FINISHED, 0)}


def test_show_and_plan_report_places(account: Account) -> None:
    job = account.folder / "job.yaml"
    job.write_text(json.dumps({**account.job, "price_per_hour": 6.0}))
    (account.folder / "sweep.yaml").write_text(json.dumps(account.sweep(2)))
    flags = ["--job", "job.yaml", "--on", "local:2", "--on", "sagemaker:spot:4"]
    planned = CliRunner().invoke(app, ["plan", "sweep.yaml", *flags])
    assert "place local           2 slots, free" in planned.stdout
    assert (
        "place sagemaker:spot  4 slots, us-east-1, 1 x ml.m5.large, spot, $6.00 an hour, up to $1.00 a trial"
        in planned.stdout
    )
    document = json.loads(CliRunner().invoke(app, ["plan", "sweep.yaml", *flags, "--json"]).stdout)
    assert [each["name"] for each in document["launch"]["places"]] == ["local", "sagemaker:spot"]
    ran = CliRunner().invoke(app, ["run", "sweep.yaml", *flags, "--quiet"])
    sweep_id = ran.stdout.strip()
    shown = CliRunner().invoke(app, ["show", sweep_id])
    assert "local: 0 running, 2 ended" in shown.stdout


def test_policies_cover_the_regions_of_all_places(account: Account) -> None:
    cloud = {"backend": "sagemaker", "name": "cloud", "region": ["us-east-1", "eu-west-1"]}
    del account.job["output_path"]
    launcher = policies({**account.job, "places": ["local", cloud]})["launcher"]["Statement"]
    sids = [statement["Sid"] for statement in launcher]
    assert len(set(sids)) == len(sids)
    arns = [arn for statement in launcher for arn in statement["Resource"] if ":training-job/" in arn]
    assert {arn.split(":")[3] for arn in arns} == {"us-east-1", "eu-west-1"}


def test_doctor_checks_the_backends_of_all_places(account: Account) -> None:
    found = {name: examine(job=account.job, on=[name]) for name in ("local", "sagemaker:spot")}
    both = [check.what for check in examine(job=account.job, on=list(found))]
    assert len(set(both)) == len(both)
    in_cloud = {check.what for check in found["sagemaker:spot"]} - {check.what for check in found["local"]}
    assert in_cloud <= set(both)
    assert len(in_cloud) > 2


@pytest.mark.parametrize(
    ("on", "message"),
    [
        (["moon"], "--on moon: no such backend, and job.yaml has no such place; use one of "),
        (["sagemaker:cheap"], "--on: 'sagemaker:cheap' is not a valid place; write NAME"),
        (["local:0"], "--on: 'local:0' is not a valid place"),
        (["local", "local:2"], "--on local: given twice"),
    ],
)
def test_invalid_place_creates_nothing(account: Account, on: list[str], message: str) -> None:
    (account.folder / "sweep.yaml").write_text(json.dumps(account.sweep(1)))
    flags = [flag for place in on for flag in ("--on", place)]
    refused = CliRunner().invoke(app, ["run", "sweep.yaml", *flags])
    assert isinstance(refused.exception, UsageError)
    assert message in str(refused.exception)
    assert not (account.folder / ".smsweep" / "store.db").exists()
