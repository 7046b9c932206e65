"""The start of a job: fetch its data, get its image, and create and start its containers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from docker import APIClient
from docker.errors import APIError

from smsweep.backends.docker.channels import Checkpoints, channel_binds, fetch_channels
from smsweep.backends.docker.containers import (
    Bind,
    ContainerPlan,
    HostNetwork,
    container_name,
    create,
    ensure_network,
    find,
    remove,
)
from smsweep.backends.docker.engine import DockerOptions, Engine, engine_time
from smsweep.backends.docker.images import (
    ML,
    cannot_start,
    copy_image_code,
    ensure_image,
    image_name,
    inspect_image,
)
from smsweep.backends.docker.requirements_image import RequirementsLayers, read_requirements
from smsweep.backends.local.job_folder import JobFolder
from smsweep.backends.local.ledger import Claim, DeviceLedger
from smsweep.backends.local.opt_ml import open_to_all
from smsweep.backends.local.request_fields import host_names
from smsweep.backends.local.storage import Place, place_of
from smsweep.core.job import RUNTIME_CHANNEL, SOURCE_TAR
from smsweep.core.resources import ANY_SHARE, Resources, resources_of


@dataclass(frozen=True, kw_only=True, slots=True)
class DockerContext:
    """What all jobs of one DockerBackend share.

    Attributes:
        engine: Opens clients of the engine.
        options: The settings.
        layers: Installs requirements.
        environ: The user's environment variables.
        clock: The time in seconds since the epoch.
        uptime: The seconds since the machine was started.
        cache: The folder for data that several jobs use.
        ledger: The claims of devices.
        owner: The user id and group id that get the files of the jobs.
    """

    engine: Engine
    options: DockerOptions
    layers: RequirementsLayers
    environ: Mapping[str, str]
    clock: Callable[[], float]
    uptime: Callable[[], float]
    cache: Path
    ledger: DeviceLedger
    owner: tuple[int, int]

    def place(self, uri: str) -> Place:
        return place_of(uri, self.environ, self.cache)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), timezone.utc)


def needs_of(request: Mapping[str, Any], ledger: DeviceLedger) -> Resources:
    """Return the devices that each container of a job claims.

    If the machine has GPUs, a container that does not ask for them gets one that it shares with others.
    """
    needs = resources_of(request)
    return replace(needs, gpus=ANY_SHARE) if needs.gpus is None and ledger.pool.gpus else needs


class JobStart:
    """Starts one job. Each step can be repeated: it skips what an earlier agent has done.

    Args:
        folder: The job's folder.
        context: What all jobs of the backend share.
    """

    def __init__(self, folder: JobFolder, context: DockerContext) -> None:
        self._folder = folder
        self._context = context
        self._request = folder.request()
        self._hosts = host_names(self._request)
        self._checkpoints = Checkpoints(self._request, folder.ml(), context.place)

    def run(self, client: APIClient, check: Callable[[], None]) -> datetime | None:
        """Get image, requirements and data, then create and start one container for each host.

        Args:
            client: A client of the engine.
            check: Called during long steps and before each start. An exception that it raises ends the start.

        Returns:
            The time when an earlier agent started the first container; None if no container was started before.

        Raises:
            JobRejected: If the job can never run.
            CapacityError: If other jobs have used the devices of this job since its agent was killed.
            NameTaken: If a container or network of another owner has the job's name.
        """
        check()
        sources = fetch_channels(self._request, partial(self._fetch, check=check))
        check()
        image = image_name(self._request, self._context.options.image)
        ensure_image(client, image, check)
        check()
        try:
            assets = sources.get(RUNTIME_CHANNEL)
            layer = self._image_with_requirements(client, image, assets, check)
            if not (self._checkpoints.is_copy and find(client, self._folder.path)):
                # An existing container has them already, and may have written newer ones.
                self._checkpoints.restore(check)
            check()
            volumes = inspect_image(client, layer)["Config"].get("Volumes") or {}
            claim = self._claim(client)
            for host, network in ensure_network(client, self._request, self._hosts).items():
                binds = self._binds(sources, host)
                binds += _volume_binds(volumes, binds, self._folder.ml(host))
                self._create(client, host, network, layer, binds, claim)
            has_source = assets is not None and (assets / SOURCE_TAR).exists()
            before = [self._start_once(client, host, image, has_source=has_source) for host in self._hosts]
        except APIError as err:
            raise cannot_start(image, err) from err
        return min(filter(None, before), default=None)

    def _claim(self, client: APIClient) -> Claim | None:
        """Claim the job's devices again: its agent may have been killed before it started the containers."""
        needs = needs_of(self._request, self._context.ledger)
        if needs.is_empty:
            return None
        existing = find(client, self._folder.path)
        if any(container["State"] != "created" for container in existing):
            return self._context.ledger.resume(self._folder)
        claim, is_new = self._context.ledger.claim(self._folder, needs, len(self._hosts))
        for container in existing if is_new else ():
            remove(client, container["Id"])  # it has the devices of the lost claim
        return claim

    def _fetch(self, uri: str, data_type: str, check: Callable[[], None]) -> Path:
        return self._context.place(uri).fetch(uri, data_type, check)

    def _image_with_requirements(
        self, client: APIClient, image: str, assets: Path | None, check: Callable[[], None]
    ) -> str:
        if assets is None:
            return image
        open_to_all(assets, folders=0o755, files=0o644)  # the umask may have denied access to the image's user
        is_isolated = self._request.get("EnableNetworkIsolation", False)
        requirements = read_requirements(assets / SOURCE_TAR, is_isolated=is_isolated)
        return self._context.layers.image_with(client, image, requirements, check) if requirements else image

    def _binds(self, sources: dict[str, Path], host: str) -> list[Bind]:
        ml, copies = self._folder.ml(host), self._context.options.copies_channels
        return [
            Bind(source=ml, target=ML, is_read_only=False),
            *channel_binds(self._request, sources, ml, self._hosts, host, copies=copies),
            *self._checkpoints.binds(),
        ]

    def _create(
        self,
        client: APIClient,
        host: str,
        network: HostNetwork,
        image: str,
        binds: list[Bind],
        claim: Claim | None,
    ) -> None:
        number = list(self._hosts).index(host)
        plan = ContainerPlan(
            folder=self._folder.path,
            request=self._request,
            host=host,
            network=network,
            image=image,
            binds=binds,
            options=self._context.options,
            facts=self._context.engine.facts,
            environ=self._context.environ,
            owner=self._context.owner,
            gpus=claim.host_gpus(number) if claim else None,
            cpus=claim.host_cpus(number, len(self._hosts)) if claim else (),
        )
        create(client, plan)

    def _start_once(self, client: APIClient, host: str, image: str, *, has_source: bool) -> datetime | None:
        """Start a container if it was never started, so that no container runs twice.

        Return the time of an earlier start; None if there was none.
        """
        container = container_name(self._folder.name, host)
        state = client.inspect_container(container)["State"]
        if state["Status"] != "created":
            return engine_time(state["StartedAt"])
        copy_image_code(client, image, container, self._folder, has_source=has_source)
        client.start(container)
        return None


def _volume_binds(volumes: Iterable[str], binds: Iterable[Bind], ml: Path) -> list[Bind]:
    """Return mounts for the image's volumes below /opt/ml. Anonymous volumes would hide the job's folders.

    ml: the folder that the container sees as /opt/ml.
    """
    mounted = {bind.target for bind in binds}
    volume_binds = []
    for target in volumes:
        place = PurePosixPath(target)
        if place.is_relative_to(ML) and str(place) not in mounted:
            folder = ml / place.relative_to(ML)
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)
            volume_binds.append(Bind(source=folder, target=str(place), is_read_only=False))
    return volume_binds
