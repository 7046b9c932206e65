"""Return the public names of W&B's API with their parameters, and filters as W&B writes them.

Runs in the `wandb` environment. stdin: a list of filters in the form of W&B's page.
stdout: {"names": class -> name -> names of its parameters, None for an attribute; "filters": as MongoDB queries}.
"""

from __future__ import annotations

import inspect
import json
import sys

from wandb.apis import public  # type: ignore[import-not-found]  # not in ours
from wandb.apis.public.sweeps import Agent  # type: ignore[import-not-found]  # not in ours


def parameters(cls: type, name: str) -> list[str] | None:
    value = getattr(cls, name)
    if not inspect.isroutine(value):
        return None
    return [each for each in inspect.signature(value).parameters if each != "self"]


CLASSES = [public.Api, public.Sweep, public.Run, public.Project, Agent]
names = {
    cls.__name__: {name: parameters(cls, name) for name in dir(cls) if not name.startswith("_")} for cls in CLASSES
}
queries = public.QueryGenerator()
json.dump(
    {"names": names, "filters": [queries.filter_to_mongo(each) for each in json.load(sys.stdin)]}, sys.stdout
)
