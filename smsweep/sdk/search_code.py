"""Searches that are programs of the user's own (`scheduler.source`): where their text is, and who may run them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from smsweep.config.job_yaml import ParsedJob
from smsweep.errors import ConfigError
from smsweep.sdk.hidden import known_secrets
from smsweep.sdk.placing import holds, source_folders
from smsweep.source.secrets import refuse_secrets, scan_text
from smsweep.store.base import Store
from smsweep.sweeps import Sweep, SweepConfig

CODE_NOTE = "search_code"  # of a sweep: the text of its scheduler.source, as it was when the sweep was created
ALLOW = "SMSWEEP_ALLOW_CODE"  # says that such programs may run inside commands and agents


def check_allowed(config: SweepConfig) -> None:
    """Raise ConfigError for a search that is a program, where nobody said that it may run."""
    if _file(config) and os.environ.get(ALLOW, "") in ("", "0"):
        raise ConfigError(
            f"scheduler.source: {_file(config)} would run inside smsweep itself, with all that it may do; "
            f"if you trust it, set {ALLOW}=1, or say the space as parameters"
        )


def read_code(config: SweepConfig, job: ParsedJob, origin: Path | None) -> str:
    """Return the text of the program; "" where there is none. origin: as for `placed`.

    Raises ConfigError, SourceError for a secret in it.
    """
    file = _file(config)
    if not file:
        return ""
    looked = source_folders(job, origin)
    path = next((folder / file for folder in looked if holds(folder, file)), None)
    if path is None:
        raise ConfigError(
            f"scheduler.source: {file} was not found in {' and '.join(map(str, looked))}; run from its folder"
        )
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"scheduler.source: {file} cannot be read: {err}") from err
    if not text.strip():
        raise ConfigError(f"scheduler.source: {file} is empty")
    refuse_secrets(scan_text(file, text, known_secrets(os.environ, job.template)))
    return text


def with_code(config: SweepConfig, code: str) -> SweepConfig:
    """Return the config with the program's text, for the search to run. Raises ConfigError where it may not."""
    check_allowed(config)
    return replace(config, scheduler={**(config.scheduler or {}), "code": code}) if code else config


def config_of(store: Store, sweep: Sweep) -> SweepConfig:
    """Return a stored sweep's config, as `with_code`."""
    code = store.get_note(sweep.id, CODE_NOTE) if _file(sweep.config) else ""
    return with_code(sweep.config, code or "")


def code_like(store: Store, sweep_id: str, config: SweepConfig) -> str:
    """Return the text that another sweep has of this config's program; "" where it has none."""
    is_same = _file(store.get_sweep(sweep_id).config) == _file(config)
    return (store.get_note(sweep_id, CODE_NOTE) or "") if is_same else ""


def _file(config: SweepConfig) -> str:
    scheduler = config.scheduler or {}
    return str(scheduler.get("source", "")) if scheduler.get("engine") == "optuna" else ""
