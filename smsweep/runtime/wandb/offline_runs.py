"""W&B's runs without a server: they belong to the job's output, wherever the script had them written.

`wandb.init(dir=...)`, which Lightning's logger always says, and WANDB_DIR lead elsewhere. Within a run there are
links to what the script saved, and to a log in the home folder: none of that is there once the output travels.
"""

from __future__ import annotations

import contextlib
import os
import shutil

from smsweep.runtime.opt_ml_layout import Layout
from smsweep.runtime.script.messages import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "offline-run-"  # as W&B names the folder of such a run
NOTES = "wandb-runs"  # beside the trial's params: folders of its runs, one a line


def note(folder: str, environ: Mapping[str, str]) -> None:
    """Write down where a run of the trial lies; no-op outside a job, and for a run that talks to a server."""
    root = environ.get("SMSWEEP_ML_ROOT")
    if root and os.path.basename(folder).startswith(PREFIX) and "\n" not in folder:
        with contextlib.suppress(OSError), open(_notes(Layout(root)), "a") as file:
            file.write(folder + "\n")


def keep(layout: Layout) -> None:
    """Put the runs that lie elsewhere into the output data, and files in place of the links in all of them."""
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
        warn(f"a run of W&B's is not kept whole: {err}")


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
        os.link(target, path)  # what was saved may be large
    except OSError:  # another file system
        shutil.copyfile(target, path)
