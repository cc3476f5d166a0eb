"""Results of runs: records, and the store and the archive that hold them."""
