"""The JSON Schemas of all JSON documents, made from their types.

The shipped file, `json_documents.schema.json`, is `schema_text()`; a test compares the two.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from smsweep.core import json_documents as documents

SCHEMA_FILE = Path(__file__).with_name("json_documents.schema.json")

# The output of a command, the answer of the web API, or a part of a file, with its type.
DOCUMENTS: dict[str, Any] = {
    "smsweep ls": list[documents.ListedSweepDocument],
    "smsweep show ID": documents.SweepDocument,
    "smsweep show ID/N": documents.ShownTrialDocument,
    "smsweep sweep": documents.SweepDocument,
    "smsweep run": documents.EndedAgentDocument,
    "smsweep run --detach": documents.DetachedSweepDocument,
    "smsweep agent": documents.EndedAgentDocument,
    "smsweep agent --detach": documents.DetachedSweepDocument,
    "smsweep trials": list[documents.TrialDocument],
    "smsweep best": documents.BestTrialDocument,
    "smsweep best, several metrics": list[documents.FrontTrialDocument],
    "smsweep why": documents.WhyDocument,
    "smsweep diff": documents.DiffDocument,
    "smsweep reproduce": documents.ReproductionDocument,
    "smsweep plan": documents.PlanDocument,
    "smsweep watch, each line": documents.EventDocument,
    "smsweep logs, each line": documents.LogLineDocument,
    "smsweep export": list[documents.TrialDocument],
    "smsweep export --to": documents.ExportDocument,
    "smsweep agents": list[documents.AgentDocument],
    "smsweep set": documents.SweepDocument,
    "smsweep retry": list[str],
    "smsweep enqueue": list[str],
    "smsweep confirm": documents.ConfirmDocument,
    "smsweep rm": list[str],
    "smsweep rm --dry-run": list[documents.RemovalDocument],
    "smsweep prune": list[documents.PrunedSweepDocument],
    "smsweep doctor": list[documents.CheckDocument],
    "smsweep verify": documents.VerificationDocument,
    "smsweep report": documents.ReportFileDocument,
    "smsweep recover": documents.RecoveryDocument,
    "smsweep publish": documents.PublishedDocument,
    "smsweep slurm": documents.SlurmScriptDocument,
    "smsweep slurm --submit": documents.SlurmJobDocument,
    "smsweep wandb import": documents.ImportedSweepDocument,
    "smsweep wandb sync": documents.UploadedRunsDocument,
    "smsweep auth": documents.StoredKeyDocument,
    "smsweep iam": dict[str, dict[str, Any]],
    "smsweep completion": documents.CompletionDocument,
    "smsweep skill": documents.SkillDocument,
    "smsweep ui": documents.ServedPageDocument,
    "smsweep emulator": documents.EmulatorDocument,
    "GET /api/sweeps": documents.SweepListAnswer,
    "GET /api/sweeps/ID": documents.SweepAnswer,
    "GET /api/sweeps/ID/texts": documents.SweepTextsAnswer,
    "GET /api/sweeps/ID/trials/N": documents.TrialAnswer,
    "GET /api/sweeps/ID/trials/N/why": documents.WhyDocument,
    "GET /api/sweeps/ID/trials/N/log": documents.LogPageAnswer,
    "GET /api/compare": documents.ComparisonAnswer,
    "GET /api/draft": documents.DraftAnswer,
    "POST /api/check": documents.DraftCheckDocument,
    "POST /api/create": documents.CreatedSweepAnswer,
    "POST /api/retry": documents.ChangedTrialsAnswer,
    "POST /api/remove": documents.ChangedTrialsAnswer,
    "POST /api/sweeps/ID/VERB": documents.ChangedSweepAnswer,
    "POST /api/sweeps/ID/set": documents.ChangedConfigAnswer,
    "GET /api/sweeps/ID/agents": documents.LocalAgentsAnswer,
    "POST /api/sweeps/ID/agents": documents.LocalAgentsAnswer,
    "POST /api/sweeps/ID/agents/N/stop": documents.LocalAgentsAnswer,
    "POST /api/sweeps/ID/notes": documents.NotesAnswer,
    "error of the web API": documents.ErrorAnswer,
    "notification": documents.NotificationDocument,
    "data of a report": documents.ReportDocument,
}


def json_schemas() -> dict[str, Any]:
    """Return one JSON Schema document with all types.

    Returns:
        A schema whose `properties` are the documents by name, as in `DOCUMENTS`, and whose `$defs` are the types.
    """
    mode: JsonSchemaMode = "serialization"
    inputs = [(name, mode, TypeAdapter(kind)) for name, kind in DOCUMENTS.items()]
    schemas, definitions = TypeAdapter.json_schemas(inputs, schema_generator=_Generator)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "JSON documents of smsweep",
        "type": "object",
        "properties": {name: schemas[name, mode] for name in DOCUMENTS},
        "$defs": definitions["$defs"],
    }


def schema_text() -> str:
    """Return the text of the shipped file."""
    return json.dumps(json_schemas(), indent=2) + "\n"


class _Generator(GenerateJsonSchema):
    """Omits the titles, which only repeat the names of fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
