"""Data sources: one file per source with its keys in a suite. Light: suites are checked without pyarrow."""
