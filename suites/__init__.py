"""The built-in suites. Installed as ``sharkbench.suites``."""
