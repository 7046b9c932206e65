"""Sweeps of images that run their own program: `entrypoint: image`. The image has a shell and no Python."""

from __future__ import annotations

import io
import json
import os
import signal
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from tests.docker.conftest import job_containers
from tests.estimators.test_unmodified_sdk import run_program
from tests.sagemaker.conftest import FAST
from tests.support.account import BUCKET, ROLE, Account, open_account
from tests.support.working_dir import TIMEOUT_S, WorkingDir, grid
from tests.unit.services.test_tuning_jobs import XGBOOST
from tools.docker_engine import IMAGE
from tools.environments import oracle

TAG = "smsweep-test-program"
RUN_SWEEP = Path(__file__).parent.with_name("estimators") / "run_sweep.py"
DOCKERFILE = rf"""
FROM {IMAGE} AS base
RUN for file in /bin/dash /bin/sleep $(ldd /bin/dash /bin/sleep | grep -o '/[^ :]*'); do \
      mkdir -p "/only$(dirname "$file")" && cp -L "$file" "/only$file"; \
    done && mv /only/bin/dash /only/bin/sh
FROM scratch
COPY --from=base /only /
COPY train /bin/train
"""
# A shell has no JSON parser: the value of `x` is the text after its key, up to the next quote.
TRAIN = r"""#!/bin/sh
trap 'echo stopped by SIGTERM; exit 0' TERM
read -r params < /opt/ml/input/config/hyperparameters.json
echo "params: $params"
echo "arguments: $*"
for channel in /opt/ml/input/data/*; do echo "channel: ${channel##*/}"; done
case $params in
  *max_depth*)
    depth=${params#*\"max_depth\": \"}; depth=${depth%%\"*}
    printf '[0]#011train-auc:0.99#011validation-auc:0.%02d\n' "$depth"
    exit 0 ;;
esac
x=${params#*\"x\": \"}; x=${x%%\"*}
case $x in
  13) echo 'no luck' > /opt/ml/output/failure; exit 3 ;;
esac
step=1
while [ $step -le 4 ]; do
  echo "step $step loss=$x.$step;"
  if [ "$x" -ge 100 ]; then sleep 0.4; fi
  step=$((step + 1))
done
if [ "$x" -ge 1000 ]; then while :; do sleep 0.1; done; fi
echo trained > /opt/ml/model/weights
"""
JOB = {
    "entrypoint": "image",
    "image_uri": TAG,
    "metric_definitions": [{"Name": "loss", "Regex": r"loss=([0-9.]+);"}],
    "max_run": 60,
}


@pytest.fixture(scope="module")
def image(docker_engine: DockerClient) -> Iterator[str]:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, text in (("Dockerfile", DOCKERFILE), ("train", TRAIN)):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text.encode()), 0o755
            tar.addfile(info, io.BytesIO(text.encode()))
    context.seek(0)
    docker_engine.images.build(fileobj=context, custom_context=True, tag=TAG, rm=True)
    yield TAG
    docker_engine.images.remove(TAG, force=True)


def sweep_of(**values: Any) -> dict[str, Any]:
    config = grid(**values)
    del config["program"]
    return config


@pytest.fixture
def workdir(tmp_path: Path, image: str) -> WorkingDir:
    directory = WorkingDir(
        tmp_path, {"sweep.yaml": sweep_of(x=[2, 1], lr=[0.1], optimizer=["adam"]), "job.yaml": JOB}
    )
    directory.environ |= {"SMSWEEP_BACKEND": "docker"}
    return directory


def log_of(workdir: WorkingDir, label: str) -> str:
    return workdir.call("logs", label).stdout


def test_image_without_python_runs_a_sweep(workdir: WorkingDir, docker_engine: DockerClient) -> None:
    sweep_id = workdir.run("--job", "job.yaml")
    trials = workdir.trials(sweep_id)
    assert [(trial["state"], trial["metrics"]["loss"]) for trial in trials] == [
        ("finished", 2.4),
        ("finished", 1.4),
    ]
    log = log_of(workdir, f"{sweep_id}/0")
    assert 'params: {"lr": "0.1", "optimizer": "adam", "x": "2"}' in log
    assert "arguments: train" not in log
    assert "channel: smsweep" not in log
    assert not list(workdir.folder.glob(".smsweep/assets/*")), "the jobs need no runtime"
    assert not job_containers(docker_engine, workdir.folder)
    shown = workdir.json("show", sweep_id)
    assert (shown["program"], shown["image"], shown["source_hash"]) == (None, TAG, "")


def test_failure_file_is_the_reason_and_retries_count(workdir: WorkingDir) -> None:
    (workdir.folder / "job.yaml").write_text(json.dumps({**JOB, "retries": {"user": 1}}))
    (workdir.folder / "sweep.yaml").write_text(json.dumps(sweep_of(x=[13])))
    sweep_id = workdir.call("run", "sweep.yaml", "--quiet", "--job", "job.yaml", code=3).stdout.strip()
    (trial,) = workdir.trials(sweep_id)
    assert (trial["state"], trial["attempt"], trial["exit_code"]) == ("failed", 1, 3)
    assert trial["reason"] == "no luck"


def test_stopping_rule_stops_the_container(workdir: WorkingDir, docker_engine: DockerClient) -> None:
    (workdir.folder / "job.yaml").write_text(json.dumps({**JOB, "stop_if": "loss > 500"}))
    (workdir.folder / "sweep.yaml").write_text(json.dumps(sweep_of(x=[1, 1000])))
    sweep_id = workdir.run("--job", "job.yaml")
    good, bad = workdir.trials(sweep_id)
    assert (good["state"], bad["state"]) == ("finished", "stopped")
    assert "loss > 500" in bad["reason"]
    assert "stopped by SIGTERM" in log_of(workdir, f"{sweep_id}/1")
    why = workdir.json("why", f"{sweep_id}/1")
    assert "loss > 500" in json.dumps(why)
    assert not job_containers(docker_engine, workdir.folder)


def test_killed_agent_job_is_adopted(workdir: WorkingDir, docker_engine: DockerClient) -> None:
    (workdir.folder / "sweep.yaml").write_text(json.dumps(sweep_of(x=[100])))
    sweep_id = workdir.sweep("--job", "job.yaml")
    with workdir.start("agent", sweep_id) as agent:
        deadline = time.monotonic() + TIMEOUT_S
        while not job_containers(docker_engine, workdir.folder):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        agent.send_signal(signal.SIGKILL)
        agent.communicate()
    workdir.call("agent", sweep_id)
    (trial,) = workdir.trials(sweep_id)
    assert (trial["state"], trial["attempt"], trial["metrics"]["loss"]) == ("finished", 0, 100.4)


def test_lost_store_is_recovered_from_the_jobs(workdir: WorkingDir) -> None:
    sweep_id = workdir.run("--job", "job.yaml")
    before = workdir.trials(sweep_id)
    (workdir.folder / ".smsweep" / "store.db").unlink()
    workdir.call("recover", sweep_id, "sweep.yaml", "--job", "job.yaml")
    workdir.call("agent", sweep_id)
    keys = ("params", "state", "attempt", "metrics")
    assert [[trial[key] for key in keys] for trial in workdir.trials(sweep_id)] == [
        [trial[key] for key in keys] for trial in before
    ]


def test_trial_is_reproduced(workdir: WorkingDir) -> None:
    sweep_id = workdir.run("--job", "job.yaml")
    found = json.loads(workdir.call("reproduce", f"{sweep_id}/1", "--json", "-q").stdout)
    assert (found["verdict"], found["facts"]) == ("equal", [])


def test_own_entrypoint_of_the_image_runs(workdir: WorkingDir) -> None:
    algorithm = {
        "ContainerEntrypoint": ["/bin/sh", "-c", 'echo "loss=7;"'],
        "ContainerArguments": ["sh", "unused"],
    }
    (workdir.folder / "job.yaml").write_text(json.dumps({**JOB, "request": {"AlgorithmSpecification": algorithm}}))
    plan = json.loads(workdir.call("plan", "sweep.yaml", "--job", "job.yaml", "--json").stdout)
    assert plan["trials"][0]["argv"] == ["/bin/sh", "-c", 'echo "loss=7;"', "sh", "unused"]
    sweep_id = workdir.run("--job", "job.yaml", "--count", "1")
    assert workdir.trials(sweep_id)[0]["metrics"]["loss"] == 7


def test_image_without_train_names_the_missing_program(workdir: WorkingDir) -> None:
    (workdir.folder / "job.yaml").write_text(json.dumps({**JOB, "image_uri": IMAGE}))
    ended = workdir.call("run", "sweep.yaml", "--job", "job.yaml", code=3)
    assert f"image {IMAGE} has no `train` on its PATH; without a program in sweep.yaml" in ended.stderr


def test_plan_and_doctor_show_the_job(workdir: WorkingDir) -> None:
    plan = json.loads(workdir.call("plan", "sweep.yaml", "--job", "job.yaml", "--json").stdout)
    assert plan["trials"][0]["argv"] == ["train"]
    request = plan["trials"][0]["request"]
    assert request["HyperParameters"] == {"lr": "0.1", "optimizer": "adam", "x": "2"}
    assert "InputDataConfig" not in request
    assert f"image {TAG}" in workdir.call("doctor", "--job", "job.yaml", "--backend", "docker").stdout


def test_process_backend_names_docker(workdir: WorkingDir) -> None:
    for command in ("run", "plan"):
        ended = workdir.call(command, "sweep.yaml", "--job", "job.yaml", "--backend", "process", code=2)
        assert "--backend process runs no images; use --backend docker, sagemaker or batch" in ended.stderr
    assert not (workdir.folder / ".smsweep" / "store.db").exists()


@pytest.fixture(scope="module")
def account(
    image: str, docker_engine: DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Account]:
    folder = tmp_path_factory.mktemp("emulator")
    with open_account(folder, os.environ, backend="docker") as opened:
        assert opened.s3.list_buckets()["Buckets"]  # the first access to S3 creates the bucket
        yield opened
    assert not job_containers(docker_engine, folder), "the emulator has not removed its containers"


@pytest.mark.parametrize("backend", ["sagemaker", "batch"])
def test_training_jobs_run_the_image(workdir: WorkingDir, account: Account, backend: str) -> None:
    account.s3.put_object(Bucket=BUCKET, Key="numbers/a.csv", Body=b"1,2")
    job = {
        **JOB,
        "role": ROLE,
        "instance_type": "ml.m5.large",
        "output_path": f"s3://{BUCKET}/{backend}",
        "inputs": {"train": f"s3://{BUCKET}/numbers"},
        "stop_if": "loss > 500",
        "price_per_hour": 3600,
    }
    (workdir.folder / "job.yaml").write_text(json.dumps(job))
    (workdir.folder / "sweep.yaml").write_text(json.dumps(sweep_of(x=[1, 1000, 13], lr=0.1)))
    workdir.environ |= {
        "AWS_ENDPOINT_URL": account.emulator.url,
        "AWS_ACCESS_KEY_ID": account.emulator.access_key_id,
        "AWS_SECRET_ACCESS_KEY": account.emulator.secret_access_key,
        "AWS_REGION": account.emulator.region,
        "SMSWEEP_BATCH_QUEUE": "images",
        **FAST,
    }
    sweep_id = workdir.run("--job", "job.yaml", "--backend", backend, "--yes", "--parallel", "3")
    good, stopped, failed = workdir.trials(sweep_id)
    assert [trial["state"] for trial in (good, stopped, failed)] == ["finished", "stopped", "failed"]
    assert (good["metrics"]["loss"], failed["reason"], failed["exit_code"]) == (1.4, "no luck", 3)
    assert good["usage"]["usd"] > 0
    log = log_of(workdir, f"{sweep_id}/0")
    assert "channel: train" in log
    assert "channel: smsweep" not in log
    (name,) = (
        summary["TrainingJobName"]
        for summary in account.sagemaker.list_training_jobs(NameContains=f"{sweep_id}-0-0")["TrainingJobSummaries"]
    )
    described = account.describe(name)
    assert described["HyperParameters"] == {"lr": "0.1", "x": "1"}
    assert "ContainerEntrypoint" not in described["AlgorithmSpecification"]
    assert "CheckpointConfig" not in described
    assert [item["MetricName"] for item in described["FinalMetricDataList"]] == ["loss"]
    keys = [item["Key"] for item in account.s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert not [key for key in keys if key.startswith("smsweep/assets")], "nothing is uploaded"


@pytest.fixture
def xgboost(docker_engine: DockerClient, image: str) -> Iterator[str]:
    """The image under the name of AWS's XGBoost, for which a request has no metric definitions."""
    name = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost"
    docker_engine.images.get(image).tag(name, "1.7-1")
    yield f"{name}:1.7-1"
    docker_engine.images.remove(f"{name}:1.7-1")


@pytest.mark.oracle
def test_tuner_of_sdk_2_tunes_the_image_in_containers(account: Account, image: str, tmp_path: Path) -> None:
    done = run_program(2, account, image, tmp_path, program="tuner_image_v2.py")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["status"], len(result["values"])) == ("Completed", 3)
    assert result["values"] == pytest.approx({x: float(x) + 0.4 for x in result["values"]})
    assert float(result["best"]) == min(map(float, result["values"]))
    assert result["model"].startswith(f"s3://{BUCKET}/out/")


@pytest.mark.oracle
@pytest.mark.parametrize(("sdk", "way"), [(2, "run"), (2, "local"), (3, "agent"), (3, "sweep")])
def test_estimator_without_a_script_runs_the_image(
    account: Account, image: str, tmp_path: Path, sdk: int, way: str
) -> None:
    question = {
        "sdk": sdk,
        "way": way,
        "image": image,
        "environ": account.emulator.environ,
        "bucket": f"images-{sdk}-{way}",
        "home": str(tmp_path / "home"),
    }
    result = oracle(f"sagemaker{sdk}").ask(RUN_SWEEP, question)
    assert (result["states"], result["loss"]) == (["finished"] * 3, [1.4, 2.4, 3.4])
    found = account.sagemaker.list_training_jobs(NameContains=result["id"])["TrainingJobSummaries"]
    assert len(found) == (0 if way == "local" else 3)
    for summary in found:
        described = account.describe(summary["TrainingJobName"])
        texts = {"decay": "1e3", "nesterov": "True" if sdk == 2 else "true"}
        assert described["HyperParameters"] == {**texts, "x": described["HyperParameters"]["x"]}
        assert "ContainerEntrypoint" not in described["AlgorithmSpecification"]
        assert [item["MetricName"] for item in described["FinalMetricDataList"]] == ["loss"]


def test_metric_that_only_sagemaker_reads_decides_the_best_trial(
    workdir: WorkingDir, account: Account, xgboost: str
) -> None:
    job = {
        "entrypoint": "image",
        "image_uri": xgboost,
        "max_run": 60,
        "role": ROLE,
        "instance_type": "ml.m5.large",
        "output_path": f"s3://{BUCKET}/xgboost",
    }
    sweep = {**sweep_of(max_depth=[3, 9, 4]), "metric": {"name": "validation:auc", "goal": "maximize"}}
    (workdir.folder / "job.yaml").write_text(json.dumps(job))
    (workdir.folder / "sweep.yaml").write_text(json.dumps(sweep))
    workdir.environ |= {**account.emulator.environ, **FAST}
    sweep_id = workdir.run("--job", "job.yaml", "--backend", "sagemaker", "--yes")
    trials = workdir.trials(sweep_id)
    assert [(trial["state"], trial["objective"]) for trial in trials] == [
        ("finished", 0.03),
        ("finished", 0.09),
        ("finished", 0.04),
    ]
    assert json.loads(workdir.call("best", sweep_id, "--json").stdout)["number"] == 1


def test_documented_tuning_job_of_xgboost_runs(account: Account, xgboost: str) -> None:
    for channel in ("train", "validation"):
        account.s3.put_object(Bucket=BUCKET, Key=f"{channel}/a.csv", Body=b"1,2")
    request = json.loads(json.dumps(XGBOOST).replace("s3://bucket/", f"s3://{BUCKET}/"))
    request["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] = 2
    request["TrainingJobDefinition"]["ResourceConfig"]["InstanceCount"] = 1
    account.sagemaker.create_hyper_parameter_tuning_job(**request)
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        tuning = account.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="xgboost")
        if tuning["HyperParameterTuningJobStatus"] != "InProgress":
            break
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert tuning["HyperParameterTuningJobStatus"] == "Completed", tuning
    assert tuning["TrainingJobStatusCounters"]["Completed"] == 2
    best = tuning["BestTrainingJob"]
    assert best["FinalHyperParameterTuningJobObjectiveMetric"]["MetricName"] == "validation:auc"
    depth = best["TunedHyperParameters"]["max_depth"]
    assert best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == pytest.approx(int(depth) / 100)
    assert "channel: validation" in account.lines(best["TrainingJobName"])
