"""What the process and Docker backends share: job folders, /opt/ml, storage."""
