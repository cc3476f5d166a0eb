"""Compression methods: a file or a folder each, named like the method. Installed as ``sharkbench.methods``."""
