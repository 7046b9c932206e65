"""The training job that an agent is: its request, its start, and its successor."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from smsweep.backends.sagemaker.client import Aws
from smsweep.backends.sagemaker.images import image_uri
from smsweep.backends.sagemaker.validate import validate
from smsweep.errors import JobError, UsageError
from smsweep.jobs import RUNTIME_CHANNEL, RUNTIME_ZIP, TAG_SWEEP, JobTemplate, Site
from smsweep.runtime.secrets import PREFIX as SECRET_PREFIX
from smsweep.sdk.away.jobs import start
from smsweep.sdk.away.record import JOB, NAMES
from smsweep.store.failures import has_password

log = logging.getLogger(__name__)

TAG_AGENT = "smsweep:agent"
PROGRAM = "agent.py"
INSTANCE_TYPE = "ml.t3.medium"  # 2 vCPU, 4 GiB: an agent of a thousand slots needs a tenth of one
MAX_RUN_S = 432_000  # API: the most an account may ask for without raising a quota: five days
VOLUME_GB = 10
RESTARTS = 30  # API: the most that RetryStrategy takes; after trouble of SageMaker's own
# Any of AWS's own images with a Python that smsweep runs on, where job.yaml names no other for its agent.
IMAGE = {"framework": "pytorch", "framework_version": "2.5.1", "py_version": "py311"}
HANDED_ON = "SMSWEEP_SAGEMAKER_"  # variables that begin so say how we talk to AWS
DEADLINE = "SMSWEEP_AGENT_MAX_RUN"
MARGIN = timedelta(minutes=20)  # before its own time is over an agent has a successor started
AGAIN = timedelta(minutes=1)  # between two tries


def request(
    sweep_id: str,
    name: str,
    template: JobTemplate,
    site: Site,
    arguments: Mapping[str, Any],
    environ: Mapping[str, str],
    region: str,
) -> dict[str, Any]:
    """Return the CreateTrainingJob request of an agent.

    template: the sweep's, complete; its `agent` says how this job differs. site: of the agent's own source.
    arguments: of agent.py, by name. Raises JobRejected for what AWS would refuse.
    """
    agent, own = template.agent, template.request
    max_run_s = int(agent.get("max_run", MAX_RUN_S))
    machine = str(agent.get("instance_type", INSTANCE_TYPE))
    volume_key = own.get("ResourceConfig", {}).get("VolumeKmsKeyId")
    output = {"S3OutputPath": own.get("OutputDataConfig", {}).get("S3OutputPath", site.output_uri)}
    if "KmsKeyId" in own.get("OutputDataConfig", {}):
        output["KmsKeyId"] = own["OutputDataConfig"]["KmsKeyId"]
    stopping = {"MaxRuntimeInSeconds": max_run_s}
    if agent.get("use_spot_instances"):
        stopping["MaxWaitTimeInSeconds"] = max_run_s
    made = {
        "TrainingJobName": name,
        "RoleArn": agent.get("role", own["RoleArn"]),
        "AlgorithmSpecification": {
            "TrainingImage": agent.get("image_uri") or image_uri(IMAGE, region, [machine]),
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", f"/opt/ml/input/data/{RUNTIME_CHANNEL}/{RUNTIME_ZIP}"],
            "ContainerArguments": ["--install-requirements", "--say-end"],
        },
        "HyperParameters": {
            "sagemaker_program": json.dumps(PROGRAM),
            **{key: json.dumps(value) for key, value in arguments.items() if value is not None},
        },
        "InputDataConfig": [
            {
                "ChannelName": RUNTIME_CHANNEL,
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": site.assets_uri + "/",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
        ],
        "OutputDataConfig": output,
        "ResourceConfig": {
            "InstanceType": machine,
            "InstanceCount": 1,
            "VolumeSizeInGB": VOLUME_GB,
            **({"VolumeKmsKeyId": volume_key} if volume_key else {}),
        },
        "StoppingCondition": stopping,
        "EnableManagedSpotTraining": bool(agent.get("use_spot_instances", False)),
        "RetryStrategy": {"MaximumRetryAttempts": RESTARTS},
        "Environment": {**_environment(template, environ), JOB: name, DEADLINE: str(max_run_s)},
        "Tags": [*own.get("Tags", ()), {"Key": TAG_SWEEP, "Value": sweep_id}, {"Key": TAG_AGENT, "Value": name}],
        **({"VpcConfig": own["VpcConfig"]} if "VpcConfig" in own else {}),
    }
    validate(made)
    return made


def _environment(template: JobTemplate, environ: Mapping[str, str]) -> dict[str, str]:
    handed = {name: value for name, value in environ.items() if name.startswith(HANDED_ON)}
    if reference := template.agent.get("store"):
        return {**handed, f"{SECRET_PREFIX}SMSWEEP_STORE": reference}
    store = environ.get("SMSWEEP_STORE", "")
    if store and has_password(sa.make_url(store)):
        raise UsageError(
            "SMSWEEP_STORE has a password in it, which whoever may describe the agent's job could read; keep the "
            "URL in Secrets Manager, and say where in job.yaml: agent: {store: arn:aws:secretsmanager:...}"
        )
    return {**handed, "SMSWEEP_STORE": store} if store else handed


class Successor:
    """Sees to it that a sweep that outlasts its agent's job has a next one.

    names: the sweep's agents so far, the last of them this one. began_at: when this one first did.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        sweep_id: str,
        names: Sequence[str],
        began_at: datetime,
        clock: Callable[[], datetime],
    ) -> None:
        self._environ = environ
        self._own = environ[JOB]
        number = int(self._own.rpartition("-")[2]) + 1
        self._name = NAMES.format(sweep_id=sweep_id, number=max(number, len(names)))
        allowed = timedelta(seconds=float(environ.get(DEADLINE) or MAX_RUN_S))
        self._due_at = min(began_at, self._started_at() or began_at) + max(allowed - MARGIN, allowed / 2)
        self._clock = clock

    def _started_at(self) -> datetime | None:
        """Return when this job's time began to count, which is before the agent did; None where nobody says."""
        try:
            with closing(Aws(self._environ)) as aws:
                answer = aws.translated("sagemaker", "describe_training_job", TrainingJobName=self._own)
        except JobError as err:
            log.debug("%s", err)
            return None
        found: datetime | None = answer.get("TrainingStartTime")
        return found

    def is_due(self) -> bool:
        """Tell whether this agent's time is over: its successor has been started."""
        if self._clock() < self._due_at:
            return False
        try:
            with closing(Aws(self._environ)) as aws:
                document = aws.translated("sagemaker", "describe_training_job", TrainingJobName=self._own)
                tags = aws.translated("sagemaker", "list_tags", ResourceArn=document["TrainingJobArn"])["Tags"]
                start(aws, succeed(document, tags, self._name))
        except JobError as err:
            log.warning("no successor yet: %s", err)
            self._due_at = self._clock() + AGAIN
            return False
        log.warning("the time of this job is over soon; training job %s goes on", self._name)
        return True


KEPT = (
    "RoleArn",
    "AlgorithmSpecification",
    "HyperParameters",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
    "EnableManagedSpotTraining",
    "RetryStrategy",
    "Environment",
    "VpcConfig",
)


def succeed(document: Mapping[str, Any], tags: Sequence[Mapping[str, str]], name: str) -> dict[str, Any]:
    """Return the request of a job like one that DescribeTrainingJob has shown. tags: that one's own."""
    made = {field: document[field] for field in KEPT if document.get(field)}
    made["AlgorithmSpecification"] = {
        key: value for key, value in made["AlgorithmSpecification"].items() if value and key != "MetricDefinitions"
    }
    own = [{"Key": tag["Key"], "Value": tag["Value"]} for tag in tags if not tag["Key"].startswith("aws:")]
    return {
        **made,
        "TrainingJobName": name,
        "Environment": {**document["Environment"], JOB: name},
        "Tags": [*(tag for tag in own if tag["Key"] != TAG_AGENT), {"Key": TAG_AGENT, "Value": name}],
    }
