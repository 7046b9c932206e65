"""Renew the pinned packages and the digests of base images: `make lock`.

`python -m tools.lock ENVIRONMENT ...` renews the pins of these environments only.

Pins are valid for all Python versions in pyproject.toml; markers select other releases for older versions. Each
file pins only packages that the files before it do not pin:

    smsweep/requirements/base.txt      pyproject.toml's dependencies
    smsweep/requirements/postgres.txt  its extra `postgres`
    requirements/build.txt             its build backend
    requirements/examples.txt          examples/*/requirements.txt
    requirements/dev.txt               tests and linters
    requirements/environments.json     the environments of tools/environments.py
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import requests
from docker import DockerClient
from docker.errors import DockerException

from tools.environments import ENVIRONMENTS, IN_BENCHMARKS, IN_CONTAINERS, Environment, oracle
from tools.interpreters import supported
from tools.pins import (
    BASE,
    BUILD,
    DEV,
    EXAMPLES,
    FILES,
    POSTGRES,
    ROOT,
    Pins,
    read,
    read_environment,
    read_environments,
    render,
    write_environments,
)

PROJECT = "pyproject.toml"
OLDEST = (3, supported()[0])  # oldest Python version of the pins
EXTRAS = ("postgres", "emulator", "report", "ui")  # extras that the tests need
EDITABLE = "editables>=0.5"  # requirement of hatchling for editable installs
PINNED_IMAGE = re.compile(r"(?P<tag>[^\s=@]+)@(?P<digest>sha256:[0-9a-f]{64})")


def main() -> int:
    try:
        if sys.argv[1:]:
            renew_environments(sys.argv[1:])
        else:
            renew()
    except subprocess.CalledProcessError as err:
        print(
            f"lock: {err.cmd[0]} exited with code {err.returncode}, see above; no pin was changed", file=sys.stderr
        )
        return 1
    return 0


def renew() -> None:
    uv, build = str(oracle("tools").python.with_name("uv")), build_backend()
    examples = [line for file in sorted((ROOT / "examples").glob("*/requirements.txt")) for line in lines(file)]
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]

    locked: dict[Path, Pins] = {BASE: resolve(uv, [PROJECT])}
    locked[POSTGRES] = resolve(uv, [PROJECT, "--extra", "postgres"], below=[locked[BASE]])
    locked[BUILD] = resolve(uv, [], build)
    locked[EXAMPLES] = resolve(uv, [PROJECT], [*build, *examples], [locked[BASE], locked[BUILD]])
    dev = [PROJECT, *extras, "--group", "dev"]
    locked[DEV] = resolve(uv, dev, [*build, *examples], list(locked.values()))
    everything = {**ENVIRONMENTS, **IN_BENCHMARKS, **IN_CONTAINERS}
    environments = {name: resolve_environment(uv, one, build, locked) for name, one in everything.items()}

    for file, pins in locked.items():
        file.write_text(render(f"{ABOUT[file]} Renew with `make lock`.", pins), encoding="utf-8")
    write_environments(environments)
    for dockerfile in sorted((ROOT / "container").glob("*Dockerfile")):
        print(renew_digests(dockerfile))


def renew_environments(names: Sequence[str]) -> None:
    """Renew the pins of some environments. The pins of the others, and the files that they extend, stay."""
    everything = {**ENVIRONMENTS, **IN_BENCHMARKS, **IN_CONTAINERS}
    if unknown := sorted(set(names) - set(everything)):
        sys.exit(f"lock: unknown environments {', '.join(unknown)}; select from {', '.join(everything)}")
    uv = str(oracle("tools").python.with_name("uv"))
    locked = {file: read(file) for file in FILES}
    known = read_environments()["environments"]
    kept = {name: (known[name]["for"], read_environment(name)) for name in everything if name in known}
    renewed = {name: resolve_environment(uv, everything[name], build_backend(), locked) for name in names}
    write_environments({name: {**kept, **renewed}[name] for name in everything if name in {**kept, **renewed}})


def resolve_environment(
    uv: str, environment: Environment, build: Sequence[str], locked: Mapping[Path, Pins]
) -> tuple[Sequence[str], Pins]:
    """Return the requirements of an environment, and its own pins."""
    sources = [PROJECT, *(word for extra in environment.extras for word in ("--extra", extra))]
    pins = resolve(
        uv,
        sources if environment.has_smsweep else [],
        [*environment.requirements, *(build if environment.has_smsweep else ())],
        [locked[file] for file in environment.below],
        python=environment.python_from,
        absent=environment.absent,
    )
    return wanted(environment), pins


def build_backend() -> list[str]:
    project = (ROOT / PROJECT).read_text(encoding="utf-8")
    (backend,) = re.findall(r"\[build-system\]\nrequires = \[(.*?)\]", project)
    return [*re.findall(r'"(.*?)"', backend), EDITABLE]


ABOUT = {
    BASE: "The base install, from pyproject.toml: pip install --require-hashes -r base.txt.",
    POSTGRES: "Packages of the extra `postgres` that are not in base.txt.",
    BUILD: "Packages that build smsweep.",
    EXAMPLES: "Packages of the examples that are not in base.txt and build.txt.",
    DEV: "Packages of tests and linters that are not in the other files.",
}


def wanted(environment: Environment) -> list[str]:
    """Return the requirements of an environment. Its pins are out of date when they change."""
    extras = f"[{','.join(environment.extras)}]" if environment.extras else ""
    return [*environment.requirements, *([f"smsweep{extras}"] if environment.has_smsweep else [])]


def lines(file: Path) -> list[str]:
    """Return the requirements in a file."""
    text = file.read_text(encoding="utf-8").splitlines()
    return [line for line in text if line and not line.startswith(("#", "-"))]


def resolve(
    uv: str,
    sources: Sequence[str],
    requirements: Sequence[str] = (),
    below: Sequence[Pins] = (),
    python: tuple[int, int] = OLDEST,
    absent: Sequence[str] = (),
) -> Pins:
    """Resolve requirements, and return their pins.

    Args:
        uv: Path of the program.
        sources: Arguments of `uv pip compile`: files, extras, groups.
        requirements: Further requirements.
        below: Pins that the result must agree with. They are not in the result.
        python: Oldest Python version of the result.
        absent: Packages that other packages require, and that are installed in another way.
    """
    print(*sources, *requirements, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        constraints, more, out = (Path(folder, f"{name}.txt") for name in ("constraints", "more", "out"))
        overrides = Path(folder, "overrides.txt")
        overrides.write_text("".join(f"{name} ; python_version < '3'\n" for name in absent), encoding="utf-8")
        known = {pin: hashes for pins in below for pin, hashes in pins.items()}
        constraints.write_text(render("", known), encoding="utf-8")
        more.write_text("".join(f"{line}\n" for line in requirements), encoding="utf-8")
        options = ["--universal", "--python-version", f"{python[0]}.{python[1]}", "--generate-hashes"]
        options += ["--no-build", "--no-header", "--no-annotate", "--quiet", "--constraint", str(constraints)]
        options += ["--override", str(overrides)]
        argv = [uv, "pip", "compile", *options, "--output-file", str(out), *sources, str(more)]
        subprocess.run(argv, cwd=ROOT, check=True)
        return {pin: hashes for pin, hashes in read(out).items() if pin not in known}


def renew_digests(dockerfile: Path) -> str:
    """Replace the digests in a Dockerfile by the current digests of the registry.

    Returns:
        A message about the result. Without a Docker Engine or a registry, the digests are kept.
    """
    old = dockerfile.read_text(encoding="utf-8")
    try:
        engine = DockerClient.from_env(timeout=60)
        try:
            new = PINNED_IMAGE.sub(
                lambda image: f"{image['tag']}@{engine.images.get_registry_data(image['tag']).id}", old
            )
        finally:
            engine.close()
    except (DockerException, requests.RequestException) as err:
        return f"{dockerfile.name}: digests kept, because the registry cannot be reached: {err}"
    dockerfile.write_text(new, encoding="utf-8")
    return f"{dockerfile.name}: digests {'are current' if new == old else 'renewed'}"


if __name__ == "__main__":
    sys.exit(main())
