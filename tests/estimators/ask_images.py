"""Says which images SDK 2.x takes for its frameworks. Runs in its environment.

stdout: [[words of job.yaml, region, instance type, URI], ...]: the last versions of each, and their short names,
on machines of all kinds in one region; the last one of each in all regions. URI: "" where the SDK knows none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sealed  # type: ignore[import-not-found]  # beside this script

sealed.seal()

from sagemaker import image_uris  # noqa: E402  # after the seal

HOME = "eu-west-1"
RECENT = 8  # versions
MACHINES = {
    "cpu": ("ml.m5.large", "ml.r7i.xlarge"),
    "gpu": ("ml.g5.xlarge", "ml.g6e.xlarge", "ml.p3.2xlarge", "ml.p5.48xlarge"),
}


def config(name: str) -> dict[str, Any]:
    text = Path(image_uris.__file__).with_name("image_uri_config").joinpath(f"{name}.json").read_text()
    return dict(json.loads(text)["training"])


def offers(name: str) -> Iterator[tuple[dict[str, str], dict[str, Any], list[str]]]:
    """Yield the arguments, the entry and the processors of each version, oldest first."""
    training = config(name)
    versions, aliases = training["versions"], training.get("version_aliases", {})
    short = [(alias, versions[version]) for alias, version in aliases.items() if alias != "latest"]
    named = [*short[-RECENT:], *list(versions.items())[-RECENT:]]
    for version, entry in named:
        words = {"framework": name, "framework_version": version}
        for python in (entry.get("py_versions") or ["py3"])[-1:]:
            given = {**words, "py_version": python} if name in ("pytorch", "tensorflow") else words
            yield given, entry, entry.get("processors") or training.get("processors") or ["cpu"]


def hugging_face() -> Iterator[tuple[dict[str, str], dict[str, Any], list[str]]]:
    training = config("huggingface")
    for transformers, bases in training["versions"].items():
        for base, entry in bases.items():
            if base == "version_aliases":
                continue
            framework = base.rstrip("0123456789.")
            yield (
                {
                    "framework": "huggingface",
                    "transformers_version": transformers,
                    f"{framework}_version": base.removeprefix(framework),
                    "py_version": entry["py_versions"][-1],
                },
                entry,
                ["gpu"],
            )


def uri(words: dict[str, str], region: str, machine: str) -> str:
    base = next(
        (f"{name}{words[f'{name}_version']}" for name in ("pytorch", "tensorflow") if f"{name}_version" in words),
        None,
    )
    try:
        found: str = image_uris.retrieve(
            words["framework"],
            region,
            version=words.get("framework_version") or words["transformers_version"],
            py_version=words.get("py_version"),
            base_framework_version=base,
            instance_type=machine,
            image_scope="training",
        )
    except (ValueError, KeyError):
        return ""
    return found


def questions() -> Iterator[tuple[dict[str, str], str, str]]:
    for name in ("pytorch", "tensorflow", "sklearn", "xgboost", "huggingface"):
        every = list(hugging_face())[-RECENT:] if name == "huggingface" else list(offers(name))
        for words, _, processors in every:
            for processor in sorted(set(processors) & MACHINES.keys()):
                yield from ((words, HOME, machine) for machine in MACHINES[processor])
        words, entry, processors = every[-1]
        for region in (*entry["registries"], "mars-west-1"):
            yield words, region, MACHINES[processors[0]][0]


sealed.answer([[*asked, uri(*asked)] for asked in questions()])
