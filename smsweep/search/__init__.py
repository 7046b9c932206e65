"""Search methods: which params come next, as a function of the trials so far."""
