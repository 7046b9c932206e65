"""Training jobs of the emulator: state, capacity, execution, logs."""
