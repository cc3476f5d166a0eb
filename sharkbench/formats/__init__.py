"""Packed tables: how rows are stored and looked up. One file per format, with the compiled kernels beside them."""
