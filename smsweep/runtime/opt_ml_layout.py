"""The file tree of a training job."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

CONTAINER_ROOT = "/opt/ml"
CHANNEL = "smsweep"  # the channel with the runtime and the source; not a channel of the user
RUNTIME_ZIP = "runtime.zip"
SOURCE_TAR = "source.tar.gz"


class Layout:
    """The paths below one ml root, which is `/opt/ml` in a container."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.input = self._at("input")
        self.config = self._at("input", "config")
        self.hyperparameters = self._at("input", "config", "hyperparameters.json")
        self.input_data_config = self._at("input", "config", "inputdataconfig.json")
        self.resource_config = self._at("input", "config", "resourceconfig.json")
        self.runtime_zip = self._at("input", "data", CHANNEL, RUNTIME_ZIP)
        self.source_tar = self._at("input", "data", CHANNEL, SOURCE_TAR)
        self.code = self._at("code")
        self.model = self._at("model")
        self.checkpoints = self._at("checkpoints")
        self.output = self._at("output")
        self.output_data = self._at("output", "data")
        self.failure = self._at("output", "failure")  # SageMaker shows its first 1,024 characters
        self.success = self._at("output", "success")  # written by AWS's toolkit, too
        self.params = self._at("smsweep")  # the trial's params as files for the script

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Layout:
        """Return the layout below SMSWEEP_ML_ROOT, or below /opt/ml if it is not set."""
        return cls(environ.get("SMSWEEP_ML_ROOT") or CONTAINER_ROOT)

    def channel(self, name: str) -> str:
        """Return the folder of an input channel."""
        return self._at("input", "data", name)

    def local_path(self, path: str) -> str:
        """Return the path in this layout for a path below `/opt/ml`; any other text unchanged."""
        is_below = path == CONTAINER_ROOT or path.startswith(CONTAINER_ROOT + "/")
        return self.root + path[len(CONTAINER_ROOT) :] if is_below else path

    def _at(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)
