"""The training loop (Lightning), its recipe, optimizers with sparse updates, and training over several processes."""
