"""Build the runtime as one zip that Python 3.8 and newer can start: `python3 runtime.zip`."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
import marshal
import zipfile
from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip; a constant, so that the same files give the same bytes
# The lines before the import run on a Python that is too old to parse the runtime.
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
    """Return the zip: `__main__.py`, `smsweep/__init__.py` with its version, and smsweep/runtime.

    Each module has its bytecode for the current Python next to it: a zip has no __pycache__, and without bytecode
    every trial compiles the runtime again (15 to 25 ms for `import smsweep` alone). Other versions of Python
    ignore the bytecode. The files are not compressed, so that Python need not load zlib. The same smsweep on the
    same Python gives the same bytes.
    """
    members = {"__main__.py": MAIN, **_sources()}
    for name, source in _sources().items():
        members[f"{name}c"] = _bytecode(name, source)
    return _zip(members, zipfile.ZIP_STORED)


@functools.cache
def compact_runtime_zip() -> bytes:
    """Return the zip for jobs on other machines: compressed, and without bytecode, which needs the same Python."""
    return _zip({"__main__.py": MAIN, **_sources()}, zipfile.ZIP_DEFLATED)


@functools.cache
def compact_runtime_key() -> str:
    """Return 16 hex digits that identify the content of `compact_runtime_zip`, whatever the version of zlib."""
    digest = hashlib.sha256(MAIN)
    for name, source in sorted(_sources().items()):
        digest.update(b"%s\0%d\0%s" % (name.encode(), len(source), source))
    return digest.hexdigest()[:16]


@functools.cache
def _sources() -> Mapping[str, bytes]:
    sources = {f"smsweep/{name}": (PACKAGE / name).read_bytes() for name in ("__init__.py", "_version.py")}
    for path in (PACKAGE / "runtime").rglob("*.py"):
        name = path.relative_to(PACKAGE.parent).as_posix()
        is_hook = path.name == "sitecustomize.py"  # Python imports it from the top
        sources[path.name if is_hook else name] = path.read_bytes()
    return sources


def _zip(members: Mapping[str, bytes], compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name in sorted(members):
            member = zipfile.ZipInfo(name, date_time=EPOCH)
            member.external_attr = 0o644 << 16
            member.compress_type = compression
            archive.writestr(member, members[name])
    return buffer.getvalue()


def _bytecode(name: str, source: bytes) -> bytes:
    """Return a .pyc that Python does not compare with its source (PEP 552), because both are in the same zip."""
    code = compile(source, name, "exec", dont_inherit=True)
    # Format 2 of marshal: later formats depend on the strings that this process shares.
    return (
        importlib.util.MAGIC_NUMBER
        + (0b01).to_bytes(4, "little")  # by hash, unchecked
        + importlib.util.source_hash(source)
        + marshal.dumps(code, 2)
    )
