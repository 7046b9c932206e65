"""Layers of docs/architecture.md: the imports that each package is allowed."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "smsweep"

# Each package imports only itself and packages of earlier rows.
LAYERS: Sequence[set[str]] = (
    {"errors", "runtime", "_version"},
    {"util"},
    {"space"},
    {"core"},
    {"search", "stopping", "store", "secrets", "report", "exports", "sagemaker_sdk"},
    {"source"},
    {"aws"},
    {"config_files", "backends"},
    {"engine", "notify", "emulator", "testing"},
    {"remote", "wandb_compat"},
    {"services"},
    {"api", "mcp", "web"},
    {"cli"},
    {"__main__"},
)
MAY_NOT_IMPORT = {  # package -> foreign packages
    "runtime": {"yaml", "numpy", "boto3", "pydantic", "sqlalchemy"},
    "core": {"sqlalchemy", "boto3", "yaml", "docker", "pydantic"},
    "engine": {"sqlalchemy", "docker", "boto3"},
    "store": {"boto3", "docker"},
    "services": {"argparse", "typer", "rich", "starlette", "uvicorn"},
    "cli": {"sqlalchemy", "pydantic", "boto3", "docker", "numpy"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def package_of(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


@functools.cache
def imports(file: Path) -> Sequence[str]:
    """Return the dotted names that a file imports, including imports for types only."""
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found += (f"{node.module}.{alias.name}" for alias in node.names)
    return found


def own_imports(file: Path) -> Iterator[str]:
    """Yield the smsweep names that a file imports, without the prefix: `store.base.Store`."""
    for name in imports(file):
        if name.startswith("smsweep.") and name != "smsweep.__version__":
            yield name.removeprefix("smsweep.")


def modules_of(package: str) -> list[Path]:
    return [file for file in modules() if package_of(file) == package]


PACKAGES = sorted({package_of(file) for file in modules()} - {"__init__"})


@pytest.mark.parametrize("package", PACKAGES)
def test_package_imports_only_from_earlier_layers(package: str) -> None:
    (number,) = (number for number, layer in enumerate(LAYERS) if package in layer)
    allowed = {package}.union(*LAYERS[:number])
    wrong = {
        (file.name, name)
        for file in modules_of(package)
        for name in own_imports(file)
        if name.split(".")[0] not in allowed
    }
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_package_does_not_import_foreign_packages_of_others(package: str) -> None:
    banned = MAY_NOT_IMPORT.get(package, set())
    found = {(file.name, name) for file in modules_of(package) for name in imports(file)}
    assert not {(file, name) for file, name in found if name.split(".")[0] in banned}


def test_modules_have_no_import_cycle() -> None:
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


def test_importing_smsweep_imports_no_other_package() -> None:
    names = {name.split(".")[0] for name in imports(PACKAGE / "__init__.py")}
    assert names <= {"__future__", "importlib", "sys", "typing", "smsweep"}


def test_hydra_imports_nothing_of_smsweep_at_its_start() -> None:
    file = PACKAGE.parent / "hydra_plugins" / "smsweep_launcher" / "__init__.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert {name.split(".")[0] for name in names} == {"collections", "dataclasses", "hydra", "omegaconf", "typing"}
    assert not [node for node in tree.body if isinstance(node, ast.Import)]


def test_architecture_page_names_every_package() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert {package for package in PACKAGES if f"`{package}`" not in page} == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_package_has_docstring(package: str) -> None:
    init = PACKAGE / package / "__init__.py"
    text = (init if init.exists() else PACKAGE / f"{package}.py").read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
