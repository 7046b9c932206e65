"""Read sweeps and trials: documents, logs, differences, reasons."""
