"""The built-in compression methods, one file each, named like the method. Installed as ``sharkbench.methods``."""
