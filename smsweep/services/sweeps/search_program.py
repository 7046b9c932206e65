"""Searches that are programs of the user's own (`scheduler.source`): where their text is, and if it may run."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from smsweep.config_files.code_consent import Code, digest_of, hook_codes, refuse_code, search_code
from smsweep.config_files.job_yaml import ParsedJob
from smsweep.core.job import JobTemplate
from smsweep.core.sweep import Sweep, SweepConfig
from smsweep.errors import ConfigError
from smsweep.secrets.known import known_secrets
from smsweep.secrets.scan import refuse_secrets, scan_text
from smsweep.services.sweeps.program_location import holds, source_folders
from smsweep.store import notes
from smsweep.store.base import Store

MAX_BYTES = 1_000_000  # of that text


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
        with path.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"scheduler.source: {file} cannot be read: {err}") from err
    if len(content) > MAX_BYTES:
        raise ConfigError(f"scheduler.source: {file} has more than {MAX_BYTES:,} bytes; name a smaller file")
    if not text.strip():
        raise ConfigError(f"scheduler.source: {file} is empty")
    refuse_secrets(scan_text(file, text, known_secrets(os.environ, job.template)))
    return text


def with_code(config: SweepConfig, code: str) -> SweepConfig:
    """Return the config with the program's text, for the search to run. Raises ConfigError without consent."""
    if not code:
        return config
    refuse_code([search_code(_file(config), code)], os.environ)
    return replace(config, scheduler={**(config.scheduler or {}), "code": code})


def codes_of(config: SweepConfig, code: str, template: JobTemplate) -> list[Code]:
    """Return the code that needs consent before a sweep is created or run. code: as from `read_code`."""
    return [*([search_code(_file(config), code)] if code else []), *hook_codes(template.notify)]


def has_program(config: SweepConfig) -> bool:
    """Return True if the search is a program of the user's own."""
    return bool(_file(config))


def config_of(store: Store, sweep: Sweep) -> SweepConfig:
    """Return a stored sweep's config, as `with_code`."""
    return with_code(sweep.config, stored_code(store, sweep))


def stored_code(store: Store, sweep: Sweep) -> str:
    """Return the text of a stored sweep's program; "" where it has none.

    Raises:
        ConfigError: If the text is not the one that the sweep was created with.
    """
    file = _file(sweep.config)
    note = notes.SEARCH_CODE.get(store, sweep.id) if file else ""
    code = note if isinstance(note, str) else ""
    if code and digest_of(code) != sweep.code_hash:
        raise ConfigError(
            f"scheduler.source: {file}: the code in the store ({digest_of(code)}) is not the code that sweep "
            f"{sweep.id} was created with ({sweep.code_hash or 'none'}); find out who changed it, and create the "
            "sweep again"
        )
    return code


def code_like(store: Store, sweep_id: str, config: SweepConfig) -> str:
    """Return the text that another sweep has of this config's program; "" where it has none."""
    other = store.get_sweep(sweep_id)
    return stored_code(store, other) if _file(other.config) == _file(config) else ""


def _file(config: SweepConfig) -> str:
    scheduler = config.scheduler or {}
    return str(scheduler.get("source", "")) if scheduler.get("engine") == "optuna" else ""
