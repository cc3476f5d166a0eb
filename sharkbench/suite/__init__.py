"""From YAML to a plan: the schema of a suite, its validation and its list of runs. Imports nothing heavy."""
