"""Packed storage: how rows lie in memory and how they are looked up. One file per format, kernels beside them."""
