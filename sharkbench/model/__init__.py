"""A model, trained or packed, and the safetensors files that store it."""
