"""Execute a notebook in a real kernel: {"cells": [source], "environ": {...}} -> outputs of each cell."""

from __future__ import annotations

import json
import os
import sys

import nbformat  # type: ignore[import-not-found]  # in a separate environment
from nbclient import NotebookClient  # type: ignore[import-not-found]  # likewise

question = json.load(sys.stdin)
os.environ.update(question["environ"])
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in question["cells"]])
NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
json.dump([cell.outputs for cell in notebook.cells], sys.stdout)
