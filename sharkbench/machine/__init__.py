"""The machine of a run: hardware, package versions and code revision, and the check of an installation."""
