"""Installation of requirements.txt: once per image, as a layer, with the settings of the host."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient

from smsweep.backends.docker import engine
from smsweep.backends.docker.requirements_image import LABEL
from tests.docker.engine_proxy import EngineProxy
from tests.docker.wheels import make_wheel, serve
from tests.support.jobs import Jobs


@pytest.fixture
def package() -> str:
    """The name of a package that no earlier run has installed."""
    return f"smsweeptest{secrets.token_hex(4)}"


@pytest.fixture(autouse=True)
def _leaves_no_layer(docker_engine: DockerClient) -> Iterator[None]:
    before = {image.id for image in docker_engine.images.list(filters={"label": LABEL})}
    yield
    for image in docker_engine.images.list(filters={"label": LABEL}):
        if image.id not in before:
            docker_engine.images.remove(str(image.id), force=True)


def test_later_trials_start_without_installation(jobs: Jobs, package: str) -> None:
    make_wheel(jobs.folder / "index" / package, package)
    script = f"import {package}; print({package}.VERSION)"
    with serve(jobs.folder / "index") as (url, asked):
        jobs.backend = jobs.another(PIP_INDEX_URL=url, HOME=str(jobs.folder))
        files = {"requirements.txt": f"{package}==1.0\n"}
        assert jobs.run("first", script, files=files).lines == ("1.0",)
        assert asked
        asked.clear()
        assert jobs.run("second", script, files=files).lines == ("1.0",)
        assert asked == []


def test_concurrent_trials_share_one_installation(jobs: Jobs, package: str) -> None:
    make_wheel(jobs.folder / "index" / package, package)
    with serve(jobs.folder / "index") as (url, asked):
        jobs.backend = jobs.another(PIP_INDEX_URL=url, HOME=str(jobs.folder))
        files = {"requirements.txt": package}
        names = [jobs.start(f"together-{number}", f"import {package}", files=files) for number in range(3)]
        assert [jobs.finish(name).status.status for name in names] == ["Completed"] * 3
        assert len([path for path in asked if path.endswith(".whl")]) == 1


def test_cleanup_of_another_agent_keeps_running_jobs(jobs: Jobs, package: str) -> None:
    make_wheel(jobs.folder / "wheels", package)
    settings = {"PIP_FIND_LINKS": str(jobs.folder / "wheels"), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null"}
    jobs.backend = jobs.another(**settings)
    script = "import time; print('ready', flush=True); time.sleep(1); print('done')"
    name = jobs.start("first", script, files={"requirements.txt": package})
    jobs.until_says(name, "ready")
    other = jobs.another(**settings)
    other.submit(jobs.request("second", "", files={"requirements.txt": package}))
    assert jobs.finish(jobs.name("second"), other).status.status == "Completed"
    assert jobs.finish(name).lines == ("ready", "done")


def test_two_workspaces_install_the_same_requirements_concurrently(
    jobs: Jobs, package: str, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Jobs(folder=tmp_path / "other", kind=jobs.kind, image=jobs.image)
    files = {
        "requirements.txt": "./slow\n",
        "slow/setup.py": f"import time; time.sleep(1.5); from setuptools import setup; setup(name='{package}')",
    }
    settings = {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null"}
    request = jobs.request("same", "", files=files)
    for each in (jobs, other):
        each.backend = each.another(**settings)
        each.backend.submit({**request, "TrainingJobName": each.name("same")})
    assert [each.finish(each.name("same")).status.failure_reason for each in (jobs, other)] == ["", ""]
    other.close()


def test_slow_commit_is_not_repeated(
    jobs: Jobs, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "TIMEOUT_S", 2)
    proxy = EngineProxy(tmp_path / "engine.sock", slow=b"/commit?", delay_s=4)
    proxy.start()
    make_wheel(jobs.folder / "index" / package, package)
    with serve(jobs.folder / "index") as (url, asked):
        jobs.backend = jobs.another(
            PIP_INDEX_URL=url,
            HOME=str(jobs.folder),
            DOCKER_HOST=f"unix://{proxy.path}",
            PIP_CONFIG_FILE="/dev/null",
        )
        done = jobs.run("large", f"import {package}", files={"requirements.txt": package})
        proxy.cut()
        assert done.status.status == "Completed"
        assert len([path for path in asked if path.endswith(".whl")]) == 1


def test_invalid_requirement_fails_with_the_end_of_pips_output(jobs: Jobs, package: str) -> None:
    with serve(jobs.folder) as (url, asked):
        jobs.backend = jobs.another(PIP_INDEX_URL=url, HOME=str(jobs.folder))
        files = {"requirements.txt": f"{package}==1.0"}
        status = jobs.run("broken", "", files=files).status
        assert status.failure_reason.startswith("requirements.txt: pip ended with exit code 1:")
        assert f"No matching distribution found for {package}==1.0" in status.failure_reason
        asked.clear()
        assert jobs.run("again", "", files=files).status.failure_reason == status.failure_reason
        assert asked == [], "what failed is not tried again"


def test_pip_config_files_and_local_wheels_are_used(jobs: Jobs, package: str) -> None:
    make_wheel(jobs.folder / "wheels", package)
    config = jobs.folder / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True)
    config.write_text(f"[global]\nno-index = true\nfind-links =\n  {jobs.folder / 'wheels'}\n")
    jobs.backend = jobs.another(HOME=str(jobs.folder))
    done = jobs.run("wheels", f"import {package}; print('found')", files={"requirements.txt": package})
    assert done.lines == ("found",)


def test_local_index_of_files_is_used(jobs: Jobs, package: str) -> None:
    make_wheel(jobs.folder / "mirror" / "packages", package)
    page = jobs.folder / "mirror" / "simple" / package / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="../../packages/{package}-1.0-py3-none-any.whl">{package}-1.0-py3-none-any.whl</a>')
    index = (jobs.folder / "mirror" / "simple").as_uri()
    jobs.backend = jobs.another(PIP_INDEX_URL=index, PIP_CONFIG_FILE="/dev/null")
    done = jobs.run("mirror", f"import {package}; print('found')", files={"requirements.txt": package})
    assert done.lines == ("found",)


def test_host_settings_can_be_disabled(jobs: Jobs, package: str) -> None:
    make_wheel(jobs.folder / "wheels", package)
    jobs.backend = jobs.another(
        PIP_FIND_LINKS=str(jobs.folder / "wheels"),
        PIP_NO_INDEX="1",
        PIP_CONFIG_FILE="/dev/null",
        SMSWEEP_DOCKER_HOST_PIP="0",
    )
    # With --no-index of its own it fails at once instead of asking the internet.
    status = jobs.run("out", "", files={"requirements.txt": f"--no-index\n{package}"}).status
    assert f"No matching distribution found for {package}" in status.failure_reason


def test_script_does_not_see_the_pip_settings(jobs: Jobs, package: str) -> None:
    make_wheel(jobs.folder / "wheels", package)
    jobs.backend = jobs.another(
        PIP_FIND_LINKS=str(jobs.folder / "wheels"), PIP_NO_INDEX="1", PIP_CONFIG_FILE="/dev/null"
    )
    script = "import os; print([name for name in os.environ if 'PIP' in name], os.listdir('/opt/ml'))"
    (line,) = jobs.run("gone", script, files={"requirements.txt": package}).lines
    assert line.startswith("[] ")
    assert "host" not in line


def test_requirement_in_the_source_is_installed(jobs: Jobs) -> None:
    jobs.backend = jobs.another(PIP_NO_BUILD_ISOLATION="0", PIP_NO_INDEX="1", PIP_CONFIG_FILE="/dev/null")
    setup = "from setuptools import setup; setup(name='smsweephome', py_modules=['smsweephome'])"
    files = {
        "requirements.txt": "./home\n",
        "home/setup.py": setup,
        "home/smsweephome.py": "WHERE = 'home'\n",
    }
    done = jobs.run("local", "import smsweephome; print(smsweephome.WHERE)", files=files)
    assert done.lines == ("home",), done


def test_trial_ends_when_it_is_stopped_during_the_installation(jobs: Jobs, package: str) -> None:
    jobs.backend = jobs.another(PIP_NO_BUILD_ISOLATION="0", PIP_NO_INDEX="1", PIP_CONFIG_FILE="/dev/null")
    files = {
        "requirements.txt": "./slow\n",
        "slow/setup.py": f"import time; time.sleep(60)  # {package}",
    }
    name = jobs.start("slow", "", files=files)
    jobs.until(name, lambda status: status.secondary_status == "Downloading")
    jobs.backend.stop(name)
    assert jobs.finish(name).status.status == "Stopped"


def test_image_with_requirements_keeps_the_config_of_its_base(
    jobs: Jobs, docker_engine: DockerClient, package: str
) -> None:
    make_wheel(jobs.folder / "wheels", package)
    jobs.backend = jobs.another(PIP_FIND_LINKS=str(jobs.folder / "wheels"), PIP_NO_INDEX="1")
    results = jobs.run("layer", "", files={"requirements.txt": package}).status.results
    assert results is not None
    assert results.image == docker_engine.images.get(jobs.image).id
    (layer,) = [
        image
        for image in docker_engine.images.list(filters={"label": LABEL})
        if image.attrs["Config"]["Labels"][LABEL] == image.tags[0].partition(":")[2]
    ][:1]
    config = layer.attrs["Config"]
    assert not config["Entrypoint"]
    assert "pip" not in str(config["Cmd"]).lower()
    assert not [item for item in config["Env"] or () if item.startswith("PIP")]
    assert config["WorkingDir"] == "/"
