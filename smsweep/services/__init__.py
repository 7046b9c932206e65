"""The application layer: what every interface (CLI, Python, web page) calls."""
