"""Prepares raw files or hub data as encoded Arrow files on disk: memory-mapped, fingerprinted, split."""
