"""Choosing the fields that a model can do without: scores, and one pruning loop for all of them."""
