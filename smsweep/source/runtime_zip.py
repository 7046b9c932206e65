"""The runtime as one zip that any Python from 3.8 on can start: `python3 runtime.zip`."""

from __future__ import annotations

import functools
import importlib.util
import io
import marshal
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest date a zip can say: the same files give the same bytes
# What comes before the import is for a Python that cannot even read the runtime: its image is told by its name.
MAIN = b"""import os
import sys

if sys.version_info < (3, 7):
    reason = "python3 is %d.%d here; a job needs 3.8 or newer: name another image" % sys.version_info[:2]
    with open(os.path.join(os.environ.get("SMSWEEP_ML_ROOT") or "/opt/ml", "output", "failure"), "w") as failure:
        failure.write(reason)
    sys.exit(reason)

from smsweep.runtime.job.entrypoint import main

sys.exit(main())
"""


@functools.cache
def runtime_zip() -> bytes:
    """Return the zip: `__main__.py`, the lazy `smsweep/__init__.py` with its version, and smsweep/runtime.

    Beside each module lies its bytecode for the Python that runs now: a zip has no __pycache__, and without it
    every trial compiles the runtime again (15 to 25 ms for `import smsweep` in the script alone). Other Pythons
    pass over bytecode that is not theirs. Nothing is deflated, so that no Python has to load zlib for it. The
    same smsweep on the same Python gives the same bytes.
    """
    sources = {f"smsweep/{name}": (PACKAGE / name).read_bytes() for name in ("__init__.py", "_version.py")}
    for path in (PACKAGE / "runtime").rglob("*.py"):
        name = path.relative_to(PACKAGE.parent).as_posix()
        is_hook = path.name == "sitecustomize.py"  # Python looks for it at the top
        sources[path.name if is_hook else name] = path.read_bytes()
    members = {"__main__.py": MAIN, **sources}
    for name, source in sources.items():
        members[f"{name}c"] = _bytecode(name, source)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(members):
            member = zipfile.ZipInfo(name, date_time=EPOCH)
            member.external_attr = 0o644 << 16
            archive.writestr(member, members[name])
    return buffer.getvalue()


def _bytecode(name: str, source: bytes) -> bytes:
    """Return a .pyc that is never checked against its source (PEP 552): both travel together."""
    code = compile(source, name, "exec", dont_inherit=True)
    # Format 2 of marshal: later ones depend on which strings this process happens to share.
    return (
        importlib.util.MAGIC_NUMBER
        + (0b01).to_bytes(4, "little")  # by hash, unchecked
        + importlib.util.source_hash(source)
        + marshal.dumps(code, 2)
    )
