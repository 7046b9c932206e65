"""From a prepared folder to running containers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path, PurePosixPath

from docker import APIClient
from docker.errors import APIError

from smsweep.backends.docker.channels import Checkpoints, channel_binds, fetch_channels
from smsweep.backends.docker.containers import (
    LABEL_GPU,
    Bind,
    ContainerPlan,
    HostNetwork,
    choose_gpu,
    container_name,
    create,
    ensure_network,
    find,
)
from smsweep.backends.docker.engine import DockerOptions, Engine, engine_time
from smsweep.backends.docker.images import ML, bring_code, cannot_start, ensure_image, image_name, inspect_image
from smsweep.backends.docker.requirements_image import RequirementsLayers, read_requirements
from smsweep.backends.local.job_folder import JobFolder
from smsweep.backends.local.opt_ml import open_to_all
from smsweep.backends.local.request_fields import host_names
from smsweep.backends.local.storage import Place, place_of
from smsweep.core.job import RUNTIME_CHANNEL, SOURCE_TAR
from smsweep.util.atomic_file import exclusive


class JobStart:
    """One job's start. Every step can be repeated, and finds what an earlier agent has done already."""

    def __init__(self, folder: JobFolder, around: DockerContext) -> None:
        self._folder = folder
        self._around = around
        self._request = folder.request()
        self._hosts = host_names(self._request)
        self._checkpoints = Checkpoints(self._request, folder.ml(), around.place)

    def run(self, client: APIClient, check: Callable[[], None]) -> datetime | None:
        """Get image, requirements and data, then create and start a container a host.

        Return when an earlier agent started the first of them; None where none had been.
        check: called where it may take long, and before anything starts; what it raises ends the start.
        Raises JobRejected.
        """
        check()
        sources = fetch_channels(self._request, partial(self._fetch, check=check))
        check()
        image = image_name(self._request, self._around.options.image)
        ensure_image(client, image, check)
        check()
        try:
            assets = sources.get(RUNTIME_CHANNEL)
            layer = self._with_requirements(client, image, assets, check)
            if not (self._checkpoints.is_copy and find(client, self._folder.path)):
                # Else a container has them already, and may have written newer ones.
                self._checkpoints.restore(check)
            check()
            volumes = inspect_image(client, layer)["Config"].get("Volumes") or {}
            for host, network in ensure_network(client, self._request, self._hosts).items():
                binds = self._binds(sources, host)
                binds += _instead_of(volumes, binds, self._folder.ml(host))
                self._create(client, host, network, layer, binds)
            has_source = assets is not None and (assets / SOURCE_TAR).exists()
            before = [self._start_once(client, host, image, has_source=has_source) for host in self._hosts]
        except APIError as err:
            raise cannot_start(image, err) from err
        return min(filter(None, before), default=None)

    def _fetch(self, uri: str, data_type: str, check: Callable[[], None]) -> Path:
        return self._around.place(uri).fetch(uri, data_type, check)

    def _with_requirements(
        self, client: APIClient, image: str, assets: Path | None, check: Callable[[], None]
    ) -> str:
        if assets is None:
            return image
        open_to_all(assets, folders=0o755, files=0o644)  # a umask may keep them from the image's user
        is_isolated = self._request.get("EnableNetworkIsolation", False)
        requirements = read_requirements(assets / SOURCE_TAR, is_isolated=is_isolated)
        return self._around.layers.image_with(client, image, requirements, check) if requirements else image

    def _binds(self, sources: dict[str, Path], host: str) -> list[Bind]:
        ml, copies = self._folder.ml(host), self._around.options.copies_channels
        return [
            Bind(source=ml, target=ML, is_read_only=False),
            *channel_binds(self._request, sources, ml, self._hosts, host, copies=copies),
            *self._checkpoints.binds(),
        ]

    def _create(self, client: APIClient, host: str, network: HostNetwork, image: str, binds: list[Bind]) -> None:
        plan = ContainerPlan(
            folder=self._folder.path,
            request=self._request,
            host=host,
            network=network,
            image=image,
            binds=binds,
            options=self._around.options,
            facts=self._around.engine.facts,
            environ=self._around.environ,
            owner=self._around.owner,
        )
        if not self._around.gpus:
            create(client, plan)
            return
        with exclusive(self._around.cache / "gpus.lock"):
            labels = [found["Labels"] for found in client.containers(all=True, filters={"label": [LABEL_GPU]})]
            create(client, replace(plan, gpu=choose_gpu(self._around.gpus, labels, LABEL_GPU)))

    def _start_once(self, client: APIClient, host: str, image: str, *, has_source: bool) -> datetime | None:
        """Start a container that never ran; one that has ended already would run a second time.

        Return when it was started, if it was before.
        """
        container = container_name(self._folder.name, host)
        state = client.inspect_container(container)["State"]
        if state["Status"] != "created":
            return engine_time(state["StartedAt"])
        bring_code(client, image, container, self._folder, has_source=has_source)
        client.start(container)
        return None


def _instead_of(volumes: Iterable[str], binds: Iterable[Bind], ml: Path) -> list[Bind]:
    """Return mounts of the job's own folders where volumes that its image declares would hide them.

    ml: what the container knows as /opt/ml.
    """
    taken = {bind.target for bind in binds}
    made = []
    for target in volumes:
        place = PurePosixPath(target)
        if place.is_relative_to(ML) and str(place) not in taken:
            folder = ml / place.relative_to(ML)
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)
            made.append(Bind(source=folder, target=str(place), is_read_only=False))
    return made


@dataclass(frozen=True, kw_only=True, slots=True)
class DockerContext:
    engine: Engine
    options: DockerOptions
    layers: RequirementsLayers
    environ: Mapping[str, str]  # the caller's
    clock: Callable[[], float]  # seconds since the epoch
    uptime: Callable[[], float]  # seconds since the machine was started
    cache: Path  # folder for what is worth keeping between jobs
    gpus: tuple[str, ...]  # devices of this machine
    owner: tuple[int, int]  # user and group that a job's files are to belong to

    def place(self, uri: str) -> Place:
        return place_of(uri, self.environ, self.cache)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), timezone.utc)
