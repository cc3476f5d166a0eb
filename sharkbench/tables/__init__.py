"""Trainable embedding tables: their parts, and the layers, codes and rounding that several methods share."""
