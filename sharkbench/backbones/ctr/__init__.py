"""Backbones that predict clicks: the settings of each, in a file named like it. Suites are checked without torch."""
