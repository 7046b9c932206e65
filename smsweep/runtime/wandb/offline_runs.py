"""Copy W&B's offline runs to the job's output, wherever the script has written them.

`wandb.init(dir=...)`, which Lightning's logger always passes, and WANDB_DIR lead to other folders. A run contains
links to saved files and to a log in the home folder, which do not exist on the machine that downloads the output.
"""

from __future__ import annotations

import contextlib
import os
import shutil

from smsweep.runtime.opt_ml_layout import Layout
from smsweep.runtime.script.records import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "offline-run-"  # W&B's prefix for the folder of an offline run
NOTES = "wandb-runs"  # file next to the trial's params: folders of its runs, one per line


def note(folder: str, environ: Mapping[str, str]) -> None:
    """Record the folder of a trial's run. Does nothing outside a job, and for a run that is not offline."""
    root = environ.get("SMSWEEP_ML_ROOT")
    if root and os.path.basename(folder).startswith(PREFIX) and "\n" not in folder:
        with contextlib.suppress(OSError), open(_notes(Layout(root)), "a") as file:
            file.write(folder + "\n")


def keep(layout: Layout) -> None:
    """Copy runs outside the output folder to it, and replace links in all runs by files."""
    home = os.path.join(layout.output_data, "wandb")
    try:
        for folder in dict.fromkeys(_noted(layout)):
            target = os.path.join(home, os.path.basename(folder))
            if os.path.isdir(folder) and not os.path.exists(target):
                shutil.copytree(folder, target, symlinks=True)
        for folder in os.listdir(home) if os.path.isdir(home) else ():
            if folder.startswith(PREFIX):
                _without_links(os.path.join(home, folder))
    except (OSError, shutil.Error) as err:
        warn(f"an offline run of W&B is incomplete in the output: {err}")


def _notes(layout: Layout) -> str:
    return os.path.join(layout.params, NOTES)


def _noted(layout: Layout) -> Iterator[str]:
    with contextlib.suppress(OSError), open(_notes(layout)) as file:
        yield from file.read().splitlines()


def _without_links(run: str) -> None:
    for folder, _, files in os.walk(run):
        for name in files:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                target = os.path.realpath(path)
                os.remove(path)
                if os.path.isfile(target):
                    _put(target, path)


def _put(target: str, path: str) -> None:
    try:
        os.link(target, path)  # saved files may be large
    except OSError:  # another file system
        shutil.copyfile(target, path)
