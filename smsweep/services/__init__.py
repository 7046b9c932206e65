"""The application layer, which every interface (command line, Python, web page) calls."""
