"""What a layer of requirements depends on."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.backends.docker.requirements_image import Requirements

ELSEWHERE = "https://host.example"


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
def test_what_names_a_file_of_the_source_is_installed_anew_for_another_source(tmp_path: Path, line: str) -> None:
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
        f"--find-links {ELSEWHERE}/cpu",
    ],
)
def test_what_comes_from_elsewhere_is_installed_once_for_all_sources(tmp_path: Path, line: str) -> None:
    assert not depends_on_the_source(tmp_path, f"numpy\n{line}\n")
