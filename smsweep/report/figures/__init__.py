"""The plots. Each module has the plots of one subject, and each function returns a Plotly figure as plain data."""
