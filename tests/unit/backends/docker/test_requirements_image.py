"""The key of an image with requirements."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.backends.docker.requirements_image import Requirements

REMOTE = "https://host.example"


def depends_on_the_source(tmp_path: Path, text: str) -> bool:
    keys = set()
    for content in (b"one", b"another"):
        tar = tmp_path / "source.tar.gz"
        tar.write_bytes(content)
        keys.add(Requirements(source_tar=tar, text=text.encode(), is_isolated=False).key("sha256:image"))
    return len(keys) == 2


@pytest.mark.parametrize(
    "line",
    [
        "./pkg",
        "pkg/",
        "wheels/model-1.0-py3-none-any.whl",
        "model-1.0.tar.gz",
        "model-1.0-py3-none-any.whl[extra]",
        "model-1.0-py3-none-any.whl ; python_version > '3'",
        "model @ file:pkg",
        "model[extra] @ file:///opt/ml/code/pkg",
        "  -e pkg",
        "-r more.txt",
        "file:pkg",
        "../ml/code/pkg",
    ],
)
def test_key_depends_on_the_source_when_a_line_names_a_file(tmp_path: Path, line: str) -> None:
    assert depends_on_the_source(tmp_path, f"numpy\n{line}\n")


@pytest.mark.parametrize(
    "line",
    [
        "numpy>=1.26,<3  # not ./this",
        "# wheels/model.whl",
        "model @ https://host.example/wheels/model-1.0-py3-none-any.whl",
        "git+https://host.example/group/model.git@main#egg=model",
        "https://host.example/model-1.0.tar.gz",
        "model[extra]==1.0; sys_platform == 'linux'",
        "zope.interface",
        f"--find-links {REMOTE}/cpu",
    ],
)
def test_key_does_not_depend_on_the_source_otherwise(tmp_path: Path, line: str) -> None:
    assert not depends_on_the_source(tmp_path, f"numpy\n{line}\n")
