"""HTTP requests and responses of the emulator, by AWS service."""
