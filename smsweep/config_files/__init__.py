"""The two files that people write, sweep.yaml and job.yaml: read, checked, each mistake told with its line."""
