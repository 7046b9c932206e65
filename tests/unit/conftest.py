"""Settings of property tests, which have no time limit, and folders that cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture
def protect() -> Iterator[Callable[[Path], None]]:
    """Make a folder and its content read-only. For root, which ignores permissions, this uses a mount."""
    with ExitStack() as undone:

        def protect(folder: Path) -> None:
            if os.geteuid() != 0:
                for path in (folder, *folder.rglob("*")):
                    undone.callback(path.chmod, path.stat().st_mode)
                    path.chmod(0o555)
                return
            commands = (["--bind", str(folder), str(folder)], ["-o", "remount,ro,bind", str(folder)])
            for number, command in enumerate(commands):
                if shutil.which("mount") is None or subprocess.run(["mount", *command], check=False).returncode:
                    pytest.skip("root may not mount here")
                if number == 0:
                    undone.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)

        yield protect
