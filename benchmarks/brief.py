"""Run a short form of every benchmark, and print a table that compares smsweep with its peers.

    python -m benchmarks.brief [NAME ...]

Then report the numbers in docs/measurements.md that no longer hold. The run takes some minutes and needs a quiet
machine. Environments of peers are created on first use. A benchmark without a peer prints only its own numbers.
The documented numbers are those of the full forms, which each file runs by itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.ratios import PAGE, VARIABLE, checks, outdated

SHORT: dict[str, list[str]] = {
    "local_overhead": ["--trials", "50", "--rounds", "2"],
    "ten_thousand": ["--trials", "200", "--empty", "100"],
    "docker_overhead": ["--rounds", "2", "--trials", "6"],
    "launch_cost": ["--launches", "3", "--sweep", "10"],
    "search_quality": ["--seeds", "1", "--workers", "8", "--tasks", "branin", "--out", "-"],
    "suggest_latency": ["--counts", "100,1000"],
    "curve_quality": [
        *("--engines", "bayes+forecast,W&B random+hyperband", "--seeds", "1", "--tasks", "late", "--out", "-"),
    ],
    "store_scale": ["--sizes", "100", "10000", "--repeat", "20"],
    "scale": ["--trials", "1000", "--look", "30"],
    "many_agents": ["--agents", "4", "--trials", "200"],
    "worst_regexes": ["--limit", "1"],
    "install_size": [],
}


def main() -> None:
    names = sys.argv[1:] or list(SHORT)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        ratios = Path(folder, "ratios.jsonl")
        for name in names:
            print(f"== {name}", flush=True)
            options = [str(Path(folder, f"{name}.jsonl")) if word == "-" else word for word in SHORT[name]]
            done = subprocess.run(
                [sys.executable, "-m", f"benchmarks.{name}", *options],
                env={**os.environ, VARIABLE: str(ratios), "OMP_NUM_THREADS": "1"},
                check=False,
            )
            if done.returncode:
                failed.append(name)
        stored = [json.loads(line) for line in ratios.read_text().splitlines()] if ratios.exists() else []
    rows = [row for row in stored if "what" in row]
    measured = {row["quantity"]: row["value"] for row in stored if "quantity" in row}
    documented = checks(PAGE.read_text(encoding="utf-8"))
    if sys.argv[1:]:  # a part of the benchmarks
        documented = [check for check in documented if check.quantity in measured]
    print(
        "\n| quantity (lower is better) | smsweep | peer | value of peer | smsweep / peer |\n|---|---|---|---|---|"
    )
    for row in rows:
        share = f"{row['ours'] / row['theirs']:.3g}" if row["theirs"] else "-"
        print(f"| {row['what']} | {row['ours']:.3g} | {row['peer']} | {row['theirs']:.3g} | {share} |")
    wrong = outdated(documented, measured)
    print(f"\n{len(documented) - len(wrong)} of {len(documented)} checked numbers in docs/measurements.md hold")
    print(*wrong, sep="\n")
    if failed or wrong:
        sys.exit(f"failed benchmarks: {', '.join(failed) or 'none'}; numbers that no longer hold: {len(wrong)}")


if __name__ == "__main__":
    main()
