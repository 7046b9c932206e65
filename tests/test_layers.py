"""The floors of docs/architecture.md: who may import whom."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "smsweep"

# Room -> rooms it may import, besides itself. A room is a package or a module directly below smsweep.
GROUND = {"errors", "local_requests", "printable", "runtime", "tables"}
VALUES = {
    *("hooks", "jobs", "launches", "request_model", "request_rules", "trials", "space", "sweeps"),
    *(
        "budget",
        "conditions",
        "failures",
        "forecasts",
        "fronts",
        "leaving",
        "objectives",
        "repeats",
        "targets",
        "verdicts",
    ),
}
SIDES = {
    *("search", "stopping", "store", "backends", "fleet", "notify", "estimators", "source", "config"),
    *("render", "metrics"),
}
LOOP = {"controller", "agents", "flapping", "intake", "slots", "waiting"}
MAY_IMPORT = {
    "errors": set(),
    "local_requests": set(),
    "printable": set(),
    "runtime": set(),
    "tables": set(),
    "hooks": set(),
    "launches": {"jobs"},
    "jobs": {"hooks"},
    "request_model": set(),
    "request_rules": {"jobs"},
    "trials": set(),
    "space": {"errors"},
    "sweeps": {"space"},
    "conditions": {"errors", "trials"},
    "failures": set(),
    "leaving": set(),
    "budget": {"errors", "jobs", "trials"},
    "forecasts": {"space"},
    "objectives": {"sweeps", "trials"},
    "fronts": {"sweeps", "trials"},
    "repeats": {"fronts", "objectives", "sweeps", "trials"},
    "targets": {"fronts", "objectives", "sweeps", "trials"},
    "verdicts": {"failures", "jobs", "trials"},
    **dict.fromkeys(SIDES, GROUND | VALUES),
    "flapping": {"failures", "trials"},
    "controller": GROUND | VALUES | {"search.base", "stopping.base", "store.base"},
    "slots": {"trials"},
    "waiting": {"errors", "trials", "store.base"},
    "intake": GROUND | VALUES | {"backends.base", "store.base", "metrics"},
    "agents": GROUND
    | VALUES
    | {
        "backends.base",
        "store.base",
        "controller",
        "flapping",
        "intake",
        "metrics",
        "render",
        "slots",
        "waiting",
    },
    "wandb_server": GROUND | VALUES | {"controller"},
    "sdk": GROUND | VALUES | SIDES | LOOP | {"endpoint", "exports", "report", "wandb_server"},
    "endpoint": GROUND | {"jobs", "request_model", "request_rules", "backends"},
    "report": GROUND | VALUES,
    "exports": GROUND | VALUES,
    "ui": {"errors", "local_requests", "sdk", "report", "sweeps", "trials"},
    "cli": {"agents", "errors", "printable", "sdk", "tables", "trials"},
    "__main__": {"cli"},
}
MAY_NOT_SEE = {  # room -> foreign packages it must not know
    "runtime": {"yaml", "numpy", "boto3", "pydantic", "sqlalchemy"},
    "jobs": {"boto3"},
    "trials": {"sqlalchemy", "boto3", "yaml"},
    "agents": {"sqlalchemy", "docker", "boto3"},
    "controller": {"sqlalchemy", "docker", "boto3"},
    "store": {"boto3", "docker"},
    "sdk": {"argparse", "typer", "rich", "starlette", "uvicorn"},
    "cli": {"sqlalchemy", "pydantic", "boto3", "docker", "numpy"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


@functools.cache
def imports(file: Path) -> Sequence[str]:
    """Return the dotted names a file imports, those for types only included."""
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found += (f"{node.module}.{alias.name}" for alias in node.names)
    return found


def own_imports(file: Path) -> Iterator[str]:
    """Yield what a file imports of smsweep, as names below it: `store.base.Store`."""
    for name in imports(file):
        if name.startswith("smsweep.") and name != "smsweep.__version__":
            yield name.removeprefix("smsweep.")


def modules_of(room: str) -> list[Path]:
    return [file for file in modules() if room_of(file) == room]


@pytest.mark.parametrize("room", sorted({room_of(file) for file in modules()} - {"__init__"}))
def test_a_room_imports_only_what_its_floor_allows(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room}
    wrong = {
        (file.name, name)
        for file in modules_of(room)
        for name in own_imports(file)
        if not any(name == top or name.startswith(top + ".") for top in allowed)
    }
    assert not wrong


@pytest.mark.parametrize("room", sorted({room_of(file) for file in modules()}))
def test_a_room_does_not_know_foreign_packages_of_others(room: str) -> None:
    banned = MAY_NOT_SEE.get(room, set())
    found = {(file.name, name) for file in modules_of(room) for name in imports(file)}
    assert not {(file, name) for file, name in found if name.split(".")[0] in banned}


def test_no_module_imports_itself_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    names = {".".join(file.relative_to(PACKAGE).with_suffix("").parts): file for file in modules()}
    for name, file in names.items():
        targets = set(own_imports(file))
        graph[name] = {other for other in names if any(t == other or t.startswith(other + ".") for t in targets)}
        graph[name].discard(name)
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for target in graph[name]:
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_loading_the_face_imports_nothing() -> None:
    names = {name.split(".")[0] for name in imports(PACKAGE / "__init__.py")}
    assert names <= {"__future__", "importlib", "sys", "typing", "smsweep"}


def test_the_house_has_every_room() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {room_of(file) for file in modules()} - {"__init__"}
    assert {room for room in rooms if f"`{room}`" not in page} == set()


@pytest.mark.parametrize("room", sorted({room_of(file) for file in modules()}))
def test_a_room_says_what_it_is_for(room: str) -> None:
    package = PACKAGE / room / "__init__.py"
    text = (package if package.exists() else PACKAGE / f"{room}.py").read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
