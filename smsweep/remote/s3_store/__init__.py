"""Sweeps whose store is kept in S3, where an agent far from here writes it."""
