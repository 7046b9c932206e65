"""The two files that users write, sweep.yaml and job.yaml. Errors name the file, line, key and fix."""
