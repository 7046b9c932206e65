"""Checks that run jobs, on every backend."""

from __future__ import annotations

import io
import re
import tarfile
from typing import Any

from smsweep.core.distributed_launch import mpirun, torchrun
from smsweep.core.job import MAX_FAILURE_REASON, JobStatus
from smsweep.runtime.script.records import END, MARK
from smsweep.services.verify.api_checks import answer, channel
from smsweep.services.verify.assumption import ALL, Assumption, Observed
from smsweep.services.verify.session import (
    AWS,
    EMULATOR,
    Facts,
    NotVerified,
    Session,
    documents_in,
    job_seconds,
)

LIFECYCLE = "smsweep/emulator/jobs/lifecycle.py"
STAGING = "smsweep/emulator/jobs/staging.py"
LOGS = "smsweep/emulator/jobs/moto_services.py"
POOLS = "smsweep/emulator/jobs/warm_pools.py"
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
PASSING = (
    "Pending",
    "LaunchingMLInstances",
    "PreparingTrainingStack",
    "DownloadingTrainingImage",
)  # can be absent
SHOWN = 80  # characters of each end of a long text
IDLE_S = 120  # of a warm pool
BEGIN = ("Starting", "Downloading", "Training")
USUAL_S = 90  # instance seconds of a short job
NOT_FOUND = 127  # exit code of a command that does not exist


def probe(session: Session) -> Observed:
    session.put("data/train/a.csv", b"1,2\n")
    session.put("data/train/sub/b.csv", b"3,4\n")
    name = session.submit(session.request("probe", channels=[channel(f"{session.uri}/data/train/")]))
    status = session.wait(name)
    found = _only(session, name, "hostname")
    variables = found.pop("variables")
    return {
        "status": status.status,
        **found,
        "has_job_name": "TRAINING_JOB_NAME" in variables,
        "has_sm_variables": {"SM_CHANNEL_TRAIN", "SM_MODEL_DIR", "SM_HOSTS", "SM_CURRENT_HOST"} <= {*variables},
        "has_configs": {"hyperparameters.json", "resourceconfig.json"} <= {*found["configs"]},
        "n_variables": len(variables),
    }


def _only(session: Session, name: str, key: str) -> dict[str, Any]:
    """Return the document with a key that the script of an ended job has reported."""
    found = next((each for each in documents_in(session.whole_log(name)) if key in each), None)
    if found is None:
        raise NotVerified(f"{name} did not report {key}")
    return found


def channel_names(session: Session) -> Observed:
    """Read a prefix without a slash at its end, which is also the prefix of another folder."""
    session.put("names/train/a", b"1")
    session.put("names/train/", b"")
    session.put("names/trainer/b", b"1")
    name = session.submit(session.request("probe", channels=[channel(f"{session.uri}/names/train")]))
    status = session.wait(name)
    return {"status": status.status, "files": _only(session, name, "channel")["channel"]}


def log(session: Session) -> Observed:
    name = session.submit(session.request("lines"))
    session.wait(name)
    lines = session.whole_log(name)
    numbers = [each["number"] for each in documents_in(lines)]
    observed: dict[str, Any] = {"numbers": numbers}
    if session.facts.backend == "sagemaker":
        observed |= _events(session, name)
    return observed


def _events(session: Session, name: str) -> dict[str, Any]:
    """Return the streams and the delays of a job's log in CloudWatch, in seconds."""
    _, _, page = answer(
        session, "logs", "filter_log_events", logGroupName=LOG_GROUP, logStreamNamePrefix=f"{name}/"
    )
    events = page.get("events", [])
    written = [(documents_in([event["message"]]), event) for event in events]
    pairs = [(found[0]["time"], event) for found, event in written if found and "time" in found[0]]
    streams = sorted({event["logStreamName"].removeprefix(f"{name}/") for event in events})
    last = events[-1]["message"] if events else ""
    return {
        "has_end_record": last.startswith(f'{MARK}{{"{END}"'),
        "n_streams": len(streams),
        "stream": streams[0] if streams else "",
        "seconds_until_event": round(max((e["timestamp"] / 1000 - at for at, e in pairs), default=0), 1),
        "seconds_until_ingestion": round(max((e["ingestionTime"] / 1000 - at for at, e in pairs), default=0), 1),
    }


def failures(session: Session) -> Observed:
    actions = ("error", "code", "killed", "long_reason", "reason_without_failure")
    statuses = session.run_all([session.request(action) for action in actions])
    observed: dict[str, Any] = {}
    for action, status in zip(actions, statuses, strict=True):
        observed[f"{action}_status"] = status.status
        observed[f"{action}_exit_code"] = status.exit_code
        observed[f"{action}_reason"] = status.failure_reason[:SHOWN]
    observed["long_reason_fits"] = len(statuses[3].failure_reason) <= MAX_FAILURE_REASON
    if session.facts.backend == "sagemaker":
        described = [session.description(status.name).get("FailureReason", "") for status in statuses]
        observed |= {f"{action}_text": _ends(text) for action, text in zip(actions, described, strict=True)}
        observed["long_reason_characters"] = len(described[3])
    return observed


def _ends(text: str) -> str:
    """Return the first and the last characters of a text."""
    return text if len(text) <= 2 * SHOWN else f"{text[:SHOWN]} ... {text[-SHOWN:]}"


def stop(session: Session) -> Observed:
    name = session.submit(session.request("patient"))
    session.wait_for_document(name, "ready")
    session.backend.stop(name)
    status = session.wait(name)
    signals = [each["signal"] for each in documents_in(session.whole_log(name)) if "signal" in each]
    return {**_end(session, status), "signals": signals, **_model(session, status)}


def maximum_runtime(session: Session) -> Observed:
    limit_s = 60 if session.facts.place == AWS else 15  # a busy machine starts a script slowly
    name = session.submit(session.request("patient", max_run_s=limit_s))
    status = session.wait(name)
    signals = [each["signal"] for each in documents_in(session.whole_log(name)) if "signal" in each]
    return {**_end(session, status), "secondary_status": status.secondary_status, "signals": signals}


def grace_period(session: Session) -> Observed:
    if session.facts.place == EMULATOR:
        raise NotVerified("the emulator waits 120 s as the backend behind it does; see --backend process")
    name = session.submit(session.request("stubborn"))
    session.wait_for_document(name, "ready")
    session.backend.stop(name, grace_s=3)
    status = session.wait(name)
    documents = documents_in(session.whole_log(name))
    begun = next((each["time"] for each in documents if "signal" in each), None)
    if begun is None:
        raise NotVerified(f"{name} received no SIGTERM")
    seconds = documents[-1]["time"] - begun
    expected = 120 if session.facts.place == AWS else 3
    return {
        "status": status.status,
        "seconds_until_sigkill": round(seconds, 1),
        "is_killed_after_grace_period": expected - 5 <= seconds <= expected + 15,
    }


def _end(session: Session, status: JobStatus) -> dict[str, Any]:
    observed: dict[str, Any] = {"status": status.status}
    if session.facts.backend == "sagemaker":
        steps = session.description(status.name)["SecondaryStatusTransitions"]
        observed["transitions"] = [step["Status"] for step in steps if step["Status"] not in PASSING]
    return observed


def _model(session: Session, status: JobStatus) -> dict[str, Any]:
    """Return the names in the model of an ended job in S3."""
    if session.facts.backend != "sagemaker":
        return {}
    uri = session.description(status.name).get("ModelArtifacts", {}).get("S3ModelArtifacts", "")
    return {"model": _archive(session, uri)}


def _archive(session: Session, uri: str) -> list[str] | None:
    """Return the names in an archive in S3, folders with a slash and links with their target; None without it."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not key:
        return None
    code, _, found = answer(session, "s3", "get_object", Bucket=bucket, Key=key)
    if code:
        return None
    with tarfile.open(fileobj=io.BytesIO(found["Body"].read())) as tar:
        return sorted(_entry(member) for member in tar if member.name not in ("", "."))


def _entry(member: tarfile.TarInfo) -> str:
    name = member.name.removeprefix("./")
    if member.issym():
        return f"{name} -> {member.linkname}"
    return f"{name}/" if member.isdir() else f"{name} {member.mode & 0o777:o}"


def artifacts(session: Session) -> Observed:
    status = session.run("artifacts")
    found = session.description(status.name)
    uri = found.get("ModelArtifacts", {}).get("S3ModelArtifacts", "")
    output = uri.replace("model.tar.gz", "output.tar.gz")
    return {"status": status.status, "model": _archive(session, uri), "output": _archive(session, output)}


def checkpoints(session: Session) -> Observed:
    location = {"S3Uri": session.checkpoint_uri}
    first = session.submit(session.request("checkpoint", CheckpointConfig=location))
    session.wait(first)
    second = session.submit(session.request("checkpoint", CheckpointConfig=location))
    session.wait(second)
    third = session.submit(session.request("checkpoint", CheckpointConfig=location))
    session.wait(third)
    seen = [_only(session, name, "checkpoints")["checkpoints"] for name in (first, second, third)]
    return {"first_job": seen[0], "second_job": seen[1], "third_job": seen[2]}


def spot(session: Session) -> Observed:
    condition = {"MaxRuntimeInSeconds": 180, "MaxWaitTimeInSeconds": 600}
    request = session.request("lines", EnableManagedSpotTraining=True, StoppingCondition=condition)
    status = session.wait(session.submit(request))
    found = session.description(status.name)
    billable, trained = found.get("BillableTimeInSeconds", 0), found.get("TrainingTimeInSeconds", 0)
    return {
        "status": status.status,
        "is_cheaper": billable < trained,
        "billable_s": billable,
        "training_s": trained,
        "transitions": _end(session, status).get("transitions"),
    }


def warm_pool(session: Session) -> Observed:
    keeps = {"KeepAlivePeriodInSeconds": IDLE_S}
    first = session.run("code", ResourceConfig=keeps)
    pool = session.description(first.name).get("WarmPoolStatus", {}).get("Status", "")
    quota = session.facts.warm_pool_quota
    observed: dict[str, Any] = {"first": pool, "quota": quota}
    has_pool = pool in ("Available", "Reused")  # a job of another check can take the pool at once
    if has_pool:
        second = session.run("probe", ResourceConfig=keeps)
        observed["after_second_job"] = session.description(first.name)["WarmPoolStatus"].get("Status", "")
        session.aws.translated(
            "sagemaker",
            "update_training_job",
            TrainingJobName=second.name,
            ResourceConfig={"KeepAlivePeriodInSeconds": 0},
        )
        ended = session.description(second.name)["WarmPoolStatus"]
        observed["after_update"] = ended.get("Status", "")
    observed["follows_quota"] = quota is None or has_pool == (quota >= 1)
    observed["is_reused"] = observed.get("after_second_job", "Reused") == "Reused"
    observed["ends_at_once"] = observed.get("after_update", "Terminated") == "Terminated"
    return observed


def two_hosts(session: Session) -> Observed:
    request = session.request("hosts", ResourceConfig={"InstanceCount": 2})
    name = session.submit(request)
    status = session.wait(name)
    found = [each for each in documents_in(session.whole_log(name)) if "resolved" in each]
    return {
        "status": status.status,
        "hosts": sorted({host for each in found for host in each["hosts"]}),
        "reports": sorted(each["current_host"] for each in found),
        "all_names_resolve": all(all(each["resolved"].values()) for each in found) and bool(found),
        "hostnames": sorted(each["hostname"] for each in found),
    }


def torch_distributed(session: Session) -> Observed:
    resources = {"InstanceCount": 2}
    return _ranks(session, session.request("ranks", ResourceConfig=resources, command=torchrun(resources, 1)))


def mpi(session: Session) -> Observed:
    return _ranks(session, session.request("ranks", command=mpirun({}, 2)))


def _ranks(session: Session, request: dict[str, Any]) -> Observed:
    """Run a job with a launcher that starts two processes."""
    name = session.submit(request)
    status = session.wait(name)
    if status.exit_code == NOT_FOUND:
        raise NotVerified(f"the job has no such launcher: {status.failure_reason}")
    found = [each for each in documents_in(session.whole_log(name)) if "rank" in each]
    return {
        "status": status.status,
        "ranks": sorted(each["rank"] for each in found),
        "sums": [each["sum"] for each in found],
        "hosts": sorted({each["host"] for each in found}),
        "reason": status.failure_reason,
    }


def repeated_submit(session: Session) -> Observed:
    """Submit a request again with a new client, as the next agent does after a kill, and stop the ended job."""
    request = session.request("probe")
    name = session.submit(request)
    session.reopen()
    session.submit(request)
    status = session.wait(name)
    none = f"smsweep-{session.state.run}-none"
    for each in (name, none):
        session.patiently(lambda each=each: session.backend.stop(each))  # type: ignore[misc]  # bound in the loop
    after = session.wait(name)
    starts = [each for each in documents_in(session.whole_log(name)) if "hostname" in each]
    return {
        "status": status.status,
        "status_after_stop": after.status,
        "n_starts": len(starts),
        "is_unknown_job_absent": session.status(none) is None,
    }


def early_stop(session: Session) -> Observed:
    name = session.submit(session.request("patient"))
    session.patiently(lambda: session.backend.stop(name))
    status = session.wait(name)
    return _end(session, status)


def isolation(session: Session) -> Observed:
    request = session.request("isolated", EnableNetworkIsolation=True)
    if session.facts.place == AWS:
        host = f"s3.{session.facts.region}.amazonaws.com"
        request["Environment"] = {**request.get("Environment", {}), "SMSWEEP_VERIFY_HOST": host}
    name = session.submit(request)
    status = session.wait(name)
    return {"status": status.status, **_only(session, name, "has_route"), **_model(session, status)}


def gpu(session: Session) -> Observed:
    name = session.submit(session.request("gpus"))
    status = session.wait(name)
    found = _only(session, name, "n_gpus")
    return {"status": status.status, **found, "sees_all": found["sm_num_gpus"] == str(found["n_gpus"])}


def _jobs(n: int, **limits: Any) -> Any:
    """Return the function of the worst cost of several jobs."""
    return lambda facts: n * job_seconds(**limits)


def _spot_worst(facts: Facts) -> float:
    return job_seconds(600)  # an interrupted job can use the whole waiting time


CHECKS = (
    Assumption(
        id="probe",
        statement="A job has smsweep's variables, the files of its channel, and the name of its host.",
        calls="one job of a minute",
        observe=probe,
        expected={
            "status": "Completed",
            "channel": ["a.csv", "sub/b.csv"],
            "hosts": ["algo-1"],
            "current_host": "algo-1",
            "has_job_name": True,
            "has_sm_variables": True,
            "has_configs": True,
        },
        file=STAGING,
        backends=ALL,
        worst_s=_jobs(1),
        usual_s=USUAL_S,
    ),
    Assumption(
        id="log",
        statement="The log has all lines in order, in one stream algo-1-TIME, and ends with smsweep's record.",
        calls="one job of a minute, and FilterLogEvents",
        observe=log,
        expected={"numbers": [0, 1, 2, 3, 4]},
        expected_in={"sagemaker": {"has_end_record": True, "n_streams": 1, "stream": re.compile(r"algo-1-\d+")}},
        file=LOGS,
        backends=ALL,
        worst_s=_jobs(1),
        usual_s=USUAL_S,
    ),
    Assumption(
        id="channel-names",
        statement="A channel has all objects with its prefix, and no file for a key that ends with a slash.",
        calls="one job of a minute",
        observe=channel_names,
        expected={"status": "Completed", "files": ["a", "trainer/b"]},
        file=STAGING,
        worst_s=_jobs(1),
        usual_s=USUAL_S,
    ),
    Assumption(
        id="stop",
        statement="Stop sends SIGTERM once, and the job ends as Stopped with its model.",
        calls="one job of a minute, and StopTrainingJob",
        observe=stop,
        expected={"status": "Stopped", "signals": [15]},
        expected_in={
            "sagemaker": {"model": ["stopped 644"], "transitions": [*BEGIN, "Stopping", "Uploading", "Stopped"]}
        },
        file=LIFECYCLE,
        backends=ALL,
        worst_s=_jobs(1),
        usual_s=USUAL_S,
    ),
    Assumption(
        id="max-runtime",
        statement="A job that reaches MaxRuntimeInSeconds receives SIGTERM and ends as MaxRuntimeExceeded.",
        calls="one job of two minutes",
        observe=maximum_runtime,
        expected={"status": "Stopped", "secondary_status": "MaxRuntimeExceeded", "signals": [15]},
        file=LIFECYCLE,
        backends=ALL,
        worst_s=_jobs(1, max_run_s=60),
        usual_s=USUAL_S + 60,
    ),
    Assumption(
        id="grace-period",
        statement="A job that ignores SIGTERM is killed after 120 seconds.",
        calls="one job of four minutes, and StopTrainingJob",
        observe=grace_period,
        expected={"status": "Stopped", "is_killed_after_grace_period": True},
        file="smsweep/core/job.py",
        backends=ALL,
        worst_s=_jobs(1),
        usual_s=USUAL_S + 150,
    ),
    Assumption(
        id="failure-texts",
        statement="A failed job has its script's exit code, and the start of its failure file.",
        calls="five jobs of a minute, of which four fail",
        observe=failures,
        expected={
            "error_status": "Failed",
            "error_exit_code": 1,
            "error_reason": re.compile(r"ValueError: smsweep-verify failed.*", re.DOTALL),
            "code_status": "Failed",
            "code_exit_code": 3,
            "killed_status": "Failed",
            "killed_exit_code": 137,
            "long_reason_status": "Failed",
            "long_reason_fits": True,
            "reason_without_failure_status": "Completed",
        },
        expected_in={
            "sagemaker": {
                "error_text": re.compile(
                    r"AlgorithmError: ValueError: smsweep-verify failed.*, exit code: 1", re.DOTALL
                ),
                "code_text": re.compile(r"AlgorithmError: .*, exit code: 3", re.DOTALL),
                "killed_text": re.compile(r"AlgorithmError: .*, exit code: 137", re.DOTALL),
                "long_reason_text": re.compile(r"AlgorithmError: smsweep-verify .*, exit code: 1", re.DOTALL),
                "reason_without_failure_text": "",
                "long_reason_characters": MAX_FAILURE_REASON,
            }
        },
        file=LIFECYCLE,
        backends=ALL,
        worst_s=_jobs(5),
        usual_s=5 * USUAL_S,
    ),
    Assumption(
        id="checkpoints",
        statement="A job finds the checkpoints that the last job with the same location left.",
        calls="three jobs of a minute, one after the other",
        observe=checkpoints,
        expected={"first_job": [], "second_job": ["old"], "third_job": ["new"]},
        file=STAGING,
        backends=ALL,
        worst_s=_jobs(3),
        usual_s=3 * USUAL_S,
    ),
    Assumption(
        id="artifacts",
        statement="The model keeps links, modes and empty folders; a job without output has no output.tar.gz.",
        calls="one job of a minute",
        observe=artifacts,
        expected={"status": "Completed", "model": ["empty/", "link -> weights", "weights 755"], "output": None},
        file=STAGING,
        worst_s=_jobs(1),
        usual_s=USUAL_S,
    ),
    Assumption(
        id="spot",
        statement="A spot job is billed for fewer seconds than it trains.",
        calls="one spot job of a minute; AWS can interrupt it",
        observe=spot,
        expected={"status": "Completed", "is_cheaper": True},
        file=LIFECYCLE,
        worst_s=_spot_worst,
        usual_s=USUAL_S,
    ),
    Assumption(
        id="warm-pool",
        statement="A warm pool exists within its quota, serves the next job, and ends at once with period 0.",
        calls="two jobs of a minute with KeepAlivePeriodInSeconds, and UpdateTrainingJob",
        observe=warm_pool,
        expected={"follows_quota": True, "is_reused": True, "ends_at_once": True},
        file=POOLS,
        worst_s=_jobs(2, idle_s=IDLE_S),
        usual_s=2 * USUAL_S + 60,
    ),
    Assumption(
        id="two-hosts",
        statement="The hosts of a job are algo-1 and algo-2, and resolve each other's name.",
        calls="one job of a minute on two instances",
        observe=two_hosts,
        expected={
            "status": "Completed",
            "hosts": ["algo-1", "algo-2"],
            "reports": ["algo-1", "algo-2"],
            "all_names_resolve": True,
        },
        file="smsweep/backends/docker/containers.py",
        backends=frozenset({"sagemaker", "docker"}),
        worst_s=_jobs(1, instances=2),
        usual_s=2 * USUAL_S,
        needs_images=True,
        instances=2,
    ),
    Assumption(
        id="torchrun",
        statement="torchrun of the image starts a process on each host, and the processes reach each other.",
        calls="one job of a minute on two instances, whose command is torchrun",
        observe=torch_distributed,
        expected={"status": "Completed", "ranks": [0, 1], "sums": [2, 2], "hosts": ["algo-1", "algo-2"]},
        file="smsweep/core/distributed_launch.py",
        worst_s=_jobs(1, instances=2),
        usual_s=2 * USUAL_S,
        needs_images=True,
        instances=2,
    ),
    Assumption(
        id="mpi",
        statement="mpirun of the image starts the script twice, and the processes reach each other.",
        calls="one job of a minute, whose command is mpirun",
        observe=mpi,
        expected={"status": "Completed", "ranks": [0, 1], "sums": [2, 2]},
        file="smsweep/core/distributed_launch.py",
        worst_s=_jobs(1),
        usual_s=USUAL_S,
    ),
    Assumption(
        id="repeated-submit",
        statement="A second submit of a job starts nothing; Stop of an ended or unknown job changes nothing.",
        calls="one job of a minute, which is submitted twice",
        observe=repeated_submit,
        expected={
            "status": "Completed",
            "status_after_stop": "Completed",
            "n_starts": 1,
            "is_unknown_job_absent": True,
        },
        file="smsweep/emulator/api/training_jobs.py",
        backends=ALL,
        worst_s=_jobs(1),
        usual_s=USUAL_S,
    ),
    Assumption(
        id="early-stop",
        statement="A job that is stopped before its script starts ends as Stopped.",
        calls="one job, and a stop at once",
        observe=early_stop,
        expected={"status": "Stopped"},
        file=LIFECYCLE,
        backends=ALL,
        worst_s=_jobs(1),
        usual_s=USUAL_S / 2,
    ),
    Assumption(
        id="isolation",
        statement="A job with network isolation has its source, its log and its model, and no network.",
        calls="one job of a minute with EnableNetworkIsolation, which tries to connect to S3",
        observe=isolation,
        expected={"status": "Completed", "has_route": False, "can_connect": False},
        expected_in={"sagemaker": {"model": ["weights 644"]}, "docker": {"interfaces": ["lo"]}},
        images=frozenset({"has_route"}),
        file=STAGING,
        backends=frozenset({"sagemaker", "docker"}),
        worst_s=_jobs(1),
        usual_s=USUAL_S,
    ),
    Assumption(
        id="gpu",
        statement="CUDA finds the GPUs of an instance although smsweep replaces the entrypoint of AWS's image.",
        calls="one job of a minute",
        observe=gpu,
        expected={"status": "Completed", "cuda": "0", "sees_all": True},
        file="smsweep/engine/job_request.py",
        worst_s=_jobs(1),
        usual_s=USUAL_S,
        needs_images=True,
        needs_gpus=True,
    ),
)
