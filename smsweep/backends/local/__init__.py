"""Job folders, /opt/ml, input channels and storage, for the process and Docker backends."""
