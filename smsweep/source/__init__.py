"""The source bundle: which files travel with a sweep, packed once, under the hash of their content."""
