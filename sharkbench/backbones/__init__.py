"""Field vectors in, logits out. One file per backbone."""
