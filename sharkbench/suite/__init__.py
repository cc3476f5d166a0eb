"""YAML to Suite to plan: what to do. Only pydantic here; nothing heavy is imported."""
