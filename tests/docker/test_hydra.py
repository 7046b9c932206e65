"""The jobs of a Hydra multirun in containers."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient

import smsweep
from smsweep.backends.docker.images import find_python
from tools.docker_engine import IMAGE
from tools.environments import oracle

pytestmark = pytest.mark.oracle

TAG = "smsweep-test-hydra"
FIND = """
import json, sys, antlr4, hydra, omegaconf, packaging, yaml
folders = [module.__path__[0] for module in (antlr4, hydra, omegaconf, packaging, yaml)]
print(json.dumps([".".join(map(str, sys.version_info[:2])), folders]))
"""
TRAIN = """
import json
from pathlib import Path
import hydra
from hydra.core.hydra_config import HydraConfig

@hydra.main(version_base=None, config_path="conf", config_name="config")
def train(cfg):
    facts = {"layers": cfg.model.layers, "in_container": Path("/.dockerenv").exists()}
    Path(HydraConfig.get().runtime.output_dir, "facts.json").write_text(json.dumps(facts))
    return cfg.lr * cfg.model.layers

if __name__ == "__main__":
    train()
"""


@pytest.fixture
def image(docker_engine: DockerClient) -> Iterator[str]:
    """The base image with the packages of the Hydra environment."""
    found = subprocess.run([oracle("hydra").python, "-c", FIND], capture_output=True, text=True, check=True)
    version, folders = json.loads(found.stdout)
    if find_python(docker_engine.api, IMAGE) != version:
        pytest.skip(f"{IMAGE} has another Python than {version}")
    packages = "$(python3 -c \"import sysconfig; print(sysconfig.get_path('purelib'))\")"
    dockerfile = (
        f"FROM {IMAGE}\nCOPY packages /packages\nRUN mkdir -p {packages} && cp -r /packages/. {packages}\n"
    )
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(dockerfile)
        tar.addfile(info, io.BytesIO(dockerfile.encode()))
        for folder in map(Path, folders):
            tar.add(folder, f"packages/{folder.name}")
    context.seek(0)
    docker_engine.images.build(fileobj=context, custom_context=True, tag=TAG, rm=True)
    yield TAG
    docker_engine.images.remove(TAG, force=True)


def test_jobs_of_a_multirun_run_in_containers(image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "config.yaml").write_text("defaults: [_self_, {model: small}]\nlr: 0.5\n")
    (tmp_path / "conf" / "model" / "small.yaml").write_text("layers: 1\n")
    (tmp_path / "conf" / "model" / "large.yaml").write_text("layers: 8\n")
    (tmp_path / "train.py").write_text(TRAIN)
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path / "home"))
    monkeypatch.delenv("SMSWEEP_STORE", raising=False)
    settings = ["hydra/launcher=smsweep", "hydra.launcher.backend=docker", "hydra.launcher.parallel=2"]
    done = subprocess.run(
        [oracle("hydra").python, "train.py", "--multirun", *settings, "model=small,large"],
        cwd=tmp_path,
        env={**os.environ, "SMSWEEP_DOCKER_IMAGE": image},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (sweep,) = smsweep.Api().sweeps()
    assert [(run.config, run.summary) for run in sweep.runs] == [
        ({"model": "small"}, {"return_value": 0.5}),
        ({"model": "large"}, {"return_value": 4.0}),
    ]
    outputs = sorted((tmp_path / "home" / "jobs").rglob("facts.json"))
    assert [json.loads(output.read_text()) for output in outputs] == [
        {"layers": layers, "in_container": True} for layers in (1, 8)
    ]
