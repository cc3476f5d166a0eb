"""A model, trained and packed, and its files."""
