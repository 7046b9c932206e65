"""The entrypoint of a job: source, environment, script, signals, failure reason."""
