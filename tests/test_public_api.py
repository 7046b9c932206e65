"""Public names and signatures of smsweep. A change in this list changes the public API."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from importlib import resources

import pytest

import smsweep

SIGNATURES = {
    "Api": "(overrides=None, **ignored)",
    "ConfigError": "(problems)",
    "Run": "(trial, write, *, clock, on_finish=..., counting_pid=None, first_step=0)",
    "SmsweepError": "an exception",
    "StopDecision": "(*, number, reason, evidence=<factory>, is_pause=False)",
    "active_run": "()",
    "agent": "(sweep_id, function=None, entity=None, project=None, count=None, *, parallel=1, gpus_per_trial=None,"
    " backend=None, on=(), requirements=None, job=None, estimator=None, inputs=None,"
    " max_consecutive_failed_runs=None,"
    " term_timeout=None, forward_signals=False, reuse=False, in_place=None, notify=(), until=None,"
    " searches=True, on_change=...)",
    "config": "a mapping",
    "define_metric": "(name, step_metric=None, step_sync=None, hidden=None, summary=None, overwrite=None, *,"
    " goal=None)",
    "finish": "(exit_code=None, quiet=None)",
    "init": "(config=None, **ignored)",
    "judge": "(config, trials, *, stop_if=())",
    "log": "(data, step=None, commit=None, sync=None)",
    "log_code": "(root='.', name=None, **ignored)",
    "login": "(*ignored, **more_ignored)",
    "run": "(config, *, entity=None, project=None, prior_runs=None, name=None, program=None, job=None,"
    " estimator=None, inputs=None, seed=None, reuse=False, in_place=None, on_created=...,"
    " **agent_options)",
    "suggest": "(config, trials, n=1, seed=0, *, job=None)",
    "summary": "a mapping",
    "sweep": "(sweep=None, entity=None, project=None, prior_runs=None, *, name=None, program=None, job=None,"
    " estimator=None, inputs=None, tuner=None, seed=None, reuse=False, in_place=None, gpus_per_trial=None,"
    " backend=None, on=())",
}
# Objects that public functions return: W&B's attributes, and ours.
METHODS = {
    "smsweep.api.api:Api": "diff flush project run runs sweep sweeps",
    "smsweep.api.api:ApiSweep": (
        "agent agents best_run config confirm enqueue enqueue_run entity expected_run_count export id load name"
        " order path plot project report runs state to_dataframe to_html update username"
    ),
    "smsweep.api.api:ApiAgent": "host name runs state",
    "smsweep.api.api:ApiProject": "path sweeps",
    "smsweep.api.plots:Plots": (
        "contours cost curves front history importance parallel_coordinates slices timeline"
    ),
    "smsweep.api.plots:Report": "save",
    "smsweep.api.api:ApiRun": (
        "config created_at entity group history id name objective path project repeats reproduce scan_history"
        " state summary summary_metrics sweep sweep_name to_html url username"
    ),
    "smsweep.runtime.script.run:Run": (
        "config define_metric finish follow follow_anew follow_at follow_summary history log log_code metrics_of"
        " own_lock step"
    ),
    "smsweep.runtime.script.config:Config": "add_defaults as_dict get items keys setdefaults update values",
}


def test_public_names_equal_list() -> None:
    assert list(smsweep.__all__) == sorted(SIGNATURES)
    assert dir(smsweep) == sorted([*SIGNATURES, "__version__"])


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature_equals_list(name: str) -> None:
    assert shown(getattr(smsweep, name)) == SIGNATURES[name]


@pytest.mark.parametrize("place", METHODS)
def test_object_methods_equal_list(place: str) -> None:
    module, _, name = place.partition(":")
    members = dir(getattr(importlib.import_module(module), name))
    assert {member for member in members if not member.startswith("_")} == set(METHODS[place].split())


@pytest.mark.parametrize("name", [name for name, signature in SIGNATURES.items() if signature.startswith("(")])
def test_public_name_has_docstring(name: str) -> None:
    assert inspect.getdoc(getattr(smsweep, name))


def test_config_attribute_is_run_config_not_package() -> None:
    importlib.import_module("smsweep.config_files.sweep_yaml")
    with smsweep.init(config={"lr": 0.1}):
        assert smsweep.config["lr"] == 0.1
        assert importlib.import_module("smsweep").config.lr == 0.1


def test_types_are_shipped() -> None:
    assert (resources.files("smsweep") / "py.typed").is_file()


def test_importing_smsweep_imports_no_submodule_and_no_heavy_package() -> None:
    program = "import sys; before = set(sys.modules); import smsweep; print(*sorted(set(sys.modules) - before))"
    output = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert {name.partition(".")[0] for name in output.stdout.split()} <= {"smsweep", "importlib", "warnings"}


def test_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'sweeep'"):
        smsweep.sweeep  # noqa: B018


@pytest.mark.parametrize(
    ("holder", "name", "advice"),
    [
        (lambda: smsweep, "Image", "a script that needs more of W&B than .* keeps `import wandb`"),
        (lambda: smsweep, "controller", "each agent includes the controller"),
        (lambda: smsweep, "sagemaker_auth", "store W&B's key in AWS with: smsweep auth"),
        (smsweep.init, "watch", "a script that needs more of W&B than .* keeps `import wandb`"),
        (smsweep.Api, "job", "it has: diff, flush, project, run, runs, sweep, sweeps"),
        (smsweep.Api, "create_run", "a run belongs to a sweep; add one with: .*enqueue_run"),
    ],
)
def test_wandb_only_name_raises_attribute_error_with_workaround(
    holder: Callable[[], object], name: str, advice: str
) -> None:
    with pytest.raises(AttributeError, match=f"has no.* '{name}'; {advice}"):
        getattr(holder(), name)


def shown(value: object) -> str:
    """Return a signature without types. Long defaults are shown as `...`."""
    if value is smsweep.SmsweepError:
        return "an exception"
    if not callable(value):
        return "a mapping"
    parameters = []
    for parameter in inspect.signature(value).parameters.values():
        default = parameter.default
        if callable(default) and default is not inspect.Parameter.empty:
            default = ...
        parameters.append(parameter.replace(annotation=inspect.Parameter.empty, default=default))
    return str(inspect.Signature(parameters)).replace("Ellipsis", "...")
