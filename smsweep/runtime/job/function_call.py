"""Call the Python function of a sweep in a job: `python -m smsweep.runtime.job.function_call [FOLDER]`.

The source of the job has a folder with the pickled function, its description, and the cloudpickle that wrote it.
The exception of the function is the exception of this process, so that its traceback is in the log.
"""

from __future__ import annotations

import json
import linecache
import os
import pickle  # nosec B403
import sys
import traceback

import smsweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

FOLDER = "smsweep_function"  # in the source of the job
PICKLE = FOLDER + "/function.pkl"
ABOUT = FOLDER + "/about.json"
SOURCE = "SMSWEEP_FUNCTION"  # the folder of the function, for processes of multiprocessing
MODULE = "smsweep.runtime.job.function_call"


def is_function(source: str) -> bool:
    """Return True if the source of a job is a Python function."""
    return os.path.isfile(os.path.join(source, PICKLE))


def main(argv: list[str]) -> None:
    """Load the function from the working directory and call it.

    Args:
        argv: Nothing, or the folder in which the function runs.
    """
    source = os.getcwd()
    with open(os.path.join(source, ABOUT), encoding="utf-8") as file:
        about = json.load(file)
    _check_python(about)
    _remember_sources(source, about["sources"])
    _defer_missing_names()
    sys.excepthook = _print_exception
    sys.path[0] = source
    sys.argv = about["argv"]
    try:
        function, names = _load(source)
        _replace_main(source, names)
        if argv and os.path.isdir(argv[0]):
            os.chdir(argv[0])
        function()
    except ModuleNotFoundError as err:
        err.msg = (
            f"{err.msg}; this job does not have the package: pass requirements= to smsweep.agent, or set "
            "image_uri in job.yaml to an image with the package"
        )
        raise


def _load(source: str) -> tuple[Any, dict[str, Any]]:
    """Return the function, and the functions and classes of its `__main__` module by name."""
    # The format of a pickle depends on the version of cloudpickle, so the source has its own copy.
    sys.path.insert(0, os.path.join(source, FOLDER))
    import cloudpickle  # noqa: F401 - the pickle imports it, too

    del sys.path[0]
    with open(os.path.join(source, PICKLE), "rb") as file:
        unpickler = pickle.Unpickler(file)  # noqa: S301 # the user's own function # nosec B301
        return unpickler.load(), unpickler.load()


def _replace_main(source: str, names: dict[str, Any]) -> None:
    """Let pickles find the names of the user's `__main__`, also in processes of multiprocessing."""
    main_module = type(sys)("__main__")
    main_module.__spec__ = sys.modules["__main__"].__spec__  # a new process imports this module
    main_module.__dict__.update(names)
    sys.modules["__main__"] = main_module
    os.environ[SOURCE] = source


def _check_python(about: dict[str, Any]) -> None:
    """Exit if the bytecode of the function is for another Python."""
    here = "%d.%d" % sys.version_info[:2]
    if here != about["python"]:
        sys.exit(
            f"{about['name']} was sent by Python {about['python']}, but this job has Python {here}; use an image "
            f"with Python {about['python']}"
        )


def _remember_sources(source: str, names: dict[str, str]) -> None:
    """Make the text of notebook cells and scripts available to tracebacks and `inspect`.

    Args:
        source: The source of the job.
        names: Name of a file or cell where the function was defined -> file in the source with its text.
    """
    for name, copy in names.items():
        with open(os.path.join(source, copy), encoding="utf-8", newline="") as file:
            text = file.read()
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)


def _defer_missing_names() -> None:
    """Let a module import names such as `smsweep.agent`, which a job does not have. A call raises the error."""

    def make_call(name: str) -> Any:
        return lambda *_args, **_options: smsweep.__getattr__(name)

    for name, module in smsweep._MODULES.items():
        if name not in vars(smsweep) and not module.startswith(("smsweep.runtime.", "smsweep._version")):
            setattr(smsweep, name, make_call(name))


def _print_exception(kind: type[BaseException], err: BaseException, trace: TracebackType | None) -> None:
    """Print an exception without the frames of this module."""
    frame, own = trace, None
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == main.__code__.co_filename:
            own = frame
        frame = frame.tb_next
    if own is not None and own.tb_next is not None:
        trace = own.tb_next
    traceback.print_exception(kind, err, trace)  # sys.__excepthook__ does not read linecache before Python 3.13


if __name__ == "__main__":
    main(sys.argv[1:])
elif __name__ == "__mp_main__":  # a process that multiprocessing started
    globals().update(_load(os.environ[SOURCE])[1])
