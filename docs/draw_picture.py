"""Draw picture.svg from a real run of the laptop tutorial, as processes, with the loss of each trial by epoch.

    python docs/draw_picture.py

A test draws the picture again from its own run and compares. The values of a trial depend on its params only.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import smsweep

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "picture.svg"
FILE = r"^```\w+ {}\n(.*?)^```$"
LEFT, TOP, WIDTH, HEIGHT = 640, 64, 300, 236  # of the curves, in pixels
EXPONENTS = (16, -30)  # powers of ten at the top and at the bottom
PLACES = (
    ("process", "on this machine", "a process"),
    ("docker", "on this machine", "a container"),
    ("sagemaker", "on AWS", "a training job"),
)
STYLE = """
text { font: 13px ui-sans-serif, system-ui, sans-serif; fill: #1f2937 }
.code { font: 12px ui-monospace, monospace; white-space: pre }
.small { font-size: 11px; fill: #6b7280 }
.box { fill: #ffffff; stroke: #9ca3af }
.arrow { stroke: #6b7280; stroke-width: 1.5; fill: none; marker-end: url(#head) }
.curve { fill: none; stroke-width: 1.5; stroke: #9ca3af }
.best { stroke: #0f766e; stroke-width: 2.5 }
.failed { stroke: #b91c1c; stroke-dasharray: 4 3 }
"""


def draw(yaml: str, curves: Sequence[tuple[str, Sequence[float]]], best: int) -> str:
    """Return the picture. curves: state and losses of each trial, in their order; best: the number of one."""
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 340" role="img" '
        'aria-label="A sweep.yaml, three places where its trials run, and the loss of each trial by epoch">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 8 4 0 8Z" fill="#6b7280"/></marker></defs>',
        '<rect width="960" height="340" rx="8" fill="#f9fafb"/>',
        *_yaml(yaml),
        *_places(),
        *_curves(curves, best),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def run(folder: Path) -> str:
    """Run the tutorial's sweep in the working directory, which must be empty, and return its picture."""
    page = (ROOT / "docs/start-laptop.md").read_text(encoding="utf-8")
    yaml = _file(page, "sweep.yaml")
    (folder / "train.py").write_text(_file(page, "train.py"), encoding="utf-8")
    (folder / "sweep.yaml").write_text(yaml, encoding="utf-8")
    created: list[str] = []
    smsweep.run("sweep.yaml", parallel=2, on_created=created.append)
    sweep = smsweep.Api().sweep(created[0])
    runs = sorted(sweep.runs, key=lambda each: int(each.name.rpartition("-")[2]))
    best = sweep.best_run()
    assert best is not None
    curves = [(each.state, [row["loss"] for row in each.history(pandas=False)]) for each in runs]
    return draw(yaml, curves, [each.id for each in runs].index(best.id))


def _file(page: str, name: str) -> str:
    (text,) = re.findall(FILE.format(re.escape(name)), page, re.M | re.S)
    return str(text)


def _yaml(text: str) -> Iterator[str]:
    yield '<text x="24" y="40">your W&amp;B sweep.yaml and train.py, unchanged</text>'
    yield '<rect class="box" x="24" y="56" width="306" height="252" rx="6"/>'
    for index, line in enumerate(text.splitlines()):
        yield f'<text class="code" x="36" y="{84 + 22 * index}">{escape(line)}</text>'
    yield '<text class="code" x="36" y="256">$ smsweep run sweep.yaml</text>'
    yield '<text class="code" x="36" y="278">                 --backend ...</text>'


def _places() -> Iterator[str]:
    yield '<text x="396" y="40">one job per trial, the same request</text>'
    for index, (backend, where, how) in enumerate(PLACES):
        y = 56 + 88 * index
        yield f'<rect class="box" x="396" y="{y}" width="184" height="76" rx="6"/>'
        yield f'<text class="code" x="408" y="{y + 24}">{backend}</text>'
        yield f'<text x="408" y="{y + 45}">{how}</text>'
        yield f'<text class="small" x="408" y="{y + 63}">{where}</text>'
        yield f'<path class="arrow" d="M332 182 C364 182 360 {y + 38} 392 {y + 38}"/>'
        yield f'<path class="arrow" d="M582 {y + 38} C606 {y + 38} 604 182 628 182"/>'


def _curves(curves: Sequence[tuple[str, Sequence[float]]], best: int) -> Iterator[str]:
    yield f'<text x="{LEFT}" y="40">every trial recorded, compared, resumable</text>'
    yield f'<rect class="box" x="{LEFT}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}"/>'
    longest = max(len(values) for _, values in curves)
    for number, (state, values) in enumerate(curves):
        points = " ".join(f"{_x(step, longest):.1f},{_y(value):.1f}" for step, value in enumerate(values))
        kind = " best" if number == best else " failed" if state == "failed" else ""
        yield f'<polyline class="curve{kind}" points="{points}"/>'
    for exponent in (0, -10, -20):
        y = _y(10.0**exponent)
        yield f'<text class="small" x="{LEFT + 4}" y="{y + 4:.1f}">1e{exponent}</text>'
    last = curves[best][1][-1]
    bottom = TOP + HEIGHT
    yield f'<text class="small" x="{LEFT + 60}" y="{bottom - 8}">trial {best} is best: loss={last:.6g}</text>'
    yield f'<text class="small" x="{LEFT}" y="{bottom + 18}">loss by epoch; dashed: diverged, with a reason</text>'


def _x(step: int, longest: int) -> float:
    return LEFT + 36 + (WIDTH - 48) * step / (longest - 1)


def _y(value: float) -> float:
    top, bottom = EXPONENTS
    return TOP + HEIGHT * (top - math.log10(value)) / (top - bottom)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        before = Path.cwd()
        os.chdir(name)
        try:
            PICTURE.write_text(run(Path(name)), encoding="utf-8")
        finally:
            os.chdir(before)


if __name__ == "__main__":
    main()
