"""The web page: sweeps and trials in a browser, served on this machine."""
