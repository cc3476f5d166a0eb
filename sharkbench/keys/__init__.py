"""The key of a run: a hash of its settings and of the code that its result depends on."""
