"""Run a plan: one process per run, failures kept, results written atomically."""
