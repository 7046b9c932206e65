"""Script of a trial: logs generated rows to W&B, and prints the rows that W&B has recorded.

Prints "ROWS" and a JSON list with the rows of each run as [step, {name: value}], "SUMMARY" and a JSON list
with the summary of one metric in each run, and "CONFIG" and a JSON dict. W&B's file has LevelDB's log
format: blocks of 32 KiB, records in parts with a header of 7 bytes.
"""

from __future__ import annotations

import json
import os
import random
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import wandb  # type: ignore[import-not-found]  # in a separate environment
from wandb.proto import wandb_internal_pb2  # type: ignore[import-not-found]  # likewise

BLOCK, HEADER, FIRST, LAST = 32_768, 7, (1, 2), (1, 4)
N_CALLS = 250
SUMMED_UP = ("min", "max", "mean", "last")
NAMES = ("loss", "epoch", "val/acc", "val/f1", "opt.lr", "best", "a b", "ä", "k1", "k2")


def value(rng: random.Random) -> Any:
    number = rng.choice([rng.randint(-5, 5), round(rng.uniform(-9, 9), 3), 1e-7, 1e22, float("nan"), float("inf")])
    kinds = [number, np.float64(number), np.array([1.25]), np.float32(0.5), np.int64(3), Tensor(number), True]
    return rng.choice([*kinds, number, np.bool_(False), "text", None])


def other(rng: random.Random) -> Any:
    """Return a value that is not a metric, and that only W&B receives."""
    return rng.choice([[1, 2], (1,), np.array([1, 2]), np.zeros(50), wandb.Histogram([1])])


def nested(rng: random.Random) -> dict[Any, Any]:
    """Return a dict with a fixed shape. Versions of wandb differ in whether a second dict in a row is merged."""
    return {"x": value(rng), 7: rng.random(), "deep": {"y.z": value(rng)}}


class Tensor:
    """The part of a torch tensor that W&B uses, with one number. torch itself is too large."""

    requires_grad = False

    def __init__(self, number: Any) -> None:
        self.data, self.number = self, number

    def size(self) -> tuple[int, ...]:
        return ()

    def item(self) -> Any:
        return self.number


Tensor.__module__ = "torch"


def log_rows(run: Any, rng: random.Random) -> None:
    run.define_metric("epoch")
    run.define_metric("val/*", step_metric="epoch")
    run.define_metric("best", step_metric="loss", step_sync=False, summary="max")
    run.define_metric("cou*", summary="min,mean")
    run.define_metric("count", summary=",".join(SUMMED_UP))
    for index in range(N_CALLS):
        row = {rng.choice(NAMES): value(rng) for _ in range(rng.randint(0, 3))}
        if "epoch" in row:
            row["epoch"] = index // 10  # its values go into other rows; a number that no other row has
        row["count"] = index
        if rng.random() < 0.2:
            row["nested"] = nested(rng)
        if rng.random() < 0.2:
            row[rng.choice(["val/many", "many"])] = other(rng)
        choice = rng.random()
        step = None if choice < 0.7 else run.step + rng.choice([-3, -1, 0, 0, 1, 2, 5])
        commit = rng.choice([None, None, None, True, False])
        (run.log if rng.random() < 0.5 else wandb.log)(row, step=step, commit=commit)


def log_in_threads(run: Any) -> None:
    """Log rows from threads. The order can differ, but W&B and the sweep must have the same order."""

    def log(name: str) -> None:
        for index in range(100):
            run.log({name: index})

    threads = [threading.Thread(target=log, args=(f"thread {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def records(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    position, record = HEADER, b""
    while position + HEADER <= len(data):
        if BLOCK - position % BLOCK < HEADER:
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + HEADER])
        part = data[position + HEADER : position + HEADER + length]
        position += HEADER + length
        record = part if kind in FIRST else record + part
        if kind in LAST:
            yield record


def recorded(path: Path) -> list[Any]:
    found = []
    for data in records(path):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            items = {
                item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
            }
            found.append([items["_step"], dict(flat(items))])
    return found


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the metrics of a row, without lists and media, and without values that W&B adds itself."""
    for name, item in values.items():
        if isinstance(item, dict):
            if not any(str(key).endswith("_type") for key in item):
                yield from flat(item, f"{prefix}{name}.")
        elif not isinstance(item, list) and not name.startswith("_") and "._type" not in name:
            yield prefix + name, item


def main() -> None:
    summaries = []
    for seed in (1, 2):
        run = wandb.init(config={"lr": 1.0, "epochs": 2, "opt": {"name": "sgd", "m": 0.5}})
        if seed == 1:
            print("CONFIG", json.dumps(dict(run.config)), flush=True)
        log_rows(run, random.Random(seed))
        log_in_threads(run)
        run.log({})  # W&B summarizes complete rows
        summaries.append({kind: run.summary["count"][kind] for kind in SUMMED_UP})
        run.finish()
        print("FINISHED", flush=True)
        time.sleep(1.1)  # the folder names of runs have a resolution of one second
    paths = sorted(Path(os.environ["WANDB_DIR"], "wandb").glob("offline-run-*/run-*.wandb"))
    print("ROWS", json.dumps([recorded(path) for path in paths]), flush=True)
    print("SUMMARY", json.dumps(summaries), flush=True)


main()
