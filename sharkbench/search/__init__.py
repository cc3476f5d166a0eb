"""Searches for budgets and settings: every trial is an ordinary run, judged on validation only."""
