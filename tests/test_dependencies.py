"""Dependencies are necessary, pinned, documented and small."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.lock import EDITABLE
from tools.pins import BASE, FILES, read

ROOT = Path(__file__).parent.parent
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
MAX_BASE_BYTES = 150_000_000
# Packages that smsweep imports, but that only its dependencies declare: part of their interface.
PART_OF = {
    "botocore": "boto3",
    "hydra": "hydra-core",
    "mlflow": "mlflow-skinny",
    "pydantic_core": "pydantic",
    "requests": "docker",
    "typing_extensions": "pydantic",
    "urllib3": "docker",
}

Pins = dict[str, Requirement]


def test_dependency_table_is_parsed() -> None:
    assert "pyyaml" in names(base())
    assert "pytest" in names(development())


@pytest.mark.parametrize("line", re.findall(r"\ndependencies = \[\n(.*?)\n\]", PYPROJECT, re.S)[0].splitlines())
def test_each_dependency_has_documented_reason(line: str) -> None:
    assert re.fullmatch(r'  "[^"]+",\s+# \S.{10,}', line)


def test_declared_dependencies_are_imported() -> None:
    assert set(names(base())) <= imported()


def test_imported_packages_are_declared() -> None:
    provided = {"ipython"}  # every Jupyter kernel has it, and smsweep uses it only in a kernel
    assert imported() - provided <= set(names([*base(), *extras()]))


def test_pins_equal_base_install() -> None:
    assert closure(base()) == set(pins(BASE))


def test_development_pins_equal_development_install() -> None:
    roots = [*base(), *development(), *examples(), *build()]
    assert closure(roots) == set(pins(*FILES))


def test_pinned_versions_satisfy_all_requirements() -> None:
    pinned = pins(*FILES)
    for requirement in [*base(), *development(), *examples(), *build()]:
        check(requirement, pinned)
    for name in pinned:
        for requirement in requires(name):
            check(requirement, pinned)


def test_installed_versions_equal_pins() -> None:
    pinned = pins(*FILES)
    assert {name: f"=={metadata.version(name)}" for name in pinned} == {
        name: str(requirement.specifier) for name, requirement in pinned.items()
    }


def test_base_install_is_small() -> None:
    sizes = {name: size_of(name) for name in pins(BASE)}
    total = sum(sizes.values())
    biggest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    assert total <= MAX_BASE_BYTES, f"{total / 1e6:.0f} MB; the biggest: {', '.join(biggest)}"


def test_documented_install_size_is_correct() -> None:
    output = re.search(r"base install of (\d+) MB", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert output is not None
    total = sum(size_of(name) for name in pins(BASE))
    assert int(output[1]) == pytest.approx(total / 1e6, rel=0.1)


def base() -> list[Requirement]:
    return read_array(r"\ndependencies = \[\n(.*?)\n\]")


def development() -> list[Requirement]:
    """Return the requirements of the tests: tools, the driver of the other database, and the emulator."""
    groups = (r"\ndev = \[\n(.*?)\n\]", r"\nemulator = \[\n(.*?)\n\]\n", r"\nui = \[\n(.*?)\n\]\n")
    lists = (*groups, r"\npostgres = \[(.*?)\] #", r"\nreport = \[(.*?)\] #")
    return [requirement for pattern in lists for requirement in read_array(pattern)]


def extras() -> list[Requirement]:
    return read_array(r"\n\[project.optional-dependencies\]\n(.*?)\n\n")


def build() -> list[Requirement]:
    return [*read_array(r"\[build-system\]\nrequires = \[(.*?)\]"), Requirement(EDITABLE)]


def examples() -> list[Requirement]:
    files = (ROOT / "examples").glob("*/requirements.txt")
    return [requirement for file in files for requirement in read_lines(file)]


def read_array(pattern: str) -> list[Requirement]:
    (text,) = re.findall(pattern, PYPROJECT, re.S)
    return [Requirement(found) for found in re.findall(r'"([^"]+)"', text)]


def read_lines(file: Path) -> list[Requirement]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def pins(*files: Path) -> Pins:
    """Return the requirements of pinned files by name, for this Python and system only."""
    found = [Requirement(pin) for file in files for pin in read(file)]
    return {
        canonicalize_name(requirement.name): requirement
        for requirement in found
        if requirement.marker is None or requirement.marker.evaluate()
    }


def names(requirements: Iterable[Requirement]) -> list[str]:
    return [canonicalize_name(requirement.name) for requirement in requirements]


def requires(name: str, extras: Iterable[str] = ("",)) -> Iterator[Requirement]:
    """Yield the requirements of an installed package on this Python and system."""
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement


def closure(roots: Iterable[Requirement]) -> set[str]:
    """Return the names of the roots and of all packages that they require."""
    found: set[tuple[str, str]] = set()  # name, extra
    ahead = [(requirement, extra) for requirement in roots for extra in ("", *requirement.extras)]
    while ahead:
        requirement, extra = ahead.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) not in found:
            found.add((name, extra))
            ahead += [(needed, more) for needed in requires(name, ["", extra]) for more in ("", *needed.extras)]
    return {name for name, _ in found}


def check(requirement: Requirement, pinned: Pins) -> None:
    pin = pinned[canonicalize_name(requirement.name)]
    (specifier,) = pin.specifier
    assert specifier.operator == "==", f"{pin} is not pinned"
    assert requirement.specifier.contains(specifier.version, prereleases=True), f"{pin} is not {requirement}"


def size_of(name: str) -> int:
    """Return the size of an installed package in bytes, without compiled bytecode."""
    files = [Path(str(file.locate())) for file in metadata.files(name) or ()]
    return sum(file.stat().st_size for file in files if file.suffix != ".pyc" and file.is_file())


def imported() -> set[str]:
    """Return the distributions that smsweep imports at run time, by the name that declares them."""
    providers = metadata.packages_distributions()
    found = set()
    for file in (path for folder in ("smsweep", "hydra_plugins") for path in (ROOT / folder).rglob("*.py")):
        for name in run_time_imports(ast.parse(file.read_text(encoding="utf-8"))):
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in ("smsweep", "hydra_plugins"):
                (provider,) = set(providers.get(top, [top]))  # extras are optional
                found.add(PART_OF.get(top, canonicalize_name(provider)))
    return found


def run_time_imports(node: ast.AST) -> Iterator[str]:
    """Yield the absolute names that code imports, except for type checking."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
    for child in ast.iter_child_nodes(node):
        yield from run_time_imports(child)
