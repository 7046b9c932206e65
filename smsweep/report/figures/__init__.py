"""One figure per file. Each function converts a snapshot to a Plotly figure as plain data (`data`, `layout`)."""
