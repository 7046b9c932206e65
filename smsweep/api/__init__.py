"""The Python interface: `Api`, `run`, `suggest`, plots, notebooks."""
