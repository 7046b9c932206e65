"""What a job leaves behind: model.tar.gz and output.tar.gz, where its request wants them."""

from __future__ import annotations

import logging
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from smsweep.core.job import TrainingJobRequest

log = logging.getLogger(__name__)

GZIP_LEVEL = 1  # weights hardly shrink, and a trial waits for it

Upload = Callable[[Path, str], None]  # (file or folder, URI)


def keep_artifacts(
    request: TrainingJobRequest, trees: Sequence[Path], scratch: Path, upload: Upload
) -> dict[str, str]:
    """Put the hosts' model and output/data below S3OutputPath; an empty folder leaves nothing, as on SageMaker.

    Returns where "model" and "output" are, those that are.
    trees: each host's /opt/ml; where two have the same file, the first one's is kept. Raises OSError, among others
    when the disk is full.
    """
    output = request.get("OutputDataConfig", {})
    base = str(output.get("S3OutputPath", "")).rstrip("/")
    kept: dict[str, str] = {}
    if not base:
        return kept
    base = f"{base}/{request['TrainingJobName']}/output"
    for name, part in (("model", "model"), ("output", "output/data")):
        folders = [tree / part for tree in trees if _is_own(tree, part) and _has_files(tree / part)]
        if not folders:
            continue
        if output.get("CompressionType") == "NONE":
            kept[name] = f"{base}/{part.rpartition('/')[2]}"
            for folder in reversed(folders):
                upload(folder, kept[name])
        else:
            kept[name] = f"{base}/{name}.tar.gz"
            draft = scratch / f"{name}.tar.gz"
            _pack(folders, draft)
            upload(draft, kept[name])
            draft.unlink()
    return kept


def _is_own(tree: Path, part: str) -> bool:
    """Tell whether a folder is where it was: a job's link in its place leads to this machine's files."""
    place = tree
    for name in part.split("/"):
        place /= name
        if place.is_symlink():
            log.warning("%s is a link to %s, and is not kept", place, place.readlink())
            return False
    return True


def _has_files(folder: Path) -> bool:
    return any(files for _, _, files in os.walk(folder))


def _pack(folders: Sequence[Path], target: Path) -> None:
    seen: set[str] = set()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w:gz", compresslevel=GZIP_LEVEL) as tar:
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                name = path.relative_to(folder).as_posix()
                if name not in seen:
                    seen.add(name)
                    tar.add(path, name, recursive=False)
