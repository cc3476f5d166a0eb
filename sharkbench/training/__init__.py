"""The Lightning loop, its recipe, and optimizers that touch only the rows of the batch."""
