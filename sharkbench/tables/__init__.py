"""Trainable embedding layers and quantizers that several methods share."""
