"""A package, so that tests of a room may share what they make by hand."""
