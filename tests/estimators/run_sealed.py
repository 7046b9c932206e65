"""Run a user's program unchanged, without connections to other machines. argv: the program.

The last line on stderr has the hosts that the program tried to reach, as JSON.
"""

from __future__ import annotations

import json
import runpy
import sys

import sealed  # type: ignore[import-not-found]  # beside this script

sealed.refuse_other_hosts()
runpy.run_path(sys.argv[1], run_name="__main__")
hosts = {call.partition(",")[0].strip("('") for call in sealed.calls}
print("\n" + json.dumps(sorted(hosts)), file=sys.stderr)
