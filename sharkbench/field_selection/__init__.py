"""Field selection: importance scores of fields, and the pruning loop that all of these methods share."""
