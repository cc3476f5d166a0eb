"""Sources of data: what a suite says of each, in a file named like it. Light: suites are checked without pyarrow."""
