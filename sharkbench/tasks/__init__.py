"""What is predicted and how it is evaluated: the loss and the metrics of each task. ``config`` is light."""
