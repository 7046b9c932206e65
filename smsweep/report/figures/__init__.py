"""Each module has the plots of one subject. Each function converts a snapshot to a Plotly figure as plain data (`data`, `layout`)."""
