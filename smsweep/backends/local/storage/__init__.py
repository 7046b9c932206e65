"""Where channels come from and results go to, by the scheme of a URI."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from smsweep.errors import JobRejected
from smsweep.util.lazy_registry import LazyTable

Check = Callable[[], None]


class Place(Protocol):
    """Made from (the caller's environment, a folder for what is worth keeping between jobs)."""

    def fetch(self, uri: str, data_type: str, check: Check = lambda: None) -> Path:
        """Return a file or folder of this machine that shows what is at uri; it is not to be changed.

        data_type: SageMaker's S3DataType. check: called now and then; what it raises ends the wait.
        Raises JobRejected when there is nothing.
        """
        ...

    def download(self, uri: str, folder: Path, check: Check = lambda: None) -> None:
        """Copy what is below uri into folder. Nothing there: nothing happens. check: as above."""
        ...

    def upload(self, path: Path, uri: str) -> None:
        """Copy a file to uri, or a folder's contents below it."""
        ...

    def remove(self, uri: str, names: Collection[str]) -> None:
        """Remove files below uri, by their paths; what is not there is no trouble."""
        ...


# boto3 takes a while to import, and most local jobs have only local channels.
PLACES: LazyTable[Callable[[Mapping[str, str], Path], Place]] = LazyTable(
    {
        "file": "smsweep.backends.local.storage.files:FilePlace",
        "s3": "smsweep.backends.local.storage.s3:S3Place",
    }
)


def place_of(uri: str, environ: Mapping[str, str], cache: Path) -> Place:
    """Raises JobRejected for a URI of an unknown scheme."""
    scheme = urlsplit(uri).scheme
    if scheme not in PLACES:
        raise JobRejected(f"{uri or 'no URI'}: cannot be reached from here; give a file:// or s3:// URI")
    return PLACES[scheme](environ, cache)
