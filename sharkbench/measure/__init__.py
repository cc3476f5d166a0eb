"""Quality, bytes and lookup throughput of a packed model. Nothing here knows which method it measures."""
