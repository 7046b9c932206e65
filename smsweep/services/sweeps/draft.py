"""Draft, check and create a sweep from existing sweeps: their configs, source and trials (as prior runs)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from smsweep.config_files.code_consent import hook_codes, refuse_code
from smsweep.config_files.from_python import to_yaml
from smsweep.config_files.job_yaml import ParsedJob, parse_job
from smsweep.config_files.sweep_yaml import ParsedSweep, parse_sweep
from smsweep.core.json_documents import DraftCheckDocument, DraftDocument, ParamValues
from smsweep.core.sweep import Sweep, SweepConfig
from smsweep.core.trial import History, Trial
from smsweep.errors import ConfigError, NotFound, SmsweepError
from smsweep.search.registry import expected_trial_count, make_strategy
from smsweep.secrets.redact import JsonMasker, known_secrets
from smsweep.secrets.scan import refuse_secrets
from smsweep.services.labels import parse_label
from smsweep.services.sweeps.create import check_parsed, keep
from smsweep.services.sweeps.load import check_can_run, needs_program, secrets_of
from smsweep.services.sweeps.plan import check_backend
from smsweep.services.sweeps.search_program import code_like, read_code, source_dir, with_code
from smsweep.services.sweeps.snapshot import origin, secrets_in_configs, snapshot
from smsweep.services.workspace import Workspace, find_trial
from smsweep.source.bundle import bundle_path, open_bundle
from smsweep.store import notes
from smsweep.store.base import Store

N_SHOWN = 5  # trials in a check
EXPONENTS = ("log_uniform", "q_log_uniform")  # their min and max are exponents, not values
EXAMPLE = """\
program: train.py
method: bayes
metric:
  name: loss
  goal: minimize
parameters:
  lr:
    distribution: log_uniform_values
    min: 0.0001
    max: 0.1
  batch_size:
    values: [16, 32, 64]
"""


def draft(labels: Sequence[str], *, is_narrow: bool = False) -> DraftDocument:
    """Return the draft of a sweep that uses earlier trials as prior runs.

    Args:
        labels: Trials ("ID/N") or sweeps ("ID"). The draft has the files and the source of the first one (`like`).
            Without labels, the draft is an example.
        is_narrow: Narrow ranges and lists of values to those of the trials.

    Raises:
        NotFound: If there is no such sweep or trial.
        UsageError: If a label is invalid.
    """
    if not labels:
        return {"sweep_yaml": EXAMPLE, "job_yaml": "", "name": "", "like": "", "prior_runs": [], "source": ""}
    workspace = Workspace()
    with workspace.store() as store:
        targets = [parse_label(label) for label in labels]
        first = store.get_sweep(targets[0][0])
        trials = [trial for target in targets for trial in _trials(store, *target)]
    clean = JsonMasker(secrets_of(first, workspace))
    text = to_yaml(narrowed(first.config, trials)) if is_narrow else first.sweep_yaml
    return {
        "sweep_yaml": clean(text),
        "job_yaml": clean(first.job_yaml),
        "name": first.name,
        "like": first.id,
        "source": first.source_hash,
        "prior_runs": list(labels),
    }


def check(
    *, sweep_yaml: str, job_yaml: str = "", name: str = "", like: str = "", prior_runs: Sequence[str] = ()
) -> DraftCheckDocument:
    """Check a draft without creating a sweep. For the arguments, see `create`.

    Returns:
        All `problems`, the `warnings`, the first `trials`, and the `expected_trial_count` (None if unlimited).
    """
    problems: list[str] = []
    warnings: list[str] = []
    try:
        parsed, job = _parsed(sweep_yaml, job_yaml)
        parsed = replace(parsed, config=check_can_run(parsed.config, job))
    except ConfigError as err:
        problems += err.problems
        return {"problems": problems, "warnings": [], "trials": [], "expected_trial_count": None}
    workspace = Workspace()
    try:
        code = _code(workspace, parsed, job, like)
        _known(workspace, prior_runs)
        if like:
            _source(workspace, parsed, job, like)
            refuse_code(hook_codes(job.template.notify), workspace.environ)
        else:
            warnings += check_parsed(workspace, parsed, job, priors=prior_runs, code=code, origin=None).warnings
        if not needs_program(parsed.config, job.template):  # otherwise a Python function runs
            check_backend(parsed.config, job.template)
    except SmsweepError as err:
        problems.append(str(err))
    expected = expected_trial_count(parsed.config, job.template)
    n = N_SHOWN if expected is None else min(N_SHOWN, expected)
    trials: list[ParamValues] = []
    try:
        config = with_code(parsed.config, _code(workspace, parsed, job, like))
        strategy = make_strategy(config, 0, job.template)
        trials = [dict(params) for params in strategy.suggest(History(), n)]
    except SmsweepError as err:
        problems.append(str(err))
    return {
        "problems": list(dict.fromkeys(problems)),
        "warnings": [*parsed.warnings, *job.warnings, *warnings],
        "trials": trials,
        "expected_trial_count": expected,
    }


def create(
    *, sweep_yaml: str, job_yaml: str = "", name: str = "", like: str = "", prior_runs: Sequence[str] = ()
) -> str:
    """Create a sweep from the text of its files and return its id.

    Args:
        sweep_yaml: Text of the sweep config.
        job_yaml: Text of the job.yaml; "" without one.
        name: Name of the sweep; "" for the config's.
        like: Id of a sweep whose source snapshot the new sweep uses; "" to snapshot the working directory.
        prior_runs: Trials ("ID/N") and sweeps ("ID") whose results inform the search.

    Raises:
        ConfigError: If a file is invalid. Lists all problems.
        SourceError: If the source contains a secret, or does not contain the program.
        NotFound: If there is no such sweep or trial.
    """
    parsed, job = _parsed(sweep_yaml, job_yaml)
    parsed = replace(parsed, config=check_can_run(parsed.config, job))
    workspace = Workspace()
    _known(workspace, prior_runs)
    return keep(
        workspace,
        parsed,
        job,
        source=lambda: _source(workspace, parsed, job, like),
        folder=lambda: _folder(workspace, parsed, job, like),
        origin=lambda: _origin(workspace, like),
        priors=prior_runs,
        name=name,
        code=_code(workspace, parsed, job, like),
    )


def narrowed(config: SweepConfig, trials: Iterable[Trial]) -> Mapping[str, Any]:
    """Return the config's document with each range and list of values narrowed to the trials' values.

    A parameter that decides whether another one exists keeps all values, because job.yaml names some of them.
    """
    document = copy.deepcopy(dict(config.document))
    rows = [config.space.flatten(trial.params) for trial in trials]
    deciding = {name for condition in config.space.conditions for name in condition.when}
    for index, (path, _) in enumerate(config.space.leaves):
        if ".".join(path) in deciding:
            continue
        section = document["parameters"]
        for depth, part in enumerate(path):
            section = section[part] if depth == len(path) - 1 else section[part]["parameters"]
        _narrow(section, [row[index] for row in rows])
    return document


def _narrow(section: Any, seen: Sequence[Any]) -> None:
    if not isinstance(section, dict):
        return
    if isinstance(section.get("values"), list):
        kept = [i for i, value in enumerate(section["values"]) if value in seen]
        for key in ("values", "probabilities"):
            if kept and key in section:
                section[key] = [section[key][i] for i in kept]
        if "probabilities" in section:
            total = sum(section["probabilities"]) or 1.0
            section["probabilities"] = [share / total for share in section["probabilities"]]
        return
    numbers = [value for value in seen if isinstance(value, (int, float)) and not isinstance(value, bool)]
    has_range = "min" in section and "max" in section and section.get("distribution") not in EXPONENTS
    if has_range and numbers and min(numbers) < max(numbers):
        section["min"], section["max"] = min(numbers), max(numbers)


def _parsed(sweep_yaml: str, job_yaml: str) -> tuple[ParsedSweep, ParsedJob]:
    """Parse both files. Raises ConfigError with the problems of both."""
    problems: list[str] = []
    parsed, job = None, None
    try:
        parsed = parse_sweep(sweep_yaml, name="sweep.yaml")
    except ConfigError as err:
        problems += err.problems
    try:
        job = parse_job(job_yaml, name="job.yaml")
    except ConfigError as err:
        problems += err.problems
    if parsed is None or job is None:
        raise ConfigError(problems)
    return parsed, job


def _trials(store: Store, sweep_id: str, number: int | None) -> list[Trial]:
    return store.list_trials(sweep_id) if number is None else [find_trial(store, sweep_id, number)]


def _known(workspace: Workspace, labels: Iterable[str]) -> None:
    """Check that each label exists. Raises NotFound, or UsageError for an invalid label."""
    targets = [parse_label(label) for label in labels]
    if targets:
        with workspace.store() as store:
            for sweep_id, number in targets:
                store.get_sweep(sweep_id) if number is None else find_trial(store, sweep_id, number)


def _source(workspace: Workspace, parsed: ParsedSweep, job: ParsedJob, like: str) -> str:
    """Return the hash of the source of sweep `like`; without `like`, of a new snapshot."""
    if not like:
        return snapshot(workspace, parsed, job, None)
    refuse_secrets(secrets_in_configs(parsed, job, known_secrets(workspace.environ, job.template)))
    base = _sweep(workspace, like)
    if job.template.runs_image:
        return ""
    program = parsed.config.program
    path = bundle_path(workspace.bundles_dir, base.source_hash)
    if base.source_hash and program and path.exists():
        names = {member.name for member in open_bundle(path).members}
        if program not in names:
            raise NotFound(
                f"program: {program} is not in the source of {like}; name one of {', '.join(sorted(names)[:8])}"
            )
    if not base.source_hash and not needs_program(parsed.config):
        raise NotFound(
            f"program: sweep {like} has no source to run {program or 'a command'} from; snapshot your own"
        )
    return base.source_hash


def _code(workspace: Workspace, parsed: ParsedSweep, job: ParsedJob, like: str) -> str:
    """Return the text of the search program as in sweep `like`; otherwise, read its file."""
    if like:
        with workspace.store() as store:
            if known := code_like(store, like, parsed.config):
                return known
    return read_code(parsed.config, job, None)


def _origin(workspace: Workspace, like: str) -> Mapping[str, Any]:
    if not like:
        return origin(Path.cwd())
    with workspace.store() as store:
        return notes.ORIGIN.get(store, like)


def _folder(workspace: Workspace, parsed: ParsedSweep, job: ParsedJob, like: str) -> Path | None:
    if not like:
        return source_dir(parsed.config, job, None)
    with workspace.store() as store:
        folder = notes.SOURCE_FOLDER.get(store, like)
    return Path(folder) if folder else None


def _sweep(workspace: Workspace, sweep_id: str) -> Sweep:
    with workspace.store() as store:
        return store.get_sweep(sweep_id)
