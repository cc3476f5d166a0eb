"""Tables from the store alone; no knowledge of how runs are made."""
