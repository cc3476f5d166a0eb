"""Raw files or hub data in, encoded Arrow files on disk out: memory-mapped, fingerprinted, split."""
