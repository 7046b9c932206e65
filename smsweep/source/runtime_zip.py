"""The runtime as one zip that any Python from 3.8 on can start: `python3 runtime.zip`."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest date a zip can say: the same files give the same bytes
MAIN = b"""import sys

from smsweep.runtime.entrypoint import main

sys.exit(main())
"""


def runtime_zip() -> bytes:
    """Return the zip: `__main__.py`, the lazy `smsweep/__init__.py`, and smsweep/runtime.

    The same smsweep on the same Python gives the same bytes.
    """
    members = {"__main__.py": MAIN, "smsweep/__init__.py": (PACKAGE / "__init__.py").read_bytes()}
    for path in (PACKAGE / "runtime").glob("*.py"):
        members[f"smsweep/runtime/{path.name}"] = path.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members):
            member = zipfile.ZipInfo(name, date_time=EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            archive.writestr(member, members[name])
    return buffer.getvalue()
