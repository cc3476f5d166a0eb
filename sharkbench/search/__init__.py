"""Searches budgets and settings: every trial is an ordinary run, evaluated on validation data only."""
