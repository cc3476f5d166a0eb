"""Search for budgets and settings: every trial consists of ordinary runs, evaluated on validation data only."""
