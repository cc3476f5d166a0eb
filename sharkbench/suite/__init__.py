"""From YAML to a plan: the keys of a suite, their validation, and its list of runs. Pydantic only, nothing heavy."""
