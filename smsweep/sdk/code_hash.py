"""What of a source its scripts are made of: all but the configs of sweeps that lie beside them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path

from smsweep.errors import SourceError
from smsweep.source.bundle import bundle_path, content_hash
from smsweep.source.unpack import open_bundle
from smsweep.sweeps import Sweep

log = logging.getLogger(__name__)


class CodeHash:
    """Returns for a source's hash another one, which no sweep.yaml or job.yaml of a known sweep changes.

    So a sweep whose config was edited in the folder of its program still runs the same code. A file counts as such
    a config if it is word for word that of one of the sweeps.
    """

    def __init__(self, bundles_dir: Path, sweeps: Iterable[Sweep]) -> None:
        self._bundles_dir = bundles_dir
        texts = {text for sweep in sweeps for text in (sweep.sweep_yaml, sweep.job_yaml) if text}
        self._configs = {hashlib.sha256(text.encode()).hexdigest() for text in texts}
        self._known: dict[str, str] = {}

    def __call__(self, source_hash: str) -> str:
        if source_hash not in self._known:
            self._known[source_hash] = self._read(source_hash)
        return self._known[source_hash]

    def _read(self, source_hash: str) -> str:
        path = bundle_path(self._bundles_dir, source_hash)
        if not source_hash or not path.is_file():
            return source_hash
        try:
            members = open_bundle(path, expect=source_hash).members
        except SourceError as err:
            log.warning("%s", err)
            return source_hash
        return content_hash(member for member in members if member.sha256 not in self._configs)
