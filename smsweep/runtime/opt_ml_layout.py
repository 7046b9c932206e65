"""Where things are in a training job's file tree."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

CHANNEL = "smsweep"  # the channel that brings the runtime and the source; not one of the user's
RUNTIME_ZIP = "runtime.zip"
SOURCE_TAR = "source.tar.gz"


class Layout:
    """The paths under one ml root, `/opt/ml` in a container."""

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
        self.output_intermediate = self._at("output", "intermediate")
        self.failure = self._at("output", "failure")  # SageMaker shows its first 1,024 characters
        self.success = self._at("output", "success")  # as AWS's toolkit leaves it
        self.params = self._at("smsweep")  # the trial's params as files, for the script to read

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Layout:
        return cls(environ.get("SMSWEEP_ML_ROOT") or "/opt/ml")

    def channel(self, name: str) -> str:
        return self._at("input", "data", name)

    def _at(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)
