"""The built-in compression methods: files and folders named like the method. Installed as ``sharkbench.methods``."""
