"""One figure a file: a snapshot in, a Plotly figure as plain data (`data`, `layout`) out."""
