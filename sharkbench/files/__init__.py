"""Files that are written atomically, and their digests."""
