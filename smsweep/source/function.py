"""Pack a Python function as the source of a job: its pickle, the modules of the user that it imports, and more.

cloudpickle pickles a function of a notebook or script by value, with the globals and closures that it uses. Other
functions and classes are pickled by name, so the source has the files of their modules. A module is the user's if
it is neither of the standard library nor installed in site-packages.
"""

from __future__ import annotations

import ast
import dis
import functools
import importlib.util
import inspect
import io
import json
import linecache
import logging
import os
import pickletools  # lists the strings of a pickle, and loads nothing # nosec B403
import re
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import cloudpickle

from smsweep.errors import UsageError
from smsweep.runtime.job.function_call import ABOUT, FOLDER, PICKLE
from smsweep.runtime.job.requirements import FILE as REQUIREMENTS
from smsweep.secrets.redact import environment_secrets, redact
from smsweep.source.collect import MAX_BYTES, SourceFile, collect
from smsweep.util.terminal_text import human_size, is_kernel

log = logging.getLogger(__name__)

AUTO = "auto"  # the imported packages, at their versions in this environment
OWN = "smsweep"  # each job has its runtime
INSTALLED = frozenset(("site-packages", "dist-packages"))
PLAIN_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w.,\s-]*\])?(\s*==\s*(?P<version>[\w.]+))?")
MAIN = "__main__"
MAX_DEPTH = 30  # of the search for the value that cannot be pickled

Function = Callable[[], Any]
Requirements = str | os.PathLike[str] | Sequence[str] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PickledFunction:
    """A function that jobs can call."""

    name: str  # for messages
    python: str  # version that can load the pickle, such as "3.11"
    files: Mapping[str, bytes]  # name in the source -> content
    strings: tuple[str, ...]  # the strings in the pickle that are not in its sources
    modules: tuple[str, ...]  # top-level modules of the user that the function imports
    requirements: tuple[str, ...]  # lines of its requirements.txt

    def collect(self, scratch: Path, *, excluded: Iterable[Path] = ()) -> list[SourceFile]:
        """List the files of the source, sorted by name.

        Args:
            scratch: An empty folder for the files that do not exist yet.
            excluded: Folders to exclude, such as smsweep's own.

        Raises:
            SourceError: If the files of a module cannot be collected.
        """
        files = []
        for name, content in self.files.items():
            path = scratch / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            files.append(_file(name, path))
        for module in self.modules:
            files += _files_of(module, list(excluded))
        return sorted(files, key=lambda file: file.name)


def function_name(function: object) -> str:
    """Return the name of a function for messages."""
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__qualname__", type(function).__qualname__).rpartition("<locals>.")[2]


def pickle_function(function: Function, requirements: Requirements = None) -> PickledFunction:
    """Pickle a function, and find the modules that it imports.

    Args:
        function: A function without arguments: also a lambda, a partial, a bound method or a callable object.
        requirements: Packages that the job installs: a requirements.txt, a list of its lines, or "auto".

    Raises:
        UsageError: If the function cannot be pickled, or the requirements are not valid.
    """
    name = function_name(function)
    lines = _given_requirements(requirements)
    content = io.BytesIO()
    pickler = _Pickler(content)
    try:
        pickler.dump(function)
    except Exception as err:  # pickling calls methods of the user's objects
        raise UsageError(_explain(function, name, err)) from err
    if content.tell() > MAX_BYTES:
        raise UsageError(
            f"function: {name} and its data are {human_size(content.tell())}, more than {human_size(MAX_BYTES)}; "
            "load the data inside the function"
        )
    pickler.dump(pickler.names_of_main)  # the memo of the first dump has these values
    modules, packages = _closure(pickler.imported, _local_packages() if lines is None else ())
    if lines is None:
        lines = _installed_versions(packages)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    sources = pickler.sources()
    copies = {file: f"{FOLDER}/sources/{n}-{_plain_name(file)}" for n, file in enumerate(sources)}
    about = {
        "name": name,
        "python": python,
        "cloudpickle": cloudpickle.__version__,
        "sources": copies,
        "argv": _arguments(sys.argv, os.environ),
    }
    files = {
        PICKLE: content.getvalue(),
        ABOUT: json.dumps(about, indent=1, sort_keys=True).encode(),
        **{copies[file]: text.encode() for file, text in sources.items()},
        **_cloudpickle_files(),
    }
    if lines:
        files[REQUIREMENTS] = "".join(f"{line}\n" for line in lines).encode()
    return PickledFunction(
        name=name,
        python=python,
        files=files,
        strings=tuple(_strings_in(content.getvalue(), sources.values())),
        modules=tuple(sorted(modules)),
        requirements=tuple(lines),
    )


def _arguments(argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return the arguments of the program for the job; only the program's name if one of them is a secret."""
    if is_kernel():  # the arguments of a kernel are for no function
        return list(argv[:1])
    options: dict[str, str] = {}
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        name, has_value, value = argument.partition("=")
        options[name.strip("-").replace("-", "_")] = value if has_value else following
    text = "\n".join(argv)
    if redact(text, environment_secrets({**environ, **options})) == text:
        return list(argv)
    log.warning(
        "an argument of the program is a secret, so that jobs get no arguments; use an environment variable"
    )
    return list(argv[:1])


def _strings_in(pickled: bytes, sources: Collection[str]) -> Iterator[str]:
    """Yield the strings in a pickle that are not in a source, for a search for secrets."""
    for _, argument, _ in pickletools.genops(pickled):
        if isinstance(argument, str) and not any(argument in text for text in sources):
            yield argument


def _plain_name(file: str) -> str:
    """Return the last part of a path, or of a name such as `<ipython-input-1>`, as a plain file name."""
    return re.sub(r"[^\w.-]", "_", os.path.basename(file))[-80:]  # noqa: PTH119 - not always a path


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Records the modules that the pickle imports, and the files of the code that it contains."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.imported: set[str] = set()  # dotted names
        self.names_of_main: dict[str, object] = {}  # functions and classes of __main__ that are pickled by value
        self._code_files: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, CodeType):  # cloudpickle 3.1.3 removes the file name, which a traceback needs
            make, args = self.dispatch_table[CodeType](obj)
            return make, tuple(obj.co_filename if arg == "<dynamic-code>" else arg for arg in args)
        if isinstance(obj, functools._lru_cache_wrapper) and not _can_import(obj):
            options = obj.cache_parameters()
            make_cache = (
                functools._lru_cache_wrapper,
                (
                    obj.__wrapped__,
                    options["maxsize"],
                    options["typed"],
                    functools._CacheInfo,
                ),
            )
            return *make_cache, dict(vars(obj))
        if isinstance(obj, functools.cached_property):  # before Python 3.12, it has a lock
            kept = {"attrname": obj.attrname, "__doc__": obj.__doc__}
            return functools.cached_property, (obj.func,), kept
        reduced = super().reducer_override(obj)
        if reduced is not NotImplemented and obj.__module__ == MAIN and "." not in obj.__qualname__:
            self.names_of_main[obj.__qualname__] = obj
        if isinstance(obj, FunctionType) and reduced is not NotImplemented:  # by value
            self.imported.update(_imports_of(obj))
            self._code_files.add(obj.__code__.co_filename)
        elif isinstance(obj, ModuleType):
            self.imported.add(obj.__name__)
        elif not isinstance(obj, type) or reduced is NotImplemented:
            owner = getattr(obj, "__module__", None)
            self.imported.add(owner if isinstance(owner, str) else type(obj).__module__)
        return reduced

    def sources(self) -> dict[str, str]:
        """Return the text of the files and notebook cells whose code is in the pickle."""
        texts = {name: "".join(linecache.getlines(name)) for name in sorted(self._code_files)}
        return {name: text for name, text in texts.items() if text}


def _can_import(value: Any) -> bool:
    """Return True if a job can import a value by its name."""
    if value.__module__ == MAIN:
        return False
    found: object = sys.modules.get(value.__module__)
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value


def _imports_of(function: FunctionType) -> Iterator[str]:
    """Yield the modules that the import statements of a function import; its own package for relative imports."""
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        instructions = list(dis.get_instructions(code))
        for index, instruction in enumerate(instructions):
            if instruction.opname != "IMPORT_NAME":
                continue
            is_relative = instructions[index - 2].argval  # the level and the names are loaded before
            package = function.__globals__.get("__package__") if is_relative else ""
            if name := package or instruction.argval:
                yield name


def _closure(imported: Iterable[str], local: Collection[str]) -> tuple[set[str], set[str]]:
    """Return the top-level modules of the user that are imported, directly or by one of them, and all others.

    Args:
        imported: Dotted names of modules.
        local: Installed packages that no index has. They count as modules of the user.
    """
    modules: set[str] = set()
    packages: set[str] = set()
    queue = {name.partition(".")[0] for name in imported}
    while queue:
        name = queue.pop()
        spec = None if name in modules | packages else _spec(name)
        if spec is None:
            continue
        if not (_is_users(spec) or name in local):
            packages.add(name)
            continue
        modules.add(name)
        queue |= {found for file in _files_of(name) for found in _top_level_imports(file.path)}
    return modules, packages


def _spec(name: str) -> ModuleSpec | None:
    """Return where a top-level module comes from; None for the standard library and for unknown modules."""
    if name in sys.stdlib_module_names or name in (OWN, "cloudpickle", MAIN, "__mp_main__"):
        return None
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    with suppress(ImportError, ValueError):
        return loaded or importlib.util.find_spec(name)
    return None


def _is_users(spec: ModuleSpec) -> bool:
    places = [
        *([spec.origin] if spec.has_location and spec.origin else []),
        *(spec.submodule_search_locations or ()),
    ]
    if not places:
        return False  # built in, or created in memory
    stdlib = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    return not any(
        INSTALLED.intersection(Path(place).parts) or any(Path(place).is_relative_to(folder) for folder in stdlib)
        for place in places
    )


def _files_of(module: str, excluded: Iterable[Path] = ()) -> list[SourceFile]:
    """List the files of a top-level module or package."""
    spec = _spec(module)
    assert spec  # _closure has found it
    if not spec.submodule_search_locations:
        path = Path(str(spec.origin)).resolve()
        return [_file(path.name, path)]
    files = {
        f"{module}/{file.name}": file
        for folder in spec.submodule_search_locations
        if Path(folder).is_dir()
        for file in collect(Path(folder), excluded=excluded)
    }
    return [
        SourceFile(name=name, path=file.path, size=file.size, is_executable=file.is_executable)
        for name, file in files.items()
    ]


def _top_level_imports(path: Path) -> Iterator[str]:
    if path.suffix != ".py":
        return
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # a template, or a file for another Python
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]


def _file(name: str, path: Path) -> SourceFile:
    return SourceFile(name=name, path=path, size=path.stat().st_size, is_executable=False)


def _cloudpickle_files() -> dict[str, bytes]:
    folder = Path(str(cloudpickle.__file__)).parent
    return {f"{FOLDER}/cloudpickle/{path.name}": path.read_bytes() for path in sorted(folder.glob("*.py"))}


def _given_requirements(requirements: Requirements) -> list[str] | None:
    """Return the lines of a requirements.txt; None for "auto"."""
    if requirements is None:
        return []
    if requirements == AUTO:
        return None
    if isinstance(requirements, (str, os.PathLike)):
        try:
            return Path(requirements).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeError) as err:
            reason = err.strerror if isinstance(err, OSError) else "not a text file"
            raise UsageError(
                f"requirements: {os.fspath(requirements)}: {reason}; name a requirements.txt, a list such as "
                "['numpy==2.2.0'], or 'auto'"
            ) from err
    given: object = requirements  # callers may have no types
    lines = list(given) if isinstance(given, Collection) else [given]
    wrong = [line for line in lines if not isinstance(line, str) or "\n" in line]
    if wrong:
        raise UsageError(
            f"requirements: expected a file, a list of lines or 'auto', got {requirements!r}; write a list such "
            "as ['numpy==2.2.0']"
        )
    return [str(line) for line in lines]


def missing_requirements(lines: Iterable[str]) -> list[str]:
    """Return the requirements that this environment does not have.

    Only requirements without a version or with an exact one are checked, such as `numpy` and `numpy==2.2.0`.
    """
    missing = []
    for line in lines:
        wanted = PLAIN_REQUIREMENT.fullmatch(line.strip())
        if wanted is None:
            continue
        try:
            installed = metadata.version(wanted["name"]).partition("+")[0]
        except metadata.PackageNotFoundError:
            installed = None
        if installed is None or wanted["version"] not in (None, installed):
            missing.append(line.strip())
    return missing


def _installed_versions(packages: Iterable[str]) -> list[str]:
    """Return a requirement for each distribution that provides one of the packages."""
    providers = metadata.packages_distributions()
    names = {name for package in packages for name in providers.get(package, ())}
    # An index has no local versions, such as 2.8.0+cu129.
    return sorted(
        f"{name} @ {url}" if (url := _origin(name)) else f"{name}=={metadata.version(name).partition('+')[0]}"
        for name in names
    )


def _local_packages() -> set[str]:
    """Return the packages that were installed from a folder or a file of this machine."""
    distributions = metadata.packages_distributions()
    return {
        package for package, names in distributions.items() if any(_origin(n).startswith("file:") for n in names)
    }


def _origin(distribution: str) -> str:
    """Return the URL from which a distribution was installed; "" for an index. Source: PEP 610."""
    text = metadata.distribution(distribution).read_text("direct_url.json")
    if not text:
        return ""
    direct = json.loads(text)
    url, vcs = str(direct["url"]), direct.get("vcs_info")
    folder = f"#subdirectory={direct['subdirectory']}" if direct.get("subdirectory") else ""
    return f"{vcs['vcs']}+{url}@{vcs['commit_id']}{folder}" if vcs else f"{url}{folder}"


def _explain(function: object, name: str, err: Exception) -> str:
    """Return which value of a function cannot be pickled, and what to do."""
    path, value = _culprit(function, name, set(), 0)
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    reason = str(err).splitlines()[0] if str(err) else type(err).__name__
    if path == name:
        return f"function: {name} cannot be sent to a job: {reason}; use a function of a module or a notebook"
    return (
        f"function: {name} cannot be sent to a job: {path} is a {kind}, which cannot be pickled ({reason}); "
        'create it inside the function, or use backend="inline"'
    )


def _culprit(value: object, path: str, seen: set[int], depth: int) -> tuple[str, object]:
    """Return the path and the value of the innermost part that cannot be pickled.

    The globals, closure variables and defaults of a function are in the path like attributes: `train.db.lock`.
    """
    seen.add(id(value))
    for label, part in _parts(value) if depth < MAX_DEPTH else ():
        if id(part) not in seen and not _can_pickle(part):
            return _culprit(part, path + label, seen, depth + 1)
    return path, value


def _can_pickle(value: object) -> bool:
    try:
        cloudpickle.dumps(value)
    except Exception:  # noqa: BLE001 - pickling calls methods of the user's objects
        return False
    return True


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """Yield the parts of a value that are pickled with it, each with its place in the value."""
    if isinstance(value, functools.partial):
        yield ".func", value.func
        yield from ((f".args[{n}]", part) for n, part in enumerate(value.args))
        yield from ((f".keywords[{key!r}]", part) for key, part in value.keywords.items())
    elif isinstance(value, (MethodType, BuiltinFunctionType)):
        yield ".__self__", value.__self__
        if isinstance(value, MethodType):
            yield ".__func__", value.__func__
    elif isinstance(value, FunctionType):
        yield from _function_parts(value)
    elif isinstance(value, Mapping):
        yield from ((f"[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"[{n}]", part) for n, part in enumerate(value))
    elif isinstance(value, type):
        yield from ((f".{name}", part) for name, part in vars(value).items() if not name.startswith("__"))
    else:
        yield from ((f".{name}", part) for name, part in getattr(value, "__dict__", {}).items())
        yield ".__class__", type(value)


def _function_parts(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # not assigned yet
            yield f".{name}", cell.cell_contents
    for name in _names_in(function.__code__):
        if name in function.__globals__:
            yield f".{name}", function.__globals__[name]
    signature = inspect.signature(function, follow_wrapped=False)
    for name, parameter in signature.parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            yield f".{name}", parameter.default
    yield from ((f".{name}", part) for name, part in vars(function).items())


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
