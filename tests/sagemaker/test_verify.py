"""`smsweep verify` against the emulator: every check, the cost cap, kills, cleanup and consent."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smsweep.errors import UsageError
from smsweep.services.verify.run_state import list_runs
from smsweep.services.verify.runner import CHECKS, Options, Plan, Verification, clean_all, verify
from smsweep.services.verify.session import PROGRAM, documents_in
from tests.sagemaker.conftest import Account
from tests.support.json_documents import check
from tests.support.walkthrough import SMSWEEP
from tools.environments import oracle

NO_ANSWER = {
    "policies": "unknown",  # moto has no SimulateCustomPolicy
    "grace-period": "unknown",  # the emulator waits as the backend behind it does
    "mpi": "unknown",  # this machine has no mpirun
    "gpu": "skipped",  # the default instance has none
    "torchrun": "skipped",  # processes do not run in their image
    "two-hosts": "skipped",  # processes do not run in their image
}
# The emulator runs on loopback, but the plan is that of AWS.
LIKE_AWS = {"AWS_ENDPOINT_URL_BATCH": "https://batch.invalid"}


def agree(plan: Plan) -> None:
    assert plan.facts.account == "123456789012"


def run(account: Account, *only: str, **options: Any) -> Verification:
    settings = {"backend": "sagemaker", "job": account.job, "only": only, **options}
    return verify(Options(**settings), consent=agree)


def objects(account: Account) -> list[str]:
    return [key for key in account.objects() if "vrfy" in key]


def live(account: Account) -> list[str]:
    jobs = account.client("sagemaker").list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"]
    return [job["TrainingJobName"] for job in jobs]


def wait_for(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def verify_emulator(folder: Path, *options: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """Run the command against an emulator that it starts itself."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SMSWEEP_"))}
    environ["PATH"] = f"{Path(python).parent}{os.pathsep}{environ['PATH']}"
    argv = [
        python,
        "-m",
        "smsweep.cli.main",
        "verify",
        "--backend",
        "sagemaker",
        "--against",
        "emulator",
        "--json",
    ]
    return subprocess.run(
        [*argv, *options],
        cwd=folder,
        env={**environ, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=1500,
    )


@pytest.mark.slow
def test_emulator_confirms_every_check(tmp_path: Path) -> None:
    done = verify_emulator(tmp_path, "--create-roles")
    report = check("smsweep verify", done.stdout)
    verdicts = {each["id"]: each["verdict"] for each in report["checks"]}
    wanted = {each.id: NO_ANSWER.get(each.id, "confirmed") for each in CHECKS if "sagemaker" in each.backends}
    assert verdicts == wanted, done.stderr
    assert (done.returncode, report["remains"], report["place"]) == (0, 0, "the emulator")
    assert "123456789012" not in done.stdout
    written = {path.suffix: path.read_text() for path in (tmp_path / ".smsweep" / "verify").glob("2*")}
    assert json.loads(written[".json"]) == report
    assert "123456789012" not in written[".md"]
    assert {path.name for path in (tmp_path / ".smsweep" / "verify").iterdir()} == {
        "lock",
        *(f"{report['date']}-sagemaker-{report['run']}{suffix}" for suffix in (".md", ".json")),
    }


def test_free_checks_create_no_job(account: Account) -> None:
    done = run(account, max_usd=0)
    assert account.calls()["CreateTrainingJob"] == 0
    verdicts = {result.id: result.verdict for result in done.results}
    assert {name for name, verdict in verdicts.items() if verdict == "confirmed"} == {
        "unknown-job",
        "conditional-write",
        "bucket-owner",
        "no-log",
        "rate-limits",
    }
    assert {name for name, verdict in verdicts.items() if verdict == "unknown"} == {"policies", "list-order"}
    assert done.state.total_usd == 0


def test_check_runs_only_if_its_worst_case_fits_the_cap(account: Account) -> None:
    # In the emulator, an instance costs one dollar an hour: 0.25 for the worst case of a job.
    done = run(account, "probe", "checkpoints", max_usd=0.3)
    by_id = {result.id: result for result in done.results}
    assert by_id["probe"].verdict == "confirmed"
    assert 0 < by_id["probe"].usd < 0.1
    assert (by_id["checkpoints"].verdict, by_id["checkpoints"].usd) == ("skipped", 0)
    assert "of the cap is left" in by_id["checkpoints"].reason
    assert account.calls()["CreateTrainingJob"] == 1
    assert done.state.finished_at == ""


def test_larger_cap_continues_the_run(account: Account) -> None:
    first = run(account, "probe", "artifacts", max_usd=0.2)
    assert {result.verdict for result in first.results} == {"skipped"}
    second = run(account, "probe", "artifacts", max_usd=2)
    assert second.state.run == first.state.run
    assert [result.verdict for result in second.results] == ["confirmed", "confirmed"]
    assert second.state.finished_at
    third = run(account, "unknown-job")
    assert third.state.run != first.state.run


def test_run_removes_everything_that_it_creates(account: Account) -> None:
    run(account, "stop", "other-region", "repeated-calls")
    assert live(account) == []
    assert objects(account) == []
    assert [bucket["Name"] for bucket in account.s3.list_buckets()["Buckets"]] == [account.bucket]
    assert account.client("sagemaker").list_training_jobs()["TrainingJobSummaries"] == []


def test_accepted_request_is_stopped_and_reported(account: Account) -> None:
    # A quota that Service Quotas reports too low: the request that must be refused starts a job.
    account.emulator.faults.set({"quota": 1, "start_s": 600})

    def raise_quota(plan: Plan) -> None:
        account.emulator.faults.set({"quota": 10, "start_s": 600})

    done = verify(Options(backend="sagemaker", job=account.job, only=("quota",)), consent=raise_quota)
    (result,) = done.results
    assert (result.verdict, result.observed["code"]) == ("different", "accepted")
    assert live(account) == []
    assert done.is_different


@pytest.mark.oracle
def test_mpirun_of_open_mpi_starts_two_processes(tmp_path: Path) -> None:
    done = verify_emulator(tmp_path, "--only", "mpi", python=str(oracle("mpi").python))
    (result,) = json.loads(done.stdout)["checks"]
    assert (result["verdict"], result["observed"]["ranks"]) == ("confirmed", [0, 1]), (result, done.stderr)


@pytest.mark.oracle
def test_processes_of_torchrun_report_their_ranks_and_sum() -> None:
    # With the variables of torchrun. Debian's torchrun does not start with Python 3.11.
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    place = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "TORCHELASTIC_RUN_ID": "none",
    }
    argv = [str(oracle("torch").python), str(PROGRAM), "--action=ranks"]
    started = [
        subprocess.Popen(argv, env={**os.environ, **place, "RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    reported = [documents_in(process.communicate(timeout=250)[0].splitlines()) for process in started]
    assert [[(each["rank"], each["sum"]) for each in found] for found in reported] == [[(0, 2)], [(1, 2)]]


def test_killed_run_is_cleaned_up_and_continued(account: Account) -> None:
    argv = [*SMSWEEP, "verify", "--backend", "sagemaker", "--job", "job.yaml", "--max-usd", "5", "--json"]
    argv += ["--only", "unknown-job", "--only", "stop"]
    (account.folder / "job.yaml").write_text(json.dumps(account.job))
    account.emulator.faults.set({"start_s": 600})
    killed = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: live(account) and list_runs(account.folder / ".smsweep")[0].results)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    (state,) = list_runs(account.folder / ".smsweep")
    assert (list(state.results), state.spent["stop"]) == (["unknown-job"], 0.25)
    (left,) = live(account)
    account.emulator.faults.clear()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600)
    report = check("smsweep verify", done.stdout)
    assert {each["id"]: each["verdict"] for each in report["checks"]} == {
        "unknown-job": "confirmed",
        "stop": "confirmed",
    }, done.stderr
    assert report["usd"] > 0.25  # the worst case of the killed check, and the second attempt
    assert f"run {state.run} (continued)" in done.stderr
    assert account.created()[left] == 1
    assert (live(account), objects(account)) == ([], [])


def test_interrupted_run_removes_the_jobs_of_its_checks_and_their_agents(account: Account) -> None:
    argv = [*SMSWEEP, "verify", "--backend", "sagemaker", "--job", "job.yaml", "--max-usd", "5"]
    argv += ["--only", "stop", "--only", "adoption"]
    (account.folder / "job.yaml").write_text(json.dumps(account.job))
    account.emulator.faults.set({"start_s": 600})
    running = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(
        lambda: len(live(account)) == 2
    )  # one of the check, one of the agent that the other check has started
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=300)
    assert running.returncode == 130, errors
    (state,) = list_runs(account.folder / ".smsweep")
    assert not any(state.made.values()), errors
    assert (live(account), objects(account)) == ([], [])
    assert sum(account.created().values()) == 2


def test_clean_removes_what_a_killed_run_left(account: Account) -> None:
    argv = [*SMSWEEP, "verify", "--backend", "sagemaker", "--job", "job.yaml", "--only", "stop", "--max-usd", "5"]
    (account.folder / "job.yaml").write_text(json.dumps(account.job))
    killed = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: live(account))
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    done = subprocess.run(
        [*SMSWEEP, "verify", "--backend", "sagemaker", "--job", "job.yaml", "--clean"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert (live(account), objects(account)) == ([], [])


def test_clean_stops_live_jobs_of_runs_without_a_file(account: Account) -> None:
    sagemaker = account.client("sagemaker")
    account.emulator.faults.set({"start_s": 600})
    for name, tags in {
        "smsweep-vrfy0000-0-0": [{"Key": "smsweep-verify", "Value": "vrfy0000"}],
        "smsweep-vrfy1111-0-0": [],
    }.items():
        sagemaker.create_training_job(
            TrainingJobName=name,
            RoleArn=account.job["role"],
            AlgorithmSpecification={"TrainingImage": account.job["image_uri"], "TrainingInputMode": "File"},
            OutputDataConfig={"S3OutputPath": account.job["output_path"]},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            StoppingCondition={"MaxRuntimeInSeconds": 60},
            Tags=tags,
        )
    clean_all(Options(backend="sagemaker", job=account.job), on_progress=lambda text: None)
    wait_for(lambda: live(account) == ["smsweep-vrfy1111-0-0"])  # a user's job with a similar name


def test_run_in_aws_needs_consent(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LIKE_AWS.items():
        monkeypatch.setenv(name, value)
    (account.folder / "job.yaml").write_text(json.dumps(account.job))
    argv = [*SMSWEEP, "verify", "--backend", "sagemaker", "--job", "job.yaml"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2
    assert "there is no terminal to ask you; read the plan, then add --yes" in done.stderr
    assert "probe" in done.stderr
    assert "$0.25" in done.stderr
    assert objects(account) == []
    agreed = subprocess.run(
        [*argv, "--yes", "--only", "unknown-job", "--only", "probe"], capture_output=True, text=True
    )
    assert agreed.returncode == 0, agreed.stderr
    assert "skipped   probe: can cost $0.25, and $0.00 of the cap is left" in agreed.stderr
    assert account.calls()["CreateTrainingJob"] == 0


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"role": "arn:aws:iam::111122223333:role/other"}, "the role is in account 111122223333"),
        ({"output_path": "s3://no-such-bucket-of-mine/out"}, "no-such-bucket-of-mine: does not exist"),
    ],
)
def test_wrong_account_or_bucket_is_refused_before_the_first_call(
    account: Account, change: dict[str, str], problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        run(account, job={**account.job, **change})
    assert account.calls()["CreateTrainingJob"] == 0
    assert list_runs(account.folder / ".smsweep") == []


def test_bucket_of_another_region_is_refused(account: Account) -> None:
    west: Any = {"LocationConstraint": "us-west-2"}
    account.s3.create_bucket(Bucket="far-away", CreateBucketConfiguration=west)
    with pytest.raises(UsageError, match="far-away: is in us-west-2, but the jobs run in us-east-1"):
        run(account, job={**account.job, "output_path": "s3://far-away/out"})


def test_backend_without_a_role_or_check_is_refused(account: Account) -> None:
    with pytest.raises(UsageError, match="its jobs need a role"):
        run(account, job=None)
    with pytest.raises(UsageError, match="--only: no check nonsense; use one of"):
        run(account, "nonsense")


def test_missing_permission_gives_no_verdict(account: Account) -> None:
    account.emulator.faults.set({"deny": ["FilterLogEvents"]})
    done = run(account, "no-log")
    (result,) = done.results
    assert result.verdict == "unknown"
    assert "logs:FilterLogEvents" in result.reason
    assert not done.is_different


def test_refused_creation_leaves_nothing_to_remove(account: Account) -> None:
    account.emulator.faults.set({"deny": ["CreateQueue", "GetQueueUrl", "ListTargetsByRule"]})
    done = run(account, "job-events", max_usd=5)
    (result,) = done.results
    assert result.verdict == "unknown"
    assert "sqs:create_queue: AccessDenied" in result.reason
    assert (done.remains, any(done.state.made.values())) == ((), False)
    assert done.state.finished_at


def test_batch_passes_the_checks_of_its_jobs(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSWEEP_BATCH_QUEUE", "queue")
    done = run(account, "probe", "max-runtime", backend="batch")
    assert [(result.id, result.verdict) for result in done.results] == [
        ("probe", "confirmed"),
        ("max-runtime", "confirmed"),
    ]
    assert objects(account) == []
