"""Checks that run whole sweeps with the commands of smsweep."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from smsweep.core.trial import TrialState
from smsweep.services.verify.api_checks import answer, create
from smsweep.services.verify.assumption import ALL, Assumption, Observed
from smsweep.services.verify.job_checks import LOGS
from smsweep.services.verify.job_program import SECRET
from smsweep.services.verify.run_state import TAG
from smsweep.services.verify.session import (
    AWS,
    MAX_RUN_S,
    SCRIPT,
    START_S,
    NotVerified,
    Session,
    job_seconds,
    kill_group,
)

TRAIN_S = 8.0  # how long the trial of a killed agent runs
ROLE_WAIT_S = 90  # until a new role can be used everywhere in AWS
PAUSE_S = 0.2
END_S = 60  # until the output of a killed agent has ended
N_TRIALS = 12  # of a sweep in AWS that hyperband stops
STEPS = 6  # values that each of its trials logs
TRUST = "sts:AssumeRole"


def adoption(session: Session) -> Observed:
    """Kill an agent with SIGKILL while its job runs, and start another one."""
    sweep_id = _create(session, "adoption", [0.5])
    first = session.smsweep(*_agent(session, sweep_id))
    try:
        _wait_for_running(session, sweep_id)
    finally:
        kill_group(first)
        session.finish(first, END_S)
    session.command(*_agent(session, sweep_id))
    return _trials(session, sweep_id)


def printed_policies(session: Session) -> Observed:
    """Run a sweep with two new roles that have exactly the policies that `smsweep iam` prints."""
    secrets = {"VERIFY_SECRET": _secret(session)}
    sweep_id = _create(session, "policies", [0.25, 0.5], secrets=secrets)
    session.command("sweep", "--pause", sweep_id)  # the job.yaml of this sweep has the user's role
    policies = json.loads(session.command("iam", "--sweep", sweep_id, "--with-delete"))
    with _roles(session, policies) as (role, keys):
        job = ("--job", _write_job(session, "policies", role=role, secrets=secrets))
        session.command("sweep", "--resume", sweep_id, environ=keys)
        session.command(*_agent(session, sweep_id), *job, environ=keys)
        return _trials(session, sweep_id)


def early_stopping(session: Session) -> Observed:
    """Run a sweep in which hyperband stops the worse trials, by the metrics in the logs of running jobs."""
    in_aws = session.facts.place == AWS
    n, seconds = (N_TRIALS, STEPS * 15.0) if in_aws else (3, 12.0)
    values = [float(number) for number in range(n)]
    rule = {"type": "hyperband", "min_iter": 1, "eta": 2, "strict": True}
    sweep_id = _create(session, "stopping", values, seconds=seconds, steps=STEPS, early_terminate=rule)
    session.command(*_agent(session, sweep_id))
    found = _trials(session, sweep_id)
    return {
        "best": found["states"][0],
        "others": sorted(set(found["states"][1:])),
        "stops_some": "stopped" in found["states"][1:],
        "n_attempts": sum(found["attempts"]) + n,
        "one_job_per_trial": not any(found["attempts"]),
        "values_are_complete": found["values"] == values,
    }


def _secret(session: Session) -> str:
    """Create a secret for the jobs, and return its ARN."""
    name = f"smsweep-{session.state.run}"
    arguments = {"Name": name, "SecretString": SECRET, "Tags": [{"Key": TAG, "Value": session.state.run}]}
    return str(create(session, "secrets", name, "secretsmanager", "create_secret", **arguments)["ARN"])


def _create(
    session: Session,
    name: str,
    values: list[float],
    *,
    seconds: float = TRAIN_S,
    steps: int = 1,
    secrets: Mapping[str, str] | None = None,
    **keys: Any,
) -> str:
    """Create a sweep with one trial per value, and return its id. Its jobs are noted before an agent starts."""
    folder = session.sweep_folder()
    config = {
        "program": SCRIPT,
        "method": "grid",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"values": values}, "seconds": {"value": seconds}, "steps": {"value": steps}},
        **keys,
    }
    (folder / f"{name}.yaml").write_text(json.dumps(config), encoding="utf-8")
    created = session.command("sweep", f"{name}.yaml", "--job", _write_job(session, name, secrets=secrets)).split()
    if not created:
        raise NotVerified("`smsweep sweep` printed no id")
    sweep_id = created[-1]
    session.state.note("sweeps", sweep_id)
    if session.in_aws:
        for number in range(len(values)):
            session.note_job(f"smsweep-{sweep_id}-{number}-0")
    return sweep_id


def _write_job(session: Session, name: str, *, role: str = "", secrets: Mapping[str, str] | None = None) -> str:
    """Write the job.yaml of a sweep, and return its file name."""
    template = session.template
    request = template.request
    job: dict[str, Any] = {"max_run": MAX_RUN_S, "retries": {"crashed": 0, "internal": 0, "capacity": 0}}
    if session.in_aws:
        image = request.get("AlgorithmSpecification", {}).get("TrainingImage")
        job |= {"image_uri": image} if image else dict(template.framework)
        job |= {
            "role": role or request["RoleArn"],
            "instance_type": session.facts.instance_type,
            "tags": [{"Key": TAG, "Value": session.state.run}],
            "price_per_hour": session.facts.price_per_hour,
        }
        if "VpcConfig" in request:
            job["subnets"] = request["VpcConfig"]["Subnets"]
            job["security_group_ids"] = request["VpcConfig"]["SecurityGroupIds"]
        output = request.get("OutputDataConfig", {})
        resources = request["ResourceConfig"]
        for key, value in (
            ("output_path", output.get("S3OutputPath")),
            ("output_kms_key", output.get("KmsKeyId")),
            ("volume_kms_key", resources.get("VolumeKmsKeyId")),
            ("secrets", dict(secrets or {})),
        ):
            if value:
                job[key] = value
    elif "AlgorithmSpecification" in request:
        job["image_uri"] = request["AlgorithmSpecification"]["TrainingImage"]
    file = f"{name}-job.yaml"
    (session.sweep_folder() / file).write_text(json.dumps(job), encoding="utf-8")
    return file


def _agent(session: Session, sweep_id: str) -> list[str]:
    consent = ["--yes"] if session.in_aws else []
    return ["agent", sweep_id, "--backend", session.facts.backend, "--parallel", "2", *consent]


def _wait_for_running(session: Session, sweep_id: str) -> None:
    """Wait until the job of the only trial runs its script."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with session.store() as store:
            states = [trial.state for trial in store.list_trials(sweep_id)]
        if TrialState.RUNNING in states:
            if not session.in_aws:
                return
            status = session.backend.describe([f"smsweep-{sweep_id}-0-0"]).get(f"smsweep-{sweep_id}-0-0")
            if status is not None and status.secondary_status not in ("", "Starting"):
                return
        session.pause(PAUSE_S if session.facts.place != AWS else 5)
    raise NotVerified(f"the first trial of sweep {sweep_id} did not start")


def _trials(session: Session, sweep_id: str) -> dict[str, Any]:
    with session.store() as store:
        trials = sorted(store.list_trials(sweep_id), key=lambda trial: trial.number)
    return {
        "states": [trial.state.value for trial in trials],
        "attempts": [trial.attempt for trial in trials],
        "values": [trial.metrics["loss"].last if "loss" in trial.metrics else None for trial in trials],
        "have_secret": [trial.metrics["has_secret"].last for trial in trials if "has_secret" in trial.metrics],
    }


@contextmanager
def _roles(session: Session, policies: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Create a role for the jobs and a role for the agent. Yield the first one's ARN and keys of the second."""
    account, run = session.facts.account, session.state.run
    names = {"role": f"smsweep-{run}-role", "launcher": f"smsweep-{run}-launcher"}
    principals = {
        "role": {"Service": "sagemaker.amazonaws.com"},
        "launcher": {"AWS": f"arn:aws:iam::{account}:root"},
    }
    user_role = session.template.request["RoleArn"]
    arns = {}
    for kind, name in names.items():
        statement = {"Effect": "Allow", "Principal": principals[kind], "Action": TRUST}
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        arguments = {
            "RoleName": name,
            "AssumeRolePolicyDocument": trust,
            "Tags": [{"Key": TAG, "Value": run}],
        }
        arns[kind] = create(session, "roles", name, "iam", "create_role", **arguments)["Role"]["Arn"]
    for kind, name in names.items():
        document = json.dumps(policies[kind]).replace(user_role, arns["role"])
        answer(session, "iam", "put_role_policy", RoleName=name, PolicyName="smsweep", PolicyDocument=document)
    yield arns["role"], _keys(session, arns["launcher"])


def _keys(session: Session, role: str) -> dict[str, str]:
    """Return the variables with temporary keys of a new role, as soon as AWS knows it everywhere."""
    deadline = time.monotonic() + ROLE_WAIT_S
    while True:
        try:
            code, message, found = answer(
                session, "sts", "assume_role", RoleArn=role, RoleSessionName="smsweep-verify", DurationSeconds=3600
            )
        except NotVerified as err:
            code, message, found = "AccessDenied", str(err), {}
        if not code:
            break
        if time.monotonic() > deadline:
            raise NotVerified(f"sts:AssumeRole: {code}: {message}")
        session.pause(5)
    if session.facts.place == AWS:
        session.pause(15)  # SageMaker can know a new role later than STS
    keys = found["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
        "AWS_SESSION_TOKEN": keys["SessionToken"],
        "AWS_PROFILE": "",
    }


CHECKS = (
    Assumption(
        id="early-stopping",
        statement="Hyperband reads the metrics of running jobs, and stops worse trials, with one job per trial.",
        calls="a sweep with some jobs of at most two minutes, of which hyperband stops the worse ones",
        observe=early_stopping,
        expected={
            "best": "finished",
            "stops_some": True,
            "one_job_per_trial": True,
            "values_are_complete": True,
        },
        file=LOGS,
        backends=ALL,
        worst_s=lambda facts: (N_TRIALS if facts.place == AWS else 3) * job_seconds(),
        usual_s=N_TRIALS * 90,
    ),
    Assumption(
        id="adoption",
        statement="After kill -9 of an agent, the next agent adopts the running job and starts no second one.",
        calls="a sweep with one job of a minute",
        observe=adoption,
        expected={"states": ["finished"], "attempts": [0], "values": [0.5]},
        file="smsweep/backends/sagemaker/status.py",
        backends=ALL,
        worst_s=lambda facts: job_seconds(),
        usual_s=90,
    ),
    Assumption(
        id="printed-policies",
        statement="A sweep with a secret runs with exactly the policies that `smsweep iam --sweep` prints.",
        calls="two new IAM roles and a secret, a sweep with two jobs of a minute, then all three are deleted",
        observe=printed_policies,
        expected={
            "states": ["finished", "finished"],
            "attempts": [0, 0],
            "values": [0.25, 0.5],
            "have_secret": [1, 1],
        },
        file="smsweep/aws/iam_policy.py",
        worst_s=lambda facts: 2 * job_seconds(),
        usual_s=180,
        makes_roles=True,
    ),
)
