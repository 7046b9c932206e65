"""Search methods: they propose params, based on the trials so far."""
