"""Trainable embedding tables: their parts, and the layers, codes and roundings that several methods share."""
