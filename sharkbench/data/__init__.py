"""Raw files or hub data in, encoded Arrow on disk out: memory-mapped, fingerprinted, split."""
