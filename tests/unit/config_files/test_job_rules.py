"""Tests of the errors in a job.yaml: one line each with file, line, key, problem and fix."""
# ruff: noqa: E501  # messages read best in one piece

from __future__ import annotations

import pytest

from smsweep.config_files.job_yaml import parse_job
from smsweep.errors import ConfigError


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_job(text, name="job.yaml")
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "job.yaml:1: expected keys such as instance_type and role, got a list"),
        (
            "image_uri: ml.m5.large",
            "job.yaml:1: image_uri: ml.m5.large is an instance type, not an image; use instance_type",
        ),
        ("instance_typ: ml.m5.large", "job.yaml:1: instance_typ: unknown key; did you mean instance_type?"),
        ("role:", "job.yaml:1: role: expected a value, got nothing; give it a value, or remove the key"),
        ("role: MyRole", "job.yaml:1: role: expected a whole ARN, arn:aws:iam::123456789012:role/name, got 'MyRole'"),
        ("instance_type: local", "job.yaml:1: instance_type: is set when the agent starts, with --backend docker; remove the key"),
        ("instance_type: ml.m5.large\ninstance_count: '2'",
         "job.yaml:2: instance_count: expected a whole number above 0, got '2'; remove the quotes"),
        ("instance_count: 2", "job.yaml:1: instance_count: needs instance_type, such as instance_type: ml.m5.xlarge"),
        ("instance_type: ml.m5.large\ninstance_groups: [{instance_group_name: a, instance_type: ml.m5.large, instance_count: 1}]",
         "job.yaml:1: instance_type: cannot be combined with instance_groups, which set it for each group"),
        ("instance_groups: [{instance_group_name: a, instance_type: ml.m5.large}]",
         "job.yaml:1: instance_groups[0].instance_count: missing; how many machines"),
        ("instance_type: ml.m5.large\nkeep_alive_period_in_seconds: 30000",
         "job.yaml:2: keep_alive_period_in_seconds: the API accepts at most 21,600, got 30,000"),
        ("max_run: 3000000", "job.yaml:1: max_run: 3000000 seconds are more than the API's limit of 28 days (2,419,200)"),
        ("use_spot_instances: true",
         "job.yaml:1: max_wait: missing; set the longest time to wait for a spot machine and run together, in seconds"),
        ("use_spot_instances: 'yes'", "job.yaml:1: use_spot_instances: expected true or false, got 'yes'; write true without quotes"),
        ("max_wait: 100000", "job.yaml:1: max_wait: needs spot machines; add use_spot_instances: true, or remove it"),
        ("use_spot_instances: true\nmax_run: 100\nmax_wait: 50",
         "job.yaml:3: max_wait: 50 is less than max_run 100; max_wait includes max_run, so raise max_wait"),
        ("instance_type: ml.m5.large\nuse_spot_instances: true\nmax_wait: 90000\nkeep_alive_period_in_seconds: 60",
         "job.yaml:4: keep_alive_period_in_seconds: has no effect on spot machines; remove one of the two"),
        ("image_uri: a:1\nframework: pytorch\nframework_version: '2.1'\npy_version: py310",
         "job.yaml:2: framework: cannot be combined with image_uri; keep one of the two"),
        ("framework: torch\nframework_version: '2'",
         "job.yaml:1: framework: expected huggingface, pytorch, sklearn, tensorflow or xgboost, got 'torch'; did you mean pytorch?"),
        ("framework: pytorch\npy_version: py310\nframework_version: 2.10",
         "job.yaml:3: framework_version: expected text, got 2.1; quote it"),
        ("framework: pytorch\nframework_version: '2.1'", "job.yaml:1: py_version: missing; framework pytorch needs it"),
        ("framework: pytorch\nframework_version: 1.6.0\npy_version: py36",
         "job.yaml:3: py_version: a job needs Python 3.8 or newer; name a later framework_version"),
        ("framework: sklearn", "job.yaml:1: framework_version: missing; framework sklearn needs it"),
        ("py_version: py310", "job.yaml:1: py_version: needs framework, such as framework: pytorch"),
        ("framework: huggingface\ntransformers_version: '4.49'\npy_version: py311",
         "job.yaml:1: framework: huggingface needs one of pytorch_version and tensorflow_version"),
        ("inputs: data", "job.yaml:1: inputs: expected s3://... or file://..., got 'data'; a folder on this machine is file://data"),
        ("inputs:\n  train: {content_type: text/csv}",
         "job.yaml:2: inputs.train.s3_uri: missing; give the location of the data: s3://... or file://..."),
        ("inputs:\n  train: {file_system_id: fs-01234567, file_system_type: EFS}",
         "job.yaml:2: inputs.train.directory_path: missing; file_system_id needs it"),
        ("inputs:\n  train: {file_system_id: fs-01234567, file_system_type: EFS, directory_path: /x, s3_uri: s3://b}",
         "job.yaml:2: inputs.train.s3_uri: is for data in S3, but the channel has file_system_id; remove one of the two"),
        ("inputs:\n  train: {file_system_id: fs-01234567, file_system_type: NFS, directory_path: /x}",
         "job.yaml:2: inputs.train.file_system_type: expected EFS or FSxLustre, got 'NFS'"),
        ("tags: [{Key: a, Value: b}, {Key: a, Value: c}]", "job.yaml:1: tags: expected each Key once, got a list"),
        ("request: {Tags: [{Key: 'aws:x', Value: b}]}",
         "job.yaml:1: request.Tags[0].Key: tags that begin with aws: are reserved; choose another name"),
        ("request:\n  Environment: {STORE: file://x}\n  CheckpointConfig: {S3Uri: file://ck}",
         "job.yaml:3: request.CheckpointConfig.S3Uri: expected s3://... or file:///..., got 'file://ck'; "
         "inputs, output_path and checkpoint_s3_uri may be relative to this file"),
        ("model_dir: s3://b", "job.yaml:1: model_dir: is not allowed in job.yaml; it is a param: parameters: {model_dir: {value: ...}} in sweep.yaml"),
        ("inputs:\n  train: {s3_uri: s3://b, inputmode: Pipe}", "job.yaml:2: inputs.train.inputmode: unknown key; did you mean input_mode?"),
        ("inputs:\n  train: {s3_uri: s3://b, input_mode: pipe}",
         "job.yaml:2: inputs.train.input_mode: expected File, Pipe or FastFile, got 'pipe'; did you mean Pipe?"),
        ("inputs:\n  smsweep: s3://b", "job.yaml:2: inputs.smsweep: is the name of smsweep's own channel; rename yours"),
        ("inputs:\n  'my data': s3://b", "job.yaml:2: inputs.my data: expected letters, digits and . - _, got 'my data'"),
        ("source_dir: s3://b/x.tar.gz",
         "job.yaml:1: source_dir: expected a folder, got 's3://b/x.tar.gz'; smsweep uploads the source itself"),
        ("environment: {A: true}", "job.yaml:1: environment.A: expected text, got true; quote it"),
        ("environment: {A: 1.5}", "job.yaml:1: environment.A: expected text, got 1.5; quote it"),
        ("environment: {A-B: x}", "job.yaml:1: environment.A-B: expected a variable's name of letters, digits and _, got 'A-B'"),
        (f"environment: {{A: {'x' * 513}}}", "job.yaml:1: environment.A: the API accepts at most 512 characters, got 513"),
        ("environment: {WANDB_API_KEY: abcdef}",
         "job.yaml:1: environment.WANDB_API_KEY: has the name of a secret, and all users who may describe the job can read it; "
         "move it to secrets"),
        ("environment: {A: x}\nsecrets: {A: 'env:A'}", "job.yaml:1: environment.A: is also under secrets; keep one of the two"),
        ("secrets: {A B: 'env:A'}",
         "job.yaml:1: secrets.A B: cannot name an environment variable; use letters, digits and _"),
        ("tags: {'a,b': c}", "job.yaml:1: tags.a,b: expected letters, digits, spaces and _ . : / = + - @, got 'a,b'"),
        ("tags: {'aws:x': c}", "job.yaml:1: tags.aws:x: tags that begin with aws: are reserved; choose another name"),
        ("tags: [{Key: a}]", "job.yaml:1: tags: expected a mapping, or a list of {Key: ..., Value: ...}, got a list"),
        ("metric_definitions: [{Name: a, Regex: 'x=([0-9'}]",
         "job.yaml:1: metric_definitions[0].Regex: 'x=([0-9' is not a valid regular expression: unterminated character set at position 3"),
        ("metric_definitions: [{Name: a, Regex: 'x=[0-9]+'}]",
         "job.yaml:1: metric_definitions[0].Regex: 'x=[0-9]+' has no group; put ( ) around the number"),
        ("metric_definitions: [{Name: a, Regex: '(?<=x=)([0-9]+)'}]",
         "job.yaml:1: metric_definitions[0].Regex: '(?<=x=)([0-9]+)' uses look-behind, which is not supported, "
         "because lines are matched in linear time; write what is around the number outside of its ( )"),
        ("request: {AlgorithmSpecification: {MetricDefinitions: [{Name: a, Regex: 'x'}]}}",
         "job.yaml:1: request.AlgorithmSpecification.MetricDefinitions[0].Regex: 'x' has no group; put ( ) around the number"),
        ("metric_definitions: [{Name: a}]",
         "job.yaml:1: metric_definitions[0].Regex: missing; a regular expression with one group around the number"),
        (f"metric_definitions: [{{Name: a, Regex: '({'x' * 500})'}}]",
         "job.yaml:1: metric_definitions[0].Regex: the API accepts at most 500 characters, got 502"),
        ("subnets: [subnet-1]", "job.yaml:1: subnets: needs security_group_ids; add it"),
        ("subnets: [subnet.1]\nsecurity_group_ids: [sg-1]",
         "job.yaml:1: subnets[0]: expected an id such as subnet-0a1b2c3d, got 'subnet.1'"),
        (
            "instance_type: m5.large",
            "job.yaml:1: instance_type: expected a type such as ml.m5.xlarge, got 'm5.large'; did you mean ml.m5.large?",
        ),
        (
            "request: {InputDataConfig: [{ChannelName: smsweep, "
            "DataSource: {S3DataSource: {S3DataType: S3Prefix, S3Uri: 's3://b'}}}]}",
            "job.yaml:1: request.InputDataConfig[0].ChannelName: is the name of smsweep's own channel; rename yours",
        ),
        (
            "request: {Environment: {WANDB_API_KEY: hunter2}}",
            "job.yaml:1: request.Environment.WANDB_API_KEY: has the name of a secret, and all users who may describe the job "
            "can read it; move it to secrets",
        ),
        ("output_path: out", "job.yaml:1: output_path: expected s3://bucket/prefix, got 'out'"),
        ("checkpoint_s3_uri: ckpt", "job.yaml:1: checkpoint_s3_uri: expected s3://bucket/prefix, got 'ckpt'"),
        ("max_retry_attempts: 31", "job.yaml:1: max_retry_attempts: the API accepts at most 30, got 31"),
        ("stop_if:\n  - loss is nan\n  - loss is bad",
         "job.yaml:3: stop_if[1]: 'loss is bad' is not a valid condition; write METRIC is nan, METRIC is inf, "
         "or METRIC < NUMBER (or <=, >, >=), optionally followed by: after N; write several conditions as a list"),
        ("stop_if: loss > ten", "job.yaml:1: stop_if: 'loss > ten' compares with 'ten'; "
         "write a finite number, or is nan, is inf"),
        ("stop_if: [3]", "job.yaml:1: stop_if[0]: expected text, got 3; quote it"),
        ("budget: {usd: -1}", "job.yaml:1: budget.usd: expected a number above 0, got -1"),
        ("budget: {eur: 1}", "job.yaml:1: budget.eur: unknown key; choose from hours, trials, usd"),
        ("retries: {crashed: -1}", "job.yaml:1: retries.crashed: expected a whole number, 0 or more, got -1"),
        ("entry_point: train.py", "job.yaml:1: entry_point: is not allowed in job.yaml; use `program` in sweep.yaml to name the script"),
        ("hyperparameters: {a: 1}",
         "job.yaml:1: hyperparameters: is not allowed in job.yaml; put fixed values into sweep.yaml: parameters: {epochs: {value: 3}}"),
        ("request: {TrainingJobName: x}",
         "job.yaml:1: request.TrainingJobName: is not allowed in job.yaml; smsweep names the jobs, so that it can find them again"),
        ("request: {AlgorithmSpecification: {ContainerEntrypoint: [sh]}}",
         "job.yaml:1: request.AlgorithmSpecification.ContainerEntrypoint: is not allowed in job.yaml; smsweep starts the job itself"),
        ("request: {ServerlessJobConfig: {JobType: FineTuning}}",
         "job.yaml:1: request.ServerlessJobConfig: is not allowed in job.yaml; such a job runs a recipe of AWS, not a script"),
        ("enable_network_isolation: true\nsecrets: {KEY: 'arn:aws:ssm:eu-west-1:123456789012:parameter/key'}",
         "job.yaml:2: secrets.KEY: cannot be fetched by a job with network isolation; remove one of the two"),
        ("request: {EnableNetworkIsolation: true}\nsecrets: {KEY: 'arn:aws:ssm:eu-west-1:123456789012:parameter/key'}",
         "job.yaml:2: secrets.KEY: cannot be fetched by a job with network isolation; remove one of the two"),
        ("request:\n  RetryStrategy:\n    MaximumRetryAttemps: 3\n    MaximumRetryAttempts: 3",
         "job.yaml:3: request.RetryStrategy.MaximumRetryAttemps: the API has no such field; did you mean MaximumRetryAttempts?"),
        ("request: {EnableNetworkIsolation: 1}", "job.yaml:1: request.EnableNetworkIsolation: expected true or false, got 1"),
        ("request: {ExperimentConfig: {ExperimentName: a b}}",
         "job.yaml:1: request.ExperimentConfig.ExperimentName: expected the form [a-zA-Z0-9](-*[a-zA-Z0-9]){0,119}, got 'a b'"),
        ("request: {ProfilerConfig: {DisableProfiler: true, ProfilingIntervalInMilliseconds: 1.5}}",
         "job.yaml:1: request.ProfilerConfig.ProfilingIntervalInMilliseconds: expected a whole number, got 1.5"),
        ("request: {DebugHookConfig: {LocalPath: /x}}",
         "job.yaml:1: request.DebugHookConfig.S3OutputPath: missing; the API requires it"),
        ("max_run: .inf", "job.yaml:1: max_run: not a finite number"),
    ],
)  # fmt: skip
def test_invalid_job_is_reported(text: str, message: str) -> None:
    assert message in problems(text)


def test_literal_secret_is_refused_and_not_shown() -> None:
    (problem,) = problems(f"secrets: {{WANDB_API_KEY: {'0123456789abcdef' * 2}01234567}}")
    assert problem.startswith(
        "job.yaml:1: secrets.WANDB_API_KEY: not a reference to a secret; give an ARN of Secrets"
    )
    assert "0123" not in problem


def test_all_errors_are_reported_in_order_of_line() -> None:
    text = "rol: x\ninstance_type: local\nmax_wait: 5\nsubnets: [a]\ninputs: x\n"
    assert [line.split(": ")[0] for line in problems(text)] == [
        "job.yaml:1",
        "job.yaml:2",
        "job.yaml:3",
        "job.yaml:3",
        "job.yaml:4",
        "job.yaml:5",
    ]
