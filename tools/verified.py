"""Write the table of docs/verified.md from the reports in docs/verified: `python -m tools.verified`."""

from __future__ import annotations

import re
from pathlib import Path

from smsweep.services.verify.report import page_table, read
from smsweep.util.atomic_file import write_text

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "verified.md"
TABLE = re.compile(r"^\| check \| assumption \|.*\Z", re.MULTILINE | re.DOTALL)  # at the end of the page


def main() -> None:
    table = page_table(read(DOCS / "verified"))
    text, n = TABLE.subn(lambda match: f"{table}\n", PAGE.read_text(encoding="utf-8"))
    assert n == 1, f"{PAGE} has no table of checks at its end"
    write_text(PAGE, text)


if __name__ == "__main__":
    main()
