"""Jobs in containers of the Docker Engine, which see the same files and variables as on SageMaker."""
