"""The interface that a training script uses: `init`, `log`, `config`, `summary`."""
