"""What runs as the entrypoint of a job: source, environment, script, signals, failure."""
