"""Part of the API of W&B's server that its client uses for sweeps and for uploads of runs.

The calls and their fields are those of the clients of wandb 0.16 and 0.31. The server keeps all received data.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

KEY = "0123456789" * 4
Answer = dict[str, Any]


@dataclass(kw_only=True)
class FakeRun:
    sweep: str = ""
    config: dict[str, Any] = field(default_factory=dict)  # as W&B writes it: {"lr": {"value": 0.1}}
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    group: str = ""
    name: str = ""
    state: str = "running"


@dataclass(kw_only=True)
class FakeWandb:
    """One project with at most one sweep, a grid."""

    url: str = ""
    sweep_id: str = "hosted01"
    sweep: dict[str, Any] = field(default_factory=dict)  # its config; {} for none
    state: str = "RUNNING"
    runs: dict[str, FakeRun] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # each call's name and variables
    stops: set[str] = field(default_factory=set)  # runs that agents must stop
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def environ(self) -> dict[str, str]:
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY}

    def cells(self) -> list[dict[str, Any]]:
        values = {name: item["values"] for name, item in sorted(self.sweep["parameters"].items())}
        return [dict(zip(values, cell, strict=True)) for cell in itertools.product(*values.values())]

    def answer(self, query: str, variables: dict[str, Any]) -> Answer:
        name = re.search(r"(?:query|mutation)\s+(\w+)", query)
        with self.lock:
            self.calls.append((name.group(1) if name else "", variables))
            for field_name, reply in REPLIES.items():
                if re.search(rf"\b{field_name}\b", query):
                    return {"data": reply(self, variables)}
        return {"data": {}}

    def stream(self, run_id: str, files: Mapping[str, Any], exit_code: int | None) -> None:
        """Store the lines that a client appends to the files of a run."""
        with self.lock:
            run = self.runs.setdefault(run_id, FakeRun())
            for row in files.get("wandb-history.jsonl", {}).get("content", ()):
                run.history.append(json.loads(row))
            for summary in files.get("wandb-summary.json", {}).get("content", ()):
                run.summary = json.loads(summary)
            if exit_code is not None:
                run.state = "failed" if exit_code else "finished"


def _sweep(server: FakeWandb, variables: dict[str, Any]) -> Answer:
    wanted = variables.get("sweep") or variables.get("name")
    if not server.sweep or wanted != server.sweep_id:
        return {"project": {"sweep": None}}
    known = [run for run in server.runs.values() if run.sweep == server.sweep_id]
    return {
        "project": {
            "sweep": {
                "id": "U3dlZXA6MQ==",
                "name": server.sweep_id,
                "displayName": server.sweep.get("name"),
                "state": server.state,
                "config": yaml.safe_dump(server.sweep),
                "method": server.sweep["method"],
                "runCount": len(known),
                "runCountExpected": len(server.cells()) if server.sweep["method"] == "grid" else None,
                "runs": {"edges": []},
                "priorRuns": {"edges": []},
            }
        }
    }


def _upsert_sweep(server: FakeWandb, variables: dict[str, Any]) -> Answer:
    project = {"id": "p", "name": variables.get("projectName") or "uncategorized", "entity": {"name": "team"}}
    server.sweep = yaml.safe_load(variables["config"])
    sweep = {"name": server.sweep_id, "project": project}
    return {"upsertSweep": {"sweep": sweep, "configValidationWarnings": []}}


def _create_agent(server: FakeWandb, variables: dict[str, Any]) -> Answer:
    return {"createAgent": {"agent": {"id": f"agent-{len(server.calls)}"}}}


def _heartbeat(server: FakeWandb, variables: dict[str, Any]) -> Answer:
    """Return the next cell for an idle agent, or the exit command if the sweep has finished."""
    at_work = json.loads(variables["runState"] or "{}")
    commands: list[Answer] = [{"type": "stop", "run_id": run_id} for run_id in at_work if run_id in server.stops]
    if not at_work:
        runs = [run for run in server.runs.values() if run.sweep == server.sweep_id]
        cells = server.cells()[len(runs) :] if server.state == "RUNNING" else []
        if cells:
            run_id = f"run{len(runs)}"
            args = {name: {"value": value} for name, value in cells[0].items()}
            server.runs[run_id] = FakeRun(sweep=server.sweep_id, config=args)
            commands.append(
                {"type": "run", "run_id": run_id, "args": args, "program": server.sweep.get("program")}
            )
        else:
            server.state = "FINISHED"
            commands.append({"type": "exit"})
    return {"agentHeartbeat": {"agent": {"id": variables["id"]}, "commands": json.dumps(commands)}}


def _upsert_bucket(server: FakeWandb, variables: dict[str, Any]) -> Answer:
    if variables.get("sweep") and variables["sweep"] != server.sweep_id:
        raise LookupError(f"sweep {variables['sweep']} not found")
    run = server.runs.setdefault(variables["name"], FakeRun())
    run.config = json.loads(variables.get("config") or "{}") or run.config
    run.group, run.name = variables.get("groupName") or run.group, variables.get("displayName") or run.name
    project = {
        "id": "p",
        "name": variables.get("project") or "uncategorized",
        "entity": {"id": "e", "name": "team"},
    }
    bucket = {
        "id": "QnVja2V0",
        "name": variables["name"],
        "displayName": run.name or variables["name"],
        "description": None,
        "config": "{}",
        "sweepName": run.sweep or None,
        "historyLineCount": 0,
        "project": project,
    }
    return {"upsertBucket": {"bucket": bucket, "inserted": True}}


def _create_run_files(server: FakeWandb, variables: dict[str, Any]) -> Answer:
    files = [{"name": name, "uploadUrl": f"{server.url}/upload"} for name in variables["files"]]
    return {"createRunFiles": {"runID": "QnVja2V0", "uploadHeaders": [], "files": files}}


def _upload_urls(server: FakeWandb, variables: dict[str, Any]) -> Answer:
    nodes = [
        {"node": {"name": name, "url": f"{server.url}/upload", "updatedAt": None}} for name in variables["files"]
    ]
    return {"model": {"bucket": {"id": "QnVja2V0", "files": {"uploadHeaders": [], "edges": nodes}}}}


def _runs(server: FakeWandb, variables: dict[str, Any]) -> Answer:
    """Return pages of two runs, for any requested page size."""
    runs = [item for item in server.runs.items() if item[1].sweep == json.loads(variables["filters"])["sweep"]]
    start = int(variables["cursor"] or 0)
    edges = [
        {
            "node": {
                "name": run_id,
                "displayName": run.name,
                "state": run.state,
                "config": json.dumps(run.config),
                "summaryMetrics": json.dumps(run.summary),
            }
        }
        for run_id, run in runs[start : start + 2]
    ]
    page = {"endCursor": str(start + 2), "hasNextPage": start + 2 < len(runs)}
    return {"project": {"runs": {"edges": edges, "pageInfo": page}}}


def _viewer(server: FakeWandb, variables: dict[str, Any]) -> Answer:
    viewer = {"id": "u", "entity": "team", "username": "me", "flags": "{}", "email": "", "teams": {"edges": []}}
    return {"viewer": viewer}


REPLIES = {  # field of the query -> handler; the first match answers
    "upsertSweep": _upsert_sweep,
    "createAgent": _create_agent,
    "agentHeartbeat": _heartbeat,
    "upsertBucket": _upsert_bucket,
    "createRunFiles": _create_run_files,
    "uploadHeaders": _upload_urls,
    "sweep\\(": _sweep,
    "runs\\(": _runs,
    "viewer": _viewer,
}


def _handler(server: FakeWandb) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            status, answer = 200, {}
            if self.path == "/graphql":
                document = json.loads(body)
                try:
                    answer = server.answer(document["query"], document.get("variables") or {})
                except LookupError as err:
                    status, answer = 404, {"errors": [{"message": str(err)}]}
            elif self.path.endswith("/file_stream"):
                output = json.loads(body)
                server.stream(self.path.split("/")[4], output.get("files") or {}, output.get("exitcode"))
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def fake_wandb(**known: Any) -> Iterator[FakeWandb]:
    """Serve until the end of `with`. known: as for FakeWandb."""
    state = FakeWandb(**known)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(state)) as listener:
        state.url = f"http://127.0.0.1:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            listener.shutdown()
            thread.join()
