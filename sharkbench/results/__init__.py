"""What came out of runs: records, and the folders and files that keep them."""
