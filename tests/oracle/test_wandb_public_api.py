"""W&B 0.31's public API beside ours: its names, its parameters, and its filters."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from smsweep.api import api
from smsweep.wandb_compat.run_filters import make_filter
from tools.environments import oracle

pytestmark = pytest.mark.oracle

OURS = {
    "Api": api.Api,
    "Sweep": api.ApiSweep,
    "Run": api.ApiRun,
    "Project": api.ApiProject,
    "Agent": api.ApiAgent,
}
OF_NOTEBOOKS = {"display", "snake_to_camel"}  # of W&B's base class
ABSENT = {  # W&B's names without a counterpart
    "Api": {
        *("artifact", "artifact_collection", "artifact_collection_exists", "artifact_collections"),
        *("artifact_exists", "artifact_type", "artifact_types", "artifact_versions", "artifacts"),
        *("automation", "automations", "create_automation", "delete_automation", "update_automation"),
        *("create_custom_chart", "create_project", "create_registry", "create_run", "create_run_queue"),
        *("create_team", "create_user", "default_entity", "from_path", "integrations", "job", "list_jobs"),
        *("organization", "projects", "queued_run", "registries", "registry", "reports", "run_queue"),
        *("slack_integrations", "sync_tensorboard", "team", "upsert_run_queue", "user", "user_agent", "users"),
        *("viewer", "webhook_integrations"),
    },
    "Sweep": {"get", "url"},
    "Run": {
        *("beta_scan_history", "console_logs", "create", "delete", "download_history_exports", "file", "files"),
        *("json_config", "lastHistoryStep", "load", "load_full_data", "log_artifact", "logged_artifacts"),
        *("metadata", "rawconfig", "save", "stop", "storage_id", "system_metrics", "update", "update_state"),
        *("upload_file", "use_artifact", "used_artifacts", "wait_until_finished"),
    },
    "Project": {"artifacts_types", "collections", "owner", "to_html", "url"},
    "Agent": {"to_html"},
}
NARROWER = {"Project.sweeps": ["per_page"]}  # without filters of sweeps
KEYS = [("config", "lr"), ("config", "opt.name"), ("summary", "val.acc"), ("run", "state"), ("run", "createdAt")]


def filters() -> list[dict[str, Any]]:
    """Every operator of W&B's page on every kind of field, and groups."""
    values = {"=": 1, "!=": 1, ">": 1, ">=": 1, "<": 1, "<=": 1, "IN": [1], "NIN": [1], "REGEX": "a.*"}
    single: list[dict[str, Any]] = [
        {"key": {"section": section, "name": name}, "op": op, "value": value}
        for section, name in KEYS
        if name != "createdAt"
        for op, value in values.items()
    ]
    created = {"key": {"section": "run", "name": "createdAt"}, "op": ">=", "value": "2026-01-31T00:00:00Z"}
    return [*single, created, {"op": "OR", "filters": [{"op": "AND", "filters": single}]}]


@pytest.fixture(scope="module")
def theirs() -> dict[str, Any]:
    return dict(oracle("wandb").ask(Path(__file__).with_name("ask_public_api.py"), filters()))


@pytest.mark.parametrize("name", OURS)
def test_names_of_wandb_are_available_or_listed_as_absent(theirs: dict[str, Any], name: str) -> None:
    known = set(dir(OURS[name])) | {"id", "name", "entity", "project", "runs"}  # attributes of instances
    assert set(theirs["names"][name]) - known - OF_NOTEBOOKS == ABSENT[name]


@pytest.mark.parametrize("name", OURS)
def test_methods_accept_the_arguments_of_wandb(theirs: dict[str, Any], name: str) -> None:
    for method, parameters in theirs["names"][name].items():
        ours = getattr(OURS[name], method, None)
        if parameters is None or ours is None or isinstance(ours, property):
            continue
        expected = NARROWER.get(f"{name}.{method}", parameters)
        assert list(inspect.signature(ours).parameters)[1 : len(expected) + 1] == expected, method


def test_filters_of_wandb_are_accepted(theirs: dict[str, Any]) -> None:
    assert len(theirs["filters"]) == len(filters())
    for each in theirs["filters"]:
        make_filter(each, api._field)
