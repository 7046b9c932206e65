"""Says which images SDK 2.x takes for its frameworks. Runs in its environment.

stdout: [[words of job.yaml, region, instance type, URI], ...]: the last versions of each in one region, the last
of two in all regions, which the others share.
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
MACHINES = {"cpu": "ml.m5.large", "gpu": "ml.g5.xlarge"}


def config(name: str) -> dict[str, Any]:
    text = Path(image_uris.__file__).with_name("image_uri_config").joinpath(f"{name}.json").read_text()
    return dict(json.loads(text)["training"])


def offers(name: str) -> Iterator[tuple[dict[str, str], dict[str, Any], list[str]]]:
    """Yield a version's words, its entry and its processors, oldest first."""
    training = config(name)
    for version, entry in training["versions"].items():
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
    found: str = image_uris.retrieve(
        words["framework"],
        region,
        version=words.get("framework_version") or words["transformers_version"],
        py_version=words.get("py_version"),
        base_framework_version=base,
        instance_type=machine,
        image_scope="training",
    )
    return found


def questions() -> Iterator[tuple[dict[str, str], str, str]]:
    for name in ("pytorch", "tensorflow", "sklearn", "xgboost", "huggingface"):
        every = list(hugging_face() if name == "huggingface" else offers(name))
        for words, _, processors in every[-RECENT:]:
            for processor in set(processors) & MACHINES.keys():
                yield words, HOME, MACHINES[processor]
        words, entry, processors = every[-1]
        for region in entry["registries"] if name in ("pytorch", "sklearn") else ():
            yield words, region, MACHINES[processors[0]]


sealed.answer([[*asked, uri(*asked)] for asked in questions()])
