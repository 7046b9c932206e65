"""Base images are named by digest: `make lock` renews it, and the engine refuses another image with the tag."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient
from docker.errors import ImageNotFound

from tests.docker.registry import Registry
from tools.lock import renew_digests

OLD = "sha256:" + "0" * 64


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(text=str(tmp_path)).serve() as registry:
        registry.may_go_on.set()
        yield registry


def digest(registry: Registry) -> str:
    return "sha256:" + hashlib.sha256(registry.manifest).hexdigest()


def test_lock_renews_the_digest_of_a_base_image(registry: Registry, tmp_path: Path) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"ARG BASE={registry.address}@{OLD}\nFROM ${{BASE}}\n")
    assert renew_digests(dockerfile) == "Dockerfile: digests renewed"
    assert dockerfile.read_text() == f"ARG BASE={registry.address}@{digest(registry)}\nFROM ${{BASE}}\n"
    assert renew_digests(dockerfile) == "Dockerfile: digests are current"


def test_lock_keeps_the_digest_without_a_registry(registry: Registry, tmp_path: Path) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"ARG BASE=localhost:1/tiny:1@{OLD}\n")
    assert renew_digests(dockerfile).startswith(
        "Dockerfile: digests kept, because the registry cannot be reached:"
    )
    assert dockerfile.read_text() == f"ARG BASE=localhost:1/tiny:1@{OLD}\n"


def test_engine_pulls_the_image_with_the_digest(docker_engine: DockerClient, registry: Registry) -> None:
    image = docker_engine.images.pull(f"{registry.address}@{digest(registry)}")
    docker_engine.images.remove(str(image.id), force=True)


def test_engine_rejects_another_image_with_the_tag(docker_engine: DockerClient, registry: Registry) -> None:
    pinned = f"{registry.address}@{digest(registry)}"
    with Registry(text="swapped").serve() as other:
        other.may_go_on.set()
        registry.manifest, registry.blobs, registry.layer = other.manifest, other.blobs, other.layer
        output = [str(line) for line in docker_engine.api.pull(pinned, stream=True, decode=True)]
    assert "manifest verification failed for digest" in output[-1]
    with pytest.raises(ImageNotFound):
        docker_engine.images.pull(pinned)
