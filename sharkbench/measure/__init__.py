"""Quality, memory and lookup speed of a packed model. Nothing here knows which method it measures."""
