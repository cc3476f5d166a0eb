"""What is predicted and how it is judged: the loss and the metrics of each task. ``config`` is light."""
