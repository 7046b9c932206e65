"""The source bundle: the files of a sweep, packed once and named by the hash of their content."""
